"""SIGTERM, by which schedulers and clouds announce that a machine will be taken away."""

from __future__ import annotations

import signal
import threading
from typing import Any

import jax

# 128 + 15: what shells, SLURM and Kubernetes show for a process that SIGTERM ended.
EXIT_STATUS = 143


class Notice:
    """Notes SIGTERM instead of dying of it while the `with` block runs.

    With several processes JAX's own service listens, on each of them, and agrees on one step for all. A block outside
    the main thread hears nothing: Python delivers signals to that thread alone.

    Attributes:
        received: whether the signal has come.
    """

    def __init__(self) -> None:
        """Listens to nothing yet."""
        self.received = self._heeded = False
        self._before: Any = None

    def __enter__(self) -> Notice:
        """Starts to listen."""
        if jax.process_count() == 1 and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_: Any) -> None:
        """Leaves the signal to whom it went before, and one that came too late to stop anything here, too."""
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
        if self.received and not self._heeded and callable(self._before):
            self._before(signal.SIGTERM, None)

    def _note(self, *_: Any) -> None:
        self.received = True

    def reached(self, step: int) -> bool:
        """Whether to stop before the step after `step`; called at every step, by all processes alike."""
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            self.received = self.received or multihost_utils.reached_preemption_sync_point(step)
        self._heeded = self.received
        return self.received
