"""What one virtual device of this CPU can do, timed: nobody prints it."""

from __future__ import annotations

import dataclasses
import functools
import os
import time

from distill_or_annotate.forecast.devices import Device


@functools.cache
def measured(device: Device, chips: int) -> Device:
    """The CPU's numbers, shared by its virtual devices.

    Args:
      device: the entry `cpu` of devices.toml.
      chips: virtual devices, at least 1.

    Returns:
      The device with its numbers; memory and bandwidth of the machine divided by the devices.
    """
    import jax
    import jax.numpy as jnp

    size = 1024
    left = jnp.ones((size, size), jnp.float32)
    flops = 2 * size**3 / _best(jax.jit(lambda x: x @ x), left)
    long = jnp.ones((4 << 20,), jnp.float32)  # 16 MiB: the caches count, as they do for a compact model's arrays
    bandwidth = 2 * long.nbytes / _best(jax.jit(lambda x: x + 1.0), long)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return dataclasses.replace(
        device,
        peak_flops=flops / chips,
        memory_bytes=memory / chips,
        memory_bandwidth=bandwidth / chips,
        interconnect=bandwidth / 2 / chips,  # a collective is a copy
    )


def _best(function, array, repeats: int = 5) -> float:
    function(array).block_until_ready()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function(array).block_until_ready()
        times.append(time.perf_counter() - started)
    return min(times)
