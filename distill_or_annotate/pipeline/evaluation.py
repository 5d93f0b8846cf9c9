"""From a training stage's decoded test set to a score with its floors: files in, files out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from distill_or_annotate.metrics import evaluation
from distill_or_annotate.pipeline.programs import MODEL


class EvaluationError(ValueError):
    """A stage's decoded examples are missing or are not those of the test split."""


def decoded_file(stage_folder: Path) -> Path:
    """The JSON lines that the last evaluation of a training stage left.

    Args:
      stage_folder: folder of a finetune, annotate or distill stage.

    Returns:
      The file of the highest step.

    Raises:
      EvaluationError: if there is none.
    """
    folder = stage_folder / MODEL / "inference_eval"
    files = [path for path in folder.glob("*.jsonl") if not path.name.endswith("-metrics.jsonl")]
    if not files:
        raise EvaluationError(f"no decoded examples in {folder}. Fix: remove {stage_folder} and run again.")
    return max(files, key=lambda path: int(path.stem.rsplit("-", 1)[1]))


def evaluate(
    stage_folder: Path,
    task: str,
    labels: str | None,
    seed: int = 0,
    split: str = "test",
    mode: str | None = None,
) -> dict[str, Any]:
    """Score a training stage on a split.

    Args:
      stage_folder: folder of a finetune, annotate or distill stage.
      task: base task.
      labels: the variant whose labels the model had, from which floors learn; None leaves the learnt floors out.
      seed: seed of the bootstrap.
      split: the split that was decoded.
      mode: of the metric, fair or paper; None takes the task's.

    Returns:
      What `metrics.evaluation.evaluate` gives, `labels` (entity types or label words), and `predictions`: rows of
      source, target and prediction.

    Raises:
      EvaluationError: if the decoded examples are not that split.
    """
    from distill_or_annotate.tasks import registry, variants

    path = decoded_file(stage_folder)
    prefix = registry.get(task).prefix
    decoded: dict[str, str] = {}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            decoded[record["input"]["inputs_pretokenized"].removeprefix(prefix)] = record["prediction"]
    rows = registry.rows(task, split)
    missing = [row["source"] for row in rows if row["source"] not in decoded]
    if missing:
        raise EvaluationError(
            f"{path} lacks {len(missing)} of the {len(rows)} {split} sources of {task!r}, such as {missing[0]!r}. "
            f"Fix: set EVAL_SPLIT={split!r} and leave EVALUATOR_NUM_EXAMPLES unset."
        )
    predictions = [decoded[row["source"]] for row in rows]
    train_rows = registry.rows(variants.variant(labels), "train") if labels else None
    scorer = registry.scorer(task, mode)
    result = evaluation.evaluate(scorer, rows, predictions, train_rows, seed=seed)
    table = [{**row, "prediction": prediction} for row, prediction in zip(rows, predictions, strict=True)]
    return {**result, "labels": list(scorer.labels), "predictions": table}
