"""The floor of the planner's backtest: what it reached once it must not lose again."""

import sys
from pathlib import Path

import pytest

from distill_or_annotate import paper

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import planner_backtest
import planning_worlds


@pytest.fixture(scope="module")
def repriced():
    return planner_backtest.backtest(planning_worlds.paper_worlds(with_prior=True))


def test_the_planner_loses_at_most_six_tenths_of_what_the_best_rule_loses(repriced):
    assert repriced["ratio_to_best_rule"] <= 0.6
    assert repriced["ratio_interval_95"][1] < 1
    assert repriced["decisions"] > 1000


def test_at_the_papers_own_prices_it_is_no_worse_than_always_distilling(repriced):
    regret = repriced["at_their_own_prices"]["mean_regret_points"]
    assert regret["planner"] <= regret["always_distill"]


def test_its_80_percent_intervals_hold_70_to_90_percent(repriced):
    assert 0.7 <= repriced["coverage_of_80"] <= 0.9


def test_cells_are_those_of_the_tables():
    cells = [cell for task in paper.task_names() for cell in planning_worlds.paper_cells(task)]
    distilled = [cell for cell in cells if cell.outcome.n_unlabeled]
    assert len(distilled) == 65 and all(cell.compute_usd > 0 for cell in distilled)
    assert all(cell.compute_usd == 0 for cell in cells if not cell.outcome.n_unlabeled)


@pytest.mark.parametrize("kind", ("annotation_wins", "useless_teacher"))
def test_a_planner_that_always_distils_would_fail_where_ours_does_not(kind):
    found = planner_backtest.backtest(planning_worlds.synthetic_worlds(6, kind), by_name=False)
    regret = found["mean_regret_points"]
    assert regret["planner"] < 0.5 * regret["always_distill"]
