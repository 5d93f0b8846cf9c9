"""docs/adding_a_task.md, followed literally: its files are written as shown, its commands run, in a user's folder.

A full `doa run` is asked for its plan only: tests/distill_or_annotate/own_tasks/test_from_a_table.py runs one to its
report. Pre-training takes three steps in place of its thousands.
"""

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs" / "adding_a_task.md").read_text(encoding="utf-8")
_FILES = re.findall(r"^`([^`]+)`:\n\n```(?:python|gin)\n(.*?)```$", _PAGE, re.MULTILINE | re.DOTALL)
_COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", _PAGE, re.DOTALL) for line in block.splitlines()]


def _reviews(n_rows):
    path = _ROOT / "tests" / "distill_or_annotate" / "own_tasks" / "conftest.py"
    spec = importlib.util.spec_from_file_location("own_tasks_conftest", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.reviews(n_rows, seed=1)


def _run(command, folder):
    words = shlex.split(command)
    program = {"doa": ["-m", "distill_or_annotate"], "python": []}[words[0]]
    if words[:2] == ["doa", "run"] and "--dry-run" not in words:
        words.append("--dry-run")
    if "pretrain" in command and words[0] == "python":
        words.append("--gin.TRAIN_STEPS=3")
    done = subprocess.run([sys.executable, *program, *words[1:]], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """The folder after everything on the page was done, and what each command printed."""
    folder = tmp_path_factory.mktemp("user")
    rows = _reviews(400)
    lines = ["text,label", *(f'"{text}",{label}' for text, label in rows[:200])]
    (folder / "reviews.csv").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (folder / "pool.txt").write_text("".join(f"{text}\n" for text, _ in rows[200:]), encoding="utf-8")
    (folder / "my_tasks").mkdir()
    for name, text in _FILES:
        (folder / name).write_text(text, encoding="utf-8")
    return folder, {command: _run(command, folder) for command in _COMMANDS}


def test_the_page_shows_three_files_and_nine_commands():
    assert [name for name, _ in _FILES] == ["my_tasks/stars.py", "my_tasks/stars.gin", "my_tasks/stars_study.gin"]
    assert len(_COMMANDS) == 9 and all(command.split()[0] in ("doa", "python") for command in _COMMANDS)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_command_works_and_leaves_what_the_page_says(followed):
    folder, printed = followed
    for run in ("reviews_try", "stars", "pretrain/reviews_teacher", "pretrain/reviews_student"):
        assert (folder / "runs" / run / "checkpoint_3").is_dir(), run
    metrics = next((folder / "runs" / "stars" / "inference_eval").glob("stars_n100_s0-metrics.jsonl"))
    assert 0 <= json.loads(metrics.read_text().splitlines()[-1])["accuracy"] <= 100
    plans = [text for command, text in printed.items() if command.startswith("doa run")]
    assert len(plans) == 4
    assert all(word in text for text in plans for word in ("teacher:", "capture:", "distill:", "annotate:"))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_table_of_files_is_complete(followed):
    folder, _ = followed
    listed = re.findall(r"^\| `([^`]+)` \|", _PAGE, re.MULTILINE)
    made = {path.relative_to(folder / "my_tasks") for path in (folder / "my_tasks").rglob("*") if path.is_file()}
    made = {path for path in made if path.parts[0].startswith("reviews")}
    assert len(made) > 9 and [path for path in made if not any(path.match(pattern) for pattern in listed)] == []
