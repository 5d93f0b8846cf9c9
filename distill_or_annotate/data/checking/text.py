"""A data check on a terminal: sizes, lengths, answers, overlaps, then the findings with their remedies."""

from collections.abc import Sequence
from typing import Any

from distill_or_annotate.data.checking.findings import Finding, summary, worst
from distill_or_annotate.data.checking.report import Report
from distill_or_annotate.data.checking.tables import (
    Table,
    hint_table,
    label_table,
    length_table,
    overlap_table,
    size_table,
    words_warning,
)

_STYLES = {"ok": "green", "look": "yellow", "fix": "bold red"}


def print_report(report: Report, findings: Sequence[Finding], console: Any = None) -> None:
    """Prints a report.

    Args:
      report: what is known.
      findings: what follows from it, gravest first.
      console: a rich console; None makes one.
    """
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = console or Console(highlight=False)
    for table in (
        size_table(report), length_table(report), label_table(report), overlap_table(report), hint_table(report)
    ):  # fmt: skip
        if table.rows:
            console.print(_rich(table))
    if warning := words_warning(report):
        console.print(Text(warning, style="bold yellow"))
    listed = RichTable(title="Findings", title_justify="left")
    for heading in ("", "split", "finding", "remedy"):
        listed.add_column(heading, overflow="fold")
    for finding in findings:
        style = _STYLES[finding.severity]
        # Text, not markup: data may hold square brackets.
        remedy = Text(finding.remedy) if finding.severity != "ok" else Text("")
        listed.add_row(Text(finding.severity, style=style), finding.split, Text(finding.message), remedy)
    console.print(listed)
    console.print(Text(summary(findings), style=_STYLES[worst(findings)]))


def _rich(table: Table) -> Any:
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(title=table.title, title_justify="left")
    for number, heading in enumerate(table.heads):
        shown.add_column(heading, justify="left" if number in table.texts else "right", overflow="fold")
    for row in table.rows:
        shown.add_row(*(Text(cell) for cell in row))
    return shown
