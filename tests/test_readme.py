"""Every command of the README is one that works: run where that is cheap, otherwise expanded and checked."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from distill_or_annotate import cli
from distill_or_annotate.pipeline import study

_ROOT = Path(__file__).parents[1]
_README = (_ROOT / "README.md").read_text(encoding="utf-8")
_COMMANDS = [
    line.split("#")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", _README, re.DOTALL)
    for line in block.splitlines()
    if line.split("#")[0].strip()
]


def test_the_way_from_a_table_is_two_commands_that_another_test_runs():
    """tests/distill_or_annotate/own_tasks/test_from_a_table.py takes them from here and runs them to their report."""
    assert [command.split(" --")[0] for command in _COMMANDS if "reviews" in command] == [
        "doa task add reviews",
        "doa run my_tasks/reviews_study.gin",
    ]


def test_the_readme_opens_with_its_two_commands():
    assert _COMMANDS[:2] == ["make quickstart", "make test"]


@pytest.mark.parametrize("command", [c for c in _COMMANDS if "make " in c])
def test_make_knows_the_target_and_what_it_would_run_exists(command):
    words = [word for word in shlex.split(command) if "=" not in word]
    done = subprocess.run([*words, "-n"], cwd=_ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in re.findall(r"(?:gin|launch)/\S+", done.stdout):
        assert (_ROOT / name).exists(), name


@pytest.mark.parametrize("command", [c for c in _COMMANDS if "doa plan" in c])
def test_doa_plan_says_what_to_buy_and_what_to_try(command, capsys):
    assert cli.main(shlex.split(command)[1:]) == 0
    printed = capsys.readouterr().out
    assert "what $500.00 should buy" in printed and "What to try first" in printed


@pytest.mark.parametrize("command", [c for c in _COMMANDS if "doa cost" in c])
def test_doa_cost_prints_what_dollars_buy(command, capsys):
    assert cli.main(shlex.split(command)[1:]) == 0
    printed = capsys.readouterr().out
    assert "769" in printed and "30" in printed  # labels, and thousands of unlabeled examples: Table 2, WLP, N = 5K


@pytest.mark.parametrize("command", [c for c in _COMMANDS if "doa run" in c and "my_tasks/" not in c])
def test_doa_run_plans_the_study(command, capsys, monkeypatch):
    monkeypatch.chdir(_ROOT)
    arguments = shlex.split(command.split("doa ", 1)[1])
    scenario, _ = study.read(arguments[1])
    assert cli.main([*arguments, *([] if "--dry-run" in arguments else ["--dry-run"])]) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("teacher:", "capture:", "distill:", "annotate:")), scenario.name


_PARSE = """
import importlib, sys
import gin
from t5x import gin_utils

for module in ("t5x.train", "t5x.infer"):
    for name in (name for name in sys.argv[1:] if name.startswith(module)):
        gin.clear_config()
        gin_utils.parse_for(importlib.import_module(module), module[4:], gin_files=[name.partition("=")[2]])
        print("complete:", name, flush=True)
"""


def test_each_plain_t5x_command_reads_a_configuration_that_is_complete():
    """Parsed and finalized as the commands do it; tests/pipeline runs the same gin files to their end."""
    words = [shlex.split(command) for command in _COMMANDS if "python -m t5x" in command]
    names = [f"{module}={file.removeprefix('--gin_file=')}" for _, _, module, file, *_ in words]
    # All in one process: most of its time is the start.
    done = subprocess.run([sys.executable, "-c", _PARSE, *names], cwd=_ROOT, capture_output=True, text=True)
    assert names and sorted(done.stdout.splitlines()) == sorted(f"complete: {name}" for name in names), done.stderr[
        -2000:
    ]
