"""The report as one page that needs nothing else: no network, no script, no second file."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from distill_or_annotate.ledger import LOCAL_BOOK, Totals, totals_of
from distill_or_annotate.reports.inputs import RunFiles
from distill_or_annotate.reports.parts import Figure, bulleted, document, escaped, fact_row, pictured
from distill_or_annotate.reports.table import Block, ReportCell
from distill_or_annotate.reports.text import floors_text, notes_of
from distill_or_annotate.reports.verdict import cautions, headline, verdicts

_NAMES = {"annotate": "Annotate", "distill": "Distill"}
# What the numbers of every report take for granted (Section 2.1 and footnote 1 of the paper).
ASSUMPTIONS = (
    "Engineers' time costs nothing.",
    "Pre-trained models cost nothing.",
    "Training the student on labels costs nothing in scenario dollars; in local dollars every second is counted.",
    "Scores are of the test split; nothing was chosen on it.",
)


def page(run: RunFiles, blocks: Sequence[Block], figures: Sequence[Figure]) -> str:
    """Returns the page.

    Args:
      run: the run's files.
      blocks: its studies.
      figures: one per study, in the same order.
    """
    totals = totals_of(run.ledger)
    title = escaped(run.manifest.get("scenario", {}).get("name") or (blocks[0].task if blocks else "run"))
    parts = [
        f"<h1>Distill or annotate? {title}</h1>",
        f'<p class="answer">{escaped(headline(blocks[0]) if blocks else "No results yet.")}</p>',
        _bought(totals),
    ]
    for block, figure in zip(blocks, figures, strict=True):
        parts += _study(block, figure)
    parts += [_ledger(totals, run), _assumptions(run.manifest), _provenance(run)]
    return document(f"Distill or annotate: {title}", parts)


def _bought(totals: Totals) -> str:
    scaled = [book for book in totals.usd if book != LOCAL_BOOK]
    n_labels = sum(totals.n_labels.values())
    facts = [
        ("Scenario dollars", f"${totals.scenario_usd:,.2f}", f"book {', '.join(scaled)}" if scaled else "none charged"),
        ("Labels bought", f"{n_labels:,}", "each paid once"),
        ("Local dollars", f"${totals.local_usd:,.4f}", "this machine's time"),
        ("Device time", _duration(totals.device_seconds), f"{_duration(totals.wasted_device_seconds)} wasted"),
    ]
    return fact_row(facts)


def _study(block: Block, figure: Figure) -> list[str]:
    parts = [f"<h2>{escaped(block.title)}</h2>", bulleted([*verdicts(block), *cautions(block)]), _table(block)]
    notes = notes_of(block)
    if notes:
        parts.append(f'<div class="note">{bulleted(notes)}</div>')
    best = ", ".join(f"{name} {row[-1].display}" for name, row in block.rows.items() if row)
    alt = f"Total dollars against {block.metric_name}. At the largest budget: {best}. Teacher {block.teacher.display}."
    parts += [
        pictured(
            figure,
            alt,
            "The grey steps are the frontier: the best score that the dollars buy. Hollow marks are "
            "degenerate models. Dotted lines are floors at the initial labels. Data: "
            f"<code>figures/{escaped(figure.name)}.csv</code>",
        ),
    ]
    return parts


def _table(block: Block) -> str:
    heads = "".join(f'<th scope="col">+${usd:,.2f}</th>' for usd in block.budgets_usd)
    rows = []
    for strategy, row in block.rows.items():
        cells = "".join(_cell(cell, block.winner(column) == strategy) for column, cell in enumerate(row))
        rows.append(f'<tr><th scope="row" class="{strategy}">{_NAMES[strategy]}</th>{cells}</tr>')
    caption = (
        f"{escaped(block.metric_name)}, percent, by additional dollars. Teacher: {escaped(block.teacher.display)}. "
        f"Floors: {escaped(floors_text(block)) or 'none recorded'}. † marks a degenerate model."
    )
    return (
        f'<div class="scroll"><table><caption>{caption}</caption><thead><tr><th scope="col">Strategy</th>{heads}</tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(cell: ReportCell, is_best: bool) -> str:
    bought = f"<small>{escaped(cell.bought)}</small>" if cell.bought else ""
    title = f' title="{escaped(cell.note)}"' if cell.note else ""
    return f'<td class="{cell.status}{" best" if is_best else ""}"{title}>{escaped(cell.display)}{bought}</td>'


def _ledger(totals: Totals, run: RunFiles) -> str:
    if not totals.usd and not totals.reserved_usd:
        return "<h2>Ledger</h2><p>No row yet.</p>"
    rows = []
    for book in sorted({*totals.usd, *totals.reserved_usd}, key=lambda name: (name == LOCAL_BOOK, name)):
        digits = 4 if book == LOCAL_BOOK else 2
        kinds = totals.usd.get(book, {})
        amounts = [kinds.get("label"), kinds.get("api"), kinds.get("device"), totals.wasted_usd.get(book, 0.0)]
        amounts += [totals.reserved_usd.get(book, 0.0), totals.book_usd(book)]
        cells = "".join("<td>-</td>" if usd is None else f"<td>${usd:,.{digits}f}</td>" for usd in amounts)
        rows.append(f'<tr><th scope="row">{escaped(book)}</th>{cells}</tr>')
    heads = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("Book", "Labels", "API", "Devices", "Of that wasted", "Reserved, open", "Total")
    )
    remarks = [*run.remarks, *(f"entry {entry} stands there twice and counts once" for entry in totals.duplicates)]
    return (
        f'<h2>Ledger</h2><div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody>'
        "</table></div><p class='note'>Scenario books price the study; the book <code>local</code> prices the seconds "
        "this machine worked, those lost to a kill included.</p>" + (bulleted(remarks) if remarks else "")
    )


def _assumptions(manifest: Mapping[str, Any]) -> str:
    return "<h2>Assumptions</h2>" + bulleted([*ASSUMPTIONS, *map(str, manifest.get("assumptions", []))])


def _provenance(run: RunFiles) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escaped(key)}</th><td class="text"><code>{escaped(_plain(value))}</code></td></tr>'
        for key, value in sorted(run.manifest.items())
        if key not in ("cells", "assumptions")
    )
    runs = "".join(_model(row) for row in run.results)
    return (
        "<h2>Where this comes from</h2>"
        f'<details><summary>Manifest</summary><div class="scroll"><table><tbody>{rows}</tbody></table></div></details>'
        '<details><summary>Every evaluated model</summary><div class="scroll"><table><thead><tr><th>Strategy</th>'
        f'<th>Budget</th><th>Score</th><th class="text">Parts</th><th class="text">Runs</th></tr></thead>'
        f"<tbody>{runs}</tbody></table></div>"
        "</details>"
    )


def _model(row: Mapping[str, Any]) -> str:
    parts = ", ".join(
        f"{name} {value:.1f}" if isinstance(value, int | float) else f"{name} {_plain(value)}"
        for name, value in sorted((row.get("parts") or {}).items())
    )
    runs = ", ".join(map(str, row.get("run_ids") or []))
    return (
        f'<tr><th scope="row">{escaped(row["strategy"])}</th><td>+${row["additional_usd"]:,.2f}</td>'
        f'<td>{row["score"]:.2f}</td><td class="text">{escaped(parts)}</td>'
        f'<td class="text"><code>{escaped(runs)}</code></td></tr>'
    )


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
