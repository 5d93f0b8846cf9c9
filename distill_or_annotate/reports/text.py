"""The report's tables as Markdown and on a terminal."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from distill_or_annotate.reports.assembled import GridReport, RunReport, StudyReport, assembled
from distill_or_annotate.reports.grids import Entry, Grid, markdown_of
from distill_or_annotate.reports.inputs import read_run
from distill_or_annotate.reports.purchases import grid_of
from distill_or_annotate.reports.systems import NAMES
from distill_or_annotate.reports.table import STRATEGY_NAMES, Block, ReportCell
from distill_or_annotate.reports.verdict import cautions, headline, verdicts


def report_markdown(reports: Sequence[RunReport], paper_grids: Mapping[str, Sequence[Grid]]) -> str:
    """Returns a report as Markdown: tables, answers, what was tested, the paper's tables.

    Args:
      reports: one per run.
      paper_grids: the paper's tables; empty without --paper.
    """
    parts = []
    for report in reports:
        parts += [f"# {report.run.name}\n"] if len(reports) > 1 else []
        if report.grids:
            parts += [_grid(grid) for grid in report.grids]
            for study in report.studies:
                found = [grid for grid in (study.published, study.per_class) if grid]
                parts += [f"## {study.block.title}\n", *map(markdown_of, found)] if found else []
        else:
            parts += [_study(study) for study in report.studies] or ["No results yet.\n"]
        parts += [markdown_of(report.systems, level=2)] if report.systems else []
        parts += [markdown_of(report.energy_grid, level=2)] if report.energy_grid else []
    if paper_grids:
        parts += ["# The paper's numbers\n"] if reports else []
        parts += [markdown_of(grid, level=2) for grids in paper_grids.values() for grid in grids]
    return "\n".join(parts)


def print_grids(grids: Sequence[Grid], console: Any = None) -> None:
    """Prints tables on a terminal.

    Args:
      grids: the tables.
      console: a rich console; None makes one.
    """
    from rich.console import Console
    from rich.table import Table

    console = console or Console(highlight=False)
    for grid in grids:
        table = Table(title=grid.title, title_justify="left")
        for position, head in enumerate(grid.heads):
            table.add_column(head, justify="right" if position else "left")
        for name, entries in grid.rows:
            table.add_row(name if entries else f"[bold]{name}[/bold]", *map(_entry, entries))
        console.print(table)


def markdown(blocks: Sequence[Block]) -> str:
    """Returns every block as a Markdown section: table, teacher, floors, notes.

    Args:
      blocks: the studies.
    """
    return "\n".join(_section(block, headline(block)) for block in blocks) if blocks else "No results yet.\n"


def notes_of(block: Block) -> list[str]:
    """Returns one line per cell that needs an explanation.

    Args:
      block: the study.
    """
    notes = []
    for strategy, row in block.rows.items():
        for budget_usd, cell in zip(block.budgets_usd, row, strict=True):
            if cell.note:
                notes.append(f"{STRATEGY_NAMES[strategy]} at +${budget_usd:,.2f} ({cell.display}): {cell.note}")
    for strategy, budget_usd, cell in block.others:
        if cell.note and cell.value is not None:
            notes.append(f"{NAMES[strategy]} at +${budget_usd:,.2f} ({cell.display}): {cell.note}")
    if block.teacher.note and block.teacher.value is not None:
        notes.append(f"Teacher ({block.teacher.display}): {block.teacher.note}")
    return notes


def floors_text(block: Block) -> str:
    """Returns the floors in one line, lowest first.

    Args:
      block: the study.
    """
    return ", ".join(f"{name} {score:.1f}" for name, score in block.floors.items())


def print_run(run_folder: pathlib.Path | str, console: Any = None) -> None:
    """Prints a run's tables on a terminal.

    Args:
      run_folder: the run.
      console: a rich console; None makes one.

    Raises:
      ReportError: the folder holds no run, or a row no report can be made from.
    """
    from rich.console import Console

    console = console or Console(highlight=False)
    report = assembled(read_run(run_folder))
    if not report.grids:
        print_blocks([study.block for study in report.studies], console)
    for grid in report.grids:
        print_grids([grid_of(grid.purchases)], console)
        for sentence in (grid.answer.headline, *grid.answer.won):
            console.print(sentence)
    if report.systems:
        print_grids([report.systems], console)


def print_blocks(blocks: Sequence[Block], console: Any = None) -> None:
    """Prints the blocks as terminal tables.

    Args:
      blocks: the studies.
      console: a rich console; None makes one.
    """
    from rich.console import Console
    from rich.table import Table

    console = console or Console(highlight=False)
    for block in blocks:
        table = Table(
            title=f"{block.title}: {block.metric_name}, teacher {block.teacher.display}", title_justify="left"
        )
        table.add_column("")
        for budget_usd in block.budgets_usd:
            table.add_column(f"+${budget_usd:,.2f}", justify="right")
        for strategy, row in block.rows.items():
            shown = [_terminal(cell, block.winner(column) == strategy) for column, cell in enumerate(row)]
            table.add_row(STRATEGY_NAMES[strategy], *shown)
            table.add_row("", *(f"[dim]{cell.bought}[/dim]" for cell in row), end_section=True)
        console.print(table)
        if block.floors:
            console.print(f"floors: {floors_text(block)}")
        for note in notes_of(block):
            console.print(f"  {note}", style="dim")
        console.print(headline(block))


def _entry(entry: Entry) -> str:
    text = f"[bold]{entry.text}[/bold]" if entry.is_best else entry.text
    return f"{text}\n[dim]{entry.small}[/dim]" if entry.small else text


def _terminal(cell: ReportCell, is_best: bool) -> str:
    style = {"degenerate": "yellow", "unaffordable": "dim", "missing": "red"}.get(
        cell.status, "bold" if is_best else ""
    )
    return f"[{style}]{cell.display}[/{style}]" if style else cell.display


def _study(study: StudyReport) -> str:
    answer = study.answer
    parts = [_section(study.block, answer.headline)]
    named = (
        ("How surely", [each.sentence for each in study.compared]),
        ("What the next $100 should buy", answer.next_purchase),
    )
    for title, said in (*named, ("What would change the answer", answer.would_change)):
        parts.append("\n".join([f"### {title}", "", *(f"- {sentence}" for sentence in said), ""]) if said else "")
    parts += [markdown_of(grid) for grid in (study.published, study.per_class) if grid]
    return "\n".join(part for part in parts if part)


def _grid(report: GridReport) -> str:
    parts = [markdown_of(grid_of(report.purchases), level=2), report.answer.headline + "\n"]
    answer = report.answer
    named = (("What won, and how surely", [*answer.won, *answer.cautions]), ("What to buy next", answer.next_purchase))
    for title, said in (*named, ("What would change the answer", answer.would_change)):
        parts.append("\n".join([f"### {title}", "", *(f"- {sentence}" for sentence in said), ""]))
    return "\n".join(parts)


def _section(block: Block, answer: str) -> str:
    lines = [f"## {block.title}", "", answer, ""]
    lines.append(f"| {block.metric_name} | " + " | ".join(f"+${usd:,.2f}" for usd in block.budgets_usd) + " |")
    lines.append("|---|" + "---:|" * len(block.budgets_usd))
    for strategy, row in block.rows.items():
        scores = [
            f"**{cell.display}**" if block.winner(column) == strategy else cell.display
            for column, cell in enumerate(row)
        ]
        lines.append(f"| {STRATEGY_NAMES[strategy]} | " + " | ".join(scores) + " |")
        lines.append("| | " + " | ".join(f"({cell.bought})" if cell.bought else "" for cell in row) + " |")
    lines += ["", f"Teacher: {block.teacher.display}. Floors: {floors_text(block) or 'none recorded'}.", ""]
    lines += [f"- {sentence}" for sentence in (*verdicts(block), *cautions(block))]
    notes = notes_of(block)
    if notes:
        lines += ["", *(f"- {note}" for note in notes)]
    return "\n".join(lines) + "\n"
