"""An end that is asked for comes, wherever in the program the signal falls."""

import math
import os
import signal
import subprocess
import sys
import time

import pytest

from distill_or_annotate.pipeline.deadline import Deadline, Terminated


class _Ends:
    """Sends SIGTERM while it is destroyed, where Python drops what a handler raises."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)


def test_a_sigterm_that_falls_into_a_destructor_ends_the_work_a_moment_later():
    before, began = (signal.getsignal(signal.SIGTERM), sys.unraisablehook), time.monotonic()
    with pytest.raises(Terminated), Deadline(math.inf):
        _Ends()
        time.sleep(30)
    assert time.monotonic() - began < 20
    assert (signal.getsignal(signal.SIGTERM), sys.unraisablehook) == before


def test_work_that_is_done_first_does_not_make_it_forgotten():
    with pytest.raises(Terminated), Deadline(math.inf):
        _Ends()
    time.sleep(0.5)  # nothing comes after it


def test_other_errors_of_destructors_go_to_whom_they_went_before(monkeypatch):
    class Fails:
        def __del__(self):
            raise ValueError("elsewhere")

    heard = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: heard.append(unraisable.exc_type))
    with Deadline(math.inf):
        Fails()
    assert heard == [ValueError]


_ENDED = """
import atexit, sys
from distill_or_annotate import cli
from distill_or_annotate.pipeline.deadline import Deadline, ReserveReached
import signal, time

try:
    with Deadline(0.3) as deadline:
        signal.signal(signal.SIGTERM, lambda *_: None)  # hears, and never ends
        while True:
            time.sleep(0.01)
except ReserveReached:
    pass
atexit.register(print, "taken down")
sys.argv = ["doa", "prices"]
cli.%s
print("still here")
"""


@pytest.mark.parametrize(
    ("call", "lines"),
    [("program()", []), ("main()", ["still here", "taken down"])],
)
def test_after_ended_work_the_program_alone_ends_its_process_at_once(call, lines):
    """Threads of XLA that are still at work crash an interpreter that takes itself down; a caller of `main` stays."""
    done = subprocess.run([sys.executable, "-c", _ENDED % call], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert [line for line in done.stdout.splitlines() if line in ("still here", "taken down")] == lines
