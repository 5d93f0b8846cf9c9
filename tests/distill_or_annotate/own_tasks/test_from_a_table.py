"""The README's way from a table, literally, in a folder of the user's own: one budget, three steps a model."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

_README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
_COMMANDS = re.findall(r"^doa [^\n]*reviews[^\n]*$", _README, re.MULTILINE)
_FEW_STEPS = {kind: {"MAX_STEPS": 3} for kind in ("finetune", "distill", "annotate")}


def _run(command: str, folder: Path, *more: str) -> str:
    """Run a command of the README in a process of its own; return what it prints."""
    words = shlex.split(command)
    program = {"doa": ["-m", "distill_or_annotate"], "python": []}[words[0]]
    done = subprocess.run(
        [sys.executable, *program, *words[1:], *more],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_csv_of_200_rows_becomes_a_task_two_runs_and_a_report(user_folder):
    assert len(_COMMANDS) == 2 and "task add" in _COMMANDS[0] and "run" in _COMMANDS[1]
    printed = _run(_COMMANDS[0], user_folder)
    assert "cut from the training file, by source, with seed 2023" in printed
    three_steps = re.search(r"^  (python -m t5x\.train .*)$", printed, re.MULTILINE)[1]

    # Three steps teach no teacher what a gate asks of it.
    more = ("--force", "--set", f"macros={_FEW_STEPS}", "--set", "additional_usd=(3.8,)")
    printed = _run(_COMMANDS[1], user_folder, *more)
    assert "reviews, 80 initial labels ($8.00), fair mode: accuracy" in " ".join(printed.split())
    assert Path(printed.splitlines()[-1]) == user_folder / "runs" / "reviews" / "report" / "index.html"
    assert (user_folder / "runs" / "reviews" / "report" / "tables.md").stat().st_size > 0
    rows = [json.loads(line) for line in (user_folder / "runs/reviews/results.jsonl").read_text().splitlines()]
    assert {row["strategy"] for row in rows} == {"teacher", "annotate", "distill"}
    assert {row["n_examples"] for row in rows} == {20}
    ledger = [json.loads(line) for line in (user_folder / "runs/reviews/ledger.jsonl").read_text().splitlines()]
    labels = [row for row in ledger if row["kind"] == "label"]
    assert sum(row["quantity"] for row in labels) == 118 and {row["unit_price_usd"] for row in labels} == {0.1}
    assert {row["price_entry"] for row in labels} == {"reviews:label/reviews"}

    _run(three_steps, user_folder)
    assert (user_folder / "runs" / "reviews_try" / "checkpoint_3").is_dir()
