"""The money wing prices and reports on a machine without any accelerator stack: its imports prove it."""

import json
import pathlib
import subprocess
import sys

import pytest

import distill_or_annotate

ROOT = pathlib.Path(distill_or_annotate.__file__).parent
ROOMS = ("paper", "prices", "costs", "ledger", "scenarios", "planning", "statistics", "reports")
FORBIDDEN = ("jax", "jaxlib", "tensorflow", "seqio", "flax", "gin", "t5x", "orbax", "optax")
# Plotting and terminal tables are imported inside the functions that draw: `doa cost --json` needs neither.
LATE = ("matplotlib", "rich")

_PROGRAM = """
import importlib, json, sys
for name in sys.argv[2:]:
    importlib.import_module(name)
print(json.dumps([name for name in sys.argv[1].split(",") if name in sys.modules]))
"""


def _modules():
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            parts = path.relative_to(ROOT.parent).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _loaded_after_importing(*modules):
    words = [sys.executable, "-c", _PROGRAM, ",".join(FORBIDDEN + LATE), *modules]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_wing_was_found():
    assert len(list(_modules())) > 20


def test_importing_every_module_loads_nothing_forbidden():
    assert _loaded_after_importing(*_modules()) == []


@pytest.mark.parametrize("room", [room for room in ROOMS if (ROOT / room / "__init__.py").exists()])
def test_each_room_imports_alone(room):
    assert _loaded_after_importing(f"distill_or_annotate.{room}") == []


@pytest.mark.parametrize("forbidden", ["gin", "jax", "matplotlib"])
def test_the_check_can_fail(forbidden):
    assert forbidden in _loaded_after_importing("distill_or_annotate.costs", forbidden)


def test_doing_the_work_loads_nothing_forbidden(tmp_path):
    row = {"task": "mini", "strategy": "annotate", "mode": "fair", "n_labels": 3, "metric": "f1", "score": 1.0}
    row |= {"additional_usd": 0.0, "initial_usd": 1.0, "total_usd": 1.0}
    (tmp_path / "results.jsonl").write_text(json.dumps(row) + "\n")
    program = (
        "import sys\n"
        "from distill_or_annotate.costs import cost_cell\n"
        "from distill_or_annotate.prices import load_book\n"
        "from distill_or_annotate.reports import build\n"
        "cost_cell(load_book('paper'), 'wlp', 1000, 100)\n"
        "build(sys.argv[2])\n"
        "print([name for name in sys.argv[1].split(',') if name in sys.modules])\n"
    )
    words = [sys.executable, "-c", program, ",".join(FORBIDDEN), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
