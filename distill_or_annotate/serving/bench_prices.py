"""What an hour of a device costs: a number of the caller's, or an entry of the price books."""

from __future__ import annotations

import dataclasses
import difflib
import math
from typing import Any

from distill_or_annotate import prices

_HERE = "local_cpu"


@dataclasses.dataclass(frozen=True)
class HourlyPrice:
    """Dollars for an hour of a device.

    Attributes:
      usd: dollars an hour, above 0.
      name: what is priced.
      source: where the price comes from, with its day and what kind of price it is.
    """

    usd: float
    name: str
    source: str

    def usd_per_million(self, per_second: float) -> float:
        """Dollars of a million predictions at a rate of `per_second`."""
        return self.usd / 3600 / per_second * 1e6

    def as_json(self) -> dict[str, Any]:
        """The price as a JSON object."""
        return {"usd_per_hour": self.usd, "name": self.name, "source": self.source}


def hourly_price(usd: float | None, accelerator: str | None, platform: str) -> HourlyPrice | None:
    """Finds the price.

    Args:
      usd: dollars an hour, or None.
      accelerator: the name of an hourly price of the books, or None.
      platform: JAX's platform here; on `cpu` the books' price of a small machine is assumed where nothing is given.

    Returns:
      The price; None where nothing is given and nothing can be assumed.

    Raises:
      ValueError: when both are given, the dollars are no price, or no book has the name (near ones are listed).
    """
    if usd is not None and accelerator is not None:
        raise ValueError("--device-usd-per-hour and --accelerator both name a price. Fix: give one of them.")
    if usd is not None:
        if not math.isfinite(usd) or usd <= 0:
            raise ValueError(f"--device-usd-per-hour is {usd}; it must be a finite number of dollars above 0.")
        return HourlyPrice(usd, "this device", "given on the command line")
    if accelerator is None and platform != "cpu":
        return None
    return _of_the_books(accelerator or _HERE)


def _of_the_books(name: str) -> HourlyPrice:
    entries = {}
    for book in prices.load_books().values():
        # The hours of a scaled book are nobody's bill.
        for entry in () if book.is_scaled else book.entries.values():
            if entry.unit.lower().endswith("-hour"):
                entries.setdefault(entry.id.partition("/")[2], entry)
    wanted = name.rpartition("/")[2].lower()
    if wanted not in entries:
        near = difflib.get_close_matches(wanted, entries, n=2, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ValueError(
            f"--accelerator is {name!r}, which no price book has; {hint}allowed: {', '.join(sorted(entries))}. "
            "Fix: give one of these, or --device-usd-per-hour."
        )
    entry = entries[wanted]
    kind = "" if entry.source.startswith(entry.provenance) else f"{entry.provenance}, "
    return HourlyPrice(entry.usd, wanted, f"{kind}{entry.source}; {entry.date}")
