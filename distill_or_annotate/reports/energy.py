"""Kilowatt-hours and kilograms of CO2e of what a run did on this machine.

As codecarbon reckons: energy is measured device time times the device's power, and emissions are energy times the
carbon intensity of a country's grid. Power is a figure of the price book, not a meter's.
"""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from distill_or_annotate.prices import Factor, PriceBookError, load_book, load_books
from distill_or_annotate.reports.grids import Entry, Grid

_GRID = ("current", "carbon/us")
# What bills the devices of a study that was rented rather than measured here.
_RENTED = "power/a40"
_GPU_HOUR = "gpu_hour/a40"
_SECONDS_PER_HOUR = 3600


@dataclasses.dataclass(frozen=True)
class StageEnergy:
    """What one stage took, kills and repeats included.

    Attributes:
      stage: its name.
      device_seconds: measured.
      energy_kwh: those seconds at the device's power; None where the price book knows no power of the device.
      emissions_kg_co2e: that energy on the grid of the price book; None as above.
    """

    stage: str
    device_seconds: float
    energy_kwh: float | None
    emissions_kg_co2e: float | None

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON-ready values."""
        return dataclasses.asdict(self)


def stage_energy(ledger: Iterable[Mapping[str, Any]]) -> list[StageEnergy]:
    """Returns the energy of each stage that ran here, in the order of their first rows.

    Args:
      ledger: rows of a ledger; a row whose id was seen before counts nothing.
    """
    seen: set[str] = set()
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    for row in ledger:
        if row["entry_id"] not in seen and row["status"] != "reserved" and row["unit"] == "device-second":
            seen.add(row["entry_id"])
            seconds[row["stage"], row["price_entry"]] += row["quantity"]
    carbon = load_book(_GRID[0]).factor(_GRID[1])
    stages: dict[str, StageEnergy] = {}
    for (stage, entry), count in seconds.items():
        power = power_of(entry)
        energy_kwh = None if power is None else count / _SECONDS_PER_HOUR * power.value
        before = stages.get(stage, StageEnergy(stage, 0.0, 0.0, 0.0))
        energy_kwh = None if None in (energy_kwh, before.energy_kwh) else before.energy_kwh + energy_kwh
        emissions = None if energy_kwh is None else energy_kwh * carbon.value
        stages[stage] = StageEnergy(stage, before.device_seconds + count, energy_kwh, emissions)
    return list(stages.values())


def power_of(price_entry: str) -> Factor | None:
    """Returns the power of the device that a price entry is for, or None where no book knows it.

    Args:
      price_entry: `book:kind/device`, as a ledger row names it.
    """
    book, _, entry_id = price_entry.partition(":")
    device = entry_id.partition("/")[2]
    for name in (book, "local", "cloud"):
        try:
            return load_book(name).factor(f"power/{device}")
        except PriceBookError:
            continue
    return None


def grid_of(stages: Iterable[StageEnergy], gpu_hours: float = 0.0) -> Grid:
    """Returns the energy as a table: sums by kind of stage, what is assumed below it.

    Args:
      stages: as `stage_energy` gives them.
      gpu_hours: A40 GPU-hours that the study would rent at the paper's rates; 0 leaves that row out.
    """
    kinds: dict[str, list[StageEnergy]] = defaultdict(list)
    for stage in stages:
        kinds[stage.stage.split("-")[0]].append(stage)
    everything = [stage for found in kinds.values() for stage in found]
    rows = [(name, _entries(found)) for name, found in kinds.items()]
    rows.append(("All", _entries(everything)))
    carbon, local, rented = load_book(_GRID[0]).factor(_GRID[1]), power_of("local:device_hour/local_cpu"), None
    if gpu_hours:
        rented = load_books()["cloud"].factor(_RENTED)
        energy_kwh = gpu_hours * rented.value
        entries = (Entry(""), Entry(f"{gpu_hours:,.0f} h"), Entry(_number(energy_kwh)))
        rows.append(("As billed, on A40 GPUs", (*entries, Entry(_number(energy_kwh * carbon.value)))))
    used = [factor for factor in (local, rented, carbon) if factor]
    return Grid(
        title="Energy and emissions",
        heads=("Stages", "Number", "Device time", "kWh", "kg CO2e"),
        rows=tuple(rows),
        caption="Estimated: device time times a power that the price book states, times the grid's carbon.",
        notes=tuple(
            f"{factor.id}: {factor.value:g} {factor.unit} ({factor.provenance}, {factor.date}): {factor.source}."
            for factor in used
        ),
    )


def csv_of(stages: Iterable[StageEnergy]) -> str:
    """Returns the energy of each stage as CSV.

    Args:
      stages: as `stage_energy` gives them.
    """
    lines = ["stage,device_seconds,energy_kwh,emissions_kg_co2e"]
    for stage in stages:
        numbers = (stage.device_seconds, stage.energy_kwh, stage.emissions_kg_co2e)
        lines.append(",".join([stage.stage, *("" if number is None else f"{number:.9g}" for number in numbers)]))
    return "\n".join(lines) + "\n"


def billed_gpu_hours(ledger: Iterable[Mapping[str, Any]]) -> float:
    """Returns the A40 GPU-hours that a study is billed for; 0 under scaled books, whose hours nobody rents.

    Args:
      ledger: rows of a ledger.
    """
    hours, books = 0.0, load_books()
    for row in ledger:
        book = books.get(row["book"])
        counts = row["status"] != "reserved" and row["kind"] == "device" and row["unit"] != "device-second"
        if counts and book is not None and not book.is_scaled and _GPU_HOUR in book.entries:
            hours += row["usd"] / book.entries[_GPU_HOUR].usd
    return hours


def _number(value: float) -> str:
    """Three significant digits without an exponent."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def _entries(stages: list[StageEnergy]) -> tuple[Entry, ...]:
    known = all(stage.energy_kwh is not None for stage in stages)
    numbers = [sum(getattr(stage, field) or 0.0 for stage in stages) for field in ("energy_kwh", "emissions_kg_co2e")]
    shown = [Entry(_number(number) if known else "power not known") for number in numbers]
    return Entry(str(len(stages))), Entry(f"{sum(stage.device_seconds for stage in stages):,.0f} s"), *shown
