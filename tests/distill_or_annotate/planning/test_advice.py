"""Options, the recommendation among them, its break-evens and pilots."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.planning import advice, command, options, pilots, posterior, prices, prior
from distill_or_annotate.planning.outcomes import Evidence, Outcome, PlanningError
from distill_or_annotate.planning.wishes import Wish
from distill_or_annotate.prices import load_book

_PRICES = prices.prices_of(load_book("paper"), "wlp")


def _draws(*outcomes, floor=0.5):
    return posterior.condition(Evidence("t", "accuracy", floor, tuple(outcomes)), prior.broad(), 800)


@pytest.fixture(scope="module")
def good_teacher():
    """Draws of a task whose teacher is far ahead, and keeps its lead when distilled."""
    return _draws(
        Outcome("annotate", 500, 0, 40.0),
        Outcome("annotate", 1500, 0, 45.0),
        Outcome("teacher", 500, 0, 85.0),
        Outcome("distill", 500, 20_000, 84.0),
    )


@pytest.fixture(scope="module")
def useless_teacher():
    """Draws of a task whose teacher has not begun to learn at any N, while the student has."""
    teachers = [Outcome("teacher", n, 0, 50.0, degenerate=True) for n in (500, 1500, 5000, 10_000)]
    students = [Outcome("annotate", n, 0, score) for n, score in ((500, 70.0), (1500, 80.0), (5000, 86.0))]
    return _draws(*teachers, *students, floor=50.0)


@settings(max_examples=30, deadline=None)
@given(st.floats(20, 5000), st.integers(0, 2000), st.integers(0, 50_000))
def test_no_option_costs_more_than_the_budget_or_takes_more_than_there_is(budget_usd, at_hand, pool):
    wish = Wish(budget_usd, at_hand, max_unlabeled=pool)
    for option in options.options_of(wish, _PRICES):
        assert option.total_usd <= budget_usd + 0.01
        assert option.n_labels >= at_hand and option.n_unlabeled <= pool
        assert option.label_usd == pytest.approx((option.n_labels - at_hand) * 0.26)


def test_a_good_teacher_is_distilled_and_a_useless_one_is_not(good_teacher, useless_teacher):
    assert advice.advise(Wish(300), _PRICES, good_teacher).best.option.strategy == "distill"
    found = advice.advise(Wish(300), _PRICES, useless_teacher)
    assert found.best.option.strategy == "annotate" and found.runner_up.option.strategy == "distill"


def test_more_dollars_never_promise_less(good_teacher):
    expected = [each.expected for each in advice.advise(Wish(1000), _PRICES, good_teacher).frontier]
    assert expected == sorted(expected) and len(expected) > 3


def test_the_recommendation_turns_at_its_break_even(good_teacher):
    (found,) = [each for each in advice.advise(Wish(300), _PRICES, good_teacher).break_evens if each.axis == "compute"]
    assert found.becomes_above.strategy == "annotate" and found.below is None
    for nudge, strategy in ((0.8, "distill"), (1.2, "annotate")):
        prices_then = _PRICES.scaled(compute=found.above * nudge)
        judged = advice.judge(options.options_of(Wish(300), prices_then), prices_then, good_teacher)
        assert advice.best_of(judged).option.strategy == strategy


def test_a_pilot_is_worth_something_only_where_there_is_doubt(good_teacher):
    doubt = max(each.gain_points for each in pilots.pilots(Wish(500), _PRICES, _draws()))
    known = max(each.gain_points for each in pilots.pilots(Wish(500), _PRICES, good_teacher))
    assert doubt > 1.0 > known


def test_the_interval_holds_the_expected_score(good_teacher):
    found = advice.advise(Wish(300), _PRICES, good_teacher)
    for each in (found.best, found.runner_up):
        assert each.low <= each.expected <= each.high and 0 <= each.chance <= 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"budget_usd": 0.0}, "budget_usd: received 0.0; it must be dollars above 0"),
        ({"budget_usd": float("nan")}, "budget_usd: received nan"),
        ({"budget_usd": 10.0, "at_hand": -1}, "at_hand: received -1"),
        ({"budget_usd": 10.0, "at_hand": 100, "max_labels": 50}, "max_labels: received 50.*100 labels at hand"),
    ],
)
def test_a_wish_out_of_range_is_refused(fields, message):
    with pytest.raises(PlanningError, match=message):
        Wish(**fields)


def test_a_budget_below_the_cheapest_option_says_what_that_costs():
    with pytest.raises(PlanningError, match=r"is below the cheapest option, 10 labels at \$0.26 each \(\$2.60\)"):
        options.options_of(Wish(1.0), _PRICES)


def test_why_nothing_is_distilled_names_the_teachers_price():
    assert "fine-tuning the teacher on 10 labels costs $3.75" in " ".join(options.why_not(Wish(5.0), _PRICES))
    assert options.why_not(Wish(500.0), _PRICES) == []


def test_a_task_of_ones_own_needs_a_label_price_and_takes_computing_from_another():
    with pytest.raises(PlanningError, match="label_usd: book paper has no price of a label of 'reviews'"):
        prices.prices_of(load_book("paper"), "reviews")
    found = prices.prices_of(load_book("paper"), "reviews", 0.1)
    assert found.like == "wlp" and "stands for it" in " ".join(found.notes)
    assert found.scaled(compute=2).finetune_usd(1000) == 2 * found.finetune_usd(1000)


def _plan(capsys, *words):
    import argparse

    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args([*words])) == 0
    return capsys.readouterr().out


def test_the_command_prints_a_plan_with_its_lines_and_assumptions(capsys):
    said = _plan(capsys, "--task", "reviews", "--label-usd", "0.26", "--budget-usd", "300")
    for part in ("what $300.00 should buy", "the prior alone", "Runner-up", "What would change it", "Assumed"):
        assert part in said


def test_json_holds_what_the_text_says(capsys):
    found = json.loads(_plan(capsys, "--task", "wlp", "--budget-usd", "300", "--json"))
    assert found["recommended"]["total_usd"] <= 300 and found["runner_up"]["option"]["strategy"]
    assert {"frontier", "break_evens", "pilots", "assumptions", "is_sure", "infeasible"} <= set(found)
    assert json.loads(_plan(capsys, "--task", "wlp", "--budget-usd", "300", "--json")) == found


def test_a_folder_that_is_missing_is_said_before_anything_is_worked_out(tmp_path, capsys):
    with pytest.raises(PlanningError, match=r"html: there is no folder .*none\. Fix: mkdir -p"):
        _plan(capsys, "--task", "wlp", "--budget-usd", "300", "--html", str(tmp_path / "none" / "plan.html"))


def test_a_pilot_of_one_model_is_refused(tmp_path):
    row = {
        "task": "t", "strategy": "annotate", "mode": "fair", "n_labels": 10, "additional_usd": 0.0, "total_usd": 1.0,
        "initial_usd": 1.0, "metric": "accuracy", "score": 50.0,
    }  # fmt: skip
    (tmp_path / "results.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(PlanningError, match="one model of 't' says nothing about a slope"):
        command.evidence_of([tmp_path], "t")
    with pytest.raises(PlanningError, match="hold no model of 'other', but of t"):
        command.evidence_of([tmp_path], "other")


def test_scores_of_equal_options_do_not_differ_by_the_dice(good_teacher):
    option = options.Option("annotate", 700, 0, 182.0)
    one, other = advice.judge([option, dataclasses.replace(option)], _PRICES, good_teacher)
    assert one.expected == other.expected and np.isfinite(one.expected)
