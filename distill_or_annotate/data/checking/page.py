"""A data check as one page that needs nothing else, in the look of the run's report."""

from collections.abc import Sequence

from distill_or_annotate.data.checking import tables as check_tables
from distill_or_annotate.data.checking.findings import Finding, summary
from distill_or_annotate.data.checking.plots import figures
from distill_or_annotate.data.checking.report import Report
from distill_or_annotate.reports.parts import Figure, document, escaped, fact_row, pictured

# Classes of the report's style sheet.
_CLASSES = {"ok": "unaffordable", "look": "degenerate", "fix": "annotate"}


def page(report: Report, findings: Sequence[Finding]) -> str:
    """Returns the page.

    Args:
      report: what is known.
      findings: what follows from it, gravest first.
    """
    drawn = figures(report)
    task = escaped(report.task)
    parts = [
        f"<h1>Data check: {task}</h1>",
        f'<p class="answer">{escaped(summary(findings))}</p>',
        _facts(report),
    ]
    if warning := check_tables.words_warning(report):
        parts.append(f'<p class="degenerate">{escaped(warning)}</p>')
    parts += ["<h2>Findings</h2>", _findings(findings)]
    parts += ["<h2>Rows</h2>", _picture(report, drawn["sizes"], "Rows and distinct sources by split.")]
    parts += [_table(check_tables.size_table(report)), _ceiling_note()]
    parts += ["<h2>Lengths</h2>", _picture(report, drawn["lengths"], _LENGTHS_CAPTION)]
    parts.append(_table(check_tables.length_table(report)))
    parts.append("<h2>Answers</h2>")
    if "labels" in drawn:
        parts.append(_picture(report, drawn["labels"], "Share of each label in the labels of a split."))
    parts.append(_table(check_tables.label_table(report)))
    for title, table in (
        ("Sources in two splits", check_tables.overlap_table(report)),
        ("Personal data and odd characters", check_tables.hint_table(report)),
    ):
        parts += [f"<h2>{title}</h2>", _table(table) if table.rows else "<p>None.</p>"]
    origins = "".join(
        f'<tr><th scope="row">{split.name}</th><td class="text">{escaped(split.origin)}</td></tr>'
        for split in report.here()
    )
    parts.append(f"<h2>Where this comes from</h2><table><tbody>{origins}</tbody></table>")
    return document(f"Data check: {task}", parts)


_LENGTHS_CAPTION = (
    "The dashed line is the task's length; what lies right of it is cut. The last bar also takes all longer ones."
)


def _facts(report: Report) -> str:
    facts = []
    for split in report.here():
        expected = split.paper.share()
        more = f"{100 * expected:.1f}% of Table 5" if expected is not None else f"{split.counts.n_sources:,} distinct"
        facts.append((split.name, f"{split.counts.n_rows:,}", more))
    missing = [split.name for split in report.splits if split.paper.verdict == "missing"]
    if missing:
        facts.append(("Missing", str(len(missing)), ", ".join(missing)))
    return fact_row(facts)


def _findings(findings: Sequence[Finding]) -> str:
    rows = []
    for finding in findings:
        remedy = f"<small>{escaped(finding.remedy)}</small>" if finding.remedy and finding.severity != "ok" else ""
        rows.append(
            f'<tr><th scope="row" class="{_CLASSES[finding.severity]}">{finding.severity}</th>'
            f'<td class="text" style="white-space: nowrap">{escaped(finding.split)}</td>'
            f'<td class="text">{escaped(finding.message)}{remedy}</td></tr>'
        )
    n_ok = sum(finding.severity == "ok" for finding in findings)
    open_rows, ok_rows = ("".join(part) for part in (rows[: len(rows) - n_ok], rows[len(rows) - n_ok :]))
    # Gravest first: what is in order stands last, and folded away.
    return (
        f'<div class="scroll"><table><tbody>{open_rows}</tbody></table></div>'
        f"<details><summary>In order: {n_ok}</summary>"
        f'<div class="scroll"><table><tbody>{ok_rows}</tbody></table></div></details>'
    )


def _table(table: check_tables.Table) -> str:
    def classed(number: int) -> str:
        return ' class="text"' if number in table.texts and number else ""

    heads = "".join(f'<th scope="col"{classed(i)}>{escaped(head)}</th>' for i, head in enumerate(table.heads))
    rows = "".join(
        f"<tr>{''.join(f'<td{classed(i)}>{escaped(cell)}</td>' for i, cell in enumerate(row))}</tr>"
        for row in table.rows
    )
    return (
        f'<div class="scroll"><table><caption>{escaped(table.title)}</caption><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _picture(report: Report, figure: Figure, caption: str) -> str:
    return pictured(figure, f"{report.task}: {caption} The table below has the numbers.", escaped(caption))


def _ceiling_note() -> str:
    return (
        '<p class="note">The ceiling is the score of an oracle that sees all rows and gives each source the one answer '
        "that scores best. Below 100, rows of the same source disagree.</p>"
    )
