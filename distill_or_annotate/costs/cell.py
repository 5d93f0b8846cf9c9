"""One cell of a cost table: what additional dollars buy under both strategies."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from distill_or_annotate.costs.arithmetic import check_usd, gpu_hours_for, labels_bought, unlabeled_affordable
from distill_or_annotate.costs.assumptions import Assumptions
from distill_or_annotate.costs.on_top import on_top
from distill_or_annotate.costs.teacher import Cost, check_n_labels, distill_cost_per_1k, finetune_cost
from distill_or_annotate.prices import PriceBook, PriceEntry

_CERTAINTY = ("published", "scaled", "inferred", "estimated", "assumption")


@dataclasses.dataclass(frozen=True)
class CostCell:
    """What `additional_usd` buys on top of `n_labels` initial labels.

    Attributes:
      task: the task.
      n_labels: initial labels N.
      additional_usd: dollars to spend on top of the initial labels.
      book: name of the price book.
      initial_usd: dollars of the initial labels.
      extra_labels: labels bought if all of it goes to annotators, rounded down.
      gpu_hours: GPU-hours rented if all of it goes to computation, rounded up; None where distilling is not affordable.
      n_unlabeled: unlabeled examples distilled if all of it goes to computation, rounded down; None is N/A.
      reason: why n_unlabeled is None; empty otherwise.
      finetune_usd: dollars to fine-tune the teacher.
      distill_usd_per_1k: dollars per 1,000 distilled examples.
      usd_per_label: dollars per label.
      usd_per_gpu_hour: dollars per GPU-hour.
      provenance: column -> published | scaled | inferred | estimated | assumption, the least certain price it rests on.
      contradicts_published: whether a price printed in the paper would give another n_unlabeled than its own tables.
      price_entries: the price entries used, each `book:id`.
      price_date: the oldest date among them, ISO.
      student_training_usd: dollars to fine-tune the student on all labels of the annotate strategy; 0 where free. It
        comes on top of additional_usd, as the next two do.
      engineer_usd: dollars of the engineer's time for either strategy; 0 where free.
      pretrained_usd: dollars of the pre-trained teacher for the distill strategy; 0 where free.
    """

    task: str
    n_labels: int
    additional_usd: float
    book: str
    initial_usd: float
    extra_labels: int
    gpu_hours: int | None
    n_unlabeled: int | None
    reason: str
    finetune_usd: float
    distill_usd_per_1k: float
    usd_per_label: float
    usd_per_gpu_hour: float
    provenance: dict[str, str]
    contradicts_published: bool
    price_entries: tuple[str, ...]
    price_date: str
    student_training_usd: float = 0.0
    engineer_usd: float = 0.0
    pretrained_usd: float = 0.0

    @property
    def annotate_total_usd(self) -> float:
        """All that the annotate strategy costs: initial labels, additional dollars, and what counts on top of them."""
        return self.initial_usd + self.additional_usd + self.student_training_usd + self.engineer_usd

    @property
    def distill_total_usd(self) -> float:
        """All that the distill strategy costs: initial labels, additional dollars, and what counts on top of them."""
        return self.initial_usd + self.additional_usd + self.engineer_usd + self.pretrained_usd

    def as_dict(self) -> dict[str, Any]:
        """Returns the cell as JSON-ready values."""
        totals = {"annotate_total_usd": self.annotate_total_usd, "distill_total_usd": self.distill_total_usd}
        return {**dataclasses.asdict(self), "price_entries": list(self.price_entries), **totals}


def cost_cell(
    book: PriceBook,
    task: str,
    n_labels: int,
    additional_usd: float,
    assumptions: Assumptions | None = None,
    student: str = "t5_1_1_small",
) -> CostCell:
    """Returns what additional dollars buy (Section 2, Tables 2 and 11).

    Args:
      book: the prices.
      task: a task the book prices.
      n_labels: initial labels N, at least 1.
      additional_usd: dollars, finite and at least 0.
      assumptions: what is free; None takes the paper's assumptions. What counts does so on top of additional_usd, so
        that both strategies still spend it.
      student: the student's name, which its fine-tuning costs depend on where they count.

    Raises:
      CostError: n_labels or additional_usd is out of range.
      PriceBookError: the book lacks a price.
    """
    check_n_labels(n_labels)
    assumptions = assumptions or Assumptions()
    budget_usd = check_usd("additional_usd", additional_usd)
    label, hour = book.label(task), book.gpu_hour()
    finetune, distill = finetune_cost(book, task, n_labels), distill_cost_per_1k(book, task, n_labels)
    n_unlabeled = unlabeled_affordable(budget_usd, finetune.usd, distill.usd)
    reason = ""
    if n_unlabeled is None and budget_usd == 0:
        reason = "no additional dollars, and the teacher has to be paid"
    elif n_unlabeled is None:
        reason = f"fine-tuning the teacher costs ${finetune.usd:,.2f}, which leaves nothing of ${budget_usd:,.2f}"
    extra_labels = labels_bought(budget_usd, label.usd)
    labelled = on_top(assumptions, book, task, "annotate", n_labels + extra_labels, student)
    costs = [finetune, distill, *([labelled.student_training] if labelled.student_training else [])]
    return CostCell(
        task=task,
        n_labels=n_labels,
        additional_usd=budget_usd,
        book=book.name,
        initial_usd=n_labels * label.usd,
        extra_labels=extra_labels,
        gpu_hours=None if n_unlabeled is None else gpu_hours_for(budget_usd, hour.usd),
        n_unlabeled=n_unlabeled,
        reason=reason,
        finetune_usd=finetune.usd,
        distill_usd_per_1k=distill.usd,
        usd_per_label=label.usd,
        usd_per_gpu_hour=hour.usd,
        provenance={
            "extra_labels": label.provenance,
            "gpu_hours": hour.provenance,
            "n_unlabeled": max(finetune.provenance, distill.provenance, key=_CERTAINTY.index),
        },
        contradicts_published=finetune.contradicts_usd is not None,
        price_entries=_ids((label, hour), costs),
        price_date=min(priced.date for priced in (label, hour, *costs)).isoformat(),
        student_training_usd=labelled.student_training_usd,
        engineer_usd=labelled.engineer_usd,
        pretrained_usd=on_top(assumptions, book, task, "distill", n_labels, student).pretrained_usd,
    )


def _ids(entries: Iterable[PriceEntry], costs: Iterable[Cost]) -> tuple[str, ...]:
    named = [f"{entry.book}:{entry.id}" for entry in entries]
    named += [entry_id for cost in costs for entry_id in cost.price_entries]
    return tuple(dict.fromkeys(named))
