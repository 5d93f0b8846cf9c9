"""A program run on the CPU's own devices, on made-up numbers: what a forecast for a CPU is held against."""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def measured_seconds(step: Any, repeats: int = 10) -> float:
    """Runs a traced program on devices that are here.

    Parameters and optimizer state are 0.01 everywhere and each token is 2, so that no row ends before its full length.

    Args:
      step: what `programs.trace` returns, for a mesh of the CPU.
      repeats: timed runs, at least 1, after one that is not timed.

    Returns:
      Seconds of the median run.
    """
    arguments = jax.tree.map(_made_up, step.arguments)
    with jax.set_mesh(step.mesh):
        compiled = step.traced.lower().compile()
        times = []
        for _ in range(repeats + 1):
            started = time.perf_counter()
            result = jax.block_until_ready(compiled(*arguments))
            times.append(time.perf_counter() - started)
            if hasattr(step, "state"):  # a train step takes its state's place
                arguments = (result[0], *arguments[1:])
    return float(np.median(times[1:]))


def _made_up(leaf: Any) -> jax.Array:
    value = 2 if jnp.issubdtype(leaf.dtype, jnp.integer) else 0.01
    return jax.device_put(jnp.full(leaf.shape, value, leaf.dtype), leaf.sharding)
