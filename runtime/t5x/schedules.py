"""Learning-rate schedules written as a product of named factors."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

LearningRateCallable = Callable[[jax.Array | int], jax.Array]


def create_learning_rate_scheduler(
    factors: str = "constant * linear_warmup * rsqrt_decay",
    base_learning_rate: float = 0.5,
    warmup_steps: int = 1000,
    decay_factor: float = 0.5,
    steps_per_decay: int = 20000,
    steps_per_cycle: int = 100000,
    step_offset: int = 0,
    min_learning_rate: float = 1e-8,
) -> LearningRateCallable:
    """Builds a function from step to learning rate.

    With s = max(0, step - step_offset) the rate is the product of the factors, floored at `min_learning_rate`:
    `constant` base; `linear_warmup` min(1, s / warmup); `linear_decay` base * min(s / warmup, 1 + decay_factor *
    (warmup - s)), which already holds constant and warm-up; `rsqrt_decay` 1 / sqrt(max(s, warmup));
    `rsqrt_normalized_decay` sqrt(warmup / max(s, warmup)); `decay_every` decay_factor ** (s // steps_per_decay);
    `cosine_decay` max(0, (1 + cos(pi * (p mod 1))) / 2) with p = max(0, (s - warmup) / steps_per_cycle).

    Args:
      factors: names joined by `*`.
      base_learning_rate: value of `constant`.
      warmup_steps: steps of warm-up, >= 0.
      decay_factor: see `linear_decay` (per step) and `decay_every` (per decay).
      steps_per_decay: period of `decay_every`, in steps.
      steps_per_cycle: period of `cosine_decay`, in steps.
      step_offset: steps before which the schedule stands at its start.
      min_learning_rate: floor of the result.

    Returns:
      A function of a step (Python or traced integer) that returns a float32 scalar.

    Raises:
      ValueError: when called, for an unknown factor.
    """
    names = [name.strip() for name in factors.split("*")]
    warmup = max(warmup_steps, 1)  # with no warm-up, step 0 would divide by zero

    def learning_rate(step: jax.Array | int) -> jax.Array:
        s = jnp.maximum(0.0, jnp.asarray(step, jnp.float32) - step_offset)
        rising = s / warmup if warmup_steps else jnp.inf
        progress = jnp.maximum(0.0, (s - warmup_steps) / float(steps_per_cycle))
        known = {
            "constant": base_learning_rate,
            "linear_warmup": jnp.minimum(1.0, rising),
            "linear_decay": base_learning_rate * jnp.minimum(rising, 1.0 + decay_factor * (warmup_steps - s)),
            "rsqrt_decay": 1.0 / jnp.sqrt(jnp.maximum(s, warmup)),
            "rsqrt_normalized_decay": jnp.sqrt(warmup / jnp.maximum(s, warmup)),
            "decay_every": decay_factor ** (s // steps_per_decay),
            "cosine_decay": jnp.maximum(0.0, 0.5 * (1.0 + jnp.cos(jnp.pi * (progress % 1.0)))),
        }
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(
                f"Unknown learning rate factor {unknown[0]!r} in factors={factors!r}; known: {', '.join(known)}."
            )
        rate = math.prod((known[name] for name in names), start=jnp.float32(1.0))
        return jnp.asarray(jnp.maximum(rate, min_learning_rate), jnp.float32)

    return learning_rate
