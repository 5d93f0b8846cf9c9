"""Every command of docs/choosing_a_budget.md runs."""

import re
import shlex
from pathlib import Path

import pytest

from distill_or_annotate.cli import main

_ROOT = Path(__file__).parents[2]
_TEXT = (_ROOT / "docs" / "choosing_a_budget.md").read_text(encoding="utf-8")
_COMMANDS = re.findall(r"^doa (plan [^#\n]*)", _TEXT, re.MULTILINE)


@pytest.mark.parametrize("words", _COMMANDS)
def test_the_command_runs(words, monkeypatch, capsys):
    monkeypatch.chdir(_ROOT)
    assert main(shlex.split(words)) == 0
    assert "recommended" in capsys.readouterr().out or "--json" not in words


def test_there_are_commands():
    assert len(_COMMANDS) == 4
