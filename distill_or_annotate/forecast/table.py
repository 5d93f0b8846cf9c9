"""Tables of a forecast: for the terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from distill_or_annotate.forecast.bill import Row

HEADINGS = (
    "program", "mesh", "parameters", "arguments", "temporaries", "peak", "of", "fits", "FLOPs", "moved",
    "collectives", "seconds", "from", "hours", "dollars", "compile", "measured",
)  # fmt: skip
WAY_HEADINGS = ("task", "mesh", "way", "fits", "FLOPs", "hours", "dollars")
_UNITS = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))


def amount(value: float | None, unit: str = "") -> str:
    """A number with three digits and a prefix.

    Args:
      value: at least 0; None prints as `?`.
      unit: printed behind it, such as `B`.

    Returns:
      Such as `4.01 GB`; numbers beyond a thousand tera as powers of ten.
    """
    if value is None:
        return "?"
    if abs(value) >= 1e15:
        return f"{value:.2e}{' ' + unit if unit else ''}"
    for prefix, size in _UNITS:
        if abs(value) >= size:
            return f"{value / size:.3g} {prefix}{unit}"
    return f"{value:.3g}{' ' + unit if unit else ''}"


def cells(row: Row) -> list[str]:
    """One row's cells, under `HEADINGS`.

    Args:
      row: one program on one mesh.

    Returns:
      Texts.
    """
    costs = row.costs
    kinds = ", ".join(f"{count:,.0f} {kind}" for kind, count in costs.collectives.items()) or "none"
    spare = f"{'yes' if row.fits else 'NO'}, {amount(abs(row.spare_bytes), 'B')} {'left' if row.fits else 'short'}"
    seconds = f"{row.seconds:.3g}" if costs.memory_bytes is not None else f">{row.seconds:.3g}"
    return [
        row.program,
        row.mesh,
        amount(costs.parameters),
        amount(costs.argument_bytes, "B"),
        amount(costs.temporary_bytes, "B"),
        amount(costs.peak_bytes, "B"),
        amount(row.memory_bytes, "B"),
        spare,
        amount(costs.flops),
        amount(costs.memory_bytes, "B"),
        kinds,
        seconds,
        f"{row.seconds_source} ({row.bound})",
        f"{row.hours:,.2f}",
        f"${row.usd:,.2f}",
        f"{costs.compile_seconds:.0f} s",
        "-" if row.measured_seconds is None else _against(row.seconds, row.measured_seconds),
    ]


def _against(forecast: float, measured: float) -> str:
    return f"{measured:.3g} (forecast {forecast / measured:.2f} times)"


def way_cells(task: str, mesh: str, ways: Mapping[str, Mapping[str, float | bool]]) -> list[list[str]]:
    """Cells of the ways to distill, under `WAY_HEADINGS`.

    Args:
      task: name for the first column.
      mesh: name for the second.
      ways: of `bill.ways`.

    Returns:
      One list of texts a way.
    """
    return [
        [
            task,
            mesh,
            way,
            "yes" if found["fits"] else "NO",
            amount(found["flops"]),
            f"{found['hours']:,.2f}",
            f"${found['usd']:,.2f}",
        ]
        for way, found in ways.items()
    ]


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown.

    Args:
      headings: of the columns.
      rows: texts.

    Returns:
      Lines, the last with its end.
    """
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def show(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], *, turned: bool = False) -> None:
    """Prints a table in the terminal.

    Args:
      title: above it.
      headings: of the columns.
      rows: texts.
      turned: headings down the side, for tables of many columns and few rows.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    if turned:
        table.add_column(headings[0], no_wrap=True)
        for row in rows:
            table.add_column(row[0], justify="right")
        for position, heading in enumerate(headings[1:], start=1):
            table.add_row(heading, *(row[position] for row in rows))
    else:
        for heading in headings:
            table.add_column(heading)
        for row in rows:
            table.add_row(*row)
    Console(highlight=False, soft_wrap=not turned).print(table)
