"""The cells of a study's table: one model per strategy and budget, or the reason why there is none.

What a strategy does with the additional dollars, on top of N labels at hand:
  annotate            buys labels for the student.
  distill             pays for the teacher on the N labels and for distilling unlabeled examples into the student.
  teacher             pays for the teacher alone, whatever the budget: the model to serve is the teacher itself.
  self_distill        as distill, with the student for a teacher; its own fine-tuning is free (footnote 1).
  llm_annotate        buys labels from a language model; the N labels are its examples, the student sees its labels.
  human_llm_annotate  buys the same, and the student sees the N labels too.
  general_distill     buys labels as annotate does, for a compact model that somebody distilled before any task.
"""

import dataclasses
from typing import Any

from distill_or_annotate.costs import (
    Cost,
    gpu_hours_for,
    labels_bought,
    on_top,
    unlabeled_affordable,
)
from distill_or_annotate.prices import PriceBook
from distill_or_annotate.scenarios import model_sizes
from distill_or_annotate.scenarios.llm_labels import llm_label, why_none
from distill_or_annotate.scenarios.scenario import Scenario
from distill_or_annotate.scenarios.search_costs import charges_each_candidate, priced_student

DISTILLING = ("distill", "self_distill")
LLM = ("llm_annotate", "human_llm_annotate")
_CERTAINTY = ("published", "scaled", "inferred", "estimated", "assumption")
_CENT = 0.01


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
      strategy: one of ALL_STRATEGIES.
      additional_usd: the budget on top of the initial labels.
      n_labels: human labels the model is trained on (N' for annotate, N for distill); N at hand for llm_annotate.
      n_unlabeled: unlabeled examples distilled; 0 for annotate, None where not affordable.
      initial_usd: dollars of the initial labels.
      total_usd: initial and additional dollars together.
      spent_usd: what of it the purchases cost; less where they are whole numbers or the pool ends.
      gpu_hours: hours the additional dollars rent, rounded up, at the book's price; None for annotate and N/A.
      affordable: whether there is a model in this cell.
      reason: why not; empty otherwise.
      capped_by_pool: whether the dollars would have bought more examples or labels than there are.
      provenance: the least certain price the cell rests on.
      n_llm_labels: labels bought from a language model.
      on_top_usd: what the study's assumptions count on top of the budget: an engineer's time, the pre-trained models,
        the fine-tuning of the student on labels; no strategy pays for it out of additional_usd.
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
    n_llm_labels: int = 0
    on_top_usd: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Returns the cell as JSON-ready values."""
        return dataclasses.asdict(self)


def cells(scenario: Scenario, book: PriceBook | None = None) -> list[Cell]:
    """Returns the cells of a scenario with one value per axis, in the table's order: by strategy, budgets rising.

    Args:
      scenario: the study.
      book: its prices; None loads the one that it names.

    Raises:
      PriceBookError: the book does not price the task.
    """
    book = book or scenario.book()
    found = [cell for strategy in scenario.strategies for cell in _row(scenario, book, strategy)]
    return [dataclasses.replace(cell, on_top_usd=_on_top_usd(scenario, book, cell)) for cell in found]


def teacher_cell(scenario: Scenario, book: PriceBook | None = None) -> Cell:
    """Returns the teacher as a cell: its additional dollars are those of its fine-tuning.

    Args:
      scenario: the study, with one value per axis.
      book: its prices; None loads the one that it names.
    """
    book = book or scenario.book()
    cost = model_sizes.finetune_cost(book, scenario.task, scenario.n_labels, scenario.teacher)
    initial_usd = _initial_usd(scenario, book)
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


def distilling_costs(scenario: Scenario, book: PriceBook, strategy: str) -> tuple[Cost, Cost]:
    """Returns what the teacher's fine-tuning and 1,000 distilled examples cost.

    Args:
      scenario: the study, with one value per axis.
      book: its prices.
      strategy: distill or self_distill.
    """
    teacher = scenario.teacher if strategy == "distill" else scenario.student
    rate = model_sizes.distill_cost_per_1k(book, scenario.task, scenario.n_labels, teacher, scenario.student)
    if strategy == "distill":
        return model_sizes.finetune_cost(book, scenario.task, scenario.n_labels, teacher), rate
    # The student's fine-tuning is free; its date and entry are the rate's, on which alone the price rests.
    return dataclasses.replace(rate, usd=0.0), rate


def _on_top_usd(scenario: Scenario, book: PriceBook, cell: Cell) -> float:
    if not cell.affordable:
        return 0.0
    n_labels = cell.n_llm_labels + (0 if cell.strategy == "llm_annotate" else cell.n_labels)
    student = priced_student(scenario)
    strategy = "annotate" if cell.strategy == "general_distill" else cell.strategy
    found = on_top(scenario.assumed(), book, scenario.task, strategy, n_labels, student)
    return round(found.usd + _search_usd(scenario, book, cell, found.student_training_usd), 4)


def _search_usd(scenario: Scenario, book: PriceBook, cell: Cell, training_usd: float) -> float:
    """What a search trains beyond one model, where the study counts a student's training on top of the budget."""
    usd = max(0, len(scenario.candidates(cell.strategy)) - 1) * training_usd
    if cell.strategy == "self_distill":
        usd += max(0, len(scenario.candidates("annotate")) - 1) * training_usd
    if cell.strategy in DISTILLING and charges_each_candidate(scenario):
        _, rate = distilling_costs(scenario, book, cell.strategy)
        usd += max(0, len(scenario.candidates("distill")) - 1) * cell.n_unlabeled / 1000 * rate.usd
    return usd


def _row(scenario: Scenario, book: PriceBook, strategy: str) -> list[Cell]:
    """The cells of one strategy."""
    initial_usd = _initial_usd(scenario, book)
    if strategy == "teacher":
        return [teacher_cell(scenario, book)]
    if scenario.additional_usd:
        return [_cell(scenario, book, strategy, usd) for usd in sorted(scenario.additional_usd)]
    if scenario.total_usd:
        return [_of_total(scenario, book, strategy, usd - initial_usd) for usd in sorted(scenario.total_usd)]
    if strategy in DISTILLING:
        pools = sorted({min(count, scenario.max_unlabeled) for count in scenario.n_unlabeled} - {0})
        return [_of_pool(scenario, book, strategy, count) for count in pools]
    return [_cell(scenario, book, strategy, 0.0)] if 0 in scenario.n_unlabeled else []


def _of_total(scenario: Scenario, book: PriceBook, strategy: str, additional_usd: float) -> Cell:
    """The cell of a total budget, of which the labels at hand leave the additional dollars."""
    if additional_usd > -_CENT / 2:
        # To the cent: what a subtraction leaves is printed, and compared between studies.
        return _cell(scenario, book, strategy, max(0.0, round(additional_usd, 2)))
    reason = f"the {scenario.n_labels:,} labels at hand cost ${-additional_usd:,.2f} more than the total budget"
    return dataclasses.replace(
        _cell(scenario, book, strategy, 0.0),
        additional_usd=0.0,
        n_unlabeled=None,
        gpu_hours=None,
        affordable=False,
        reason=reason,
        total_usd=_initial_usd(scenario, book) + additional_usd,
        spent_usd=0.0,
    )


def _of_pool(scenario: Scenario, book: PriceBook, strategy: str, n_unlabeled: int) -> Cell:
    """The cell of a pool's size: its dollars are what teacher and pool cost, no more."""
    finetune, rate = distilling_costs(scenario, book, strategy)
    usd = round(finetune.usd + n_unlabeled / 1000 * rate.usd, 4)
    cell = _cell(scenario, book, strategy, usd)
    missed = n_unlabeled == scenario.max_unlabeled and max(scenario.n_unlabeled) > n_unlabeled
    # The dollars were computed from the count; the way back may lose one to rounding.
    return dataclasses.replace(cell, n_unlabeled=n_unlabeled, spent_usd=cell.total_usd, capped_by_pool=missed)


def _cell(scenario: Scenario, book: PriceBook, strategy: str, additional_usd: float) -> Cell:
    if strategy in DISTILLING:
        bought = _distilled(scenario, book, strategy, additional_usd)
    elif strategy in LLM:
        bought = _labelled_by_llm(scenario, book, additional_usd)
    else:
        bought = _annotated(scenario, book, additional_usd)
    initial_usd = _initial_usd(scenario, book)
    fields = {"n_labels": scenario.n_labels, "n_unlabeled": 0, "gpu_hours": None, "reason": ""} | bought
    return Cell(
        strategy=strategy,
        additional_usd=float(additional_usd),
        initial_usd=initial_usd,
        total_usd=initial_usd + additional_usd,
        spent_usd=initial_usd + fields.pop("bought_usd"),
        affordable=not fields["reason"],
        **fields,
    )


def _annotated(scenario: Scenario, book: PriceBook, additional_usd: float) -> dict[str, Any]:
    label = book.label(scenario.task)
    wanted = scenario.n_labels + labels_bought(additional_usd, label.usd)
    n_labels = wanted if scenario.max_labels is None else min(wanted, scenario.max_labels)
    return {
        "n_labels": n_labels,
        "capped_by_pool": n_labels < wanted,
        "bought_usd": (n_labels - scenario.n_labels) * label.usd,
        "provenance": label.provenance,
    }


def _labelled_by_llm(scenario: Scenario, book: PriceBook, additional_usd: float) -> dict[str, Any]:
    price = llm_label(book, scenario.task, scenario.llm, scenario.llm_options.get("tokens_per_label"))
    nothing = {"capped_by_pool": False, "bought_usd": 0.0, "provenance": price.provenance if price else "published"}
    if price is None:
        return nothing | {"reason": why_none(book, scenario.task, scenario.llm)}
    wanted = labels_bought(additional_usd, price.usd)
    if not wanted:
        return nothing | {"reason": f"${additional_usd:,.2f} buy no language-model label (${price.usd:g} each)"}
    count = min(wanted, scenario.max_unlabeled)
    bought_usd = count * price.usd
    return nothing | {"n_llm_labels": count, "bought_usd": bought_usd, "capped_by_pool": count < wanted}


def _distilled(scenario: Scenario, book: PriceBook, strategy: str, additional_usd: float) -> dict[str, Any]:
    finetune, rate = distilling_costs(scenario, book, strategy)
    provenance = max(finetune.provenance, rate.provenance, key=_CERTAINTY.index)
    affordable = unlabeled_affordable(additional_usd, finetune.usd, rate.usd)
    if affordable is None:
        reason = f"fine-tuning the teacher costs ${finetune.usd:,.2f}, which leaves nothing of ${additional_usd:,.2f}"
        if additional_usd == 0:
            reason = "no additional dollars, and the teacher has to be paid"
        nothing = {"n_unlabeled": None, "capped_by_pool": False, "bought_usd": 0.0}
        return nothing | {"reason": reason, "provenance": provenance}
    n_unlabeled = min(affordable, scenario.max_unlabeled)
    return {
        "n_unlabeled": n_unlabeled,
        "gpu_hours": gpu_hours_for(additional_usd, book.gpu_hour().usd),
        "capped_by_pool": n_unlabeled < affordable,
        "bought_usd": finetune.usd + n_unlabeled / 1000 * rate.usd,
        "provenance": provenance,
    }


def _initial_usd(scenario: Scenario, book: PriceBook) -> float:
    return scenario.n_labels * book.label(scenario.task).usd
