"""kill -9 at any moment, run again: no dollar is lost, none is counted twice, lost time is spent and called wasted."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from distill_or_annotate.ledger import Ledger

WORKER = str(pathlib.Path(__file__).with_name("kill_worker.py"))
LABELS_USD = 415 * 0.26
CHARGES_USD = 3 * 4.0


def _worker(*words):
    return [sys.executable, WORKER, *map(str, words)]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    root = tmp_path_factory.mktemp("every")
    done = subprocess.run(_worker("every", root), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_study_was_killed_at_many_moments(outcomes):
    assert len(outcomes) > 30
    assert sum(outcome["torn"] for outcome in outcomes) >= 5, "no kill tore a line: the test lost its teeth"
    repeated = [outcome for outcome in outcomes if len(outcome["reserves"]) > 3]
    assert len(repeated) >= 5, "no kill hit a running stage: the test lost its teeth"


def test_every_second_run_ends_well(outcomes):
    assert [outcome["touch"] for outcome in outcomes if outcome["status"] != 0] == []


def test_labels_and_charges_count_once_whatever_was_killed(outcomes):
    for outcome in outcomes:
        assert outcome["usd"]["quickstart_scaled"]["label"] == pytest.approx(LABELS_USD), outcome["touch"]
        assert outcome["usd"]["quickstart_scaled"]["device"] == pytest.approx(CHARGES_USD), outcome["touch"]
        assert outcome["n_labels"] == {"quickstart_scaled": 415}
        assert outcome["duplicates"] == []


def test_every_attempt_is_settled_exactly_once(outcomes):
    for outcome in outcomes:
        assert outcome["settled"] == outcome["reserves"], outcome["touch"]
        assert len(set(outcome["settled"])) == len(outcome["settled"])
        assert outcome["reserved_usd"] == {}


def test_a_real_kill_leaves_the_heartbeats_seconds_as_wasted(tmp_path):
    process = subprocess.Popen(_worker("study", tmp_path, 30.0), start_new_session=True)
    heartbeat = tmp_path / "attempts" / "finetune-a.1.json"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if heartbeat.exists() and json.loads(heartbeat.read_text())["seconds"] > 1.5:
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    ledger = Ledger(tmp_path / "ledger.jsonl")
    assert ledger.totals().device_seconds == 0
    (row,) = ledger.reconcile()
    assert row["wasted"] is True and row["source"] == "measured" and row["attempt"] == "finetune-a.1"
    assert 1.5 < row["quantity"] < 30
    assert row["usd"] == pytest.approx(row["quantity"] * row["unit_price_usd"])
    assert ledger.reconcile() == []
    assert ledger.totals().wasted_device_seconds == row["quantity"]
    assert not heartbeat.exists()


def test_a_zombie_counts_as_dead(tmp_path):
    process = subprocess.Popen(_worker("study", tmp_path, 30.0))
    ledger = Ledger(tmp_path / "ledger.jsonl")
    deadline = time.monotonic() + 30
    while not (tmp_path / "attempts" / "finetune-a.1.json").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert ledger.reconcile() == [], "a living attempt must be left alone"
    process.kill()
    time.sleep(0.2)
    try:
        assert [row["wasted"] for row in ledger.reconcile()] == [True]
    finally:
        process.wait()


def test_random_kills_of_whole_process_groups_end_in_the_same_ledger(tmp_path):
    moments = random.Random(0)
    started = time.monotonic()
    for _ in range(6):
        process = subprocess.Popen(_worker("study", tmp_path, 0.1), start_new_session=True)
        time.sleep(moments.uniform(0.05, 0.6))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert subprocess.run(_worker("study", tmp_path, 0.0), check=False).returncode == 0
    totals = Ledger(tmp_path / "ledger.jsonl").totals()
    assert totals.scenario_usd == pytest.approx(LABELS_USD + CHARGES_USD)
    assert totals.device_seconds <= time.monotonic() - started
    assert totals.duplicates == ()
