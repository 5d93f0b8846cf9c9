"""A T5X trainer that says how far it is, on a channel that whoever watches may listen to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax.monitoring

from t5x import trainer as t5x_trainer

STEP_EVENT = "/distill_or_annotate/train/step"


class ProgressTrainer(t5x_trainer.Trainer):
    """`t5x.trainer.Trainer` that reports the last dispatched step to `jax.monitoring` after each piece of training.

    Args:
      total_steps: steps that the run will have taken at its end, for whoever draws a bar; None where unknown.
      **trainer_args: the arguments of `t5x.trainer.Trainer`.
    """

    def __init__(self, *, total_steps: int | None = None, **trainer_args: Any):
        super().__init__(**trainer_args)
        self._total_steps = total_steps

    def train(self, batch_iter: Any, num_steps: int, start_step: int | None = None) -> Any:
        """Train as the base class does, then report.

        Args:
          batch_iter: yields batches.
          num_steps: optimizer steps to take.
          start_step: number of steps taken before; None reads it from the train state.

        Returns:
          The base class's future of metric values.
        """
        metrics = super().train(batch_iter, num_steps, start_step)
        first = start_step if start_step is not None else int(self.train_state.step) - num_steps
        jax.monitoring.record_scalar(STEP_EVENT, first + num_steps, total_steps=self._total_steps or 0)
        return metrics


@contextmanager
def listening(on_step: Callable[[int, int | None], None]) -> Iterator[None]:
    """Call `on_step(step, total_steps)` for each report made inside the block.

    Args:
      on_step: receives the number of the last dispatched step, and of the last there will be (None where unknown).
    """

    def listener(event: str, value: float | int, total_steps: int = 0, **_: Any) -> None:
        if event == STEP_EVENT:
            on_step(int(value), total_steps or None)

    jax.monitoring.register_scalar_listener(listener)
    try:
        yield
    finally:
        jax.monitoring.unregister_scalar_listener(listener)
