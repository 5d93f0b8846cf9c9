"""What labels, a teacher and distillation cost, as a plan needs it: any N, and prices that a user may say otherwise."""

import dataclasses
import math

from distill_or_annotate.costs import distill_cost_per_1k, finetune_cost
from distill_or_annotate.planning.outcomes import PlanningError
from distill_or_annotate.prices import PriceBook, PriceBookError

# Whose computing prices stand for a task that no book prices: the paper's longest inputs and targets, so the dearest.
LIKE = "wlp"


@dataclasses.dataclass(frozen=True)
class PlanPrices:
    """Prices of one task.

    Attributes:
      book: the price book.
      like: task whose computing prices hold.
      label_usd: dollars per label.
      compute_factor: computing costs this many times what the book says.
      notes: what was assumed, one sentence each.
    """

    book: PriceBook
    like: str
    label_usd: float
    compute_factor: float = 1.0
    notes: tuple[str, ...] = ()

    def finetune_usd(self, n_labels: int) -> float:
        """Returns dollars of fine-tuning the teacher once.

        Args:
          n_labels: labels, at least 1.
        """
        return self.compute_factor * finetune_cost(self.book, self.like, n_labels).usd

    def distill_usd_per_1k(self, n_labels: int) -> float:
        """Returns dollars of distilling 1,000 unlabeled examples.

        Args:
          n_labels: labels of the teacher, at least 1.
        """
        return self.compute_factor * distill_cost_per_1k(self.book, self.like, n_labels).usd

    def scaled(self, labels: float = 1.0, compute: float = 1.0) -> "PlanPrices":
        """Returns the same at other prices.

        Args:
          labels: labels cost this many times as much.
          compute: computing does.
        """
        return dataclasses.replace(
            self, label_usd=self.label_usd * labels, compute_factor=self.compute_factor * compute
        )


def prices_of(book: PriceBook, task: str, label_usd: float | None = None, like: str = "") -> PlanPrices:
    """Returns the prices of a task.

    Args:
      book: the price book.
      task: the task.
      label_usd: dollars per label; None takes the book's.
      like: task whose computing prices hold; '' takes the task's own, or `LIKE` where it has none.

    Raises:
      PlanningError: no price of a label is known, or a price is out of range.
    """
    notes = []
    if label_usd is None:
        try:
            label_usd = book.label(task).usd
        except PriceBookError as error:
            raise PlanningError(
                f"label_usd: book {book.name} has no price of a label of {task!r}. Fix: --label-usd DOLLARS, what one "
                "label costs with all its annotators; `doa prices label` derives it."
            ) from error
    else:
        notes.append(f"A label costs ${label_usd:g}, as was said.")
    if isinstance(label_usd, bool) or not math.isfinite(label_usd) or label_usd <= 0:
        raise PlanningError(f"label_usd: received {label_usd!r}; it must be dollars above 0.")
    like = like or (task if _prices_computing(book, task) else LIKE)
    if not _prices_computing(book, like):
        raise PlanningError(f"like: book {book.name} does not price computing of {like!r}. Fix: name a task of it.")
    if like != task:
        notes.append(f"No book prices computing of {task!r}: that of {like!r} stands for it (--like TASK).")
    return PlanPrices(book, like, float(label_usd), notes=tuple(notes))


def _prices_computing(book: PriceBook, task: str) -> bool:
    try:
        finetune_cost(book, task, 1000), distill_cost_per_1k(book, task, 1000)
    except PriceBookError:
        return False
    return True
