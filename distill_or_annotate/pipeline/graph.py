"""A study's stages as a picture: SVG text, the same bytes for the same study and the same finished stages."""

from __future__ import annotations

import html
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence

from distill_or_annotate.ledger.cap import usd_text
from distill_or_annotate.pipeline import billing as billing_module
from distill_or_annotate.pipeline import work
from distill_or_annotate.pipeline.runner import Study, needs
from distill_or_annotate.scenarios import Stage

_BOX_WIDTH, _BOX_HEIGHT = 320, 44
_COLUMN_WIDTH, _ROW_HEIGHT = 380, 58
_MARGIN, _HEAD_HEIGHT = 24, 64
_SWEEPS = 8
# Fill and edge, by kind; a finished stage has a filled box, one that is left a white one.
_COLOURS = {
    "label": ("#e8f1e4", "#4f7f3c"),
    "finetune": ("#e3ecf7", "#2f6099"),
    "annotate": ("#f9ecd9", "#a8691a"),
    "llm_label": ("#e4f3f1", "#2d7f74"),
    "llm_annotate": ("#f9ecd9", "#a8691a"),
    "human_llm_annotate": ("#f9ecd9", "#a8691a"),
    "general_distill": ("#f9ecd9", "#a8691a"),
    "select": ("#f3f0d8", "#80751c"),
    "capture": ("#ece5f5", "#6b4a9c"),
    "distill": ("#fae3e3", "#a83c3c"),
    "evaluate": ("#eeeeee", "#555555"),
}
_STYLE = (
    "text{font-family:system-ui,sans-serif;font-size:12px;fill:#1a1a1a}.head{font-size:17px;font-weight:600}"
    ".sub,.note{fill:#555}.edge{fill:none;stroke:#999;stroke-width:1.2}"
)


def svg(study: Study) -> str:
    """Draws the stages of a study from left to right, each after those it needs, with its dollars.

    Args:
      study: the study.

    Returns:
      An SVG document.
    """
    before = {stage.name: needs(stage, study.stages) for stage in study.stages}
    columns = _columns(study.stages, before)
    places = {
        name: (_MARGIN + column * _COLUMN_WIDTH, _HEAD_HEIGHT + _MARGIN + row * _ROW_HEIGHT)
        for column, names in enumerate(columns)
        for row, name in enumerate(names)
    }
    width = 2 * _MARGIN + (len(columns) - 1) * _COLUMN_WIDTH + _BOX_WIDTH
    height = _HEAD_HEIGHT + 2 * _MARGIN + max(len(names) for names in columns) * _ROW_HEIGHT
    plan = billing_module.plan(study.stages, study.billing)
    finished = {stage.name for stage in study.stages if study.store.is_finished(stage.name)}
    summary = (
        f"{len(study.stages)} stages, {len(finished)} finished (filled); {usd_text(plan['total_usd'])} of book "
        f"{study.billing.book.name}: {billing_module.parts_text(plan, ', ')}"
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{html.escape(study.scenario.name)}: {html.escape(summary)}">',
        f"<style>{_STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text class="head" x="{_MARGIN}" y="34">{html.escape(study.scenario.name)}</text>',
        f'<text class="sub" x="{_MARGIN}" y="56">{html.escape(summary)}</text>',
    ]
    for stage in study.stages:
        lines += [_edge(places[name], places[stage.name]) for name in _direct(stage.name, before)]
    for stage in study.stages:
        lines += _box(stage, places[stage.name], plan["usd"][stage.name], stage.name in finished)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _direct(name: str, before: Mapping[str, Sequence[str]]) -> list[str]:
    """What a stage needs, without what those need in turn: longer ways make the lines superfluous."""
    return [other for other in before[name] if not any(_reaches(near, other, before) for near in before[name])]


def _reaches(name: str, other: str, before: Mapping[str, Sequence[str]]) -> bool:
    return any(near == other or _reaches(near, other, before) for near in before[name])


def _columns(stages: Sequence[Stage], before: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Names by column: a stage stands right of all it needs; within a column near what it is tied to."""
    depth: dict[str, int] = {}
    after: dict[str, list[str]] = defaultdict(list)
    for stage in stages:
        depth[stage.name] = 1 + max((depth[name] for name in before[stage.name]), default=-1)
        for name in before[stage.name]:
            after[name].append(stage.name)
    columns: list[list[str]] = [[] for _ in range(1 + max(depth.values()))]
    for stage in stages:
        columns[depth[stage.name]].append(stage.name)
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        row = {name: index / len(names) for names in columns for index, name in enumerate(names)}
        for names in columns if forward else reversed(columns):
            tied = before if forward else after
            # Sorting is stable, so what is tied to nothing keeps its place among equals.
            names.sort(key=lambda name, tied=tied, row=row: _mean([row[other] for other in tied[name]], row[name]))
            row |= {name: index / len(names) for index, name in enumerate(names)}
    return columns


def _mean(rows: Sequence[float], otherwise: float) -> float:
    return statistics.fmean(rows) if rows else otherwise


def _edge(start: tuple[int, int], end: tuple[int, int]) -> str:
    x0, y0 = start[0] + _BOX_WIDTH, start[1] + _BOX_HEIGHT // 2
    x1, y1 = end[0], end[1] + _BOX_HEIGHT // 2
    bend = (x0 + x1) // 2
    return f'<path class="edge" d="M{x0} {y0}C{bend} {y0} {bend} {y1} {x1} {y1}"/>'


def _box(stage: Stage, place: tuple[int, int], usd: float, is_finished: bool) -> list[str]:
    x, y = place
    fill, edge = _COLOURS[stage.kind]
    cost = f" · {usd_text(usd)}" if usd and math.isfinite(usd) else ""
    return [
        f'<g><title>{html.escape(stage.name)}</title><rect x="{x}" y="{y}" width="{_BOX_WIDTH}" '
        f'height="{_BOX_HEIGHT}" rx="6" fill="{fill if is_finished else "#ffffff"}" stroke="{edge}"/>',
        f'<text x="{x + 10}" y="{y + 18}">{html.escape(_shortened(work.title(stage)))}</text>',
        f'<text class="note" x="{x + 10}" y="{y + 35}">{html.escape(stage.name.rsplit("-", 1)[1] + cost)}</text></g>',
    ]


def _shortened(text: str, longest: int = 46) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
