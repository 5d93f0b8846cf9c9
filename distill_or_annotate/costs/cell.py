"""One cell of a cost table: what additional dollars buy under both strategies."""

import dataclasses
from typing import Any

from distill_or_annotate.costs.arithmetic import check_usd, gpu_hours_for, labels_bought, unlabeled_affordable
from distill_or_annotate.costs.teacher import check_n_labels, distill_cost_per_1k, finetune_cost
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

    def as_dict(self) -> dict[str, Any]:
        """Returns the cell as JSON-ready values."""
        return {**dataclasses.asdict(self), "price_entries": list(self.price_entries)}


def cost_cell(book: PriceBook, task: str, n_labels: int, additional_usd: float) -> CostCell:
    """Returns what additional dollars buy (Section 2, Tables 2 and 11).

    Args:
      book: the prices.
      task: a task the book prices.
      n_labels: initial labels N, at least 1.
      additional_usd: dollars, finite and at least 0.

    Raises:
      CostError: n_labels or additional_usd is out of range.
      PriceBookError: the book lacks a price.
    """
    check_n_labels(n_labels)
    budget_usd = check_usd("additional_usd", additional_usd)
    label, hour = book.label(task), book.gpu_hour()
    finetune, distill = finetune_cost(book, task, n_labels), distill_cost_per_1k(book, task, n_labels)
    n_unlabeled = unlabeled_affordable(budget_usd, finetune.usd, distill.usd)
    reason = ""
    if n_unlabeled is None and budget_usd == 0:
        reason = "no additional dollars, and the teacher has to be paid"
    elif n_unlabeled is None:
        reason = f"fine-tuning the teacher costs ${finetune.usd:,.2f}, which leaves nothing of ${budget_usd:,.2f}"
    return CostCell(
        task=task,
        n_labels=n_labels,
        additional_usd=budget_usd,
        book=book.name,
        initial_usd=n_labels * label.usd,
        extra_labels=labels_bought(budget_usd, label.usd),
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
        price_entries=(*_ids(label, hour), *finetune.price_entries, *distill.price_entries),
        price_date=min(label.date, hour.date, finetune.date, distill.date).isoformat(),
    )


def _ids(*entries: PriceEntry) -> tuple[str, ...]:
    return tuple(f"{entry.book}:{entry.id}" for entry in entries)
