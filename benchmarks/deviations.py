"""What each difference between paper and fair mode does to scores and verdict: `python benchmarks/deviations.py`.

Each row is a study of `doa run` with one setting changed, beside the same study without the change, over data seeds:

  learning_rate   both students at a thirtieth of the tuned rate, as the paper's 3e-5 is of one at which T5 v1.1 trains
  annotate_rate   the student on labels alone at that rate
  search          both students searched on dev: three rates
  fixed_search    both students by SEARCH=fixed of their form, six candidates on dev: three rates by two lengths
  training        the paper's optimizer, clipping and schedule for both students, at the best of three rates on dev
  padding         the loss over every position, pads included (no row where the teacher is an encoder)
  gold            no gold labels among the teacher's
  pool            the pool holds the labelled sources (embedded task alone: `wlp_mini`'s always does)
  prefix          the task's name before each source (embedded task alone)
  metrics         the same predictions by the paper's metric: the entity parser one word short; for words (mini_cls) an
                  unknown one is the first class

Every row can be run alone and goes on where it stopped: stages are shared in one folder (--stages-dir may be that of a
study that ran before). JSON on standard output, and a Markdown table with --markdown. `--study real` is MultiPIT-Id on
released data with MiniLM as the teacher and mini_student (DOA_DATA_DIR, make pretrain-released); `--study stances`
is Stanceosaurus likewise (`--rows metrics`: micro in place of macro F1, of the models of `doa run real_stanceosaurus`);
`--study wlp` Wet Lab Protocols with mini models (DOA_DATA_DIR, make pretrain-wlp).
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]
# Scenario to the fields that narrow it: one N, and one budget beside none at which both strategies have a model.
STUDIES: dict[str, dict[str, dict[str, Any]]] = {
    "mini": {
        "quickstart": {"additional_usd": (0.0, 20.0)},
        "quickstart_cls": {"additional_usd": (0.0, 20.0), "n_labels": 300},
    },
    "real": {
        "real_multipit_id": {
            "n_labels": 500,
            "n_unlabeled": (),
            "additional_usd": (0.0, 12.42),
            "student": "mini_student",
            "student_gin": {},
        }
    },
    "stances": {"real_stanceosaurus": {"n_labels": 500, "student": "mini_student", "student_gin": {}}},
    "wlp": {"wlp_mini_models": {}},
    "smoke": {"smoke": {}},
}
# How far below a tuned rate the paper's lies.
RATIO = 30
_BASE = "fair"
_COUNTED = {"capture": {"PADDING": "counted"}, "distill": {"PADDING": "counted", "NORMALIZE_BY": "positions"}}
_NO_GOLD = {"capture": {"GIVEN_TASK": None}, "distill": {"GOLD": None}}
_RATES = (1 / 2.5, 1, 2.5)
# The paper's way of training the mini student, and rates at which AdamW trains models of that size.
_PAPER_TRAINING = {
    "annotate_gin": "gin/experiments/paper_mini_annotate.gin",
    "distill_gin": "gin/experiments/paper_mini_distill.gin",
}
_PREFIXED = {"task": "mini_prefixed", "task_gin": "gin/tasks/mini_prefixed.gin"}
_ADAMW_RATES = (3e-4, 1e-3, 3e-3)
_FORM = ("table2", ["FORM=mini", "TASK=mini", "SEARCH=fixed"])  # whose search is that of the embedded tasks
ROWS = (
    "learning_rate",
    "annotate_rate",
    "search",
    "fixed_search",
    "training",
    "padding",
    "gold",
    "pool",
    "prefix",
    "metrics",
)

Cell = tuple[str, float]


def main() -> None:
    """Runs the rows named on the command line and prints what they changed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", choices=list(STUDIES), default="mini")
    parser.add_argument("--scenarios", nargs="+", help="of the study (default: all)")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="data seeds")
    parser.add_argument("--run-dir", type=Path, default=Path("runs/deviations"))
    parser.add_argument("--stages-dir", type=Path, help="shared stages (default: RUN_DIR/stages)")
    parser.add_argument("--markdown", type=Path, help="write the table here")
    parser.add_argument("--output", type=Path, help="also write the JSON here")
    args = parser.parse_args()
    study = STUDIES[args.study]
    if unknown := set(args.scenarios or ()) - set(study):
        parser.error(f"--scenarios {' '.join(sorted(unknown))}: the study {args.study} has {', '.join(study)}.")
    args.stages_dir = args.stages_dir or args.run_dir / "stages"
    report = {"study": args.study, "seeds": args.seeds, "ratio": RATIO, "rows": []}
    for name in args.scenarios or study:
        narrowed = study[name]
        base = _run(name, _BASE, narrowed, args)
        for row in args.rows:
            if row == "metrics":
                report["rows"].append({"row": row, "scenario": name, **_rescored(base, args.stages_dir)})
            elif (change := changed(row, name, narrowed)) is not None:
                found = compared(base, _run(name, row, narrowed | change, args))
                report["rows"].append({"row": row, "scenario": name, **found})
    text = json.dumps(report, indent=1)
    print(text)
    if args.output:
        args.output.write_text(text + "\n", encoding="utf-8")
    if args.markdown:
        args.markdown.write_text(markdown(report), encoding="utf-8")


def changed(row: str, name: str, narrowed: Mapping[str, Any]) -> dict[str, Any] | None:
    """The fields of a scenario that a row sets; None where the row means nothing for it.

    Args:
      row: one of ROWS.
      name: the scenario.
      narrowed: fields that narrow it.
    """
    from distill_or_annotate.pipeline import study
    from distill_or_annotate.scenarios import is_encoder

    scenario, _ = study.read(name, [f"{field}={value!r}" for field, value in narrowed.items()])
    rates = {kind: _rate(scenario.gin_file(kind), scenario.macros.get(kind, {})) for kind in ("annotate", "distill")}
    if row == "search":
        return {
            "search": {kind: {"LEARNING_RATE": tuple(_short(rate * r) for r in _RATES)} for kind, rate in rates.items()}
        }
    if row == "fixed_search":
        fixed, _ = study.read(name, ["SEARCH=fixed"]) if name.startswith("real_") else study.read(*_FORM)
        return {"search": {**fixed.student_search.get(scenario.student, fixed.search)}}
    if row == "training":
        rates = {"LEARNING_RATE": _ADAMW_RATES}
        return {**_PAPER_TRAINING, "search": dict.fromkeys(("annotate", "distill"), rates)}
    if row == "pool":
        return {"task": "mini_pooled"} if scenario.task == "mini" else None
    if row == "prefix":
        return _PREFIXED if scenario.task == "mini" else None
    if row == "padding" and is_encoder(scenario.teacher):
        return None
    slow = {kind: {"LEARNING_RATE": _short(rate / RATIO)} for kind, rate in rates.items()}
    changes = {
        "learning_rate": slow,
        "annotate_rate": {"annotate": slow["annotate"]},
        "padding": _COUNTED,
        "gold": _NO_GOLD,
    }
    macros = {kind: dict(values) for kind, values in scenario.macros.items()}
    for kind, values in changes[row].items():
        macros[kind] = {**macros.get(kind, {}), **values}
    return {"macros": macros}


def _rate(gin_file: str, macros: Mapping[str, Any]) -> float:
    text = (_ROOT / gin_file).read_text(encoding="utf-8")
    return macros.get("LEARNING_RATE") or float(re.search(r"^LEARNING_RATE = (\S+)$", text, re.MULTILINE)[1])


def _short(rate: float) -> float:
    return float(f"{rate:.3g}")


def _run(name: str, arm: str, change: Mapping[str, Any], args: argparse.Namespace) -> list[dict[str, Any]]:
    """The result rows of a study with its change; `doa run` goes on where it stopped."""
    folder = args.run_dir / f"{name}-{arm}"
    words = [sys.executable, "-m", "distill_or_annotate", "run", name, "--force", "--run-dir", str(folder)]
    words += ["--stages-dir", str(args.stages_dir), "--set", f"data_seed={tuple(args.seeds)!r}"]
    for field, value in change.items():
        words += ["--set", f"{field}={value!r}"]
    subprocess.run(words, cwd=_ROOT, check=True, stdout=sys.stderr)
    return [json.loads(line) for line in (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()]


def _by_cell(rows: Sequence[Mapping[str, Any]], score: str = "score") -> dict[Cell, dict[int, float]]:
    found: dict[Cell, dict[int, float]] = defaultdict(dict)
    for row in rows:
        found[row["strategy"], row["additional_usd"]][row["data_seed"]] = row[score]
    return dict(found)


def compared(base: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a change did: each cell's scores and the verdicts.

    Args:
      base: result rows without it.
      other: result rows with it.

    Returns:
      `metric`, `cells` (each with both means, the difference and its standard error over data seeds, None for one seed)
      and `verdicts` (of each budget that both strategies have a model for).
    """
    before, after = _by_cell(base), _by_cell(other)
    cells = []
    for strategy, usd in sorted(set(before) & set(after), key=lambda cell: (cell[0], cell[1])):
        pair = before[strategy, usd], after[strategy, usd]
        seeds = sorted(set(pair[0]) & set(pair[1]))
        differences = [pair[1][seed] - pair[0][seed] for seed in seeds]
        stderr = statistics.stdev(differences) / math.sqrt(len(seeds)) if len(seeds) > 1 else None
        means = [statistics.fmean(scores[seed] for seed in seeds) for scores in pair]
        cells.append(
            {"strategy": strategy, "additional_usd": usd, "fair": means[0], "changed": means[1],
             "difference": means[1] - means[0], "stderr": stderr, "n_seeds": len(seeds)}
        )  # fmt: skip
    verdicts = [
        {"additional_usd": usd, "fair": _winner(before, usd), "changed": _winner(after, usd)}
        for usd in sorted({usd for _, usd in before})
        if _winner(before, usd) and _winner(after, usd)
    ]
    return {"metric": base[0]["metric"], "cells": cells, "verdicts": verdicts}


def _winner(cells: Mapping[Cell, Mapping[int, float]], usd: float) -> str | None:
    means = {
        name: statistics.fmean(cells[name, usd].values()) for name in ("annotate", "distill") if (name, usd) in cells
    }
    if len(means) < 2:
        return None  # a strategy without a model
    # Scores that print alike are a tie.
    return max(means, key=means.get) if len({f"{mean:.1f}" for mean in means.values()}) == 2 else "tie"


def _rescored(base: Sequence[Mapping[str, Any]], stages_dir: Path) -> dict[str, Any]:
    """The same predictions by the paper's metric, and with unknown answers as the first class alone."""
    from distill_or_annotate.metrics.evaluation import Scorer, evaluate
    from distill_or_annotate.tasks import registry

    fair = registry.scorer(base[0]["task"])
    paper = Scorer(fair.metric, labels=fair.labels, mode="paper")
    evaluations = {
        json.loads(path.read_text(encoding="utf-8"))["subject"]: path.parent
        for path in stages_dir.glob("evaluate-*/evaluation.json")
    }
    other = []
    for row in base:
        lines = (evaluations[row["run_ids"][0]] / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
        table = [json.loads(line) for line in lines]
        found = evaluate(paper, table, [line["prediction"] for line in table])
        other.append({**row, "score": found["score"]})
    return compared(base, other)


def markdown(report: Mapping[str, Any]) -> str:
    """The rows as a Markdown table.

    Args:
      report: what `main` prints.
    """
    lines = [
        "| difference | study | annotate | distill | distill - annotate | budgets whose better buy changed |",
        "|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        told = [_told([cell for cell in row["cells"] if cell["strategy"] == name]) for name in ("annotate", "distill")]
        moved = [f"+${each['additional_usd']:g}" for each in row["verdicts"] if each["fair"] != each["changed"]]
        verdict = f"{', '.join(moved)} of {len(row['verdicts'])}" if moved else f"none of {len(row['verdicts'])}"
        leads = _leads(row["cells"])
        lines.append(f"| {row['row']} | {row['scenario']} | {told[0]} | {told[1]} | {leads} | {verdict} |")
    return "\n".join(lines) + "\n"


def _leads(cells: Sequence[Mapping[str, Any]]) -> str:
    """Points by which distilling is ahead where both strategies have a model, without the change and with it."""
    by = {(cell["strategy"], cell["additional_usd"]): cell for cell in cells}
    told = [
        f"+${usd:g}: {cell['fair'] - other['fair']:+.1f} → {cell['changed'] - other['changed']:+.1f}"
        for (strategy, usd), cell in sorted(by.items())
        if strategy == "distill" and (other := by.get(("annotate", usd)))
    ]
    return "; ".join(told) or "-"


def _told(cells: Sequence[Mapping[str, Any]]) -> str:
    """The smallest and the largest change among a strategy's budgets."""
    if not cells:
        return "-"
    ordered = sorted(cells, key=lambda cell: cell["difference"])
    ends = [ordered[0], ordered[-1]] if len(ordered) > 1 else ordered
    return " to ".join(
        f"{cell['difference']:+.1f}" + (f" ± {cell['stderr']:.1f}" if cell["stderr"] is not None else "")
        for cell in ends
    )


if __name__ == "__main__":
    main()
