"""docs/scenarios.md: its commands do what they say, and it names every table and figure and every kind of budget."""

import re
import shlex
from pathlib import Path

import pytest

from distill_or_annotate import cli
from distill_or_annotate.scenarios import ALL_STRATEGIES, AXES
from distill_or_annotate.scenarios.scenario import BUDGETS

_ROOT = Path(__file__).parents[2]
_TEXT = (_ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
_COMMANDS = re.findall(r"^doa (.+?)(?:\s+#.*)?$", _TEXT, re.MULTILINE)


def test_it_shows_commands():
    assert len(_COMMANDS) >= 5


@pytest.mark.parametrize("command", _COMMANDS)
def test_a_command_works_and_spends_nothing(command, capsys, monkeypatch):
    monkeypatch.chdir(_ROOT)
    words = shlex.split(command)
    if words[0] == "run" and "--dry-run" not in words:
        words.append("--dry-run")
    assert cli.main(words) == 0
    assert "$" in capsys.readouterr().out or words[0] == "list"


def test_it_names_what_there_is():
    named = set(re.findall(r"`(\w+)`", _TEXT))
    files = {path.stem for path in (_ROOT / "gin" / "experiments" / "paper").glob("*.gin")}
    assert files | set(AXES) | set(BUDGETS) | set(ALL_STRATEGIES) <= named
