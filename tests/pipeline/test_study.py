"""A whole study, small: killed at three moments it ends as if it had not been, and plain T5X gives the same cells.

One run serves both tests: it is the test suite's longest.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from distill_or_annotate.interop import parameters

_ROOT = Path(__file__).parents[2]
_COMMAND = [sys.executable, "-m", "distill_or_annotate", "run", "smoke", "--run-dir"]


def _start(run_dir: Path) -> subprocess.Popen:
    log = (run_dir.parent / "log.txt").open("ab")
    return subprocess.Popen(
        [*_COMMAND, str(run_dir)], cwd=_ROOT, stdout=log, stderr=log, start_new_session=True
    )  # fmt: skip


def _ledger(run_dir: Path) -> list[dict]:
    path = run_dir / "ledger.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _kill_when(process: subprocess.Popen, reached, limit_seconds: float = 400) -> None:
    deadline = time.monotonic() + limit_seconds
    while not reached():
        assert process.poll() is None, "the run ended before the moment came"
        assert time.monotonic() < deadline, "the moment never came"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _done(run_dir: Path) -> dict[str, float]:
    return {path.parent.name: path.stat().st_mtime_ns for path in run_dir.glob("stages/*/done.json")}


_MOMENTS = (
    # Inside the teacher's training: its attempt is open and its model folder has begun to fill.
    "stages/finetune-*/model/config.gin",
    # Between the capture's end mark and whatever follows it.
    "stages/capture-*/done.json",
    # While the student's checkpoint is being written.
    "stages/distill-*/model/checkpoint_*",
)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A run that was killed at each moment, with the end marks that were there after each kill."""
    run_dir = tmp_path_factory.mktemp("study") / "run"
    finished_before = []
    for pattern in _MOMENTS:
        _kill_when(_start(run_dir), lambda pattern=pattern: any(run_dir.glob(pattern)))
        finished_before.append(_done(run_dir))

    last = _start(run_dir)
    assert last.wait(timeout=800) == 0, (run_dir.parent / "log.txt").read_text()[-3000:]
    return run_dir, finished_before


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_study_killed_at_three_moments_ends_as_if_it_had_not_been(killed):
    run_dir, finished_before = killed
    done = _done(run_dir)
    for marks in finished_before:
        assert {name: done[name] for name in marks} == marks, "a finished stage was done again"
    assert finished_before[0] and len(finished_before[0]) < len(finished_before[2]) < len(done)
    assert (run_dir / "report" / "index.html").exists()
    assert len((run_dir / "results.jsonl").read_text().splitlines()) == 4
    tables = (run_dir / "report" / "tables.md").read_text()
    assert "†" in tables and "N/A" in tables, "models of six steps are flagged as degenerate; +$0 buys no teacher"
    *assumed, told = json.loads((run_dir / "manifest.json").read_text())["assumptions"]
    assert len(assumed) == 3 and "An engineer's time is free (Section 2.1 of the paper)." in assumed
    assert told.startswith("Distilled by force, past the gates: on dev its entity_f1 is 0.0, ")
    assert "not above the 0.0 of the student on the same 40 labels" in told
    assert "past the gates" in (run_dir / "report" / "index.html").read_text()

    rows = _ledger(run_dir)
    assert max(Counter(row["entry_id"] for row in rows).values()) == 1
    labels = [row for row in rows if row["kind"] == "label"]
    assert sum(row["quantity"] for row in labels) == 51 and {row["unit_price_usd"] for row in labels} == {0.26}
    charges = [row for row in rows if row["book"] == "quickstart_scaled" and row["kind"] == "device"]
    assert Counter(row["stage"].split("-")[0] for row in charges) == {"finetune": 1, "distill": 1}
    attempts = [row for row in rows if row["unit"] == "device-second" and row["status"] == "settled"]
    assert len({row["attempt"] for row in attempts}) == len(attempts)
    opened = {row["attempt"] for row in rows if row["status"] == "reserved"}
    assert opened == {row["attempt"] for row in attempts}, "every attempt that was opened is settled"
    wasted = [row for row in attempts if row["wasted"]]
    assert any(row["stage"].startswith("finetune") and row["quantity"] > 0 for row in wasted)

    # The student's checkpoint holds the student: 0.33M parameters, not the teacher's 2.8M with them.
    student, _ = parameters.read_checkpoint(next(run_dir.glob("stages/distill-*/model")))
    teacher, _ = parameters.read_checkpoint(next(run_dir.glob("stages/finetune-*/model")))
    assert 0.3e6 < _size(student) < 0.4e6 and 2.5e6 < _size(teacher) < 3e6


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_four_plain_t5x_commands_give_the_cells_of_the_study(killed, tmp_path):
    """The commands that the run wrote down, in processes of their own, with output folders of their own."""
    run_dir, _ = killed
    for kind in ("finetune", "capture", "distill", "annotate"):
        stage = min(run_dir.glob(f"stages/{kind}-*"), key=lambda folder: _labels(folder))
        command = (stage / "command.txt").read_text().strip()
        # Everything that a stage reads or writes is named by macros, so a copy of the tree of folders suffices.
        command = command.replace(f"{run_dir}/", f"{tmp_path}/")
        done = subprocess.run(
            command.replace("python ", f"{sys.executable} ", 1), shell=True, cwd=_ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stderr[-3000:]}"
        made = tmp_path / stage.relative_to(run_dir)
        pattern = "predictions/*-predict.jsonl-*-of-00001" if kind == "capture" else "model/inference_eval/*.jsonl"
        expected = sorted(stage.glob(pattern))
        assert expected
        for path in expected:
            assert (made / path.relative_to(stage)).read_text() == path.read_text(), f"{kind}: {path.name} differs"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_without_force_a_study_stops_at_the_gate_before_it_pays_for_the_pool(killed, tmp_path):
    """Over what the forced run had found on dev; its capture is taken to be undone."""
    run_dir = tmp_path / "run"
    shutil.copytree(killed[0], run_dir)
    next(run_dir.glob("stages/capture-*/done.json")).unlink()
    done = subprocess.run(
        [*_COMMAND, str(run_dir), "--set", "force=False"], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    said = " ".join(done.stdout.split())
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the teacher is not worth distilling: on dev its entity_f1 is 0.0" in said and "with --force" in said
    assert not list(run_dir.glob("stages/capture-*/done.json"))
    # What was scored before the gate is reported with its flags, and why nothing follows.
    rows = [json.loads(line) for line in (run_dir / "results.jsonl").read_text().splitlines()]
    assert {row["strategy"] for row in rows} == {"teacher", "annotate"} and all(
        r["degenerate"]["flagged"] for r in rows
    )
    assert f"{len(rows)} of {len(rows)} models are degenerate" in said
    assert "†" in (run_dir / "report" / "tables.md").read_text()
    assert "the teacher is not worth distilling" in (run_dir / "report" / "index.html").read_text()
    assert not [
        row for row in _ledger(run_dir) if row["status"] == "reserved" and row["attempt"] not in _settled(run_dir)
    ]


def _settled(run_dir: Path) -> set[str]:
    return {row["attempt"] for row in _ledger(run_dir) if row["status"] == "settled"}


def _labels(stage: Path) -> int:
    found = re.search(r"--gin.N_LABELS=(\d+)", (stage / "command.txt").read_text())
    return int(found[1]) if found else 0


def _size(tree) -> int:
    return sum(_size(child) if isinstance(child, dict) else child.size for child in tree.values())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_low_cap_stops_a_run_that_keeps_what_it_has_and_a_higher_one_goes_on(killed, tmp_path):
    """Over the stages of the killed run, shared: they are charged to this run, and take none of its time."""
    words = [*_COMMAND, str(tmp_path / "run"), "--stages-dir", str(killed[0] / "stages"), "--max-usd"]
    capped = subprocess.run([*words, "12"], cwd=_ROOT, capture_output=True, text=True, check=False)
    assert capped.returncode == 3, capped.stdout[-3000:] + capped.stderr[-3000:]
    said = " ".join(capped.stdout.split())
    assert "Stopped at the cap of $12.00: $11.26 are spent, 8 of 11 stages done." in said
    assert said.count("($2.86)") == 1 and "2 stages need those." in said
    assert len((tmp_path / "run" / "results.jsonl").read_text().splitlines()) == 3
    assert "missing" in (tmp_path / "run" / "report" / "tables.md").read_text()
    assert _billed(tmp_path / "run") < 12

    raised = re.search(r"--max-usd (\d+\.\d\d)", said)[1]
    done = subprocess.run([*words, raised], cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert len((tmp_path / "run" / "results.jsonl").read_text().splitlines()) == 4
    assert _billed(tmp_path / "run") == pytest.approx(_billed(killed[0])), "each study pays for all it needs"
    assert not [row for row in _ledger(tmp_path / "run") if row["unit"] == "device-second"]
    told = json.loads((tmp_path / "run" / "manifest.json").read_text())["assumptions"]
    assert any(sentence.startswith("11 of 11 stages were finished by other runs") for sentence in told)


def _billed(run_dir: Path) -> float:
    return sum(row["usd"] for row in _ledger(run_dir) if row["status"] == "settled" and row["book"] != "local")
