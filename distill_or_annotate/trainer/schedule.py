"""How many steps a training run takes, from how much data there is, and a rate that falls over them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any


def steps(n_examples: int, epochs: float, batch_size: int, min_steps: int = 1, max_steps: int | None = None) -> int:
    """Optimizer steps for a number of passes over the data, within bounds.

    Bound in gin to `TRAIN_STEPS`, so that an experiment file says epochs and its overrides say only how much data.

    Args:
      n_examples: training examples, at least 1.
      epochs: passes over them, above 0.
      batch_size: examples a step.
      min_steps: few examples still get this many steps.
      max_steps: upper bound; None for none.

    Returns:
      At least 1.

    Raises:
      ValueError: if an argument is out of range.
    """
    for name, value in (("n_examples", n_examples), ("epochs", epochs), ("batch_size", batch_size)):
        if value <= 0:
            raise ValueError(f"schedule.steps.{name} is {value}; it must be above 0.")
    count = max(math.ceil(n_examples * epochs / batch_size), min_steps, 1)
    return count if max_steps is None else min(count, max_steps)


def linear_to_zero(base_learning_rate: float, total_steps: int) -> Callable[[Any], Any]:
    """A learning rate that falls in a straight line from the first step to zero after the last, without warm-up.

    Args:
      base_learning_rate: the rate of the first step.
      total_steps: optimizer steps of the run, at least 1.

    Returns:
      A function of the step (a number or a traced one) that gives the rate.

    Raises:
      ValueError: if total_steps is below 1.
    """
    if total_steps < 1:
        raise ValueError(f"schedule.linear_to_zero.total_steps is {total_steps}; it must be at least 1.")

    def rate(step: Any) -> Any:
        import jax.numpy as jnp

        return base_learning_rate * jnp.maximum(0.0, 1.0 - jnp.asarray(step, jnp.float32) / total_steps)

    return rate
