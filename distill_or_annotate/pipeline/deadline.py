"""Stopping work at the end of its reserve, with what it has learnt saved.

Two alarms. At the first, T5X is told what schedulers tell it when a machine is taken away (SIGTERM): it finishes the
step at hand, saves a checkpoint and ends. Work that listens to nothing (inference, a compilation) ends where it stands.
At the second, the reserve is used up, and whatever still runs ends there; the time between them is for saving.
"""

from __future__ import annotations

import math
import signal
from typing import Any

# 128 + 15: with this status T5X ends after SIGTERM, once its checkpoint is saved.
TERMINATED_STATUS = 143
_LONGEST_SAVING_SECONDS = 60.0
_SAVING_SHARE = 0.1


class ReserveReached(BaseException):
    """The reserve of the running stage is used up: an end like KeyboardInterrupt, which no library may catch."""


class Terminated(SystemExit):
    """SIGTERM came while nothing ran that could save its work."""


_ended: list[Deadline] = []


class Deadline:
    """Ends the work of a `with` block in the main thread; a block that ended so raises `ReserveReached`.

    Args:
      seconds: wall-clock time that the block may take; infinity sets no alarm.

    Attributes:
      reached: whether the time was used up.
    """

    def __init__(self, seconds: float):
        self.reached = False
        self._seconds = seconds
        self._saving_seconds = min(_LONGEST_SAVING_SECONDS, _SAVING_SHARE * seconds)
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Deadline:
        self._before = {signal.SIGTERM: signal.signal(signal.SIGTERM, self._terminated)}
        if math.isfinite(self._seconds):
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._alarm)
            signal.setitimer(signal.ITIMER_REAL, max(0.001, self._seconds - self._saving_seconds))
        return self

    def __exit__(self, kind, error, trace) -> bool:
        if signal.SIGALRM in self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.reached and isinstance(error, SystemExit):
            raise ReserveReached from None
        return False

    def _terminated(self, *_: Any) -> None:
        if self.reached:
            self._end()
        raise Terminated(TERMINATED_STATUS)

    def _alarm(self, *_: Any) -> None:
        if self.reached:
            self._end()
        self.reached = True
        signal.setitimer(signal.ITIMER_REAL, max(0.001, self._saving_seconds))
        signal.raise_signal(signal.SIGTERM)

    def _end(self) -> None:
        _ended.append(self)
        raise ReserveReached


def has_ended_work() -> bool:
    """Whether work was ended where it stood in this process: XLA and TensorFlow may have threads left at it."""
    return bool(_ended)
