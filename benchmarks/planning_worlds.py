"""Worlds that the planner's backtest buys in: what each purchase costs and scores, and what a pilot shows of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from distill_or_annotate import paper
from distill_or_annotate.planning import curves, outcomes, posterior, prior
from distill_or_annotate.planning.curves import DRAWN, LINEAR, Purchases
from distill_or_annotate.planning.outcomes import Evidence, Outcome
from distill_or_annotate.planning.prices import prices_of
from distill_or_annotate.prices import load_book

# Largest N of the paper's pilot: the blocks of 100 and 1,000, and what their budgets add.
PILOT_LABELS = 3000
# Kinds of synthetic worlds; the last three are what a rule that always distils cannot stand.
SYNTHETIC = ("like_the_prior", "annotation_wins", "useless_teacher", "pool_hurts")
_SIZES, _POOLS = (100, 300, 1000, 2000, 5000, 10_000), (0, 5000, 20_000, 60_000)
_FLOOR = 10.0


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
class World:
    """A task in which a planner can buy.

    Args:
      name: the task's name.
      cells: every purchase.
      whole: all models, teachers included.
      pilot: those that are known.
      believed: the planner's prior.
    """

    name: str
    cells: tuple[Cell, ...]
    whole: Evidence
    pilot: Evidence
    believed: posterior.Gaussian


def paper_worlds(with_prior: bool) -> Iterator[World]:
    """Yields the paper's tasks, the blocks of N = 100 and 1,000 being the pilot.

    Args:
      with_prior: whether the planner believes what the other tasks say.
    """
    for task in paper.task_names():
        whole = outcomes.of_paper(task)
        known = tuple(each for each in whole.outcomes if each.n_labels <= PILOT_LABELS)
        believed = prior.learnt(task) if with_prior else prior.broad()
        yield World(task, tuple(paper_cells(task)), whole, dataclasses.replace(whole, outcomes=known), believed)


def run_worlds(folder: Path, with_prior: bool) -> Iterator[World]:
    """Yields our own studies over L and U: the largest N of each is held out.

    Args:
      folder: holds NAME/results.jsonl of grids.
      with_prior: whether the planner believes what the paper's tasks say.
    """
    believed = prior.learnt() if with_prior else prior.broad()
    for path in sorted(folder.glob("*/results.jsonl")):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        # Another student, and another shuffle of the labels, is a world of its own.
        for task, student, seed in sorted({(row["task"], row["student"], row["data_seed"]) for row in rows}):
            same = [row for row in rows if (row["task"], row["student"], row["data_seed"]) == (task, student, seed)]
            whole = outcomes.of_rows(same, task)
            found = [row for row in same if row["strategy"] in ("annotate", "distill")]
            n_labels = sorted({row["initial_labels"] for row in found})
            if len(n_labels) < 3 or all(each.degenerate for each in whole.outcomes):
                continue
            known = tuple(each for each in whole.outcomes if each.n_labels < n_labels[-1])
            label_usd = found[0]["initial_usd"] / found[0]["initial_labels"]
            cells = [
                Cell(each, each.n_labels * label_usd, row["total_usd"] - each.n_labels * label_usd, each in known)
                for row in found
                for each in outcomes.of_rows([row], task).outcomes
            ]
            name = f"{path.parent.name} {student} {seed}"
            yield World(name, tuple(cells), whole, dataclasses.replace(whole, outcomes=known), believed)


def synthetic_worlds(count: int, kind: str, seed: int = 0) -> Iterator[World]:
    """Yields made-up tasks of known curves at the paper's prices; N up to 1,000 is the pilot.

    Args:
      count: worlds.
      kind: one of SYNTHETIC.
      seed: of the curves and of the noise of each run.
    """
    rng = np.random.default_rng([seed, SYNTHETIC.index(kind)])
    believed = prior.learnt()
    prices = prices_of(load_book("paper"), "wlp")
    start = posterior.condition(Evidence("", "", _FLOOR, ()), believed, 4 * count, seed)
    sizes = [Outcome("teacher", n, 0, 0.0) for n in _SIZES]
    sizes += [Outcome("distill" if pool else "annotate", n, pool, 0.0) for n in _SIZES for pool in _POOLS]
    for number in range(count):
        whole = _scored(sizes, _bent(start, number, kind), rng, f"{kind}_{number}")
        cells = []
        for each in whole.outcomes:
            if each.strategy != "teacher":
                n, pool = each.n_labels, each.n_unlabeled
                compute_usd = prices.finetune_usd(n) + pool / 1000 * prices.distill_usd_per_1k(n) if pool else 0.0
                cells.append(Cell(each, n * prices.label_usd, compute_usd, n <= 1000))
        known = tuple(each for each in whole.outcomes if each.n_labels <= 1000)
        yield World(whole.task, tuple(cells), whole, dataclasses.replace(whole, outcomes=known), believed)


def _bent(start: posterior.Draws, number: int, kind: str) -> posterior.Draws:
    """One world's curves, bent as its kind says."""
    drawn, linear = start.drawn[number : number + 1].copy(), start.linear[number : number + 1].copy()
    if kind == "annotation_wins":
        # The student learns as the teacher does, and a little better.
        drawn[:, DRAWN.index("annotate_onset")] = drawn[:, DRAWN.index("teacher_onset")]
        drawn[:, DRAWN.index("annotate_rate")] = drawn[:, DRAWN.index("teacher_rate")]
        linear[:, LINEAR.index("annotate_ceiling")] = linear[:, LINEAR.index("teacher_ceiling")] + 0.2
        linear[:, LINEAR.index("annotate_gap")] = linear[:, LINEAR.index("teacher_gap")]
    if kind == "useless_teacher":
        drawn[:, DRAWN.index("teacher_onset")] = np.log(1e7)
    if kind == "pool_hurts":
        linear[:, LINEAR.index("pool_gap")] *= -1
    return posterior.Draws(drawn, linear, start.dice[number : number + 1], start.floor, 1.0)


def _scored(sizes: Sequence[Outcome], curve: posterior.Draws, rng: np.random.Generator, name: str) -> Evidence:
    (scores,) = curve.scores(Purchases.of(sizes))
    begun = np.abs(scores - curve.floor) > 1e-9
    # A draw's own noise is that of one run; here each model is a run by itself.
    odds = curves.logit(scores) + posterior.RUN_NOISE_LOGIT * rng.standard_normal(len(sizes))
    noisy = curves.percent(odds) + posterior.RUN_NOISE_POINTS * rng.standard_normal(len(sizes))
    shown = np.where(begun, np.clip(noisy, curve.floor, 100), curve.floor)
    found = [
        dataclasses.replace(each, score=float(score), degenerate=not learnt)
        for each, score, learnt in zip(sizes, shown, begun, strict=True)
    ]
    return Evidence(name, "", curve.floor, tuple(found))


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
