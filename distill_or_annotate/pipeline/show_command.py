"""`doa show NAME`: one scenario explained: its question, its cells, its costs, and what a result would mean."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill_or_annotate.pipeline.catalogue import Listed
    from distill_or_annotate.scenarios import Cell, Scenario

EXAMPLE = "doa show table2 --set FORM=xxl --set TASK=wlp"

_HEADINGS = ("N", "models", "strategy", "additional", "buys", "total", "on top", "provenance", "paper", "ours")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `doa show`."""
    parser.add_argument("scenario", help="a scenario's gin file, or the bare name of a packaged one (table2)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="override a field or a macro (FORM, TASK)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead")


def run(args: argparse.Namespace) -> int:
    """Print one scenario as text, or as JSON."""
    from distill_or_annotate.pipeline import catalogue, gin_files
    from distill_or_annotate.scenarios import all_cells

    with gin_files.user_files(gin_files.locate(args.scenario)):
        entry = catalogue.listed(args.scenario, overrides=args.set)
        content = entry.as_dict()
        found = [(single, cell) for single, cell in all_cells(entry.scenario, entry.book)]
    if args.json:
        rows = [_at(single) | cell.as_dict() for single, cell in found]
        print(json.dumps(content | {"about": dict(entry.about), "cells": rows}, indent=1))
        return 0
    _print(entry, content, found)
    return 0


def _print(entry: Listed, content: dict[str, Any], found: list[tuple[Scenario, Cell]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from distill_or_annotate.pipeline.terminal import print_table

    console = Console(highlight=False)
    console.print(content["title"], style="bold", markup=False)
    for label, key in (("Question", "question"), ("A result means", "a_result_means"), ("Expected", "expected")):
        if entry.about.get(key):
            console.print(f"{label}: {entry.about[key]}", markup=False)
    for line in _facts(entry, content):
        console.print(line, markup=False)
    table = Table(box=None, pad_edge=False)
    many = len({(single.teacher, single.student) for single, _ in found}) > 1
    seeds = {(single.data_seed, single.train_seed) for single, _ in found}
    first = min(seeds)
    published, ours = content["expected"]["published"], entry.ours()
    scale = entry.book.scale
    shown = [(single, cell) for single, cell in found if (single.data_seed, single.train_seed) == first]
    lines = [_line(single, cell, many, published, ours, scale) for single, cell in shown]
    # A column in which nothing stands says nothing.
    kept = [column for column in range(len(_HEADINGS)) if any(line[column] for line in lines)]
    for column in kept:
        heading = _HEADINGS[column]
        table.add_column(
            heading, justify="right" if heading in ("N", "additional", "total", "on top") else "left", no_wrap=True
        )
    for line in lines:
        table.add_row(*(line[column] for column in kept))
    print_table(table)
    for reason in dict.fromkeys(cell.reason for _, cell in shown if cell.reason):
        console.print(f"N/A: {reason}.", markup=False)
    if len(seeds) > 1:
        console.print(f"Each of these under {len(seeds)} pairs of data and training seeds.")
    for line in _notes(entry, content):
        console.print(line, markup=False)


def _facts(entry: Listed, content: dict[str, Any]) -> Iterable[str]:
    scenario, usd = entry.scenario, content["scenario_usd_by_kind"]
    yield f"Task {scenario.task}, {scenario.mode} mode, form {content['form'] or '(none)'}; prices: {entry.book.title}."
    data = content["data"]
    if not data["needs"]:
        yield "Data: embedded, nothing to fetch."
    else:
        here = "all of it is here" if data["here"] else f"missing here: {', '.join(data['missing'])}"
        yield f"Data: {', '.join(data['needs'])}; {here}."
    parts = [f"${usd[kind]:,.2f} {name}" for kind, name in _KINDS.items() if usd[kind]]
    estimated = ", some of them estimated" if content["estimated"] else ""
    yield (
        f"{content['stages']} stages, ${content['scenario_usd']:,.2f} ({' + '.join(parts)}){estimated}; "
        f"{content['device_hours']:,g} {content['device_hours_unit']}."
    )
    yield f"Run: {content['command']}"
    if content["asks_llm"]:
        yield "It buys labels from a language model: set OPENAI_BASE_URL and OPENAI_API_KEY (docs/annotating.md)."


_PRINTED_MODELS = ("t5_1_1_small", "t5_1_1_xxl")
_KINDS = {"label": "labels", "api": "API labels", "device": "teachers and distillation"}


def _line(
    single: Scenario, cell: Cell, many: bool, published: list[dict], ours: list[dict], scale: float
) -> tuple[str, ...]:
    models = f"{single.teacher} > {single.student}" if many else ""
    return (
        f"{single.n_labels:,}",
        models,
        cell.strategy,
        f"+${cell.additional_usd:,.2f}",
        _bought(single, cell),
        f"${cell.total_usd:,.2f}",
        f"${cell.on_top_usd:,.2f}" if cell.on_top_usd else "",
        cell.provenance if cell.affordable else "",
        _score(_printed(single, cell, published, scale)),
        _score(_found(single, cell, ours)),
    )


def _bought(single: Scenario, cell: Cell) -> str:
    if not cell.affordable:
        return "N/A"
    cut = " (all there are)" if cell.capped_by_pool else ""
    if cell.n_llm_labels:
        return f"+{cell.n_llm_labels:,} language-model labels{cut}"
    if cell.n_unlabeled:
        return f"{cell.n_unlabeled:,} unlabeled{cut}"
    extra = cell.n_labels - single.n_labels
    return f"+{extra:,} labels{cut}" if extra else "the teacher" if cell.strategy == "teacher" else "-"


def _printed(single: Scenario, cell: Cell, published: list[dict], scale: float) -> list[float]:
    """The paper's score of a cell: found by its dollars, or where none are printed by its pool."""
    models = (single.student,) if cell.strategy in ("annotate", "self_distill") else (single.student, single.teacher)
    if any(model.startswith("t5_1_1_") and model not in _PRINTED_MODELS for model in models):
        return []
    found = []
    for row in published:
        if row["strategy"] != cell.strategy or round(row["n_labels"] * scale) != single.n_labels:
            continue
        dollars, pool = row["additional_usd"], row["n_unlabeled"]
        by_dollars = dollars is not None and abs(dollars * scale - cell.additional_usd) < 0.005
        by_pool = pool is not None and round(pool * scale) == cell.n_unlabeled
        if by_dollars or by_pool or (dollars is None and pool is None):
            found.append(row["score"])
    return found[:1]


def _found(single: Scenario, cell: Cell, ours: list[dict]) -> list[float]:
    keys = ("n_labels", "n_unlabeled", "strategy", "additional_usd")
    wanted = tuple(getattr(cell, key) for key in keys)
    models = (single.teacher, single.student)
    rows = [row for row in ours if (row["teacher"], row["student"]) == models]
    return [row["score"] for row in rows if tuple(row.get(key) for key in keys) == wanted]


def _score(scores: list[float]) -> str:
    return f"{sum(scores) / len(scores):.1f}" if scores else ""


def _notes(entry: Listed, content: dict[str, Any]) -> Iterable[str]:
    published = content["expected"]["published"]
    if entry.book.is_scaled:
        study = f"the paper's {entry.book.base_task} study at {entry.book.scale:g} of its N, U and dollars"
        column = " Column paper is that study's, of T5 XXL and Small; not what these models should score."
        yield f"Dollars are scaled: {study}.{column if published else ''}"
    teachers = [f"{row['score']} at N = {row['n_labels']:,}" for row in published if row["strategy"] == "teacher"]
    if teachers:
        yield f"The paper's teacher: {', '.join(dict.fromkeys(teachers))}."
    if entry.form and not published:
        yield "The paper publishes no scores in numbers here."
    yield from entry.scenario.remarks()


def _at(single: Scenario) -> Mapping[str, Any]:
    return {
        "initial_labels": single.n_labels,
        **{axis: getattr(single, axis) for axis in ("teacher", "student", "data_seed", "train_seed")},
    }
