"""A small study that can be killed at its k-th touch of the disk; run as a script by test_kills.py.

`python kill_worker.py study FOLDER` walks three stages the way the pipeline does: reconcile, buy labels, attempt each
stage that has no DONE file, write DONE, settle. `python kill_worker.py every FOLDER` forks that study once per touch of
the disk, kills it there (half-way through the bytes where the touch is a write), runs it again, and prints what the
ledgers say.
"""

import json
import os
import pathlib
import signal
import sys
import time

from distill_or_annotate.ledger import Charge, Ledger
from distill_or_annotate.ledger import attempts as attempts_module
from distill_or_annotate.prices import load_book

STAGES = ("finetune-a", "distill-b", "distill-c")
CHARGE_USD = 4.0


def study(folder: pathlib.Path, stage_seconds: float) -> None:
    """Runs what is left of the study."""
    ledger = Ledger(folder / "ledger.jsonl")
    ledger.reconcile(finished=lambda stage: (folder / stage / "DONE").exists())
    price = load_book("quickstart_scaled").label("mini")
    for last in (300, 382, 415):
        ledger.buy_labels(stage="label", task="mini", first_label=0, last_label=last, data_seed=0, price=price)
    for stage in STAGES:
        if (folder / stage / "DONE").exists():
            continue
        charge = Charge(stage, "device", 1, "run", CHARGE_USD, "quickstart_scaled", "paper:x", "2023-07-09", "paper")
        with ledger.open_attempt(stage, charges=[charge]):
            time.sleep(stage_seconds)
            (folder / stage).mkdir(exist_ok=True)
            (folder / stage / ".part").write_text("done")
            os.replace(folder / stage / ".part", folder / stage / "DONE")


def _die_at(touch: int) -> None:
    """Replaces the system calls that reach the disk by ones that kill this process at the `touch`-th of them."""
    seen = 0

    def wrap(name):
        real = getattr(os, name)

        def call(*args, **kwargs):
            nonlocal seen
            seen += 1
            if seen == touch:
                if name == "write":
                    real(args[0], args[1][: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        setattr(os, name, call)

    for name in ("write", "fsync", "replace", "unlink"):
        wrap(name)


def _in_child(folder: pathlib.Path, touch: int | None) -> int:
    pid = os.fork()
    if pid == 0:
        attempts_module.HEARTBEAT_SECONDS = 3600.0
        if touch is not None:
            _die_at(touch)
        study(folder, 0.0)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def every(root: pathlib.Path) -> list[dict]:
    """Kills at every touch of the disk in turn and returns what each ledger says after one more run."""
    outcomes = []
    for touch in range(1, 1000):
        folder = root / str(touch)
        folder.mkdir()
        killed = os.WIFSIGNALED(_in_child(folder, touch))
        status = _in_child(folder, None)
        ledger = Ledger(folder / "ledger.jsonl")
        rows, totals = ledger.rows(), ledger.totals()
        reserves = [row["attempt"] for row in rows if row["status"] == "reserved"]
        settled = [row["attempt"] for row in rows if row["unit"] == "device-second" and row["status"] == "settled"]
        outcome = totals.as_dict() | {"touch": touch, "status": status, "torn": len(ledger.problems())}
        outcomes.append(outcome | {"reserves": sorted(reserves), "settled": sorted(settled)})
        if not killed:
            return outcomes
    raise RuntimeError("the study touches the disk more often than expected")


if __name__ == "__main__":
    if sys.argv[1] == "every":
        print(json.dumps(every(pathlib.Path(sys.argv[2]))))
    else:
        study(pathlib.Path(sys.argv[2]), float(sys.argv[3]))
