"""A pilot's models are there already: the best is kept where dollars promise no more."""

import dataclasses

import pytest

from distill_or_annotate.planning import advice, posterior, prices, prior, text
from distill_or_annotate.planning.kept import Kept, kept_of
from distill_or_annotate.planning.outcomes import Evidence, Outcome
from distill_or_annotate.planning.wishes import Wish
from distill_or_annotate.prices import load_book

_PRICES = prices.prices_of(load_book("paper"), "wlp")
_PILOT = (
    Outcome("teacher", 500, 0, 90.0),
    Outcome("annotate", 500, 0, 55.0),
    Outcome("distill", 500, 4000, 80.0),
    Outcome("distill", 200, 4000, 99.0, degenerate=True),
)


@pytest.fixture(scope="module")
def draws():
    return posterior.condition(Evidence("t", "f1", 0.5, _PILOT[:3]), prior.broad(), 800)


def test_the_best_student_that_has_learnt_is_kept():
    assert kept_of(_PILOT).outcome is _PILOT[2]
    assert kept_of(_PILOT).name == "the student on 500 labels, 4,000 distilled"
    assert kept_of(_PILOT[:1]) is None and kept_of(()) is None


def test_scores_that_agree_to_a_tenth_are_enough():
    kept = Kept(_PILOT[2])
    assert kept.is_enough(80.04) and kept.is_enough(60.0) and not kept.is_enough(80.06)


@pytest.mark.parametrize(("score", "keeps"), [(99.0, True), (20.0, False)])
def test_a_plan_keeps_what_is_good_enough_and_says_so(score, keeps, draws):
    kept = Kept(dataclasses.replace(_PILOT[2], score=score))
    found = advice.advise(Wish(50.0), _PRICES, draws, kept)
    assert found.keeps == keeps
    first = text.recommendation(found)[0]
    assert first.startswith("Keep the student on 500 labels, 4,000 distilled of the pilot: it scores 99.0") == keeps


def test_budgets_that_buy_no_more_than_what_is_there_are_not_on_the_frontier(draws):
    every = advice.advise(Wish(400.0), _PRICES, draws).frontier
    middle = Kept(dataclasses.replace(_PILOT[2], score=(every[0].expected + every[-1].expected) / 2))
    left = advice.advise(Wish(400.0), _PRICES, draws, middle).frontier
    assert 0 < len(left) < len(every) and all(each.expected > middle.outcome.score for each in left)
    none_left = advice.advise(Wish(400.0), _PRICES, draws, Kept(dataclasses.replace(_PILOT[2], score=99.9))).frontier
    assert none_left == every[-1:]


def test_pilots_that_would_change_nothing_are_not_proposed(draws):
    assert all(pilot.gain_points > 0 for pilot in advice.advise(Wish(400.0), _PRICES, draws).pilots)


def test_without_a_pilot_nothing_is_kept(draws):
    assert not advice.advise(Wish(50.0), _PRICES, draws).keeps
