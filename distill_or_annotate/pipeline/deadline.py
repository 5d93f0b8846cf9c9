"""Stopping work at the end of its reserve, with what it has learnt saved.

Three ends, one after the other, each for what the one before it could not reach:
  1. T5X is told what schedulers tell it when a machine is taken away (SIGTERM): it finishes the step at hand, saves a
     checkpoint and ends. Work that listens to nothing (inference, say) ends where it stands.
  2. Whatever still runs in Python ends where it stands.
  3. At the end of the reserve a thread ends the process, whose main thread may be within a compilation that no signal
     interrupts. Money must not be spent that was not reserved.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

# Distinct from 1 (work that failed) and 2 (input that cannot be used): the same command with a higher cap goes on.
CAP_STATUS = 3
# 128 + 15: with this status T5X ends after SIGTERM, once its checkpoint is saved.
TERMINATED_STATUS = 143
# Time for saving between the first end and the second, and for unwinding between the second and the third.
_SAVING = (60.0, 0.1)
_UNWINDING = (10.0, 0.05)
_AGAIN_SECONDS = 0.2


class ReserveReached(BaseException):
    """The reserve of the running stage is used up: an end like KeyboardInterrupt, which no library may catch."""


class Terminated(SystemExit):
    """SIGTERM came while nothing ran that could save its work."""


_ended: list[Deadline] = []


class Deadline:
    """Ends the work of a `with` block in the main thread; a block that ended so raises `ReserveReached`.

    Args:
      seconds: wall-clock time that the block may take; infinity sets no alarm.
      last_deed: called by a thread when the time is over and the block has not ended; then the process ends with
        status 3. None leaves the third end out.

    Attributes:
      seconds: that time.
      reached: whether it was used up, but for what saving takes.
    """

    def __init__(self, seconds: float, last_deed: Callable[[], None] | None = None):
        self.seconds, self.reached = seconds, False
        self._saving_seconds = _part(_SAVING, seconds)
        self._first_seconds = seconds - self._saving_seconds - _part(_UNWINDING, seconds)
        self._before: dict[signal.Signals, Any] = {}
        self._hook, self._again = sys.unraisablehook, None
        self._last = None
        if last_deed is not None and math.isfinite(seconds):
            self._last = threading.Timer(seconds, _end_process, [last_deed])
            self._last.daemon = True

    def __enter__(self) -> Deadline:
        self._before = {signal.SIGTERM: signal.signal(signal.SIGTERM, self._terminated)}
        self._hook, sys.unraisablehook = sys.unraisablehook, self._swallowed
        if math.isfinite(self.seconds):
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._alarm)
            signal.setitimer(signal.ITIMER_REAL, max(0.001, self._first_seconds))
        if self._last is not None:
            self._last.start()
        return self

    def __exit__(self, kind, error, trace) -> bool:
        if self._last is not None:
            self._last.cancel()
        if signal.SIGALRM in self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if self._again is not None:
            self._again.cancel()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        sys.unraisablehook = self._hook
        if self._again is not None and error is None and not self.reached:
            raise Terminated(TERMINATED_STATUS)
        if self.reached and isinstance(error, SystemExit):
            raise ReserveReached from None
        return False

    def _terminated(self, *_: Any) -> None:
        if self.reached:
            self._end()
        raise Terminated(TERMINATED_STATUS)

    def _swallowed(self, unraisable: Any) -> None:
        """Asks again for an end that fell into a destructor or a weak reference's callback, where Python drops it."""
        if not isinstance(unraisable.exc_value, (Terminated, ReserveReached)):
            self._hook(unraisable)
            return
        main = threading.main_thread().ident
        self._again = threading.Timer(_AGAIN_SECONDS, signal.pthread_kill, [main, signal.SIGTERM])
        self._again.daemon = True
        self._again.start()

    def _alarm(self, *_: Any) -> None:
        if self.reached:
            self._end()
        self.reached = True
        signal.setitimer(signal.ITIMER_REAL, max(0.001, self._saving_seconds))
        signal.raise_signal(signal.SIGTERM)

    def _end(self) -> None:
        _ended.append(self)
        raise ReserveReached


def _part(longest_and_share: tuple[float, float], seconds: float) -> float:
    longest, share = longest_and_share
    return min(longest, share * seconds)


def _end_process(last_deed: Callable[[], None]) -> None:
    try:
        last_deed()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(CAP_STATUS)


def has_ended_work() -> bool:
    """Whether work was ended where it stood in this process: XLA and TensorFlow may have threads left at it."""
    return bool(_ended)
