"""The floor of the planner's backtest: what it reached once it must not lose again."""

import sys
from pathlib import Path

import pytest

from distill_or_annotate.planning import prior

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import planner_backtest


@pytest.fixture(scope="module")
def repriced():
    return planner_backtest.paper_world(prior.learnt)


def test_the_planner_loses_at_most_six_tenths_of_what_the_best_rule_loses(repriced):
    assert repriced["ratio_to_best_rule"] <= 0.6
    assert repriced["decisions"] > 1000


def test_its_80_percent_intervals_hold_70_to_90_percent(repriced):
    assert 0.7 <= repriced["coverage_of_80"] <= 0.9


def test_cells_are_those_of_the_tables():
    cells = [cell for task in planner_backtest.paper.task_names() for cell in planner_backtest.paper_cells(task)]
    distilled = [cell for cell in cells if cell.outcome.n_unlabeled]
    assert len(distilled) == 65 and all(cell.compute_usd > 0 for cell in distilled)
    assert all(cell.compute_usd == 0 for cell in cells if not cell.outcome.n_unlabeled)
