"""What to try before the budget is spent: the small model whose score would change the choice most, per dollar."""

from __future__ import annotations

import dataclasses

import numpy as np

from distill_or_annotate.planning import posterior
from distill_or_annotate.planning.options import Option, options_of, purchases_of
from distill_or_annotate.planning.outcomes import Outcome
from distill_or_annotate.planning.posterior import Draws
from distill_or_annotate.planning.prices import PlanPrices
from distill_or_annotate.planning.wishes import Wish

# Sizes of pilots: labels, and unlabeled examples for a distilled one.
_LABELS = (50, 100, 200, 500, 1000)
_POOLS = (1000, 4000)
_SIMULATIONS = 48
_DRAWS = 1000
_SEED = 1


@dataclasses.dataclass(frozen=True)
class Pilot:
    """A model worth training before the budget is spent.

    Attributes:
      outcome: what it is; its score is what is expected of it.
      usd: what it costs.
      gain_points: by how much knowing it improves the choice, on average.
      model: its name; '' for the priced one.
    """

    outcome: Outcome
    usd: float
    gain_points: float
    model: str = ""


def pilots(wish: Wish, prices: PlanPrices, draws: Draws) -> list[Pilot]:
    """Returns models worth training before the budget is spent, most points per dollar first.

    What knowing one is worth is the expected score of the option that would then be chosen, less that of the one chosen
    now: each simulated result reweights the draws.

    Args:
      wish: budget and what is there.
      prices: of the task.
      draws: the task's curves.
    """
    tried = [pair for pair in _tried(wish, prices) if pair[1] <= wish.budget_usd / 2]
    if not tried:
        return []
    draws = draws.first(_DRAWS)
    scores = draws.scores(purchases_of(options_of(wish, prices), prices))
    now = scores.mean(0).max()
    asked = purchases_of([option for option, _ in tried], prices)
    known, seen = draws.scores(asked), draws.scores(asked, with_run_noise=True)
    rng = np.random.default_rng(_SEED)
    noise = np.maximum(posterior.RUN_NOISE_LOGIT * known * (1 - known / 100), posterior.RUN_NOISE_POINTS)
    found = []
    for place, (option, usd) in enumerate(tried):
        truths = seen[rng.integers(0, len(seen), _SIMULATIONS), place]
        distance = (truths[:, None] - known[None, :, place]) / noise[None, :, place]
        weight = np.exp(-0.5 * distance**2) / noise[None, :, place]
        weight /= weight.sum(1, keepdims=True)
        gain = float((weight @ scores).max(1).mean() - now)
        outcome = Outcome(option.strategy, option.n_labels, option.n_unlabeled, float(known[:, place].mean()))
        model = option.student if option.strategy == "annotate" else option.teacher
        found.append(Pilot(outcome, usd, max(gain, 0.0), model))
    return sorted(found, key=lambda each: -each.gain_points / max(each.usd, 1.0))


def _tried(wish: Wish, prices: PlanPrices) -> list[tuple[Option, float]]:
    """Small models and their dollars; a teacher alone counts as a distilled one without a pool."""
    found = []
    for n_labels in _LABELS:
        new_usd = max(0, n_labels - wish.at_hand) * prices.label_usd
        found += [(Option("annotate", n_labels, 0, new_usd, student=student), new_usd) for student in wish.students]
        for teacher in wish.teachers:
            usd = min(prices.finetune_usd(n_labels, teacher, each) for each in prices.accelerators or (None,))
            found.append((Option("teacher", n_labels, 0, new_usd, usd, teacher=teacher), new_usd + usd))
            for pool in _POOLS:
                rates = (
                    prices.distill_usd_per_1k(n_labels, teacher, wish.students[0], each)
                    for each in prices.accelerators or (None,)
                )
                distilled = Option(
                    "distill", n_labels, pool, new_usd, usd, min(rates) * pool / 1000, teacher, wish.students[0]
                )
                if pool <= wish.max_unlabeled:
                    found.append((distilled, distilled.total_usd))
    return found
