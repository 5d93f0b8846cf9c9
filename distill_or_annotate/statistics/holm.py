"""Holm's step-down correction: many cells of a table are tested, and one of them will look good by chance."""

import math
from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values corrected so that the chance of any false finding among them stays below the level.

    Args:
      p_values: one per comparison, each from 0 to 1, in any order.

    Returns:
      Corrected ones in the same order, at most 1; never below what was given, never in another order of size.

    Raises:
      ValueError: a value outside 0 to 1.
    """
    for value in p_values:
        if not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value <= 1:
            raise ValueError(f"p_values: received {value!r}; each must lie between 0 and 1.")
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, position in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[position]))
        corrected[position] = largest
    return corrected
