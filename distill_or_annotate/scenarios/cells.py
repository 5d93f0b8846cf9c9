"""The cells of a study's table: one model per strategy and budget, or the reason why there is none."""

import dataclasses
from typing import Any

from distill_or_annotate.costs import cost_cell, finetune_cost
from distill_or_annotate.prices import PriceBook
from distill_or_annotate.scenarios.scenario import Scenario


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
      strategy: annotate | distill | teacher.
      additional_usd: the budget on top of the initial labels.
      n_labels: labels the model is trained on (N' for annotate, N for distill).
      n_unlabeled: unlabeled examples distilled; 0 for annotate, None where not affordable.
      initial_usd: dollars of the initial labels.
      total_usd: initial and additional dollars together.
      spent_usd: what of it the purchases cost; less where they are whole numbers or the pool ends.
      gpu_hours: hours the additional dollars rent, rounded up, at the book's price; None for annotate and N/A.
      affordable: whether there is a model in this cell.
      reason: why not; empty otherwise.
      capped_by_pool: whether the dollars would have bought more examples or labels than there are.
      provenance: the least certain price the cell rests on.
    """

    strategy: str
    additional_usd: float
    n_labels: int
    n_unlabeled: int | None
    initial_usd: float
    total_usd: float
    spent_usd: float
    gpu_hours: int | None
    affordable: bool
    reason: str
    capped_by_pool: bool
    provenance: str

    def as_dict(self) -> dict[str, Any]:
        """Returns the cell as JSON-ready values."""
        return dataclasses.asdict(self)


def cells(scenario: Scenario, book: PriceBook | None = None) -> list[Cell]:
    """Returns the cells in the table's order: strategy by strategy, budgets rising.

    Args:
      scenario: the study.
      book: its prices; None loads the one that it names.

    Raises:
      PriceBookError: the book does not price the task.
    """
    book = book or scenario.book()
    budgets = sorted(scenario.additional_usd)
    return [_cell(scenario, book, strategy, usd) for strategy in scenario.strategies for usd in budgets]


def teacher_cell(scenario: Scenario, book: PriceBook | None = None) -> Cell:
    """Returns the teacher as a cell: its additional dollars are those of its fine-tuning.

    Args:
      scenario: the study.
      book: its prices; None loads the one that it names.
    """
    book = book or scenario.book()
    cost = finetune_cost(book, scenario.task, scenario.n_labels)
    initial_usd = scenario.n_labels * book.label(scenario.task).usd
    return Cell(
        strategy="teacher",
        additional_usd=cost.usd,
        n_labels=scenario.n_labels,
        n_unlabeled=0,
        initial_usd=initial_usd,
        total_usd=initial_usd + cost.usd,
        spent_usd=initial_usd + cost.usd,
        gpu_hours=None,
        affordable=True,
        reason="",
        capped_by_pool=False,
        provenance=cost.provenance,
    )


def _cell(scenario: Scenario, book: PriceBook, strategy: str, additional_usd: float) -> Cell:
    cost = cost_cell(book, scenario.task, scenario.n_labels, additional_usd)
    if strategy == "annotate":
        wanted = scenario.n_labels + cost.extra_labels
        n_labels = wanted if scenario.max_labels is None else min(wanted, scenario.max_labels)
        capped, n_unlabeled, gpu_hours = n_labels < wanted, 0, None
        bought_usd = (n_labels - scenario.n_labels) * cost.usd_per_label
    else:
        n_labels, gpu_hours = scenario.n_labels, cost.gpu_hours
        n_unlabeled = None if cost.n_unlabeled is None else min(cost.n_unlabeled, scenario.max_unlabeled)
        capped = n_unlabeled is not None and n_unlabeled < cost.n_unlabeled
        bought_usd = 0.0 if n_unlabeled is None else cost.finetune_usd + n_unlabeled / 1000 * cost.distill_usd_per_1k
    return Cell(
        strategy=strategy,
        additional_usd=float(additional_usd),
        n_labels=n_labels,
        n_unlabeled=n_unlabeled,
        initial_usd=cost.initial_usd,
        total_usd=cost.initial_usd + additional_usd,
        spent_usd=cost.initial_usd + bought_usd,
        gpu_hours=gpu_hours,
        affordable=n_unlabeled is not None,
        reason=cost.reason if n_unlabeled is None else "",
        capped_by_pool=capped,
        provenance=cost.provenance["extra_labels" if strategy == "annotate" else "n_unlabeled"],
    )
