"""The points of Figures 2 to 7: ours from a run, and the paper's where one of its tables prints them.

Any other study over labels L and unlabeled examples U is drawn as Figure 2 is, under the name `purchases`.
"""

import csv
import dataclasses
import io
from collections.abc import Iterable, Sequence
from typing import Any

from distill_or_annotate import paper
from distill_or_annotate.costs import distill_cost_per_1k, finetune_cost
from distill_or_annotate.prices import load_book
from distill_or_annotate.reports.paper_tables import TITLES
from distill_or_annotate.reports.systems import NAMES
from distill_or_annotate.reports.table import Block, ReportCell
from distill_or_annotate.scenarios.expected import published_scores

FIGURES = {
    "figure2": "Figure 2: Pareto curves of labels and unlabeled examples",
    "figure3": "Figure 3: one budget, split at different N",
    "figure4": "Figure 4: larger students",
    "figure5": "Figure 5: smaller teachers",
    "figure6": "Figure 6: labels from a language model",
    "figure7": "Figure 7: human labels and a language model's",
}
_UNPUBLISHED = {
    "figure2": "Not published in numbers: U = 10,000, every distilled point but the largest N, and N = 500.",
    "figure3": "Not published in numbers: all but the point that Table 2 holds; nor are the dollars.",
    "figure4": "Not published in numbers: T5-Base and T5-Large.",
    "figure5": "Not published in numbers: teachers other than T5-XXL.",
    "figure6": "Not published in numbers: GPT-3.5's labels.",
    "figure7": "Not published in numbers: GPT-3.5's labels on top of human ones.",
}
PURCHASES = "purchases"
_TITLES = {**FIGURES, PURCHASES: "What each purchase scored: labels alone, and with unlabeled examples distilled"}
_LLM = ("figure6", "figure7")
_DOLLARS = ("figure2", PURCHASES)
_LINES = (*_DOLLARS, "figure3")
_FLOORS = "Hollow marks are degenerate models. The dotted line is the best floor of the labels below it."
_X_NAMES = {
    **dict.fromkeys(_DOLLARS, "total dollars, log scale"),
    "figure3": "initial labels N, log scale",
    "figure4": "student",
    "figure5": "teacher",
    "figure6": "initial labels N",
    "figure7": "initial labels N",
}


@dataclasses.dataclass(frozen=True)
class Mark:
    """One model of a figure.

    Attributes:
      x: dollars, labels, or a name where the axis is one of names.
      score: percent.
      stderr: percent, or None.
      degenerate: drawn hollow.
    """

    x: float | str
    score: float
    stderr: float | None = None
    degenerate: bool = False


@dataclasses.dataclass(frozen=True)
class Series:
    """Models that belong together.

    Attributes:
      name: what the legend says.
      strategy: annotate | distill | teacher | floor, for the colour.
      marks: the models.
    """

    name: str
    strategy: str
    marks: tuple[Mark, ...]


@dataclasses.dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
      title: a task, and whose numbers these are.
      source: ours | Table 2 and so on.
      series: what is drawn.
    """

    title: str
    source: str
    series: tuple[Series, ...]


@dataclasses.dataclass(frozen=True)
class FigureData:
    """One figure.

    Attributes:
      name: figure2 to figure7, or purchases.
      title: its title.
      x_name: what the horizontal axis shows.
      has_lines: whether the axis is of numbers and marks are joined; else they stand over names.
      panels: its axes.
      notes: what is not published, and what a reader must know.
      is_in_dollars: whether the axis is of dollars.
    """

    name: str
    title: str
    x_name: str
    has_lines: bool
    panels: tuple[Panel, ...]
    notes: tuple[str, ...]
    is_in_dollars: bool = False


def paper_figure(name: str) -> FigureData:
    """Returns those points of a figure that Tables 2, 3, 4 and 11 hold, a panel for each task.

    Args:
      name: one of FIGURES.
    """
    panels = []
    llm_tasks = [task for task in TITLES if task in paper.facts()["gpt35"]]
    for task in llm_tasks if name in _LLM else TITLES:
        rows = [row for row in published_scores(name, task) if row["score"] is not None]
        most = max((row["additional_usd"] or 0 for row in rows), default=0)
        marks = [_published(name, task, row, most) for row in rows]
        sources = ", ".join(sorted({row["source"] for row in rows}, key=lambda source: (len(source), source)))
        panels.append(Panel(TITLES[task], sources, tuple(_series(name, marks))))
    sources = f"Drawn from {', '.join(dict.fromkeys(panel.source for panel in panels))}."
    return _figure(name, panels, (sources, _UNPUBLISHED[name]))


def run_figures(scenario: str, blocks: Sequence[Block], is_grid: bool = False) -> list[FigureData]:
    """Returns the figure that a run is named after, drawn from its own models; none for runs of other names.

    Args:
      scenario: the run's name.
      blocks: its studies.
      is_grid: whether it varies labels and unlabeled examples: then there is one, whatever its name.
    """
    names = [name for name in FIGURES if scenario.startswith(name)] or [PURCHASES] * is_grid
    figures = []
    for name in names:
        panels = []
        # Lines join models of one pair; over names, the models are the names.
        kinds = dict.fromkeys((block.task, block.models if name in _LINES else None) for block in blocks)
        for task, models in kinds:
            own = [block for block in blocks if block.task == task and models in (None, block.models)]
            found = [(key, mark) for block in own for key, mark in _ours(name, block)]
            if found:
                pair = f", {models[0]} into {models[1]}" if models and own[0].names_models else ""
                panels.append(Panel(f"{TITLES.get(task, task)}{pair}", "ours", tuple(_series(name, found))))
        if panels:
            figures.append(_figure(name, panels, (_FLOORS,) if name in _DOLLARS else ()))
    return figures


def csv_of(figure: FigureData) -> str:
    """Returns the data behind a figure as CSV.

    Args:
      figure: the figure.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["panel", "source", "series", "strategy", "x", "score", "stderr", "degenerate"])
    for panel in figure.panels:
        for series in panel.series:
            for mark in series.marks:
                x = mark.x if isinstance(mark.x, str) else f"{mark.x:.10g}"
                numbers = [f"{mark.score:.4f}", "" if mark.stderr is None else f"{mark.stderr:.4f}"]
                flag = str(mark.degenerate).lower()
                writer.writerow([panel.title, panel.source, series.name, series.strategy, x, *numbers, flag])
    return buffer.getvalue()


def _figure(name: str, panels: Iterable[Panel], notes: tuple[str, ...]) -> FigureData:
    return FigureData(
        name, _TITLES[name], _X_NAMES[name], name in _LINES, tuple(panels), notes, is_in_dollars=name in _DOLLARS
    )


def _series(name: str, found: Sequence[tuple[tuple[str, str], Mark]]) -> list[Series]:
    """Marks by (series, strategy), doubles left out, in the order of first sight; numbers rising."""
    grouped: dict[tuple[str, str], dict[Any, Mark]] = {}
    for key, mark in found:
        grouped.setdefault(key, {}).setdefault((mark.x, round(mark.score, 6)), mark)
    series = []
    for (label, strategy), marks in grouped.items():
        ordered = sorted(marks.values(), key=lambda mark: mark.x) if name in _LINES else list(marks.values())
        series.append(Series(label, strategy, tuple(ordered)))
    return series


def _published(name: str, task: str, row: dict[str, Any], most_usd: float) -> tuple[tuple[str, str], Mark]:
    strategy, score, n_labels = row["strategy"], row["score"], row["n_labels"]
    label = NAMES.get(strategy, strategy)
    if name == "figure2":
        book = load_book("paper")
        initial_usd = n_labels * paper.task(task)["usd_per_label"]["value"]
        added_usd = 0.0
        if strategy != "annotate":
            added_usd = finetune_cost(book, task, n_labels).usd
        if strategy == "distill":
            added_usd += row["n_unlabeled"] / 1000 * distill_cost_per_1k(book, task, n_labels).usd
        size = {"annotate": "U = 0", "distill": f"U = {row['n_unlabeled'] or 0:,}", "teacher": label}[strategy]
        return (size, strategy), Mark(initial_usd + added_usd, score)
    if name == "figure3":
        return (label, strategy), Mark(float(n_labels), score)
    x = {"figure4": "T5-Small", "figure5": "T5-XXL"}.get(name, f"N = {n_labels:,}")
    return (_with_budget(name, label, row["additional_usd"], most_usd), strategy), Mark(x, score)


def _with_budget(name: str, label: str, usd: float | None, most_usd: float) -> str:
    """A strategy at a budget; where dollars differ from task to task, the largest budget goes by that name."""
    if usd is None:
        return label
    if name not in _LLM and usd and usd == most_usd:
        return f"{label}, largest budget"
    return f"{label} +${usd:,.0f}" if usd == round(usd) else f"{label} +${usd:,.2f}"


def _ours(name: str, block: Block) -> list[tuple[tuple[str, str], Mark]]:
    cells = [
        (strategy, usd, cell)
        for strategy, row in block.rows.items()
        for usd, cell in zip(block.budgets_usd, row, strict=True)
    ]
    cells += block.others
    cells.append(("teacher", None, block.teacher))
    found = []
    for strategy, usd, cell in cells:
        if cell.value is None or (name in _DOLLARS and not cell.total_usd):
            continue
        label = _label(name, strategy, usd, cell, max(block.budgets_usd, default=0.0))
        found.append(((label, strategy), _mark(_x(name, block, cell), cell)))
    if name in _DOLLARS and block.floors and block.initial_usd > 0:
        found.append((("Best floor", "floor"), Mark(float(block.initial_usd), max(block.floors.values()))))
    return found


def _label(name: str, strategy: str, usd: float | None, cell: ReportCell, most_usd: float) -> str:
    if name in _DOLLARS and strategy in ("annotate", "distill"):
        return f"U = {cell.n_unlabeled:,}"
    if name in _LINES or usd is None:
        return NAMES[strategy]
    return _with_budget(name, NAMES[strategy], usd, most_usd)


def _x(name: str, block: Block, cell: ReportCell) -> float | str:
    if name in _DOLLARS:
        return float(cell.total_usd)
    if name == "figure3":
        return float(block.n_labels)
    if name in ("figure4", "figure5"):
        return block.models[1 if name == "figure4" else 0] or "model"
    return f"N = {block.n_labels:,}"


def _mark(x: float | str, cell: ReportCell) -> Mark:
    return Mark(x, cell.value, cell.stderr, cell.status == "degenerate")
