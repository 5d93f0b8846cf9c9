"""The cap, against a thousand random schedules: random costs, parallel jobs, kills at random moments.

What a schedule must never do is checked on every prefix of the ledger's rows, that is, after every single write.
"""

import importlib.util
import itertools
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from distill_or_annotate.ledger import CapReached, Ledger, totals_of
from distill_or_annotate.ledger import journal as journal_module
from distill_or_annotate.ledger import ledger as ledger_module
from distill_or_annotate.ledger.cap import TOLERANCE_USD

N_SCHEDULES = 1000
WORKER = pathlib.Path(__file__).with_name("cap_worker.py")
_SPEC = importlib.util.spec_from_file_location("cap_worker", WORKER)
cap_worker = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(cap_worker)


def _committed_usd(rows):
    totals = totals_of(rows)
    return totals.scenario_usd + totals.reserved_scenario_usd


def _highest_usd(rows):
    """The most that was ever settled and reserved together."""
    return max((_committed_usd(rows[:count]) for count in range(1, len(rows) + 1)), default=0.0)


class _Jobs:
    """Parallel jobs on one ledger as threads, with what a kill leaves behind: no settlement, maybe a torn line."""

    def __init__(self, path, seed, max_usd):
        self.path, self.random, self.max_usd = path, random.Random(seed), max_usd
        self.refused, self.killed = 0, 0
        self.errors = []

    def run(self, dead):
        seeds = [self.random.random() for _ in range(self.random.randint(1, 3))]
        threads = [threading.Thread(target=self._job, args=(random.Random(seed), dead)) for seed in seeds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert self.errors == []

    def _job(self, chance, dead):
        try:
            ledger = Ledger(self.path, max_usd=self.max_usd)
            for _ in range(chance.randint(1, 4)):
                try:
                    killed = cap_worker.step(ledger, chance)
                except CapReached as refused:
                    self.refused += 1
                    assert refused.settled_usd + refused.reserved_usd + refused.worst_usd > self.max_usd
                    continue
                if killed is not None:
                    dead.add(next(row for row in ledger.rows() if row.get("attempt") == killed)["process"]["token"])
                    self.killed += 1
                    if chance.random() < 0.3:
                        _tear(ledger)
        except Exception as error:  # a thread's failure would pass unseen
            self.errors.append(repr(error))


def _tear(ledger):
    """Leaves half a row at the end, as a process that dies while it writes does."""
    with ledger._journal.transaction(), ledger.path.open("ab") as handle:
        handle.write(b'{"entry_id": "finetune-0.9:reserve", "usd": 1')


@pytest.fixture
def dead(monkeypatch):
    """Tokens of the attempts whose job was killed; threads share a process, so the process table cannot tell."""
    found, tokens = set(), itertools.count()
    monkeypatch.setattr(ledger_module, "process_identity", lambda: {"token": next(tokens)})
    monkeypatch.setattr(ledger_module, "is_alive", lambda process, last_seen: process["token"] not in found)
    # Durability is another test's matter (test_kills.py); here it would take the time of a hundred thousand syncs.
    monkeypatch.setattr(journal_module.os, "fsync", lambda handle: None)
    return found


def _schedules(folder, dead, n_schedules, capped=True):
    """Yields each schedule's jobs and rows."""
    for seed in range(n_schedules):
        dead.clear()
        max_usd = random.Random(seed).choice([0.0, 1.0, 5.0, 13.26, 20.0, 60.0])
        jobs = _Jobs(folder / str(seed) / "ledger.jsonl", seed, max_usd if capped else None)
        jobs.run(dead)
        yield jobs, max_usd, Ledger(jobs.path).rows()


def test_no_schedule_passes_the_cap_after_any_write(tmp_path, dead):
    refused = killed = full = 0
    for jobs, max_usd, rows in _schedules(tmp_path, dead, N_SCHEDULES):
        highest = _highest_usd(rows)
        assert highest <= max_usd + TOLERANCE_USD, (jobs.path, highest, max_usd)
        refused, killed = refused + jobs.refused, killed + jobs.killed
        full += highest > 0.8 * max_usd > 0
    assert refused > 500 and killed > 300 and full > 200, "the schedules lost their teeth"


def test_without_a_cap_the_same_schedules_would_pass_it(tmp_path, dead):
    passed = [_highest_usd(rows) > max_usd for _, max_usd, rows in _schedules(tmp_path, dead, 50, capped=False)]
    assert sum(passed) > 20


def test_killed_processes_in_parallel_never_pass_the_cap(tmp_path):
    moments, path = random.Random(0), tmp_path / "ledger.jsonl"
    for round_number in range(4):
        words = [sys.executable, str(WORKER), str(path), str(5.0 * (round_number + 1))]
        processes = [subprocess.Popen([*words, str(job)], start_new_session=True) for job in range(3)]
        time.sleep(moments.uniform(0.5, 0.9))
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        rows = Ledger(path).rows()
        assert _highest_usd(rows) <= 5.0 * (round_number + 1) + TOLERANCE_USD
    assert sum(row["status"] == "reserved" for row in rows) > 20
    assert _committed_usd(rows) > 10
    open_usd = totals_of(rows).reserved_scenario_usd
    written = Ledger(path).reconcile()
    assert written and open_usd > 0, "a killed job's reserve stays reserved until it is reconciled"
    assert totals_of(Ledger(path).rows()).reserved_scenario_usd == 0
