"""What labels, a teacher, distillation and serving cost, as a plan needs it: any N, at prices that may change."""

from __future__ import annotations

import dataclasses
import functools
import math

from distill_or_annotate.costs import distill_cost_per_1k, finetune_cost, model_flops
from distill_or_annotate.planning import sizes
from distill_or_annotate.planning.accelerators import Accelerator
from distill_or_annotate.planning.language_models import LanguageModel
from distill_or_annotate.planning.outcomes import PlanningError
from distill_or_annotate.prices import PriceBook, PriceBookError

# Whose computing prices stand for a task that no book prices: the paper's longest inputs and targets, so the dearest.
LIKE = "wlp"
# Operations a second that serving gets out of a GPU at the price book's hourly price: a fifth of an A40's 150e12 in
# bfloat16. An assumption; `doa bench-model` measures.
SERVED_PER_SECOND = 30e12
_PRICED = model_flops.PRICED_PAIRS["t5_1_1"]


@dataclasses.dataclass(frozen=True)
class PlanPrices:
    """Prices of one task.

    Attributes:
      book: the price book.
      like: task whose computing prices hold.
      label_usd: dollars per label.
      compute_factor: computing costs this many times what book or forecast says.
      llm_factor: labels of language models do.
      accelerators: slices to choose from; none takes the book's prices.
      llms: language models that may annotate.
      serving_usd: dollars per million predictions by model, where they were measured.
      notes: what was assumed, one sentence each.
    """

    book: PriceBook
    like: str
    label_usd: float
    compute_factor: float = 1.0
    llm_factor: float = 1.0
    accelerators: tuple[Accelerator, ...] = ()
    llms: tuple[LanguageModel, ...] = ()
    serving_usd: tuple[tuple[str, float], ...] = ()
    notes: tuple[str, ...] = ()

    def finetune_usd(self, n_labels: int, teacher: str = "", accelerator: Accelerator | None = None) -> float:
        """Returns dollars of fine-tuning a teacher once.

        Args:
          n_labels: labels, at least 1.
          teacher: the model; '' for the one that is priced.
          accelerator: where; None takes the book's price.
        """
        if accelerator is not None:
            usd = accelerator.finetune_usd_per_1k * n_labels / 1000
        else:
            usd = finetune_cost(self.book, self.like, n_labels).usd
        return self.compute_factor * usd * self.finetune_ratio(teacher)

    def distill_usd_per_1k(
        self, n_labels: int, teacher: str = "", student: str = "", accelerator: Accelerator | None = None
    ) -> float:
        """Returns dollars of distilling 1,000 unlabeled examples.

        Args:
          n_labels: labels of the teacher, at least 1.
          teacher: the model; '' for the one that is priced.
          student: the model, likewise.
          accelerator: where; None takes the book's price.
        """
        if accelerator is not None:
            usd = accelerator.distill_usd_per_1k
        else:
            usd = distill_cost_per_1k(self.book, self.like, n_labels).usd
        return self.compute_factor * usd * self.distill_ratio(teacher, student)

    def finetune_ratio(self, teacher: str) -> float:
        """Returns how many times the priced teacher's fine-tuning a teacher's costs.

        Args:
          teacher: the model; one whose operations are not counted costs what the priced one does.
        """
        return model_flops.finetune_ratio(self.like, teacher) if sizes.is_counted(teacher) else 1.0

    def distill_ratio(self, teacher: str, student: str) -> float:
        """Returns how many times the priced pair's distillation a pair's costs.

        Args:
          teacher: the model.
          student: the model; where one of the two is not counted, or they are of two families, the pair costs what the
            priced one does.
        """
        return _distill_ratio(self.like, teacher, student)

    def serving_usd_per_million(self, model: str, role: str = "student") -> float:
        """Returns dollars of a million predictions.

        Args:
          model: the model; one that is neither measured nor counted is taken for the priced one of its role.
          role: teacher | student.
        """
        return self.compute_factor * self._served_today_usd(model, role)

    def _served_today_usd(self, model: str, role: str) -> float:
        measured = dict(self.serving_usd)
        if model in measured:
            return measured[model]
        counted = model if sizes.is_counted(model) else _PRICED[0 if role == "teacher" else 1]
        seconds = 1e6 * sizes.serving_operations(counted, self.like) / SERVED_PER_SECOND
        return seconds / 3600 * self._gpu_hour_usd()

    def _gpu_hour_usd(self) -> float:
        book = self.book
        while book.base is not None:
            book = book.base
        return book.gpu_hour().usd

    def llm_usd(self, llm: LanguageModel) -> float:
        """Returns dollars of a language model's label.

        Args:
          llm: the model.
        """
        return self.llm_factor * llm.usd

    def scaled(self, labels: float = 1.0, compute: float = 1.0, llm: float = 1.0) -> PlanPrices:
        """Returns the same at other prices.

        Args:
          labels: labels of people cost this many times as much.
          compute: computing, serving included, does.
          llm: labels of language models do.
        """
        return dataclasses.replace(
            self,
            label_usd=self.label_usd * labels,
            compute_factor=self.compute_factor * compute,
            llm_factor=self.llm_factor * llm,
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


# Asked of every option at every price that a plan looks at.
@functools.cache
def _distill_ratio(task: str, teacher: str, student: str) -> float:
    same = sizes.is_counted(teacher) and model_flops.family(teacher) == model_flops.family(student)
    return model_flops.distill_ratio(task, teacher, student) if same else 1.0


def _prices_computing(book: PriceBook, task: str) -> bool:
    try:
        finetune_cost(book, task, 1000), distill_cost_per_1k(book, task, 1000)
    except PriceBookError:
        return False
    return True
