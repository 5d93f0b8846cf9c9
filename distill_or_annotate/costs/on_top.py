"""What a strategy costs beside its budget where the paper's assumptions are switched off."""

import dataclasses
import difflib

from distill_or_annotate.costs.arithmetic import CostError
from distill_or_annotate.costs.assumptions import Assumptions
from distill_or_annotate.costs.student import student_training_cost
from distill_or_annotate.costs.teacher import Cost
from distill_or_annotate.prices import PriceBook

# Strategy -> whether its student is fine-tuned on labels, and whether it needs a teacher of another size. Training a
# student on a teacher's output is part of the price per 1,000 distilled examples.
_NEEDS = {
    "annotate": (True, False),
    "llm_annotate": (True, False),
    "human_llm_annotate": (True, False),
    "self_distill": (True, False),
    "distill": (False, True),
    "teacher": (False, True),
}


@dataclasses.dataclass(frozen=True)
class OnTop:
    """Dollars on top of a budget.

    Attributes:
      student_training: fine-tuning the student on labels; None where it is free or there is none.
      engineer_usd: dollars of an engineer's time; 0 where free.
      pretrained_usd: dollars of the pre-trained teacher; 0 where free or not needed.
    """

    student_training: Cost | None = None
    engineer_usd: float = 0.0
    pretrained_usd: float = 0.0

    @property
    def student_training_usd(self) -> float:
        """Dollars to fine-tune the student on labels; 0 where free."""
        return self.student_training.usd if self.student_training else 0.0

    @property
    def usd(self) -> float:
        """All of them together."""
        return self.student_training_usd + self.engineer_usd + self.pretrained_usd


def on_top(
    assumptions: Assumptions, book: PriceBook, task: str, strategy: str, n_labels: int, student: str = "t5_1_1_small"
) -> OnTop:
    """Returns what a strategy costs beside its budget.

    Args:
      assumptions: what is free.
      book: the prices.
      task: a task that the book prices.
      strategy: annotate | llm_annotate | human_llm_annotate | self_distill | distill | teacher.
      n_labels: labels that a student is fine-tuned on, at least 1.
      student: the student's name.

    Raises:
      CostError: an unknown strategy or student, or n_labels is out of range.
      PriceBookError: the book does not price the task.
    """
    if strategy not in _NEEDS:
        near = difflib.get_close_matches(str(strategy), _NEEDS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise CostError(f"strategy: received {strategy!r}; {hint}allowed: {', '.join(_NEEDS)}.")
    trains_on_labels, has_teacher = _NEEDS[strategy]
    counts = trains_on_labels and not assumptions.student_training_is_free
    return OnTop(
        student_training=student_training_cost(book, task, n_labels, student) if counts else None,
        engineer_usd=assumptions.engineer_usd,
        pretrained_usd=assumptions.counted_pretrained_usd if has_teacher else 0.0,
    )
