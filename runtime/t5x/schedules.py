"""Learning-rate schedules written as a product of named factors."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

LearningRateCallable = Callable[[jax.Array | int], jax.Array]

_FACTORS = (
    "constant",
    "linear_warmup",
    "linear_decay",
    "rsqrt_decay",
    "rsqrt_normalized_decay",
    "decay_every",
    "cosine_decay",
)


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

    def learning_rate(step: jax.Array | int) -> jax.Array:
        s = jnp.maximum(0.0, jnp.asarray(step, jnp.float32) - step_offset)
        rate = jnp.float32(1.0)
        for name in names:
            if name == "constant":
                rate *= base_learning_rate
            elif name == "linear_warmup":
                rate *= jnp.minimum(1.0, s / max(warmup_steps, 1)) if warmup_steps else 1.0
            elif name == "linear_decay":
                rising = s / warmup_steps if warmup_steps else jnp.inf
                rate *= base_learning_rate * jnp.minimum(rising, 1.0 + decay_factor * (warmup_steps - s))
            elif name == "rsqrt_decay":
                # With no warm-up, step 0 would divide by zero.
                rate /= jnp.sqrt(jnp.maximum(s, max(warmup_steps, 1)))
            elif name == "rsqrt_normalized_decay":
                rate *= jnp.sqrt(max(warmup_steps, 1) / jnp.maximum(s, max(warmup_steps, 1)))
            elif name == "decay_every":
                rate *= decay_factor ** (s // steps_per_decay)
            elif name == "cosine_decay":
                progress = jnp.maximum(0.0, (s - warmup_steps) / float(steps_per_cycle))
                rate *= jnp.maximum(0.0, 0.5 * (1.0 + jnp.cos(jnp.pi * (progress % 1.0))))
            else:
                raise ValueError(
                    f"Unknown learning rate factor {name!r} in factors={factors!r}; known: {', '.join(_FACTORS)}."
                )
        return jnp.asarray(jnp.maximum(rate, min_learning_rate), jnp.float32)

    return learning_rate
