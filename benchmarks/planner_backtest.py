"""Would the planner have bought the right thing? `python benchmarks/planner_backtest.py` prints JSON.

`paper`: the cells of Tables 2 and 11 at other prices of labels and of computing. The pilot is the blocks of N = 100 and
1,000; at every budget each rule chooses among all cells that it can pay, and loses the points by which the best of them
scores more. Only decisions on which the rules differ by more than a point count, and none between degenerate models.
`runs`: each of our own studies over L and U, the largest N held out, repriced likewise. `synthetic`: worlds of known
curves. Intervals are bootstraps over tasks or worlds: the paper has six, so they are wide.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from planning_worlds import SYNTHETIC, Cell, World, paper_worlds, run_worlds, synthetic_worlds
from rich.console import Console
from rich.progress import track

from distill_or_annotate.planning import posterior
from distill_or_annotate.planning.curves import Purchases
from distill_or_annotate.planning.outcomes import Evidence, Outcome

_RESULTS = Path(__file__).parents[1] / "docs" / "results"
LABEL_FACTORS = (0.05, 0.1, 0.2, 0.5, 1, 2, 3)
COMPUTE_FACTORS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
RULES = ("always_distill", "always_annotate", "nearest_pilot_cell", "power_law", "power_law_or_pilot")
_TIE_POINTS = 1.0
_BOOTSTRAPS = 2000


@dataclasses.dataclass(frozen=True)
class Decision:
    """One budget at one pair of prices.

    Args:
      task: the task.
      label_factor: price of labels, as a multiple of the paper's.
      compute_factor: price of computing, likewise.
      budget_usd: the dollars.
      regret: points lost, by rule, `planner` among them.
    """

    task: str
    label_factor: float
    compute_factor: float
    budget_usd: float
    regret: dict[str, float]


def planner(evidence: Evidence, cells: Sequence[Cell], the_prior: posterior.Gaussian) -> np.ndarray:
    """Returns the expected score of each cell; a model of the pilot is there already, so its own score is known.

    Args:
      evidence: the pilot.
      cells: the cells.
      the_prior: before the pilot.
    """
    draws = posterior.condition(evidence, the_prior)
    return knowing(cells, draws.scores(Purchases.of([cell.outcome for cell in cells])).mean(0))


def knowing(cells: Sequence[Cell], expected: np.ndarray) -> np.ndarray:
    """Returns expected scores, those of the pilot's models replaced by what they did score.

    Args:
      cells: the cells.
      expected: [C], what is expected of each.
    """
    pairs = zip(cells, expected, strict=True)
    return np.array([cell.outcome.score if cell.is_pilot else score for cell, score in pairs])


def nearest(pilot: Sequence[Outcome], cells: Sequence[Cell]) -> np.ndarray:
    """Returns for each cell the score of the pilot cell of its strategy that is nearest in log N and log U.

    Args:
      pilot: the pilot's models.
      cells: the cells.
    """

    def score(outcome: Outcome) -> float:
        same = [each for each in pilot if each.strategy == outcome.strategy]
        return min(same, key=lambda each: _distance(each, outcome)).score if same else 0.0

    return np.array([score(cell.outcome) for cell in cells])


def power_law(pilot: Sequence[Outcome], cells: Sequence[Cell]) -> np.ndarray:
    """Returns for each cell what a power law of the error, fitted to the pilot by strategy, gives it; no prior.

    Args:
      pilot: the pilot's models.
      cells: the cells.
    """
    found = np.zeros(len(cells))
    for strategy in ("annotate", "distill"):
        same = [each for each in pilot if each.strategy == strategy]
        if len(same) < 3:
            continue
        error = np.log(np.maximum(100 - np.array([each.score for each in same]), 0.1))
        weights, *_ = np.linalg.lstsq(np.array([_logs(each) for each in same]), error, rcond=None)
        for place, cell in enumerate(cells):
            if cell.outcome.strategy == strategy:
                found[place] = 100 - np.exp(_logs(cell.outcome) @ weights)
    return found


def decisions(world: World) -> list[Decision]:
    """Returns the decisions of a world that count.

    Args:
      world: what can be bought, and what is known.
    """
    cells, evidence = world.cells, world.pilot
    n_labels, pool = (np.array([getattr(c.outcome, name) for c in cells]) for name in ("n_labels", "n_unlabeled"))
    is_distilled = pool > 0
    score = np.array([cell.outcome.score for cell in cells])
    degenerate = np.array([cell.outcome.degenerate for cell in cells])
    ranks: dict[str, np.ndarray] = {
        # Largest affordable N, then largest U; the other strategy where this one has nothing.
        "always_distill": is_distilled * 1e12 + n_labels * 1e6 + pool,
        "always_annotate": ~is_distilled * 1e12 + n_labels * 1e6 + pool,
        "nearest_pilot_cell": nearest(evidence.outcomes, cells),
        "power_law": (fitted := power_law(evidence.outcomes, cells)),
        "power_law_or_pilot": knowing(cells, fitted),
        "planner": planner(evidence, cells, world.believed),
    }
    found = []
    for label_factor, compute_factor in itertools.product(LABEL_FACTORS, COMPUTE_FACTORS):
        usd = np.array([label_factor * cell.label_usd + compute_factor * cell.compute_usd for cell in cells])
        for budget_usd in np.unique(np.round(usd, 6)):
            within = np.flatnonzero(usd <= budget_usd + 1e-6)
            # Of equally promising ones the cheapest.
            chosen = {name: max(within, key=lambda i, rank=rank: (rank[i], -usd[i])) for name, rank in ranks.items()}
            scores = {name: score[i] for name, i in chosen.items()}
            ruled = [scores[name] for name in RULES]
            if max(ruled) - min(ruled) > _TIE_POINTS and not all(degenerate[i] for i in chosen.values()):
                best = score[within].max()
                regret = {name: float(best - value) for name, value in scores.items()}
                found.append(Decision(world.name, label_factor, compute_factor, float(budget_usd), regret))
    return found


def summary(found: Sequence[Decision]) -> dict:
    """Returns mean regrets, the ratio to the best rule's, and their intervals.

    Args:
      found: the decisions of all tasks.
    """
    names = (*RULES, "planner")
    by_task = {
        task: np.array([[each.regret[name] for name in names] for each in found if each.task == task])
        for task in dict.fromkeys(each.task for each in found)
    }
    means = np.concatenate(list(by_task.values())).mean(0)
    best = int(np.argmin(means[: len(RULES)]))
    rng = np.random.default_rng(0)
    sums = np.array([np.append(table.sum(0), len(table)) for table in by_task.values()])
    drawn = sums[rng.integers(0, len(sums), (_BOOTSTRAPS, len(sums)))].sum(1)
    # Of worlds without any regret of the rule's every regret is infinitely more.
    ratios = np.where(drawn[:, best] > 0, drawn[:, -2] / np.maximum(drawn[:, best], 1e-12), np.inf)
    return {
        "decisions": len(found),
        "mean_regret_points": dict(zip(names, means.round(3).tolist(), strict=True)),
        "best_rule": RULES[best],
        "ratio_to_best_rule": round(float(means[-1] / means[best]), 3) if means[best] > 0 else None,
        "ratio_interval_95": np.percentile(ratios, [2.5, 97.5], method="nearest").round(3).tolist(),
        "by_task": {
            task: {"decisions": len(table)} | dict(zip(names, table.mean(0).round(3).tolist(), strict=True))
            for task, table in by_task.items()
        },
    }


def coverage(world: World) -> tuple[int, int]:
    """Returns how many models outside the pilot lie in their 80% interval, and how many there are.

    Args:
      world: all models, and those that the planner knows.
    """
    new = [each for each in world.whole.outcomes if each not in world.pilot.outcomes]
    draws = posterior.condition(world.pilot, world.believed)
    low, high = np.percentile(draws.scores(Purchases.of(new), with_run_noise=True), [10, 90], axis=0)
    score = np.array([each.score for each in new])
    return int(((low - 0.05 <= score) & (score <= high + 0.05)).sum()), len(new)


def backtest(worlds: Iterable[World], by_name: bool = True) -> dict:
    """Returns the figures of some worlds.

    Args:
      worlds: at least one.
      by_name: whether to list each by itself.
    """
    found, inside, asked = [], 0, 0
    for world in track(list(worlds), "buy", console=Console(stderr=True), transient=True):
        found += decisions(world)
        hits, count = coverage(world)
        inside, asked = inside + hits, asked + count
    figures = summary(found) | {"coverage_of_80": round(inside / asked, 3), "models_outside_the_pilot": asked}
    if not by_name:
        figures["worlds"] = len(figures.pop("by_task"))
        return figures
    at_own_prices = [each for each in found if each.label_factor == each.compute_factor == 1]
    return figures | {"at_their_own_prices": summary(at_own_prices) if at_own_prices else {}}


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog="example: python benchmarks/planner_backtest.py --prior none"
    )
    parser.add_argument("--prior", choices=("paper", "none"), default="paper", help="the planner's prior")
    parser.add_argument("--worlds", type=int, default=125, help="synthetic worlds of each kind (default: 125)")
    args = parser.parse_args()
    with_prior = args.prior == "paper"
    studies: dict[str, list[World]] = {}
    for world in run_worlds(_RESULTS, with_prior):
        studies.setdefault(world.name.split()[0], []).append(world)
    runs = {study: backtest(worlds) for study, worlds in studies.items()}
    figures = {"paper": backtest(paper_worlds(with_prior)), "runs": runs}
    if args.worlds:
        figures["synthetic"] = {
            kind: backtest(synthetic_worlds(args.worlds, kind), by_name=False) for kind in SYNTHETIC
        }
    json.dump(figures, sys.stdout, indent=1)
    print()


def _distance(one: Outcome, other: Outcome) -> float:
    pools = np.log((one.n_unlabeled + 1000) / (other.n_unlabeled + 1000))
    return float(np.log(one.n_labels / other.n_labels) ** 2 + (0.25 * pools) ** 2)


def _logs(outcome: Outcome) -> np.ndarray:
    return np.array([1.0, np.log(outcome.n_labels), *([np.log(outcome.n_unlabeled)] if outcome.n_unlabeled else [])])


if __name__ == "__main__":
    main()
