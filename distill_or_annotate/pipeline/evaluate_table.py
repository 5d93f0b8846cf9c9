"""The tables of `doa evaluate`: the score, its parts, and what it is worth beside the floors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table


def show(found: Mapping[str, Any], console: Console | None = None) -> None:
    """Print a result.

    Args:
      found: what `metrics.evaluation.evaluate` gives, with `task` and `n_train`.
      console: where to; None takes standard output.
    """
    console = console or Console(highlight=False)
    encoder = f", similarity by {found['similarity_model']}" if found["similarity_model"] else ""
    console.print(
        f"[bold]{escape(found['task'])}[/bold], mode {found['mode']}: {found['metric']} "
        f"[bold]{found['score']:.2f}[/bold] ± {found['stderr']:.2f} over {found['n_examples']:,} examples{encoder}",
        soft_wrap=True,
    )
    table = Table("part", _right("percent"))
    for name, value in found["parts"].items():
        table.add_row(name, f"{value:.2f}")
    console.print(table)
    floors = Table("floor", _right("percent"), _right("score is above it by"))
    for name, value in sorted(found["floors"].items(), key=lambda item: -item[1]):
        floors.add_row(escape(name), f"{value:.2f}", f"{found['score'] - value:+.2f}")
    console.print(floors)
    judged = found["degenerate"]
    console.print(
        f"Most frequent answer: {100 * judged['constant_share']:.1f}% of cases. "
        f"Outside the task's form: {100 * judged['invalid_share']:.1f}%.",
        soft_wrap=True,
    )
    if found["n_train"] is None:
        console.print("Floors that learn are left out: give --train with the labels that the model had.", style="dim")
    for reason in judged["reasons"]:
        console.print(f"Degenerate: {reason}.", style="yellow", soft_wrap=True, markup=False)


def _right(header: str) -> Column:
    return Column(header, justify="right")
