"""From curves and options to a recommendation: expected scores, how sure, the best of smaller budgets."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from distill_or_annotate.planning.break_evens import BreakEven, break_evens
from distill_or_annotate.planning.choosing import favourite
from distill_or_annotate.planning.kept import Kept
from distill_or_annotate.planning.options import Option, options_of, purchases_of
from distill_or_annotate.planning.outcomes import PlanningError
from distill_or_annotate.planning.pilots import Pilot, pilots
from distill_or_annotate.planning.posterior import Draws
from distill_or_annotate.planning.prices import PlanPrices
from distill_or_annotate.planning.wishes import Wish

# Options this close, in points, are as good as each other: less than two runs of one differ by.
CLOSE_POINTS = 1.0
# Below this probability of being as good as the best a plan recommends a pilot first.
SURE = 0.6
FRONTIER_POINTS = 12
# The smallest budget of the frontier, as a share of the wish's.
FRONTIER_FROM = 1 / 50
# More dollars are worth a line of the frontier from so many points on.
FRONTIER_RISE_POINTS = 0.05
# A pilot worth less is not recommended.
LEAST_GAIN_POINTS = 0.05
_SHOWN_PILOTS = 3


@dataclasses.dataclass(frozen=True)
class Judged:
    """An option and what it is expected to score.

    Attributes:
      option: the option.
      expected: mean score, percent.
      low: lower end of the 80% interval of a single run.
      high: upper end of it.
      chance: probability of being within CLOSE_POINTS of the best affordable option.
    """

    option: Option
    expected: float
    low: float
    high: float
    chance: float


@dataclasses.dataclass(frozen=True)
class Advice:
    """A recommendation.

    Attributes:
      best: the recommended option.
      runner_up: the best of another strategy; where there is none, of other models; None where there is neither.
      frontier: the best option of smaller budgets, dollars rising.
      break_evens: prices and traffic at which the recommendation changes.
      pilots: models worth training first, most points per dollar first.
      is_sure: whether the recommendation is likely enough to act on.
      kept: the best student of a pilot, which costs nothing more; None without one.
    """

    best: Judged
    runner_up: Judged | None
    frontier: tuple[Judged, ...]
    break_evens: tuple[BreakEven, ...]
    pilots: tuple[Pilot, ...]
    is_sure: bool
    kept: Kept | None = None

    @property
    def keeps(self) -> bool:
        """Whether nothing that could be bought is expected to score more than what is there."""
        return self.kept is not None and self.kept.is_enough(self.best.expected)


def judge(options: Sequence[Option], prices: PlanPrices, draws: Draws) -> list[Judged]:
    """Returns what options are expected to score.

    Args:
      options: at least one.
      prices: of the task.
      draws: the task's curves.
    """
    asked = purchases_of(options, prices)
    means = draws.scores(asked)
    low, high = np.percentile(draws.scores(asked, with_run_noise=True), [10, 90], axis=0)
    close = (means >= means.max(1, keepdims=True) - CLOSE_POINTS).mean(0)
    return [
        Judged(option, *map(float, numbers))
        for option, *numbers in zip(options, means.mean(0), low, high, close, strict=True)
    ]


def best_of(judged: Sequence[Judged]) -> Judged:
    """Returns the option with the highest expected score, of equal ones (to a tenth) the cheapest.

    Args:
      judged: at least one.
    """
    return judged[favourite([each.option for each in judged], np.array([each.expected for each in judged]))]


def advise(wish: Wish, prices: PlanPrices, draws: Draws, kept: Kept | None = None) -> Advice:
    """Returns the recommendation for a budget.

    Args:
      wish: budget and what is there.
      prices: of the task.
      draws: the task's curves.
      kept: the best student of a pilot.

    Raises:
      PlanningError: the budget buys nothing of use.
    """
    judged = judge(options_of(wish, prices), prices, draws)
    best = best_of(judged)
    tried = pilots(wish, prices, draws)
    return Advice(
        best=best,
        runner_up=_runner_up(judged, best),
        frontier=tuple(_frontier(wish, prices, draws, kept)),
        break_evens=tuple(break_evens(wish, prices, draws)),
        pilots=tuple(pilot for pilot in tried[:_SHOWN_PILOTS] if pilot.gain_points > LEAST_GAIN_POINTS),
        is_sure=best.chance >= SURE,
        kept=kept,
    )


def _runner_up(judged: Sequence[Judged], best: Judged) -> Judged | None:
    for same in (lambda option: (option.strategy, bool(option.llm)), lambda option: option.kind):
        others = [each for each in judged if same(each.option) != same(best.option)]
        if others:
            return best_of(others)
    return None


def _frontier(wish: Wish, prices: PlanPrices, draws: Draws, kept: Kept | None) -> list[Judged]:
    """The best option of each budget up to the wish's; budgets that buy no more than what is there are left out."""
    found: list[Judged] = []
    for step in range(FRONTIER_POINTS):
        share = FRONTIER_FROM ** (1 - step / (FRONTIER_POINTS - 1))
        try:
            options = options_of(dataclasses.replace(wish, budget_usd=wish.budget_usd * share), prices)
        except PlanningError:
            continue
        best = best_of(judge(options, prices, draws))
        if not found or best.expected > found[-1].expected + FRONTIER_RISE_POINTS:
            found.append(best)
    better = [each for each in found if kept is None or each.expected > kept.outcome.score]
    return better or found[-1:]
