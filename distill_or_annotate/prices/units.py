"""What a price may be a price of, and the range in which each is believable."""

import difflib
import math
from typing import Any

# Unit -> lowest and highest believable dollars. A catalogue that does not know an hourly price may say 700.0 instead (a
# copy of Google Cloud's does), and a form that was left as it was says 0 or 999.
RANGES: dict[str, tuple[float, float]] = {
    "label": (0.0001, 1_000.0),
    "GPU-hour": (0.01, 100.0),
    "chip-hour": (0.01, 100.0),
    "device-hour": (0.001, 100.0),
    "run": (0.0001, 1_000_000.0),
    "1000 unlabeled examples": (0.0001, 10_000.0),
    "1000 labels": (0.0001, 10_000.0),
    "1000000 tokens": (0.0001, 1_000.0),
    "kWh": (0.005, 5.0),
}
FACTOR_RANGES: dict[str, tuple[float, float]] = {
    "kg CO2e/kWh": (0.001, 2.0),
    "kW": (0.0005, 10.0),
}
_PLACEHOLDERS = frozenset((999.0, 999.99, 9_999.0, 9_999.99, 12_345.0, 99_999.0, 99_999.99, 123_456.0, 999_999.0))


def problem(field: str, amount: Any, unit: str, ranges: dict[str, tuple[float, float]]) -> str | None:
    """Returns what is wrong with an amount and how to mend it, or None.

    Args:
      field: `usd` or `value`.
      amount: as it stands in the file.
      unit: what it is an amount of.
      ranges: units that are known, with their ranges.
    """
    if unit not in ranges:
        near = difflib.get_close_matches(unit, ranges, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"unit is {unit[:80]!r}; {hint}allowed: {', '.join(ranges)}."
    kind = "dollars" if field == "usd" else unit
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not math.isfinite(amount) or amount < 0:
        return f"{field} is {repr(amount)[:80]}; it must be a finite number of {kind}, above 0."
    low, high = ranges[unit]
    if amount in _PLACEHOLDERS or not low <= amount <= high:
        per = f" per {unit}" if field == "usd" else f" {unit}"
        return (
            f"{field} is {amount}{per}, which looks like a placeholder: believable ones lie between {low:g} and "
            f"{high:g}. Fix: look it up and write it down with its date and source, or remove the entry."
        )
    return None
