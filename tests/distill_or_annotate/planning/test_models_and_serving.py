"""Teachers and students to choose from, what serving them costs, and a teacher that serves itself."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.planning import advice, options, outcomes, posterior, prices, prior, sizes
from distill_or_annotate.planning.curves import Purchases
from distill_or_annotate.planning.outcomes import Outcome, PlanningError
from distill_or_annotate.planning.wishes import Wish
from distill_or_annotate.prices import load_book

_PRICES = prices.prices_of(load_book("paper"), "wlp")
_TEACHERS = ("t5_1_1_large", "t5_1_1_xxl")
_STUDENTS = ("t5_1_1_small", "t5_1_1_base")


@pytest.fixture(scope="module")
def wlp():
    """Draws of WLP from all its cells in the paper."""
    found = outcomes.of_paper("wlp")
    whole = dataclasses.replace(found, outcomes=found.outcomes + outcomes.sizes_of_paper("wlp"))
    return posterior.condition(whole, prior.broad(), 1000)


def test_sizes_are_decades_above_the_priced_pair():
    assert sizes.decades("t5_1_1_xxl", "wlp", "teacher") == 0 == sizes.decades("t5_1_1_small", "wlp", "student")
    assert sizes.decades("t5_1_1_small", "wlp", "teacher") == pytest.approx(-2.25, abs=0.05)
    assert sizes.decades("t5_1_1_base", "wlp", "student") > 0.5
    assert sizes.decades("my_model", "wlp", "student") == 0


def test_a_larger_model_scores_more_as_table_3_says(wlp):
    def expected(**fields):
        return wlp.scores(Purchases.of([Outcome("teacher", 5000, 0, 0.0, **fields)])).mean()

    small = sizes.decades("t5_1_1_small", "wlp", "teacher")
    assert expected(teacher_decades=small) == pytest.approx(67.4, abs=2.5)
    assert expected() == pytest.approx(74.2, abs=2.5)


def test_a_teacher_as_small_as_the_student_begins_where_the_student_does():
    from distill_or_annotate.planning import curves

    asked = Purchases.of(
        [Outcome("teacher", 300, 0, 0.0, teacher_decades=-curves.SPAN), Outcome("annotate", 300, 0, 0.0)]
    )
    as_teacher, as_student = curves.learns(asked, np.log([[0.5, 0.5, 1.0, 700.0, 120.0]]))[0]
    assert as_teacher == pytest.approx(as_student)


def test_a_smaller_teacher_is_cheaper_in_every_line():
    for n_labels in (100, 1000, 5000):
        assert _PRICES.finetune_usd(n_labels, "t5_1_1_large") < _PRICES.finetune_usd(n_labels, "t5_1_1_xxl")
        small, base = (_PRICES.distill_usd_per_1k(n_labels, "t5_1_1_xxl", student) for student in _STUDENTS)
        assert small < base
    assert _PRICES.finetune_usd(1000, "t5_1_1_xxl") == _PRICES.finetune_usd(1000)
    assert _PRICES.serving_usd_per_million("t5_1_1_small") < _PRICES.serving_usd_per_million("t5_1_1_xxl")


@settings(max_examples=25, deadline=None)
@given(st.floats(30, 3000), st.just(0.0) | st.floats(1, 3e6), st.integers(0, 500))
def test_no_option_costs_more_than_the_budget_whatever_is_served(budget_usd, served, at_hand):
    wish = Wish(budget_usd, at_hand, teachers=_TEACHERS, students=_STUDENTS, served_per_month=served)
    try:
        found = options.options_of(wish, _PRICES)
    except PlanningError:
        return
    assert all(each.total_usd <= budget_usd + 0.01 for each in found)
    assert any(each.strategy == "teacher" for each in found) <= (served > 0)
    assert all(each.serving_usd > 0 for each in found) or not served


def test_a_teacher_serves_where_little_is_asked_of_it_and_a_student_where_much_is(wlp):
    def best(served):
        wish = Wish(600.0, teachers=_TEACHERS, served_per_month=served)
        return advice.best_of(advice.judge(options.options_of(wish, _PRICES), _PRICES, wlp)).option

    assert best(1000).strategy == "teacher"
    assert best(2_000_000).strategy == "distill"


def test_the_traffic_at_which_that_changes_is_a_break_even(wlp):
    found = {each.axis: each for each in advice.advise(Wish(600.0, served_per_month=50_000), _PRICES, wlp).break_evens}
    assert found["traffic"].today == 50_000 and found["traffic"].becomes_above.strategy == "distill"


def test_serving_that_takes_the_whole_budget_is_said():
    with pytest.raises(PlanningError, match=r"of serving 24,000,000,000 predictions \(\$13,\d+"):
        options.options_of(Wish(100.0, served_per_month=2e9), _PRICES)
    said = " ".join(options.why_not(Wish(100.0, served_per_month=1e6), _PRICES))
    assert "Serving the teacher itself: 12,000,000 predictions cost $1,181" in said


def test_what_was_measured_of_serving_wins_over_the_estimate():
    measured = dataclasses.replace(_PRICES, serving_usd=(("t5_1_1_small", 7.0),))
    assert measured.serving_usd_per_million("t5_1_1_small") == 7.0
    assert measured.scaled(compute=2).serving_usd_per_million("t5_1_1_small") == 14.0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"teachers": ()}, r"teachers: received \(\); it must name at least one model"),
        ({"students": ("a", "a")}, "students: received .*each once"),
        ({"served_per_month": -1.0}, "served_per_month: received -1.0; it must be at least 0"),
        ({"months": float("inf")}, "months: received inf"),
    ],
)
def test_models_and_traffic_out_of_range_are_refused(fields, message):
    with pytest.raises(PlanningError, match=message):
        Wish(100.0, **fields)
