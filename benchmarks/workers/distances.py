"""How far a trained student is from its teacher on a test split: the whole divergence, whatever it was trained on."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np

from distill_or_annotate.capture.batching import padded
from distill_or_annotate.interop import parameters
from distill_or_annotate.model import DistillationObjective, DistillationOptions
from distill_or_annotate.pipeline.program import Program
from distill_or_annotate.tasks import registry

_ROWS = 250


def on_test(teacher: Program, student: Program, task: str) -> float:
    """Reads both networks' last checkpoints and compares them at the positions of the gold targets.

    Args:
      teacher: the program that trained the teacher.
      student: the program that trained the student.
      task: the base task.

    Returns:
      `T^2 KL(teacher || student)` at T = 2, per token.
    """
    (teacher_model, teacher_params), (model, params) = (
        (program.macro("MODEL"), parameters.read_checkpoint(Path(program.macros["MODEL_DIR"]))[0])
        for program in (teacher, student)
    )

    @jax.jit
    def one(teacher_params, params, batch):
        known = lambda seen: teacher_model._compute_logits(teacher_params, seen, None)  # noqa: E731
        objective = DistillationObjective(model, known, DistillationOptions(normalize_by="tokens"))
        return objective.loss_fn(params, batch, None)[1]["distill/kl_per_token"]

    found = [one(teacher_params, params, batch) for batch in _batches(task)]
    return float(sum(metric.total for metric in found) / sum(metric.count for metric in found))


def _batches(task: str) -> list[dict[str, np.ndarray]]:
    spec, vocabulary, rows = registry.get(task), registry.vocabulary(task), registry.rows(task, "test")

    def table(texts: list[str], length: int) -> np.ndarray:
        return padded([np.array([*vocabulary.encode(text), vocabulary.eos_id]) for text in texts], length, len(texts))

    batches = []
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        targets = table([row["target"] for row in part], spec.target_tokens)
        batches.append(
            {
                "encoder_input_tokens": table([spec.prefix + row["source"] for row in part], spec.input_tokens),
                "decoder_target_tokens": targets,
                "decoder_input_tokens": np.pad(targets[:, :-1], ((0, 0), (1, 0))),
                "decoder_loss_weights": (targets > 0).astype(np.int32),
            }
        )
    return batches
