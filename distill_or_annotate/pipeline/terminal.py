"""Tables on a terminal that is too narrow for them: lines that wrap, not columns that are cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

_WIDEST = 400


def print_table(table: Table) -> None:
    """Print a table at the width that it needs, however wide the terminal is.

    Args:
      table: the table.
    """
    from rich.console import Console

    console = Console(highlight=False)
    wanted = console.measure(table, options=console.options.update(width=_WIDEST)).maximum
    Console(highlight=False, width=max(console.width, wanted)).print(table, soft_wrap=True)
