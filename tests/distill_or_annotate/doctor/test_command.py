"""`doa doctor` reports what is missing in place of failing with it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from distill_or_annotate import cli
from distill_or_annotate.doctor import machine
from distill_or_annotate.doctor.finding import Finding

_ROOT = Path(__file__).parents[3]
# Python runs it at start: the named modules cannot be imported in this process nor in its children.
_BLOCKER = "import os, sys\nfor name in os.environ['BLOCKED'].split(','): sys.modules[name] = None\n"


def _doctor(tmp_path, blocked, *arguments):
    (tmp_path / "sitecustomize.py").write_text(_BLOCKER)
    environment = {
        **os.environ,
        "BLOCKED": blocked,
        "PYTHONPATH": str(tmp_path),
        "DOA_T5_VOCAB": str(tmp_path / "none"),
    }
    words = [sys.executable, "-m", "distill_or_annotate", "doctor", "--json", *arguments]
    done = subprocess.run(
        words, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    report = json.loads(done.stdout)
    return done.returncode, report["usable"], {row["name"]: row for row in report["findings"]}


def test_tensorflow_that_cannot_be_imported_is_reported_with_its_consequences(tmp_path):
    status, usable, findings = _doctor(tmp_path, "tensorflow")
    assert (status, usable) == (1, False)
    assert findings["tensorflow"]["state"] == "broken" and "ModuleNotFoundError" in findings["tensorflow"]["value"]
    assert findings["seqio"]["state"] == "broken" and findings["tensorflow"]["fix"]
    (sound,) = (name for name in findings if name.startswith("numpy, jax, flax"))
    assert findings[sound]["state"] == "ok" and "seqio" not in sound and findings["cpu"]["state"] == "ok"


@pytest.mark.parametrize(("module", "name"), [("t5x", "t5x"), ("gin", "import gin")])
def test_a_missing_runtime_or_gin_is_broken_and_says_what_to_install(tmp_path, module, name):
    status, usable, findings = _doctor(tmp_path, module, "--quick")
    assert (status, usable) == (1, False)
    assert findings[name]["state"] == "broken" and "install" in findings[name]["fix"]


def test_without_the_terminal_library_and_plots_it_still_speaks(tmp_path):
    status, usable, _ = _doctor(tmp_path, "rich,matplotlib,scipy,sentencepiece", "--quick")
    assert (status, usable) == (0, True)


def test_a_sound_installation_is_usable_and_each_problem_has_its_fix(monkeypatch, capsys):
    monkeypatch.setenv("DOA_T5_VOCAB", "/nowhere/sentencepiece.model")
    assert cli.main(["doctor", "--quick"]) == 0
    printed = capsys.readouterr().out
    assert "this project's runtime (doa-t5x)" in printed and "`doa run quickstart` can run here: 0 broken" in printed
    assert re.search(r"PROBLEM T5 .*/nowhere/.*\n +fix: no such file. .*curl -O https://storage", printed)


def test_every_variable_that_the_code_reads_is_known_to_the_doctor():
    files = [path for room in ("distill_or_annotate", "tasks") for path in (_ROOT / room).rglob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    read = set(re.findall(r"\"(DOA_[A-Z0-9_]+)\"", text))
    assert "DOA_DATA_DIR" in read and read <= set(machine._OURS)


def test_a_problem_needs_a_fix_and_a_state_is_one_of_four():
    with pytest.raises(ValueError, match="without a fix"):
        Finding("s", "n", "v", "problem")
    with pytest.raises(ValueError, match="allowed: ok, note, problem, broken"):
        Finding("s", "n", "v", "fine")
