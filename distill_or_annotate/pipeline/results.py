"""`results.jsonl`: one row per evaluated model, made anew from what the stages left."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill_or_annotate.pipeline import llm_labels
from distill_or_annotate.prices import PriceBook
from distill_or_annotate.scenarios import Cell, Scenario, Stage, all_cells, cells, singles, teacher_cell

EVALUATION = "evaluation.json"
SELECTION = "selection.json"


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
    """The stage that leaves a cell's model; which one it is, its numbers, models and seeds say."""
    by_name = {stage.name: stage for stage in stages}
    kind = {"teacher": "finetune", "self_distill": "distill"}.get(cell.strategy, cell.strategy)
    model = {"teacher": single.teacher, "general_distill": single.compact}.get(cell.strategy, single.student)
    n_unlabeled = cell.n_llm_labels or cell.n_unlabeled
    wanted = (kind, model, cell.n_labels, n_unlabeled, single.data_seed, single.train_seed)
    found = []
    for stage in stages:
        numbers = (stage.n_labels, stage.n_unlabeled, stage.data_seed, stage.train_seed)
        if (stage.trains_as, stage.model, *numbers) == wanted and _is_taught(stage, single, cell, by_name):
            found.append(stage)
    # A selection stands for its candidates.
    return next((stage for stage in found if stage.kind == "select"), found[0] if found else None)


def _is_taught(stage: Stage, single: Scenario, cell: Cell, by_name: Mapping[str, Stage]) -> bool:
    """Whether a distilled stage has the cell's teacher; True for what has none."""
    if stage.trains_as != "distill":
        return True
    student = by_name[stage.depends_on[0]] if stage.kind == "select" else stage
    models = {by_name[name].model for name in student.depends_on if name.startswith("finetune-")}
    return models == (set() if cell.strategy == "self_distill" else {single.teacher})


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
    if model := found.get("similarity_model"):
        row["similarity_model"] = model
    if trained.kind == "select":
        row["search"] = json.loads((stages_dir / trained.name / SELECTION).read_text(encoding="utf-8"))
    if asked := _asked(trained, stages, stages_dir):
        row["llm_labels"] = asked
    if cell.strategy == "general_distill":
        row["model"] = trained.model  # it is neither the study's teacher nor its student
    return [row]


def _asked(trained: Stage, stages: Sequence[Stage], stages_dir: Path) -> dict[str, Any] | None:
    """What a language model labelled for a model, and its bill; None where it labelled nothing."""
    by_name = {stage.name: stage for stage in stages}
    student = by_name[trained.depends_on[0]] if trained.kind == "select" else trained
    bought = [name for name in student.depends_on if name.startswith("llm_label-")]
    return llm_labels.summary(stages_dir / bought[0]) if bought else None


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
