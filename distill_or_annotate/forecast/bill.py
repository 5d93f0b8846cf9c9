"""From the costs of single programs to hours and dollars of an experiment on one mesh."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from distill_or_annotate.forecast import roofline
from distill_or_annotate.forecast.devices import Device, MeshFacts
from distill_or_annotate.forecast.programs import TITLES, Costs
from distill_or_annotate.prices import PriceBook

# Programs that a way to distill needs, in order; `encode` is a part of `capture`.
WAYS = {
    "teacher live at each step": ("capture", "distill_live"),
    "teacher captured once": ("capture", "distill_captured"),
}
# Fragmentation, NCCL's buffers and the CUDA context, none of which the account for GPUs knows.
GPU_MARGIN = 0.10


@dataclasses.dataclass(frozen=True)
class Row:
    """One program on one mesh; JSON-ready.

    Attributes:
      program: in words.
      kind: key of `programs.TITLES`.
      mesh: the mesh's name.
      compiled_as: what it was compiled for.
      costs: what the compiler says.
      memory_bytes: memory of one device.
      fits: whether the peak, with a margin for GPUs, is below it.
      spare_bytes: what is left; negative where it does not fit.
      seconds: of one run.
      seconds_source: `compiler` or `roofline`.
      bound: what takes the time.
      hours: of all runs.
      usd: of all runs, all chips paid.
      measured_seconds: of one run on the devices themselves, where they are here and that was asked for.
    """

    program: str
    kind: str
    mesh: str
    compiled_as: str
    costs: Costs
    memory_bytes: float
    fits: bool
    spare_bytes: float
    seconds: float
    seconds_source: str
    bound: str
    hours: float
    usd: float
    measured_seconds: float | None = None


def row(kind: str, costs: Costs, facts: MeshFacts, device: Device, book: PriceBook) -> Row:
    """Prices one program on one mesh.

    Args:
      kind: key of `programs.TITLES`.
      costs: of the program.
      facts: the mesh.
      device: its device, all numbers known.
      book: holds the device's price an hour.

    Returns:
      The row.

    Raises:
      PriceBookError: the book has no price for the device.
    """
    taken = roofline.seconds(
        device,
        flops=costs.flops / facts.chips,
        memory_bytes=costs.memory_bytes or 0.0,
        wire_bytes=costs.wire_bytes,
        compiler_seconds=None if facts.stand_in else costs.compiler_seconds,
        has_loops=costs.has_loops,
    )
    usable = device.memory_bytes * (1 - GPU_MARGIN if facts.stand_in else 1)
    hours = taken.value * costs.steps / 3600
    usd_per_hour = book.entry(device.price).usd * (1 if device.is_cpu else facts.chips)
    refused = bool(costs.refused) and not facts.stand_in
    return Row(
        program=TITLES[kind],
        kind=kind,
        mesh=facts.name,
        compiled_as=facts.compiled_as,
        costs=costs,
        memory_bytes=device.memory_bytes,
        fits=costs.peak_bytes <= usable and not refused,
        spare_bytes=usable - costs.peak_bytes,
        seconds=taken.value,
        seconds_source=taken.source,
        bound=taken.bound,
        hours=hours,
        usd=hours * usd_per_hour,
    )


def ways(rows: Mapping[str, Row]) -> dict[str, dict[str, float | bool]]:
    """What each way to distill takes, the teacher's fine-tuning left out.

    Args:
      rows: of one mesh, by kind.

    Returns:
      Way to hours, usd and whether all its programs fit; ways whose programs are not all there are left out.
    """
    found = {}
    for way, kinds in WAYS.items():
        if all(kind in rows for kind in kinds):
            parts = [rows[kind] for kind in kinds]
            found[way] = {
                "hours": sum(part.hours for part in parts),
                "usd": sum(part.usd for part in parts),
                "flops": sum(part.costs.flops * part.costs.steps for part in parts),
                "fits": all(part.fits for part in parts),
            }
    return found
