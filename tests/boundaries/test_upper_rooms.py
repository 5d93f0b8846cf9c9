"""The rooms above the wings: no wing knows them, and naming one of their commands loads nothing heavy."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from distill_or_annotate import cli

_PACKAGE = Path(cli.__file__).parent
_UPPER = ("cli", "data", "doctor", "own_tasks", "pipeline", "serving")
_HEAVY = ("tensorflow", "seqio", "jax", "flax", "t5x", "apache_beam", "tensorflow_datasets", "matplotlib", "pyarrow")
# `doa doctor` must speak on a machine where most else is missing, so beyond itself it may use these only.
_DOCTORS_OWN = {"doctor", "pipeline.gin_files", "preprocess.built", "preprocess.rows"}


def _imported(source: str) -> set[str]:
    """Modules of the library that a source names, without the library's own name."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("distill_or_annotate.") for name in found if name.startswith("distill_or_annotate.")}


def _rooms() -> list[str]:
    return sorted(path.parent.name for path in _PACKAGE.glob("*/__init__.py"))


def _sources(room: str) -> dict[Path, str]:
    return {path: path.read_text(encoding="utf-8") for path in sorted((_PACKAGE / room).rglob("*.py"))}


@pytest.mark.parametrize("room", [room for room in _rooms() if room not in _UPPER])
def test_no_wing_imports_a_room_above_it(room):
    crossed = {
        f"{path.name}: {name}"
        for path, source in _sources(room).items()
        for name in _imported(source)
        if name.split(".")[0] in _UPPER
    }
    assert crossed == set()


def test_the_check_sees_a_wing_reaching_up():
    source = "def f():\n    from distill_or_annotate.data import build\n    import distill_or_annotate.cli\n"
    assert _imported(source) == {"data.build", "cli"}


def test_every_room_has_its_row_in_the_document():
    document = (_PACKAGE.parent / "docs" / "rooms.md").read_text(encoding="utf-8")
    assert len(_rooms()) > 14
    assert [room for room in _rooms() if room not in document] == []


def test_the_doctor_needs_little():
    used = {name for source in _sources("doctor").values() for name in _imported(source)}
    allowed = tuple(_DOCTORS_OWN)
    assert [name for name in sorted(used) if not name.startswith(allowed) and name != "__version__"] == []
    assert "preprocess.built" in used


def _loaded_after(*modules: str) -> set[str]:
    code = (
        f"import importlib, json, sys\nfor m in {modules!r}: importlib.import_module(m)\n"
        "print(json.dumps(list(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1])) & set(_HEAVY)


def _commands() -> list[str]:
    named = [command.module for command in cli._COMMANDS.values()]
    return [name for name in named if (_PACKAGE.parent / f"{name.replace('.', '/')}.py").exists()]


def test_naming_a_command_loads_nothing_heavy_so_that_its_help_comes_at_once():
    assert len(_commands()) >= 6
    assert _loaded_after(*_commands()) == set()


def test_the_check_sees_something_heavy():
    assert _loaded_after("distill_or_annotate.cli", "pyarrow") == {"pyarrow"}


@pytest.mark.parametrize("name", _commands())
def test_a_command_has_arguments_a_run_and_an_example_of_itself(name):
    module = importlib.import_module(name)
    assert callable(module.add_arguments) and callable(module.run) and module.EXAMPLE.startswith("doa ")
