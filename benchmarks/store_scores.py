"""Does a student of a store score as one of a live teacher? `python benchmarks/store_scores.py` trains both and says.

On the mini models, over training seeds: (i) the paper's loop, which decodes the pool once and runs the teacher in each
step; (ii) a capture, and students that train on its store. Prints JSON: for each way the test score by seed with mean
and standard error, the loss it ended with, the divergence from the teacher on test (one yardstick, where the losses are
not: that of `topk` lumps the tail), seconds with and without the first pass, bytes of the store, operations by the
jaxpr walk, the teacher's share of them, and how far its mean score is from the live teacher's in standard errors.

Finished pieces are kept in --work-dir: the same command goes on where it was stopped. About ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

sys.path.insert(0, str(Path(__file__).parent / "workers"))

import store_pieces
from shapes import Shape
from store_pieces import LIVE

_ROOT = Path(__file__).parents[1]
EXAMPLE = "python benchmarks/store_scores.py --seeds 0 1 2 --output docs/results/store_scores.json"
# Lengths and vocabulary of gin/tasks/mini.gin, networks of gin/models/mini_teacher.gin and mini_student.gin.
_BATCH = {"batch": 32, "input_tokens": 20, "target_tokens": 20, "vocab": 1024}
TEACHER, STUDENT = Shape(160, 32, 320, 5, 4, **_BATCH), Shape(64, 32, 128, 2, 2, **_BATCH)


def main() -> None:
    """Runs what is missing of the pieces that the command line names and prints the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog=f"example: {EXAMPLE}")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of the students' training")
    parser.add_argument("--kinds", nargs="+", choices=["topk", "hidden"], default=["topk", "hidden"], help="stores")
    parser.add_argument("--work-dir", type=Path, default=Path("runs/store-scores"), help="where pieces are kept")
    parser.add_argument("--output", type=Path, help="also write the JSON here")
    args = parser.parse_args()
    for name in ("seeds", "kinds"):
        if len(set(getattr(args, name))) < len(getattr(args, name)):
            parser.error(f"--{name}: received {getattr(args, name)}; each may be given once.")
    if args.output:
        args.output = args.output.absolute()
        args.output.parent.mkdir(parents=True, exist_ok=True)
    work_dir = args.work_dir.absolute()
    os.chdir(_ROOT)  # gin files are looked up from here
    measured = _run(work_dir, args.kinds, args.seeds)
    distances = {way: [_distance(work_dir, way, seed) for seed in args.seeds] for way in (LIVE, *args.kinds)}
    text = json.dumps(_about(args.seeds, args.kinds) | report(measured, distances, args.seeds, _flops()), indent=1)
    print(text)
    if args.output:
        args.output.write_text(text + "\n", encoding="utf-8")


def _run(work_dir: Path, kinds: Sequence[str], seeds: Sequence[int]) -> dict[str, dict[str, Any]]:
    from distill_or_annotate.pipeline import preparing
    from distill_or_annotate.quiet import import_quietly

    preparing.prepare_environment()
    import_quietly("tensorflow", "seqio")
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeElapsedColumn())
    measured = {}
    with Progress(*columns, console=Console(stderr=True)) as progress:
        listed = store_pieces.pieces(work_dir, kinds, seeds)
        whole = progress.add_task("pieces", total=len(listed))
        for piece in listed:
            bar = progress.add_task(piece.name, total=None)

            def on_step(step: int, total: int | None, bar: Any = bar) -> None:
                progress.update(bar, completed=step, total=total)

            measured[piece.name] = store_pieces.run(piece, work_dir, on_step)
            progress.remove_task(bar)
            progress.advance(whole)
    return measured


def report(
    measured: Mapping[str, Mapping[str, Any]],
    distances: Mapping[str, Sequence[float]],
    seeds: Sequence[int],
    flops: Mapping[str, int],
) -> dict[str, Any]:
    """The figures of each way, and of each store against the live teacher.

    Args:
      measured: piece name to what `store_pieces.run` gave.
      distances: way to the divergence from the teacher on test, a value a seed.
      seeds: of training; with one alone there is no standard error.
      flops: operations of each part on one batch, as `distill_flops.of_a_batch` gives them.

    Returns:
      `ways` and `against_live`.
    """
    ways = {}
    for way, distance in distances.items():
        once = "generate" if way == LIVE else f"capture_{way}"
        students = [measured[f"{way}_{seed}"] for seed in seeds]
        training = [student["steps"] * student["step_seconds"] for student in students]
        ways[way] = {
            "score": _spread([student["score"] for student in students]),
            "final_loss": _spread([student["final_loss"] for student in students], 4),
            "kl_per_token_on_test": _spread(distance, 4),
            "seconds": {
                "first_pass": round(measured[once]["seconds"], 1),
                "training_steps": _spread(training, 1),
                "training_program": _spread([student["seconds"] for student in students], 1),
                "first_pass_and_training_steps": round(measured[once]["seconds"] + statistics.fmean(training), 1),
            },
            "processor_seconds": {
                "first_pass": round(measured[once]["processor_seconds"], 1),
                "training_program": _spread([student["processor_seconds"] for student in students], 1),
            },
            "store_bytes": measured[once].get("bytes", 0),
            "flops": _work(way, once, students[0]["steps"], flops),
        }
    against = {way: _against(ways[way], ways[LIVE]) for way in ways if way != LIVE}
    return {"ways": ways, "against_live": against}


def _work(way: str, once: str, steps: int, flops: Mapping[str, int]) -> dict[str, Any]:
    """Operations of the pass over the pool and of training, and how much of both is the teacher's."""
    examples = store_pieces.N_UNLABELED + (0 if way == LIVE else store_pieces.N_LABELS)
    first = flops[once] * examples / TEACHER.batch
    # A step on hidden states also applies the teacher's head.
    of_teacher = {LIVE: flops["teacher"], "hidden": flops["hidden"] - flops["topk"]}.get(way, 0)
    total = first + steps * flops[way]
    return {
        "first_pass": first,
        "training": steps * flops[way],
        "total": total,
        "teacher_share": round((first + steps * of_teacher) / total, 3),
    }


def _against(store: Mapping[str, Any], live: Mapping[str, Any]) -> dict[str, Any]:
    difference = store["score"]["mean"] - live["score"]["mean"]
    errors = live["score"]["standard_error"], store["score"]["standard_error"]
    found: dict[str, Any] = {"score_difference": round(difference, 3)}
    if None not in errors:
        of_both = math.hypot(*errors)
        found |= {
            "in_standard_errors_of_live": round(difference / errors[0], 2) if errors[0] else None,
            "in_standard_errors_of_the_difference": round(difference / of_both, 2) if of_both else None,
            "within_one_standard_error_of_live": abs(difference) <= errors[0],
        }
    once = "first_pass_and_training_steps"
    return found | {
        "times_fewer_flops": round(live["flops"]["total"] / store["flops"]["total"], 2),
        "times_fewer_seconds": round(live["seconds"][once] / store["seconds"][once], 2),
        "times_fewer_seconds_training_steps": round(
            live["seconds"]["training_steps"]["mean"] / store["seconds"]["training_steps"]["mean"], 2
        ),
    }


def _spread(values: Sequence[float], digits: int = 3) -> dict[str, Any]:
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return {
        "by_seed": [round(value, digits) for value in values],
        "mean": round(statistics.fmean(values), digits),
        "standard_error": None if error is None else round(error, digits),
    }


def _distance(work_dir: Path, way: str, seed: int) -> float:
    """`T^2 KL(teacher || student)` per target token of the test split, over the whole vocabulary."""
    from distances import on_test

    listed = {
        piece.name: piece.program for piece in store_pieces.pieces(work_dir, [way] if way != LIVE else [], [seed])
    }
    return on_test(listed["teacher"], listed[f"{way}_{seed}"], store_pieces.TASK)


def _flops() -> dict[str, int]:
    from distill_flops import of_a_batch

    return of_a_batch(TEACHER, STUDENT)


def _about(seeds: Sequence[int], kinds: Sequence[str]) -> dict[str, Any]:
    return {
        "command": f"python benchmarks/store_scores.py --seeds {' '.join(map(str, seeds))} --kinds {' '.join(kinds)}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, float32",
        "python": platform.python_version(),
        "jax": importlib.metadata.version("jax"),
        "task": store_pieces.TASK,
        "n_unlabeled": store_pieces.N_UNLABELED,
        "n_labels": store_pieces.N_LABELS,
        "data_seed": store_pieces.DATA_SEED,
        "seeds": list(seeds),
    }


if __name__ == "__main__":
    main()
