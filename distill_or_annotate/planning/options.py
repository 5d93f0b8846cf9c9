"""What a budget can buy: labels alone, or labels, a teacher and unlabeled examples, at many sizes."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from distill_or_annotate.planning.curves import Purchases
from distill_or_annotate.planning.outcomes import PlanningError
from distill_or_annotate.planning.prices import PlanPrices

# Sizes of N between the labels at hand and all that the budget buys.
_SIZES = 24
# Fewer labels make no model of any kind.
_LEAST_LABELS = 10
# A pool smaller than this is not worth a teacher.
_LEAST_POOL = 100


@dataclasses.dataclass(frozen=True)
class Option:
    """One way to spend a budget.

    Attributes:
      strategy: annotate | distill.
      n_labels: labels in all, those at hand included.
      n_unlabeled: unlabeled examples distilled; 0 for labels alone.
      label_usd: dollars of the labels that are bought.
      finetune_usd: dollars of the teacher.
      distill_usd: dollars of distillation.
    """

    strategy: str
    n_labels: int
    n_unlabeled: int
    label_usd: float
    finetune_usd: float = 0.0
    distill_usd: float = 0.0

    @property
    def total_usd(self) -> float:
        """Dollars of all of it."""
        return self.label_usd + self.finetune_usd + self.distill_usd

    @property
    def name(self) -> str:
        """In words."""
        labels = f"{self.n_labels:,} labels"
        return f"{labels}, {self.n_unlabeled:,} distilled" if self.n_unlabeled else f"{labels} alone"


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is to be planned.

    Attributes:
      budget_usd: dollars to spend, above 0.
      at_hand: labels that are there already, at least 0.
      max_labels: labels that can be had at most; None for no limit.
      max_unlabeled: unlabeled examples at hand.
    """

    budget_usd: float
    at_hand: int = 0
    max_labels: int | None = None
    max_unlabeled: int = 100_000

    def __post_init__(self):
        if isinstance(self.budget_usd, bool) or not math.isfinite(self.budget_usd) or self.budget_usd <= 0:
            raise PlanningError(f"budget_usd: received {self.budget_usd!r}; it must be dollars above 0.")
        for field in ("at_hand", "max_unlabeled"):
            if getattr(self, field) < 0:
                raise PlanningError(f"{field}: received {getattr(self, field)!r}; it must be at least 0.")
        if self.max_labels is not None and self.max_labels < max(self.at_hand, 1):
            raise PlanningError(
                f"max_labels: received {self.max_labels!r}; it must be at least the {self.at_hand} labels at hand."
            )


def options_of(wish: Wish, prices: PlanPrices) -> list[Option]:
    """Returns what a budget can buy, labels alone first, sizes rising.

    Args:
      wish: budget and what is there.
      prices: of the task.

    Raises:
      PlanningError: the budget buys nothing of use.
    """
    sizes = _sizes(wish, prices)
    found = [Option("annotate", n, 0, (n - wish.at_hand) * prices.label_usd) for n in sizes]
    for n_labels in sizes:
        option = _distilled(n_labels, wish, prices)
        if option is not None:
            found.append(option)
    return found


def why_not(wish: Wish, prices: PlanPrices) -> str:
    """Returns why a budget distils nothing; empty where it does.

    Args:
      wish: budget and what is there.
      prices: of the task.
    """
    sizes = _sizes(wish, prices)
    if any(_distilled(n_labels, wish, prices) for n_labels in sizes):
        return ""
    teacher_usd = prices.finetune_usd(sizes[0])
    least_usd = (sizes[0] - wish.at_hand) * prices.label_usd + teacher_usd
    return (
        f"Distilling: fine-tuning the teacher on {sizes[0]:,} labels costs ${teacher_usd:,.2f}; with the labels "
        f"${least_usd:,.2f}, which leaves of ${wish.budget_usd:,.2f} too little for {_LEAST_POOL} unlabeled examples."
    )


def purchases_of(options: Sequence[Option]) -> Purchases:
    """Returns options as the curves take them.

    Args:
      options: at least one.
    """
    return Purchases(
        np.array([each.strategy for each in options], dtype=object),
        np.array([each.n_labels for each in options], dtype=float),
        np.array([each.n_unlabeled for each in options], dtype=float),
    )


def _sizes(wish: Wish, prices: PlanPrices) -> list[int]:
    most = wish.at_hand + math.floor(wish.budget_usd / prices.label_usd + 1e-9)
    most = most if wish.max_labels is None else min(most, wish.max_labels)
    least = max(wish.at_hand, _LEAST_LABELS)
    if most < least:
        needed_usd = (least - wish.at_hand) * prices.label_usd
        raise PlanningError(
            f"budget_usd: ${wish.budget_usd:,.2f} is below the cheapest option, {least} labels at "
            f"${prices.label_usd:g} each (${needed_usd:,.2f}). Fix: a larger budget, or --labels-at-hand."
        )
    return sorted({round(float(n)) for n in np.geomspace(least, most, _SIZES)})


def _distilled(n_labels: int, wish: Wish, prices: PlanPrices) -> Option | None:
    label_usd = (n_labels - wish.at_hand) * prices.label_usd
    finetune_usd, rate_usd = prices.finetune_usd(n_labels), prices.distill_usd_per_1k(n_labels)
    left_usd = wish.budget_usd - label_usd - finetune_usd
    affordable = math.floor(left_usd / rate_usd * 1000 + 1e-9) if left_usd > 0 else 0
    n_unlabeled = min(affordable, wish.max_unlabeled)
    if n_unlabeled < _LEAST_POOL:
        return None
    return Option("distill", n_labels, n_unlabeled, label_usd, finetune_usd, n_unlabeled / 1000 * rate_usd)
