"""Acceptance figures of the embedded tasks over data seeds: `make bench-mini`, or `python benchmarks/mini.py`.

Runs each demonstration once a data seed through `doa run` (finished stages are kept, so an interrupted benchmark
resumes), then prints JSON: the cells as mean and standard deviation over seeds, and the differences that the
demonstration claims with 95% intervals. An interval comes from a paired bootstrap that draws data seeds and,
within each, test examples, since both vary.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np

_STUDIES = {"mini": "quickstart", "mini_cls": "quickstart_cls"}
_ROOT = Path(__file__).parents[1]
_DRAWS = 2000


def main() -> None:
    """Runs the studies over the seeds given on the command line and prints their figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="data seeds")
    parser.add_argument("--tasks", nargs="+", default=list(_STUDIES), choices=list(_STUDIES))
    parser.add_argument("--run-dir", type=Path, default=Path("runs/bench-mini"))
    parser.add_argument("--output", type=Path, help="also write the JSON here")
    args = parser.parse_args()
    report = {"machine": f"{platform.machine()}, {platform.python_version()}", "seeds": args.seeds, "tasks": {}}
    for task in args.tasks:
        runs = [_run(task, seed, args.run_dir) for seed in args.seeds]
        report["tasks"][task] = _figures(runs, task)
    text = json.dumps(report, indent=1)
    print(text)
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(text + "\n", encoding="utf-8")


def _run(task: str, seed: int, run_dir: Path) -> Path:
    folder = run_dir / f"{task}-s{seed}"
    command = [sys.executable, "-m", "distill_or_annotate", "run", f"gin/experiments/{_STUDIES[task]}.gin"]
    subprocess.run(
        [*command, "--run-dir", str(folder), "--set", f"data_seed={seed}"], cwd=_ROOT, check=True, stdout=sys.stderr
    )
    return folder


def _figures(runs: list[Path], task: str) -> dict:
    from distill_or_annotate.tasks import registry

    scorer = registry.scorer(task)
    tables = [_cells(run) for run in runs]
    shared = sorted(set.intersection(*(set(table) for table in tables)))
    cells = {f"{strategy} +${usd:g}": _spread([table[strategy, usd] for table in tables]) for strategy, usd in shared}
    start = min(usd for strategy, usd in shared if strategy == "annotate")
    teacher = next(key for key in shared if key[0] == "teacher")
    claims = {"teacher - annotate at the initial labels": (teacher, ("annotate", start))}
    for strategy, usd in shared:
        if strategy == "distill" and ("annotate", usd) in shared:
            claims[f"distill - annotate at +${usd:g}"] = ((strategy, usd), ("annotate", usd))
    first = ("annotate", start)
    manifest = json.loads((runs[0] / "manifest.json").read_text())
    return {
        "metric": tables[0][first]["metric"],
        "cells": cells,
        "not affordable": [
            f"{cell['strategy']} +${cell['additional_usd']:g}" for cell in manifest["cells"] if not cell["affordable"]
        ],
        "floors at the initial labels": {
            name: _spread([{"score": table[first]["floor"][name]} for table in tables])
            for name in tables[0][first]["floor"]
        },
        "differences": {
            name: _difference([(table[a], table[b]) for table in tables], scorer) for name, (a, b) in claims.items()
        },
        "flagged degenerate": sorted(
            f"{run.name}: {strategy} +${usd:g}"
            for run, table in zip(runs, tables, strict=True)
            for (strategy, usd), row in table.items()
            if row["degenerate"]["flagged"]
        ),
        "seconds": [_seconds(run) for run in runs],
    }


def _read(path: Path) -> list[dict]:
    # By file lines: `str.splitlines` would also split inside a text that holds U+2028.
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _cells(run: Path) -> dict[tuple[str, float], dict]:
    """Result rows by (strategy, additional dollars), each with its test predictions."""
    rows = _read(run / "results.jsonl")
    evaluated = {}
    for path in run.glob("stages/evaluate-*/evaluation.json"):
        evaluated[json.loads(path.read_text())["subject"]] = _read(path.with_name("predictions.jsonl"))
    return {
        (row["strategy"], 0.0 if row["strategy"] == "teacher" else row["additional_usd"]): row
        | {"predictions": evaluated[row["run_ids"][0]]}
        for row in rows
    }


def _spread(rows: list[dict]) -> dict[str, object]:
    scores = [row["score"] for row in rows]
    deviation = float(np.std(scores, ddof=1)) if len(scores) > 1 else None
    return {
        "mean": round(float(np.mean(scores)), 2),
        "sd": deviation and round(deviation, 2),
        "scores": [round(s, 2) for s in scores],
    }


def _difference(pairs: list[tuple[dict, dict]], scorer) -> dict[str, object]:
    counts = []
    for better, worse in pairs:
        both = []
        for row in (better, worse):
            targets = [example["target"] for example in row["predictions"]]
            both.append(scorer.counts(targets, [example["prediction"] for example in row["predictions"]]))
        counts.append(both)
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(_DRAWS):
        drawn = []
        for seed in rng.integers(0, len(counts), len(counts)):
            first, second = counts[seed]
            examples = rng.integers(0, len(first), len(first))
            drawn.append(scorer.headline(first[examples].sum(0)) - scorer.headline(second[examples].sum(0)))
        draws.append(np.mean(drawn))
    low, high = np.percentile(draws, [2.5, 97.5])
    each = [float(scorer.headline(a.sum(0)) - scorer.headline(b.sum(0))) for a, b in counts]
    return {
        "mean": round(float(np.mean(each)), 2),
        "interval_95": [round(float(low), 2), round(float(high), 2)],
        "by_seed": [round(value, 2) for value in each],
    }


def _seconds(run: Path) -> float:
    rows = _read(run / "ledger.jsonl")
    return round(sum(r["quantity"] for r in rows if r["unit"] == "device-second" and r["status"] == "settled"), 1)


if __name__ == "__main__":
    main()
