"""Which option is taken: the highest expected score, of equal ones the cheapest."""

from collections.abc import Sequence

import numpy as np

from distill_or_annotate.planning.options import Option


def favourite(options: Sequence[Option], expected: np.ndarray) -> int:
    """Returns the place of the option to take; scores that agree to a tenth of a point are equal.

    Args:
      options: at least one.
      expected: their expected scores, [C].
    """
    # Half up, as a page rounds, not half to even.
    tenths = np.floor(np.asarray(expected) * 10 + 0.5)
    return max(range(len(options)), key=lambda place: (tenths[place], -options[place].total_usd, -place))
