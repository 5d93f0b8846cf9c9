"""`results.jsonl`: one row per evaluated model, made anew from what the stages left."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill_or_annotate.prices import PriceBook
from distill_or_annotate.scenarios import Cell, Scenario, Stage, cells, teacher_cell

EVALUATION = "evaluation.json"


def result_rows(
    scenario: Scenario, stages: Sequence[Stage], stages_dir: Path, book: PriceBook | None = None
) -> list[dict[str, Any]]:
    """One row for each cell of the scenario and one for the teacher.

    Args:
      scenario: the study.
      stages: its stages.
      stages_dir: their folders; a stage that has not been evaluated yet leaves its cells out.
      book: its prices; None loads the one that it names.

    Returns:
      Rows as `results.jsonl` holds them; unaffordable cells have none (the manifest lists all that were planned).
    """
    by_name = {stage.name: stage for stage in stages}
    rows = []
    teacher = next((stage for stage in stages if stage.kind == "finetune"), None)
    if teacher:
        rows += _rows(scenario, teacher_cell(scenario, book), teacher, stages, stages_dir)
    for cell in cells(scenario, book):
        trained = [
            by_name[stage.depends_on[0]]
            for stage in stages
            if stage.kind == "evaluate"
            and by_name[stage.depends_on[0]].kind == cell.strategy
            and (cell.strategy, cell.additional_usd) in [tuple(key) for key in stage.serves]
        ]
        rows += _rows(scenario, cell, trained[0] if trained else None, stages, stages_dir)
    return rows


def _rows(
    scenario: Scenario, cell: Cell, trained: Stage | None, stages: Sequence[Stage], stages_dir: Path
) -> list[dict[str, Any]]:
    evaluated = next(
        (stage for stage in stages if stage.kind == "evaluate" and trained and stage.depends_on == (trained.name,)),
        None,
    )
    path = stages_dir / evaluated.name / EVALUATION if evaluated else None
    if path is None or not path.exists():
        return []
    found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    row = {
        "task": scenario.task,
        "strategy": cell.strategy,
        "mode": scenario.mode,
        "teacher": scenario.teacher,
        "student": scenario.student,
        "data_seed": scenario.data_seed,
        "seed": scenario.train_seed,
        **cell.as_dict(),
        **{name: found[name] for name in ("metric", "score", "stderr", "degenerate", "parts", "n_examples")},
        "floor": found["floors"],
        "run_ids": [trained.name],
    }
    return [row]


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write JSON lines whole or not at all.

    Args:
      path: the file; replaced when it exists.
      rows: one mapping a line.
    """
    scratch = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    scratch.write_text("".join(json.dumps(row, sort_keys=True) + "\n" for row in rows), encoding="utf-8")
    scratch.replace(path)
