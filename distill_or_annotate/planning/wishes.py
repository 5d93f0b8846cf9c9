"""What is to be planned: dollars, what is there already, models to choose from, and what will be asked of them."""

from __future__ import annotations

import dataclasses
import math

from distill_or_annotate.planning.outcomes import PlanningError

# Fewer labels make no model of any kind.
LEAST_LABELS = 10


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is to be planned.

    Attributes:
      budget_usd: dollars to spend, above 0.
      at_hand: labels that are there already, at least 0.
      max_labels: labels that can be had at most; None for no limit.
      max_unlabeled: unlabeled examples at hand.
      teachers: models to choose from; '' is the one that the price book is for.
      students: likewise.
      served_per_month: predictions a month that the budget pays, too; 0 leaves serving out.
      months: how long.
    """

    budget_usd: float
    at_hand: int = 0
    max_labels: int | None = None
    max_unlabeled: int = 100_000
    teachers: tuple[str, ...] = ("",)
    students: tuple[str, ...] = ("",)
    served_per_month: float = 0.0
    months: float = 12.0

    def __post_init__(self):
        if isinstance(self.budget_usd, bool) or not math.isfinite(self.budget_usd) or self.budget_usd <= 0:
            raise PlanningError(f"budget_usd: received {self.budget_usd!r}; it must be dollars above 0.")
        for field in ("at_hand", "max_unlabeled", "served_per_month", "months"):
            if not 0 <= getattr(self, field) < math.inf:
                raise PlanningError(f"{field}: received {getattr(self, field)!r}; it must be at least 0.")
        if self.max_labels is not None and self.max_labels < max(self.at_hand, 1):
            raise PlanningError(
                f"max_labels: received {self.max_labels!r}; it must be at least the {self.at_hand} labels at hand."
            )
        for field in ("teachers", "students"):
            names = getattr(self, field)
            if not names or len(set(names)) < len(names):
                raise PlanningError(f"{field}: received {names!r}; it must name at least one model, each once.")

    @property
    def served(self) -> float:
        """Predictions that the budget pays."""
        return self.served_per_month * self.months
