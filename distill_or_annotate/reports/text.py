"""The report's tables as Markdown and on a terminal."""

from collections.abc import Sequence
from typing import Any

from distill_or_annotate.reports.table import STRATEGY_NAMES, Block, ReportCell
from distill_or_annotate.reports.verdict import cautions, headline, verdicts


def markdown(blocks: Sequence[Block]) -> str:
    """Returns every block as a Markdown section: table, teacher, floors, notes.

    Args:
      blocks: the studies.
    """
    return "\n".join(_section(block) for block in blocks) if blocks else "No results yet.\n"


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
    if block.teacher.note and block.teacher.value is not None:
        notes.append(f"Teacher ({block.teacher.display}): {block.teacher.note}")
    return notes


def floors_text(block: Block) -> str:
    """Returns the floors in one line, lowest first.

    Args:
      block: the study.
    """
    return ", ".join(f"{name} {score:.1f}" for name, score in block.floors.items())


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


def _terminal(cell: ReportCell, is_best: bool) -> str:
    style = {"degenerate": "yellow", "unaffordable": "dim", "missing": "red"}.get(
        cell.status, "bold" if is_best else ""
    )
    return f"[{style}]{cell.display}[/{style}]" if style else cell.display


def _section(block: Block) -> str:
    lines = [f"## {block.title}", "", headline(block), ""]
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
