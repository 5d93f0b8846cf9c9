"""`results.jsonl`: one row per evaluated model, made anew from what the stages left."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill_or_annotate.prices import PriceBook
from distill_or_annotate.scenarios import Cell, Scenario, Stage, all_cells, cells, singles, teacher_cell

EVALUATION = "evaluation.json"


def result_rows(
    scenario: Scenario, stages: Sequence[Stage], stages_dir: Path, book: PriceBook | None = None
) -> list[dict[str, Any]]:
    """One row for each cell of the study and one for each teacher, with the values of the axes they stand at.

    Args:
      scenario: the study.
      stages: its stages.
      stages_dir: their folders; a stage that has not been evaluated yet leaves its cells out.
      book: its prices; None loads the one that it names.

    Returns:
      Rows as `results.jsonl` holds them; unaffordable cells have none (the manifest lists all that were planned).
    """
    rows = []
    for single in singles(scenario):
        if any(stage.kind == "finetune" for stage in stages):
            rows += _rows(single, teacher_cell(single, book), stages, stages_dir)
        for cell in cells(single, book):
            if cell.strategy != "teacher" and cell.affordable:
                rows += _rows(single, cell, stages, stages_dir)
    return rows


def _trained(single: Scenario, cell: Cell, stages: Sequence[Stage]) -> Stage | None:
    """The stage that trains a cell's model; which one it is, its numbers, models and seeds say."""
    models = {stage.name: stage.model for stage in stages}
    kind = "finetune" if cell.strategy == "teacher" else cell.strategy
    model = single.teacher if cell.strategy == "teacher" else single.student
    wanted = (kind, model, cell.n_labels, cell.n_unlabeled, single.data_seed, single.train_seed)
    for stage in stages:
        found = (stage.kind, stage.model, stage.n_labels, stage.n_unlabeled, stage.data_seed, stage.train_seed)
        teachers = {models[name] for name in stage.depends_on if name.startswith("finetune-")}
        if found == wanted and teachers <= {single.teacher}:
            return stage
    return None


def _rows(single: Scenario, cell: Cell, stages: Sequence[Stage], stages_dir: Path) -> list[dict[str, Any]]:
    trained = _trained(single, cell, stages)
    evaluated = next(
        (stage for stage in stages if stage.kind == "evaluate" and trained and stage.depends_on == (trained.name,)),
        None,
    )
    path = stages_dir / evaluated.name / EVALUATION if evaluated else None
    if path is None or not path.exists():
        return []
    found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    row = {
        "task": single.task,
        "mode": single.mode,
        "teacher": single.teacher,
        "student": single.student,
        "data_seed": single.data_seed,
        "train_seed": single.train_seed,
        "seed": single.train_seed,
        "initial_labels": single.n_labels,
        **cell.as_dict(),
        **{name: found[name] for name in ("metric", "score", "stderr", "degenerate", "parts", "n_examples")},
        "floor": found["floors"],
        "run_ids": [trained.name],
    }
    return [row]


def planned_cells(scenario: Scenario, book: PriceBook | None = None) -> list[dict[str, Any]]:
    """What a study means to fill, as the manifest holds it: each cell with the values of the axes it stands at.

    Args:
      scenario: the study.
      book: its prices; None loads the one that it names.
    """
    return [
        {"task": single.task, "mode": single.mode, "initial_labels": single.n_labels}
        | {axis: getattr(single, axis) for axis in ("teacher", "student", "data_seed", "train_seed")}
        | cell.as_dict()
        for single, cell in all_cells(scenario, book)
    ]


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write JSON lines whole or not at all.

    Args:
      path: the file; replaced when it exists.
      rows: one mapping a line.
    """
    scratch = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    scratch.write_text("".join(json.dumps(row, sort_keys=True) + "\n" for row in rows), encoding="utf-8")
    scratch.replace(path)
