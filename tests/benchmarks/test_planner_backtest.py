"""The floor of the planner's backtest: what it reached once it must not lose again."""

import json
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


def test_a_study_of_several_students_and_seeds_is_several_worlds(tmp_path):
    row = {"task": "mini", "mode": "fair", "metric": "entity_f1", "teacher": "mini_teacher", "n_unlabeled": 500}
    rows = [
        row
        | {
            "strategy": strategy,
            "student": student,
            "data_seed": seed,
            "n_labels": n,
            "initial_labels": n,
            "score": 50.0,
        }
        | {"initial_usd": n * 0.2, "total_usd": n * 0.2 + usd, "run_ids": [f"{strategy}{student}{seed}{n}"]}
        for strategy, usd in (("annotate", 0.0), ("distill", 3.0))
        for student in ("mini_student", "minilm_2")
        for seed in (0, 1)
        for n in (100, 500, 1000)
    ]
    (tmp_path / "grid").mkdir()
    text = "".join(json.dumps(each) + "\n" for each in rows)
    (tmp_path / "grid" / "results.jsonl").write_text(text, encoding="utf-8")
    worlds = list(planning_worlds.run_worlds(tmp_path, with_prior=False))
    assert [world.name for world in worlds] == [f"grid {s} {n}" for s in ("mini_student", "minilm_2") for n in (0, 1)]
    for world in worlds:
        assert len(world.cells) == 6 and len(world.pilot.outcomes) == 4
        assert [cell.compute_usd for cell in world.cells if cell.outcome.n_unlabeled] == pytest.approx([3.0] * 3)


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
