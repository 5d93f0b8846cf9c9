"""Seconds of a program from what it computes and moves, at stated shares of a device's peaks."""

from __future__ import annotations

import dataclasses
import math

from distill_or_annotate.forecast.devices import Device

# Loops make the compiler's own estimate wrong; so does any value far from what the peaks allow.
_SANE = (0.9, 20.0)


@dataclasses.dataclass(frozen=True)
class Utilisation:
    """Shares of a device's peaks that a program is taken to reach, each above 0 and at most 1.

    Attributes:
      flops: of matrix products; well-tuned T5 training reports 40 to 60 % on TPUs.
      memory: of the memory's bandwidth.
      interconnect: of the links' bandwidth; small slices have no wrap-around links.
    """

    flops: float = 0.5
    memory: float = 0.8
    interconnect: float = 0.5

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not 0 < value <= 1:
                raise ValueError(f"utilisation.{field.name} is {value}; allowed: above 0, at most 1.")

    def __str__(self) -> str:
        return f"{self.flops:.0%} of FLOP/s, {self.memory:.0%} of memory, {self.interconnect:.0%} of links"


ACCELERATOR = Utilisation()
# Of a CPU's peaks, as measured a moment before; chosen on the mini models' programs (docs/forecast.md).
CPU = Utilisation(flops=0.35, memory=0.3, interconnect=0.3)


@dataclasses.dataclass(frozen=True)
class Seconds:
    """How long one run of a program takes.

    Attributes:
      value: seconds.
      source: `compiler` or `roofline`.
      bound: what takes the time in the roofline: `flops`, `memory` or `links`.
    """

    value: float
    source: str
    bound: str


def seconds(
    device: Device,
    flops: float,
    memory_bytes: float,
    wire_bytes: float = 0.0,
    compiler_seconds: float | None = None,
    has_loops: bool = False,
    utilisation: Utilisation | None = None,
) -> Seconds:
    """Predicts the time of one run on one device.

    Products and memory traffic overlap, so the slower of them counts; collectives are taken not to overlap.

    Args:
      device: its peaks; all must be known.
      flops: operations on this device, at least 0.
      memory_bytes: bytes read and written there, at least 0.
      wire_bytes: bytes that it sends, at least 0.
      compiler_seconds: the compiler's own estimate; taken for loop-free programs when it lies within 0.9 and 20 times
        what the peaks allow.
      has_loops: whether the program has loops, whose bodies that estimate counts once.
      utilisation: shares of the peaks; None for the device's kind.

    Returns:
      Seconds, and where they come from.
    """
    share = utilisation or (CPU if device.is_cpu else ACCELERATOR)
    parts = {
        "flops": flops / device.peak_flops,
        "memory": memory_bytes / device.memory_bandwidth,
        "links": wire_bytes / device.interconnect if wire_bytes else 0.0,
    }
    taken = {
        "flops": parts["flops"] / share.flops,
        "memory": parts["memory"] / share.memory,
        "links": parts["links"] / share.interconnect,
    }
    bound = max(taken, key=taken.__getitem__)
    floor = max(parts["flops"], parts["memory"]) + parts["links"]
    sane = compiler_seconds is not None and math.isfinite(compiler_seconds) and not has_loops
    if sane and _SANE[0] * floor <= compiler_seconds <= _SANE[1] * max(floor, 1e-12) and compiler_seconds > 0:
        return Seconds(compiler_seconds, "compiler", bound)
    return Seconds(max(taken["flops"], taken["memory"]) + taken["links"], "roofline", bound)
