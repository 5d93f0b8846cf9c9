"""What a manager asks first: which strategy won at which budget, by how much, and how surely."""

import math
from collections.abc import Sequence

from distill_or_annotate.reports.systems import NAMES as SYSTEMS
from distill_or_annotate.reports.table import Block, ReportCell

_VERBS = {"annotate": "annotating", "distill": "distilling"}


def verdicts(block: Block) -> list[str]:
    """Returns one sentence per additional budget, and the cautions that belong to them.

    Args:
      block: the study.
    """
    sentences = []
    for column, budget_usd in enumerate(block.budgets_usd):
        cells = {name: row[column] for name, row in block.rows.items()}
        scored = {name: cell for name, cell in cells.items() if cell.value is not None}
        if len(scored) == 2:
            sentences.append(compare(block, column, budget_usd))
        elif len(scored) == 1:
            (name,) = scored
            other = next((cell for key, cell in cells.items() if key != name), None)
            why = "" if other is None else f"; the other strategy is {other.display}"
            sentences.append(f"At +${budget_usd:,.2f} {_VERBS[name]} scores {scored[name].value:.1f}{why}.")
    return sentences


def headline(block: Block, unsure_usd: Sequence[float] = ()) -> str:
    """Returns the study's answer: the better buy at each budget, where it is not sure, and what beats both.

    Args:
      block: the study.
      unsure_usd: budgets at which the difference is not sure.
    """
    won = [usd for column, usd in enumerate(block.budgets_usd) if block.winner(column)]
    unsure = [usd for usd in won if usd in unsure_usd]
    said = [_better_buy(block)]
    if unsure:
        said.append("No lead is sure." if unsure == won else f"The lead at {_listed(unsure)} is not sure.")
    return " ".join([*said, *ahead_of_the_two(block)])


def ahead_of_the_two(block: Block) -> list[str]:
    """Returns a sentence for each other system whose sound model scores more than what annotating and distilling have.

    Args:
      block: the study.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for strategy, usd, cell in block.others:
        if cell.status != "score" or usd not in block.budgets_usd:
            continue
        column = block.budgets_usd.index(usd)
        rivals = {name: row[column].value for name, row in block.rows.items() if row[column].value is not None}
        if rivals and round(cell.value, 1) > round(max(rivals.values()), 1):
            whom = "both" if len(rivals) == 2 else _VERBS[next(iter(rivals))]
            found.setdefault((strategy, whom), []).append(f"+${usd:,.2f} ({cell.value:.1f})")
    return [
        f"{SYSTEMS.get(name, name)}: more than {whom} at {_joined(budgets)}." for (name, whom), budgets in found.items()
    ]


def _better_buy(block: Block) -> str:
    winners = [(usd, block.winner(column)) for column, usd in enumerate(block.budgets_usd)]
    won = {name: [usd for usd, winner in winners if winner == name] for name in _VERBS}
    open_usd = [usd for column, (usd, winner) in enumerate(winners) if winner is None and _has_both(block, column)]
    undecided = f"; no winner at {_listed(open_usd)}" if open_usd else ""
    if not won["annotate"] and not won["distill"]:
        if open_usd:
            return f"No winner at {_listed(open_usd)}."
        return "No budget has two scores that differ yet: there is nothing to compare."
    if not won["annotate"] or not won["distill"]:
        name = "annotate" if won["annotate"] else "distill"
        every = (
            "every budget that both strategies can use" if not open_usd and len(won[name]) > 3 else _listed(won[name])
        )
        return f"{_VERBS[name].capitalize()} was the better buy at {every}{undecided}."
    parts = [f"{_VERBS[name]} at {_listed(won[name])}" for name in ("distill", "annotate")]
    return f"It depends on the budget: {parts[0]}; {parts[1]}{undecided}."


def cautions(block: Block) -> list[str]:
    """Returns what keeps the answer from being certain, one sentence each.

    Args:
      block: the study.
    """
    cells = [cell for row in block.rows.values() for cell in row]
    return cautions_of(cells, sum(cell.status == "missing" for cell in cells))


def cautions_of(cells: Sequence[ReportCell], n_missing: int) -> list[str]:
    """Returns what keeps an answer that rests on cells from being certain, one sentence each.

    Args:
      cells: the compact models.
      n_missing: cells that were meant and have no model.
    """
    cells = [cell for cell in cells if cell.value is not None]
    said = []
    if cells and max(cell.n_seeds for cell in cells) == 1:
        said.append(
            "One training seed per cell: no interval over seeds can be given, and small differences mean nothing."
        )
    degenerate = sum(cell.status == "degenerate" for cell in cells)
    if degenerate:
        said.append(f"{degenerate} of {len(cells)} cells are degenerate (†): they do not tell the strategies apart.")
    if n_missing:
        said.append(f"{n_missing} cells have not been run.")
    below = [cell for cell in cells if cell.value <= max(cell.floors.values(), default=-math.inf)]
    if below:
        names = sorted({name for cell in below for name, score in cell.floors.items() if cell.value <= score})
        said.append(
            f"{len(below)} of {len(cells)} cells score no more than a floor of their labels: {', '.join(names)}."
        )
    return said


def _has_both(block: Block, column: int) -> bool:
    return sum(row[column].value is not None for row in block.rows.values()) == 2


def _listed(dollars: list[float]) -> str:
    return _joined([f"+${usd:,.2f}" for usd in dollars])


def _joined(texts: list[str]) -> str:
    *first, last = texts
    return f"{', '.join(first)} and {last}" if first else last


def compare(block: Block, column: int, budget_usd: float) -> str:
    """Returns who won at a budget with two scores, and by how much.

    Args:
      block: the study.
      column: position among the budgets.
      budget_usd: its additional dollars.
    """
    annotate, distill = block.rows["annotate"][column], block.rows["distill"][column]
    difference = distill.value - annotate.value
    winner = block.winner(column)
    if winner is None and f"{difference:.1f}".strip("-") == "0.0":
        return f"At +${budget_usd:,.2f} both score {annotate.value:.1f}."
    if winner is None:
        scores = f"annotating {annotate.value:.1f}, distilling {distill.value:.1f}"
        return f"At +${budget_usd:,.2f} there is no winner, since the higher score is a degenerate model's: {scores}."
    first, second = (distill, annotate) if winner == "distill" else (annotate, distill)
    marked = " (a degenerate model is involved)" if "degenerate" in (annotate.status, distill.status) else ""
    return (
        f"At +${budget_usd:,.2f} {_VERBS[winner]} wins by {abs(difference):.1f} points: "
        f"{first.value:.1f} against {second.value:.1f}{marked}."
    )
