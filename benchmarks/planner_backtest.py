"""Would the planner have bought the right thing? `python benchmarks/planner_backtest.py` prints JSON.

`paper`: the cells of Tables 2 and 11 at other prices of labels and of computing. The pilot is the blocks of N = 100 and
1,000; at every budget each rule chooses among all cells that it can pay, and loses the points by which the best of them
scores more. Only decisions on which the rules differ by more than a point count, and none between degenerate models.
Intervals are bootstraps over tasks: six of them, so they are wide.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
from collections.abc import Callable, Sequence

import numpy as np
from rich.console import Console
from rich.progress import track

from distill_or_annotate import paper
from distill_or_annotate.planning import outcomes, posterior, prior
from distill_or_annotate.planning.curves import Purchases
from distill_or_annotate.planning.outcomes import Evidence, Outcome

LABEL_FACTORS = (0.05, 0.1, 0.2, 0.5, 1, 2, 3)
COMPUTE_FACTORS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
# Largest N of the pilot's annotated cells: the block of 1,000 and what its budgets add.
PILOT_LABELS = 3000
RULES = ("always_distill", "always_annotate", "nearest_pilot_cell", "power_law")
_TIE_POINTS = 1.0
_BOOTSTRAPS = 2000


@dataclasses.dataclass(frozen=True)
class Cell:
    """A model that could be bought.

    Args:
      outcome: what came out.
      label_usd: dollars of all its labels at the paper's prices.
      compute_usd: dollars of teacher and distillation.
      is_pilot: whether the planner knows it.
    """

    outcome: Outcome
    label_usd: float
    compute_usd: float
    is_pilot: bool


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


def paper_cells(task: str) -> list[Cell]:
    """Returns the cells of a task, teachers left out.

    Args:
      task: one of the paper's.
    """
    price_usd = paper.task(task)["usd_per_label"]["value"]
    found = []
    known = iter([each for each in outcomes.of_paper(task).outcomes if each.strategy != "teacher"])
    for table in ("table11", "table2"):
        for row in paper.facts()[table]["rows"]:
            for place, usd in enumerate(row["additional_usd"] if row["task"] == task else ()):
                outcome = next(known)
                found.append(Cell(outcome, outcome.n_labels * price_usd, 0.0, outcome.n_labels <= PILOT_LABELS))
                if row["distill"][place] is not None:
                    outcome = next(known)
                    found.append(Cell(outcome, outcome.n_labels * price_usd, usd, outcome.n_labels <= PILOT_LABELS))
    return found


def planner(evidence: Evidence, cells: Sequence[Cell], the_prior: posterior.Gaussian) -> np.ndarray:
    """Returns the expected score of each cell.

    Args:
      evidence: the pilot.
      cells: the cells.
      the_prior: before the pilot.
    """
    draws = posterior.condition(evidence, the_prior)
    asked = Purchases.of([cell.outcome for cell in cells])
    return draws.scores(asked, np.random.default_rng(1)).mean(0)


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


def decisions(task: str, cells: Sequence[Cell], evidence: Evidence, the_prior: posterior.Gaussian) -> list[Decision]:
    """Returns the decisions of a task that count.

    Args:
      task: its name.
      cells: what can be bought.
      evidence: the pilot.
      the_prior: the planner's, before it.
    """
    n_labels, pool = (np.array([getattr(c.outcome, name) for c in cells]) for name in ("n_labels", "n_unlabeled"))
    is_distilled = pool > 0
    score = np.array([cell.outcome.score for cell in cells])
    degenerate = np.array([cell.outcome.degenerate for cell in cells])
    ranks: dict[str, np.ndarray] = {
        # Largest affordable N, then largest U; the other strategy where this one has nothing.
        "always_distill": is_distilled * 1e12 + n_labels * 1e6 + pool,
        "always_annotate": ~is_distilled * 1e12 + n_labels * 1e6 + pool,
        "nearest_pilot_cell": nearest(evidence.outcomes, cells),
        "power_law": power_law(evidence.outcomes, cells),
        "planner": planner(evidence, cells, the_prior),
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
                found.append(Decision(task, label_factor, compute_factor, float(budget_usd), regret))
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
    ratios = drawn[:, -2] / drawn[:, best]
    return {
        "decisions": len(found),
        "mean_regret_points": dict(zip(names, means.round(3).tolist(), strict=True)),
        "best_rule": RULES[best],
        "ratio_to_best_rule": round(float(means[-1] / means[best]), 3),
        "ratio_interval_95": np.percentile(ratios, [2.5, 97.5]).round(3).tolist(),
        "by_task": {
            task: {"decisions": len(table)} | dict(zip(names, table.mean(0).round(3).tolist(), strict=True))
            for task, table in by_task.items()
        },
    }


def coverage(evidence: Evidence, pilot: Evidence, the_prior: posterior.Gaussian) -> tuple[int, int]:
    """Returns how many models outside the pilot lie in their 80% interval, and how many there are.

    Args:
      evidence: all models.
      pilot: those that the planner knows.
      the_prior: before the pilot.
    """
    new = [each for each in evidence.outcomes if each not in pilot.outcomes]
    draws = posterior.condition(pilot, the_prior).scores(Purchases.of(new), np.random.default_rng(2), True)
    low, high = np.percentile(draws, [10, 90], axis=0)
    score = np.array([each.score for each in new])
    return int(((low - 0.05 <= score) & (score <= high + 0.05)).sum()), len(new)


def paper_world(prior_of: Callable[[str], posterior.Gaussian]) -> dict:
    """Returns the figures of the repriced paper.

    Args:
      prior_of: task to the planner's prior.
    """
    found, inside, asked = [], 0, 0
    for task in track(paper.task_names(), "paper", console=Console(stderr=True), transient=True):
        whole = outcomes.of_paper(task)
        known = tuple(each for each in whole.outcomes if each.n_labels <= PILOT_LABELS)
        pilot = dataclasses.replace(whole, outcomes=known)
        found += decisions(task, paper_cells(task), pilot, prior_of(task))
        hits, count = coverage(whole, pilot, prior_of(task))
        inside, asked = inside + hits, asked + count
    at_paper_prices = [each for each in found if each.label_factor == each.compute_factor == 1]
    return summary(found) | {
        "coverage_of_80": round(inside / asked, 3),
        "models_outside_the_pilot": asked,
        "at_the_papers_prices": summary(at_paper_prices),
    }


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog="example: python benchmarks/planner_backtest.py --prior none"
    )
    parser.add_argument("--prior", choices=("paper", "none"), default="paper", help="the planner's prior")
    args = parser.parse_args()
    prior_of = prior.learnt if args.prior == "paper" else lambda task: prior.broad()
    json.dump({"paper": paper_world(prior_of)}, sys.stdout, indent=1)
    print()


def _distance(one: Outcome, other: Outcome) -> float:
    pools = np.log((one.n_unlabeled + 1000) / (other.n_unlabeled + 1000))
    return float(np.log(one.n_labels / other.n_labels) ** 2 + (0.25 * pools) ** 2)


def _logs(outcome: Outcome) -> np.ndarray:
    return np.array([1.0, np.log(outcome.n_labels), *([np.log(outcome.n_unlabeled)] if outcome.n_unlabeled else [])])


if __name__ == "__main__":
    main()
