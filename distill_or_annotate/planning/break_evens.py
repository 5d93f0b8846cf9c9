"""At which prices, and at which traffic, another thing should be bought."""

from __future__ import annotations

import dataclasses

from distill_or_annotate.planning.choosing import favourite
from distill_or_annotate.planning.options import Option, options_of, purchases_of
from distill_or_annotate.planning.outcomes import PlanningError
from distill_or_annotate.planning.posterior import Draws
from distill_or_annotate.planning.prices import PlanPrices
from distill_or_annotate.planning.wishes import Wish

# How far from today's price is looked, in how many steps, and how often the step with the change is halved.
FARTHEST, STEPS, HALVINGS = 20.0, 16, 4
# Draws that a scan takes.
SCANNED = 500
NAMES = {"labels": "labels", "compute": "computing", "llm": "a language model's labels", "traffic": "traffic"}


@dataclasses.dataclass(frozen=True)
class BreakEven:
    """Where along one price the recommendation changes.

    Attributes:
      axis: labels | compute | llm | traffic.
      today: dollars a label, predictions a month; None for computing and language models, which have several prices.
      below: the factor below which another kind of option is best; None where none within a twentieth is.
      becomes_below: that option; None likewise.
      above: the factor above which one is; None where none within twenty times is.
      becomes_above: that option; None likewise.
    """

    axis: str
    today: float | None
    below: float | None
    becomes_below: Option | None
    above: float | None
    becomes_above: Option | None


def break_evens(wish: Wish, prices: PlanPrices, draws: Draws) -> list[BreakEven]:
    """Returns where the recommendation changes, along each price that matters.

    Args:
      wish: budget and what is there.
      prices: of the task.
      draws: the task's curves.

    Raises:
      PlanningError: the budget buys nothing of use at today's prices.
    """
    few = draws.first(SCANNED)
    today: dict[str, float | None] = {"labels": prices.label_usd, "compute": None}
    today |= {"llm": None} if prices.llms else {}
    today |= {"traffic": wish.served_per_month} if wish.served else {}
    best = _best(wish, prices, few, "labels", 1.0)
    found = []
    for axis, value in today.items():
        below, above = (_change(wish, prices, few, axis, best.kind, way) for way in (1 / FARTHEST, FARTHEST))
        found.append(BreakEven(axis, value, *below, *above))
    return found


def _change(
    wish: Wish, prices: PlanPrices, draws: Draws, axis: str, kind: tuple[str, ...], farthest: float
) -> tuple[float | None, Option | None]:
    """The factor nearest to 1 at which another kind is best, and that option."""
    near, far, becomes = 0.0, 0.0, None
    for step in range(1, STEPS + 1):
        option = _best(wish, prices, draws, axis, farthest ** (step / STEPS))
        if option is None:
            return None, None
        if option.kind != kind:
            near, far, becomes = (step - 1) / STEPS, step / STEPS, option
            break
    if becomes is None:
        return None, None
    for _ in range(HALVINGS):
        middle = (near + far) / 2
        option = _best(wish, prices, draws, axis, farthest**middle)
        if option.kind == kind:
            near = middle
        else:
            far, becomes = middle, option
    return farthest**far, becomes


def _best(wish: Wish, prices: PlanPrices, draws: Draws, axis: str, factor: float) -> Option | None:
    """What is best at another price; None where the budget buys nothing there."""
    if axis == "traffic":
        wish = dataclasses.replace(wish, served_per_month=wish.served_per_month * factor)
    else:
        prices = prices.scaled(**{axis: factor})
    try:
        options = options_of(wish, prices)
    except PlanningError:
        return None
    return options[favourite(options, draws.scores(purchases_of(options, prices)).mean(0))]
