"""From curves and options to a recommendation: expected scores, how sure, what would change it, what to try first."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from distill_or_annotate.planning import posterior
from distill_or_annotate.planning.options import Option, Wish, options_of, purchases_of
from distill_or_annotate.planning.outcomes import Outcome, PlanningError
from distill_or_annotate.planning.posterior import Draws
from distill_or_annotate.planning.prices import PlanPrices

# Options this close, in points, are as good as each other: less than two runs of one differ by.
CLOSE_POINTS = 1.0
# Below this probability of being as good as the best a plan recommends a pilot first.
SURE = 0.6
_FACTORS = np.geomspace(1 / 20, 20, 81)
_FRONTIER_POINTS = 12
# Sizes of pilots: labels, and unlabeled examples for a distilled one.
_PILOT_LABELS = (50, 100, 200, 500, 1000)
_PILOT_POOLS = (1000, 4000)
_SIMULATIONS = 48
# Draws that a scan over prices takes.
_SCANNED = 1000
_SEED = 0


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
class Pilot:
    """A model worth training before the budget is spent.

    Attributes:
      outcome: what it is; its score is what is expected of it.
      usd: what it costs.
      gain_points: by how much knowing it improves the choice, on average.
    """

    outcome: Outcome
    usd: float
    gain_points: float


@dataclasses.dataclass(frozen=True)
class Advice:
    """A recommendation.

    Attributes:
      best: the recommended option.
      runner_up: the best of the other strategy; None where there is none.
      judged: every option, as `options_of` orders them.
      frontier: the best option of smaller budgets, dollars rising.
      break_evens: prices at which the strategy changes, one sentence each.
      pilots: models worth training first, most points per dollar first.
      is_sure: whether the recommendation is likely enough to act on.
    """

    best: Judged
    runner_up: Judged | None
    judged: tuple[Judged, ...]
    frontier: tuple[Judged, ...]
    break_evens: tuple[str, ...]
    pilots: tuple[Pilot, ...]
    is_sure: bool


def judge(options: Sequence[Option], draws: Draws) -> list[Judged]:
    """Returns what options are expected to score.

    Args:
      options: at least one.
      draws: the task's curves.
    """
    asked = purchases_of(options)
    # The same luck for every option: two that are alike must not differ by the dice.
    means = draws.scores(asked, np.random.default_rng(_SEED))
    runs = draws.scores(asked, np.random.default_rng(_SEED), with_run_noise=True)
    low, high = np.percentile(runs, [10, 90], axis=0)
    close = (means >= means.max(1, keepdims=True) - CLOSE_POINTS).mean(0)
    return [
        Judged(option, *map(float, numbers))
        for option, *numbers in zip(options, means.mean(0), low, high, close, strict=True)
    ]


def _favourite(options: Sequence[Option], draws: Draws) -> Option:
    """The option that `best_of` would take; without intervals, for scans over many prices."""
    means = draws.scores(purchases_of(options), np.random.default_rng(_SEED)).mean(0)
    return max(zip(options, means, strict=True), key=lambda pair: (round(float(pair[1]), 1), -pair[0].total_usd))[0]


def best_of(judged: Sequence[Judged]) -> Judged:
    """Returns the option with the highest expected score, of equal ones (to a tenth) the cheapest.

    Args:
      judged: at least one.
    """
    return max(judged, key=lambda each: (round(each.expected, 1), -each.option.total_usd))


def advise(wish: Wish, prices: PlanPrices, draws: Draws) -> Advice:
    """Returns the recommendation for a budget.

    Args:
      wish: budget and what is there.
      prices: of the task.
      draws: the task's curves.

    Raises:
      PlanningError: the budget buys nothing of use.
    """
    judged = judge(options_of(wish, prices), draws)
    best = best_of(judged)
    others = [each for each in judged if each.option.strategy != best.option.strategy]
    return Advice(
        best=best,
        runner_up=best_of(others) if others else None,
        judged=tuple(judged),
        frontier=tuple(_frontier(wish, prices, draws)),
        break_evens=tuple(_break_evens(wish, prices, draws, best.option.strategy)),
        pilots=tuple(pilots(wish, prices, draws)[:3]),
        is_sure=best.chance >= SURE,
    )


def pilots(wish: Wish, prices: PlanPrices, draws: Draws) -> list[Pilot]:
    """Returns models worth training before the budget is spent, most points per dollar first.

    What knowing one is worth is the expected score of the option that would then be chosen, less that of the one chosen
    now: each simulated result reweights the draws.

    Args:
      wish: budget and what is there.
      prices: of the task.
      draws: the task's curves.
    """
    tried = [pair for pair in _pilot_options(wish, prices) if pair[1] <= wish.budget_usd / 2]
    if not tried:
        return []
    options = options_of(wish, prices)
    scores = draws.scores(purchases_of(options), np.random.default_rng(_SEED))
    now = scores.mean(0).max()
    asked = purchases_of([option for option, _ in tried])
    known = draws.scores(asked, np.random.default_rng(_SEED))
    rng = np.random.default_rng(_SEED + 1)
    seen = draws.scores(asked, np.random.default_rng(_SEED), with_run_noise=True)
    noise = np.maximum(posterior.RUN_NOISE_LOGIT * known * (1 - known / 100), posterior.RUN_NOISE_POINTS)
    found = []
    for place, (option, usd) in enumerate(tried):
        truths = seen[rng.integers(0, len(seen), _SIMULATIONS), place]
        distance = (truths[:, None] - known[None, :, place]) / noise[None, :, place]
        weight = np.exp(-0.5 * distance**2) / noise[None, :, place]
        weight /= weight.sum(1, keepdims=True)
        gain = float((weight @ scores).max(1).mean() - now)
        outcome = Outcome(option.strategy, option.n_labels, option.n_unlabeled, float(known[:, place].mean()))
        found.append(Pilot(outcome, usd, max(gain, 0.0)))
    return sorted(found, key=lambda each: -each.gain_points / max(each.usd, 1.0))


def _pilot_options(wish: Wish, prices: PlanPrices) -> list[tuple[Option, float]]:
    """Small models and their dollars; a teacher alone counts as a distilled one without a pool."""
    found = []
    for n_labels in _PILOT_LABELS:
        new_usd = max(0, n_labels - wish.at_hand) * prices.label_usd
        found.append((Option("annotate", n_labels, 0, new_usd), new_usd))
        teacher_usd = new_usd + prices.finetune_usd(n_labels)
        found.append((Option("teacher", n_labels, 0, new_usd, teacher_usd - new_usd), teacher_usd))
        for pool in _PILOT_POOLS:
            if pool <= wish.max_unlabeled:
                usd = teacher_usd + pool / 1000 * prices.distill_usd_per_1k(n_labels)
                found.append((Option("distill", n_labels, pool, new_usd, teacher_usd - new_usd), usd))
    return found


def _frontier(wish: Wish, prices: PlanPrices, draws: Draws) -> list[Judged]:
    """The best option of each budget up to the wish's; budgets that buy nothing are left out."""
    found: list[Judged] = []
    for budget_usd in np.geomspace(wish.budget_usd / 50, wish.budget_usd, _FRONTIER_POINTS):
        try:
            options = options_of(dataclasses.replace(wish, budget_usd=float(budget_usd)), prices)
        except PlanningError:
            continue
        best = best_of(judge(options, draws))
        if not found or best.expected > found[-1].expected + 0.05:
            found.append(best)
    return found


def _break_evens(wish: Wish, prices: PlanPrices, draws: Draws, strategy: str) -> list[str]:
    found = []
    few = draws.first(_SCANNED)
    for name, unit in (("labels", f"a label at ${prices.label_usd:g}"), ("compute", "computing")):
        changes = []
        for way in (_FACTORS[_FACTORS < 1][::-1], _FACTORS[_FACTORS > 1]):
            for factor in way:
                try:
                    options = options_of(wish, prices.scaled(**{name: float(factor)}))
                except PlanningError:
                    break
                if _favourite(options, few).strategy != strategy:
                    changes.append(float(factor))
                    break
        other = "distilling" if strategy == "annotate" else "labels alone"
        if not changes:
            found.append(f"From a twentieth to twenty times today's price of {unit} the recommendation stays.")
        for factor in changes:
            side = "below" if factor < 1 else "above"
            price = f" (${prices.label_usd * factor:,.3g} a label)" if name == "labels" else ""
            found.append(f"With {unit} {side} {factor:.2g} times today's price{price}, {other} would be recommended.")
    return found
