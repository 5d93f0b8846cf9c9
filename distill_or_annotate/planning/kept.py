"""What a pilot leaves beside knowledge: its models, the best of which can be kept for nothing."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from distill_or_annotate.planning.outcomes import Outcome

_STUDENTS = ("annotate", "distill")


@dataclasses.dataclass(frozen=True)
class Kept:
    """A model that is there already.

    Attributes:
      outcome: the model.
    """

    outcome: Outcome

    @property
    def name(self) -> str:
        """In words."""
        pool = f", {self.outcome.n_unlabeled:,} distilled" if self.outcome.n_unlabeled else " alone"
        return f"the student on {self.outcome.n_labels:,} labels{pool}"

    def is_enough(self, expected: float) -> bool:
        """Returns whether nothing that could be bought is expected to score more, to a tenth of a point.

        Args:
          expected: the expected score of the best purchase, percent.
        """
        return math.floor(self.outcome.score * 10 + 0.5) >= math.floor(expected * 10 + 0.5)

    def as_dict(self) -> dict[str, str | float]:
        """Returns it as JSON-ready values."""
        return {"name": self.name, **dataclasses.asdict(self.outcome)}


def kept_of(pilot: Sequence[Outcome]) -> Kept | None:
    """Returns the best student of a pilot; None where none has begun to learn.

    Args:
      pilot: models that are paid and there.
    """
    students = [each for each in pilot if each.strategy in _STUDENTS and not each.degenerate]
    return Kept(max(students, key=lambda each: each.score)) if students else None
