"""The pieces of work behind `store_scores.py`: one teacher, each way's first pass over the pool, and its students.

A piece is a T5X program in a folder of its own, run in this process as `doa run` does, and what was measured of it in
`done.json`, which is written last: a piece that was killed starts anew, so that its seconds are those of the whole.
"""

from __future__ import annotations

import itertools
import json
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill_or_annotate.pipeline import gin_files, programs
from distill_or_annotate.pipeline.manifest import write_json
from distill_or_annotate.pipeline.program import Program

TASK, N_UNLABELED, N_LABELS, DATA_SEED = "mini", 4287, 100, 0
GOLD = f"{TASK}_n{N_LABELS}_s{DATA_SEED}"
LIVE = "live"

_DONE = "done.json"


@dataclass(frozen=True)
class Piece:
    """One program and its folder.

    Attributes:
      name: of its folder.
      program: what runs.
      way: `live` or a kind of store; '' for the teacher.
      seed: of training; None for a pass over the pool.
    """

    name: str
    program: Program
    way: str = ""
    seed: int | None = None


def pieces(work_dir: Path, kinds: Sequence[str], seeds: Sequence[int]) -> list[Piece]:
    """All pieces, each behind those that it reads.

    Args:
      work_dir: holds their folders.
      kinds: kinds of store, `topk` and `hidden`.
      seeds: of the students' training.

    Returns:
      The teacher, the first pass of each way, and the students seed by seed. The way that begins changes with the
      seed: a machine that gets slower in between must not look like a slower way.
    """
    ways = [LIVE, *kinds]
    students = []
    for turn, seed in enumerate(seeds):
        shift = turn % len(ways)
        students += [_student(work_dir, way, seed) for way in ways[shift:] + ways[:shift]]
    return [_teacher(work_dir), *(_first_pass(work_dir, way) for way in ways), *students]


def _teacher(work_dir: Path) -> Piece:
    macros = {"TASK": TASK, "N_LABELS": N_LABELS, "DATA_SEED": DATA_SEED, "RANDOM_SEED": 0}
    macros["MODEL_DIR"] = str(work_dir / "teacher" / programs.MODEL)
    return Piece("teacher", Program("t5x.train", ("gin/experiments/mini_teacher.gin",), macros))


def _first_pass(work_dir: Path, way: str) -> Piece:
    """The paper's loop decodes the pool once, too: T5X's own inference, which keeps the targets and nothing else."""
    name = "generate" if way == LIVE else f"capture_{way}"
    output = str(work_dir / name / programs.PREDICTIONS)
    macros = {"TASK": TASK, "N_UNLABELED": N_UNLABELED, "CHECKPOINT_PATH": str(work_dir / "teacher" / programs.MODEL)}
    macros |= {"INFER_OUTPUT_DIR": output}
    macros |= {"infer.output_dir": output} if way == LIVE else {"KIND": way, "GIVEN_TASK": GOLD}
    return Piece(name, Program("t5x.infer", ("gin/experiments/mini_capture.gin",), macros), way)


def _student(work_dir: Path, way: str, seed: int) -> Piece:
    name = f"{way}_{seed}"
    macros = {"TASK": TASK, "N_UNLABELED": N_UNLABELED, "RANDOM_SEED": seed}
    macros["MODEL_DIR"] = str(work_dir / name / programs.MODEL)
    if way == LIVE:
        predictions = work_dir / "generate" / programs.PREDICTIONS / programs.PREDICTIONS_PATTERN
        macros |= {"N_LABELS": N_LABELS, "DATA_SEED": DATA_SEED, "PREDICTIONS": str(predictions)}
        macros["TEACHER_PATH"] = str(work_dir / "teacher" / programs.MODEL)
        file = "gin/experiments/mini_distill.gin"
    else:
        macros |= {"STORE": str(work_dir / f"capture_{way}" / programs.PREDICTIONS), "GOLD": GOLD}
        file = "gin/experiments/mini_distill_captured.gin"
    return Piece(name, Program("t5x.train", (file,), macros), way, seed)


def run(piece: Piece, work_dir: Path, on_step: Callable[[int, int | None], None] = lambda *_: None) -> dict[str, Any]:
    """Runs a piece, or reads what a finished one measured.

    Args:
      piece: the piece; those that it reads are finished.
      work_dir: holds the folders.
      on_step: receives the number of the last step and that of all.

    Returns:
      `seconds` of the whole program and `processor_seconds` of all its threads; of a student also `steps`,
      `step_seconds` (the median), `score` and `final_loss`; of a store its `bytes`.

    Raises:
      SystemExit: the piece failed, or its folder holds one of other settings.
    """
    folder = work_dir / piece.name
    settings = {"macros": dict(piece.program.macros), "gin": [gin_files.digest(f) for f in piece.program.gin_files]}
    if (folder / _DONE).exists():
        kept = json.loads((folder / _DONE).read_text(encoding="utf-8"))
        if kept["settings"] != settings:
            raise SystemExit(
                f"{folder} was run with other settings or gin files. Fix: give another --work-dir, or remove this one."
            )
        return kept["measured"]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    measured = _timed(piece, folder, on_step)
    if piece.seed is not None:
        from distill_or_annotate.pipeline import evaluation

        measured["score"] = evaluation.evaluate(folder, TASK, labels=None)["score"]
        measured["final_loss"] = _last_loss(folder / programs.MODEL)
    elif piece.way not in ("", LIVE):
        files = (folder / programs.PREDICTIONS).iterdir()
        measured["bytes"] = sum(f.stat().st_size for f in files if f.suffix in (".tfrecord", ".safetensors"))
    write_json(folder / _DONE, {"settings": settings, "measured": measured})
    return measured


def _timed(piece: Piece, folder: Path, on_step: Callable[[int, int | None], None]) -> dict[str, Any]:
    from distill_or_annotate.trainer import progress

    reports: list[tuple[int, float]] = []

    def listener(step: int, total: int | None) -> None:
        reports.append((step, time.perf_counter()))
        on_step(step, total)

    start, processor = time.perf_counter(), time.process_time()
    try:
        with progress.listening(listener):
            piece.program.run(folder / "log.txt")
    except Exception as error:
        raise SystemExit(
            f"{piece.name} failed: {type(error).__name__}: {error}\n  log: {folder / 'log.txt'}"
        ) from error
    measured = {"seconds": time.perf_counter() - start, "processor_seconds": time.process_time() - processor}
    if piece.seed is not None:
        measured |= {"steps": reports[-1][0], "step_seconds": seconds_per_step(reports)}
    return measured


def seconds_per_step(reports: Sequence[tuple[int, float]]) -> float:
    """The median over the pieces of a training run, the first left out: it compiles.

    Args:
      reports: last step and time of each piece.
    """
    pairs = itertools.pairwise(reports)
    return statistics.median((later - before) / (step - first) for (first, before), (step, later) in pairs)


def _last_loss(model_dir: Path) -> float:
    """The student's divergence per token over its last twenty steps, as its own trainer recorded it."""
    import tensorflow as tf

    found: dict[int, float] = {}
    for path in sorted((model_dir / "train").glob("events.*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                if value.tag == "distill/kl_per_token":
                    found[event.step] = float(tf.make_ndarray(value.tensor))
    return found[max(found)]
