"""The report as one page that needs nothing else: no network, no script, no second file."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from distill_or_annotate.ledger import LOCAL_BOOK, Totals
from distill_or_annotate.reports.answer import Answer, bought
from distill_or_annotate.reports.assembled import RunReport, StudyReport
from distill_or_annotate.reports.figure_data import FIGURES, FigureData
from distill_or_annotate.reports.grids import Entry, Grid, html_of
from distill_or_annotate.reports.inputs import RunFiles
from distill_or_annotate.reports.parts import Figure, bulleted, document, escaped, fact_row, pictured
from distill_or_annotate.reports.purchases import grid_of
from distill_or_annotate.reports.table import Block, ReportCell
from distill_or_annotate.reports.text import floors_text, notes_of

_NAMES = {"annotate": "Annotate", "distill": "Distill"}
_PARETO_CAPTION = (
    "The grey steps are the frontier: the best score that the dollars buy. Hollow marks are degenerate models. Dotted "
    "lines are floors at the initial labels. Data: <code>figures/{name}.csv</code>"
)


def page(
    reports: Sequence[RunReport],
    pictures: Sequence[Sequence[Figure]],
    paper_grids: Mapping[str, Sequence[Grid]],
    paper_pictures: Sequence[tuple[FigureData, Figure]],
) -> str:
    """Returns the page.

    Args:
      reports: one per run.
      pictures: for each run those of its studies, then those of its figures.
      paper_grids: the paper's tables; empty without --paper.
      paper_pictures: the paper's figures and their pictures; empty without --paper.
    """
    name = f"{len(reports)} runs" if len(reports) > 1 else "the paper's numbers"
    name = reports[0].run.name if len(reports) == 1 else name
    if len(reports) == 1 and len(reports[0].studies) and "name" not in reports[0].run.manifest.get("scenario", {}):
        name = reports[0].studies[0].block.task
    parts = [f"<h1>Distill or annotate? {escaped(name)}</h1>"]
    if not reports:
        parts.append('<p class="answer">What the paper printed, in its own layout.</p>')
    if len(reports) > 1:
        parts.append(_runs(reports))
    for report, drawn in zip(reports, pictures, strict=True):
        parts += _run(report, drawn, is_only=len(reports) == 1)
    if paper_grids or paper_pictures:
        parts += _paper(paper_grids, paper_pictures, has_runs=bool(reports))
    return document(f"Distill or annotate: {escaped(name)}", parts)


def _run(report: RunReport, pictures: Sequence[Figure], is_only: bool) -> list[str]:
    studies = report.studies
    parts = [] if is_only else [f'<h2 class="run">{escaped(report.run.name)}</h2>']
    parts.append(f'<p class="answer">{escaped(_answer(report))}</p>')
    parts.append(_bought(report.totals))
    drawn = 0 if report.grids else len(studies)
    figures = [_figure(data, figure) for data, figure in zip(report.figures, pictures[drawn:], strict=True)]
    if report.grids:
        if len(report.grids) > 1:
            parts.append(bulleted(f"{grid.purchases.title}: {grid.answer.headline}" for grid in report.grids))
        parts += [*figures, *_grids(report)]
    elif len(studies) == 1:
        parts.append(_cards(studies[0].answer))
    elif studies:
        parts.append(bulleted(f"{study.block.title}: {study.answer.headline}" for study in studies))
    for study, figure in zip(studies[:drawn], pictures[:drawn], strict=True):
        parts += _study(study, figure, has_cards=len(studies) > 1)
    parts += [] if report.grids else figures
    for study in report.studies if report.grids else ():
        found = [grid for grid in (study.published, study.per_class) if grid]
        parts += [f"<h2>{escaped(study.block.title)}</h2>", *map(html_of, found)] if found else []
    if report.systems:
        parts.append(html_of(report.systems, level=2))
    if report.energy_grid:
        parts.append(html_of(report.energy_grid, level=2))
    assumptions = "<h2>Assumptions</h2>" + bulleted(report.assumptions)
    return [*parts, _ledger(report.totals, report.run), assumptions, _provenance(report.run)]


def _grids(report: RunReport) -> list[str]:
    drawn = [[_cards(grid.answer), html_of(grid_of(grid.purchases), level=2)] for grid in report.grids]
    # The answer first; of several studies each below the heading that says whose it is.
    return [part for parts in drawn for part in (parts if len(drawn) == 1 else parts[::-1])]


def _runs(reports: Sequence[RunReport]) -> str:
    rows = tuple(
        (report.run.name, (Entry(_answer(report)), Entry(f"${report.totals.scenario_usd:,.2f}"))) for report in reports
    )
    return html_of(Grid("What won, run by run", ("Run", "Answer", "Scenario dollars"), rows), level=2)


def _answer(report: RunReport) -> str:
    studies = report.studies
    if report.grids:
        said = list(dict.fromkeys(each.answer.headline for each in report.grids))
        return said[0] if len(said) == 1 else f"The answer differs between {len(report.grids)} studies."
    if len(studies) == 1:
        return studies[0].answer.headline
    return _summary(studies) if studies else "No results yet."


def _summary(studies: Sequence[StudyReport]) -> str:
    winners = [study.block.winner(column) for study in studies for column in range(len(study.block.budgets_usd))]
    won = {name: winners.count(name) for name in _NAMES}
    if not any(won.values()):
        return f"No budget has a winner in any of the {len(studies)} studies."
    return (
        f"Of {len(winners)} budgets in {len(studies)} studies distilling was the better buy at {won['distill']}, "
        f"annotating at {won['annotate']}."
    )


def _bought(totals: Totals) -> str:
    scaled = [book for book in totals.usd if book != LOCAL_BOOK]
    n_labels = sum(totals.n_labels.values())
    facts = [
        ("Scenario dollars", f"${totals.scenario_usd:,.2f}", f"book {', '.join(scaled)}" if scaled else "none charged"),
        ("Labels bought", f"{n_labels:,}", "each paid once"),
        ("Local dollars", f"${totals.local_usd:,.4f}", "this machine's time"),
        ("Device time", _duration(totals.device_seconds), f"{_duration(totals.wasted_device_seconds)} wasted"),
    ]
    return fact_row(facts) + f'<p class="note">What was bought: {escaped(" ".join(bought(totals)))}</p>'


def _cards(answer: Answer) -> str:
    cards = (
        ("What won, and how surely", [*answer.won, *answer.cautions]),
        ("What the next $100 should buy", answer.next_purchase),
        ("What would change the answer", answer.would_change),
    )
    return (
        '<div class="cards">'
        + "".join(f"<section><h3>{escaped(title)}</h3>{bulleted(said)}</section>" for title, said in cards)
        + "</div>"
    )


def _study(study: StudyReport, figure: Figure, has_cards: bool) -> list[str]:
    block = study.block
    parts = [f"<h2>{escaped(block.title)}</h2>"]
    if has_cards:
        parts.append(_cards(study.answer))
    parts.append(_table(block))
    notes = notes_of(block)
    if notes:
        parts.append(f'<div class="note">{bulleted(notes)}</div>')
    best = ", ".join(f"{name} {row[-1].display}" for name, row in block.rows.items() if row)
    alt = f"Total dollars against {block.metric_name}. At the largest budget: {best}. Teacher {block.teacher.display}."
    parts.append(pictured(figure, alt, _PARETO_CAPTION.format(name=escaped(figure.name))))
    parts += [html_of(grid) for grid in (study.published, study.per_class) if grid]
    return parts


def _table(block: Block) -> str:
    heads = "".join(f'<th scope="col">+${usd:,.2f}</th>' for usd in block.budgets_usd)
    rows = []
    for strategy, row in block.rows.items():
        cells = "".join(_cell(cell, block.winner(column) == strategy) for column, cell in enumerate(row))
        rows.append(f'<tr><th scope="row" class="{strategy}">{_NAMES[strategy]}</th>{cells}</tr>')
    caption = (
        f"{escaped(block.metric_name)}, percent, by additional dollars. Teacher: {escaped(block.teacher.display)}. "
        f"Floors: {escaped(floors_text(block)) or 'none recorded'}. † marks a degenerate model. {_error(block)}"
    )
    return (
        f'<p class="caption">{caption}</p><div class="scroll" tabindex="0"><table class="study"><thead><tr>'
        f'<th scope="col">Strategy</th>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _error(block: Block) -> str:
    n_seeds = [cell.n_seeds for row in block.rows.values() for cell in row if cell.n_seeds]
    if not n_seeds or max(n_seeds) == 1:
        return "± is a standard error over test examples; one seed gives none over seeds."
    return "± is a standard error over data seeds, training seeds and test examples, where there are several."


def _cell(cell: ReportCell, is_best: bool) -> str:
    bought_text = f"<small>{escaped(cell.bought)}</small>" if cell.bought else ""
    title = f' title="{escaped(cell.note)}"' if cell.note else ""
    return f'<td class="{cell.status}{" best" if is_best else ""}"{title}>{escaped(cell.display)}{bought_text}</td>'


def _figure(data: FigureData, figure: Figure) -> str:
    alt = f"{data.title}. Panels: {', '.join(panel.title for panel in data.panels) or 'none'}."
    caption = " ".join(escaped(note) for note in data.notes)
    where = f"Data: <code>figures/{escaped(figure.name)}.csv</code>"
    return pictured(figure, alt, f"{caption} {where}".strip())


def _paper(
    grids: Mapping[str, Sequence[Grid]], pictures: Sequence[tuple[FigureData, Figure]], has_runs: bool
) -> list[str]:
    parts = ["<h2>The paper's numbers</h2>"] if has_runs else []
    listed = [*(f"Table {name.removeprefix('table')}" for name in grids), *(f"Figure {n[-1]}" for n in FIGURES)]
    parts.append(
        f"<p>{escaped(', '.join(listed))}: Kang, Xu and Ritter, Distill or Annotate? Cost-Efficient Fine-Tuning of "
        "Compact Models, ACL 2023. Figures hold the points that Tables 2, 3, 4 and 11 print; the others are not "
        "published in numbers.</p>"
    )
    for name, found in grids.items():
        tables = "".join(html_of(grid, level=4 if len(found) > 1 else 3) for grid in found)
        number = name.removeprefix("table")
        parts.append(f'<section id="{name}">{f"<h3>Table {number}</h3>" if len(found) > 1 else ""}{tables}</section>')
    return [*parts, *(_figure(data, figure) for data, figure in pictures)]


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
        f'<h2>Ledger</h2><div class="scroll" tabindex="0"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div><p class='note'>Scenario books price the study; the book "
        "<code>local</code> prices the seconds this machine worked, those lost to a kill included.</p>"
        + (bulleted(remarks) if remarks else "")
    )


def _provenance(run: RunFiles) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escaped(key)}</th><td class="text"><code>{escaped(_plain(value))}</code></td></tr>'
        for key, value in sorted(run.manifest.items())
        if key not in ("cells", "assumptions")
    )
    runs = "".join(_model(row) for row in run.results)
    return (
        "<h2>Where this comes from</h2>"
        '<details><summary>Manifest</summary><div class="scroll" tabindex="0"><table class="manifest">'
        f"<tbody>{rows}</tbody></table></div></details>"
        '<details><summary>Every evaluated model</summary><div class="scroll" tabindex="0"><table><thead><tr>'
        "<th>Strategy</th><th>Budget</th><th>Seeds</th><th>Score</th>"
        f'<th class="text">Parts</th><th class="text">Runs</th></tr></thead><tbody>{runs}</tbody></table></div>'
        "</details>"
    )


def _model(row: Mapping[str, Any]) -> str:
    parts = ", ".join(
        f"{name} {value:.1f}" if isinstance(value, int | float) else f"{name} {_plain(value)}"
        for name, value in sorted((row.get("parts") or {}).items())
    )
    runs = ", ".join(map(str, row.get("run_ids") or []))
    seeds = f"data {row.get('data_seed') or 0}, training {row.get('train_seed', row.get('seed')) or 0}"
    return (
        f'<tr><th scope="row">{escaped(row["strategy"])}</th><td>+${row["additional_usd"]:,.2f}</td><td>{seeds}</td>'
        f'<td>{row["score"]:.2f}</td><td class="text">{escaped(parts)}</td>'
        f'<td class="text"><code>{escaped(runs)}</code></td></tr>'
    )


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
