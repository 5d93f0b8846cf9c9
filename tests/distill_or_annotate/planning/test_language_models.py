"""Language models as annotators: their price, how right they are, and what their labels are worth."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_or_annotate.costs import api_models
from distill_or_annotate.planning import advice, noisy_labels, options, posterior, prices, prior
from distill_or_annotate.planning.curves import Purchases
from distill_or_annotate.planning.language_models import UNMEASURED, language_model
from distill_or_annotate.planning.outcomes import Evidence, Outcome, PlanningError
from distill_or_annotate.planning.wishes import Wish
from distill_or_annotate.prices import load_book

_PRICES = prices.prices_of(load_book("paper"), "wlp")
_GPT = "text-davinci-003"


def _llm(usd=0.046, score=70.0, n_gold=100, n_classes=0):
    return language_model(_GPT, load_book("paper"), "wlp", usd, score, n_gold, n_classes)


def _bought(n_labels, n_llm_labels, llm):
    option = options.Option("annotate", n_labels, 0, 0.0, n_llm_labels=n_llm_labels, llm=llm.name)
    return options.purchases_of([option], dataclasses.replace(_PRICES, llms=(llm,)))


def test_the_papers_model_costs_what_section_5_says():
    assert language_model(_GPT, load_book("paper"), "wlp", None, 60.0, 0, 0).usd == 0.046
    assert language_model(_GPT, load_book("paper"), "stanceosaurus", None, 60.0, 0, 5).usd == 0.073


def test_another_model_is_priced_by_the_papers_prompt():
    book = load_book("current")
    name = api_models(book)[0]
    found = language_model(name, book, "wlp", None, 60.0, 50, 0)
    assert 0 < found.usd < 1 and "2,300 tokens" in found.note and "measured on 50 gold labels" in found.note


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"score": None}, "llm_score: nothing says how right the labels of 'text-davinci-003' are. Fix: --llm-score"),
        ({"score": 120.0}, "llm_score: received 120.0"),
        ({"usd": -1.0}, "llm_usd: received -1.0"),
    ],
)
def test_a_model_of_which_too_little_is_known_is_refused(fields, message):
    with pytest.raises(PlanningError, match=message):
        _llm(**fields)
    with pytest.raises(PlanningError, match="llm: book paper prices no 'gpt-9'"):
        language_model("gpt-9", load_book("paper"), "wlp", None, 60.0, 0, 0)


def test_a_guess_is_less_sure_than_a_measurement():
    assert _llm(n_gold=0).stderr == UNMEASURED > _llm(n_gold=100).stderr > _llm(n_gold=1000).stderr


@given(st.floats(1, 99), st.integers(100, 100_000))
def test_labels_of_a_model_are_worth_at_most_as_many_of_people(score, count):
    worth = noisy_labels.worth(_bought(0, count, _llm(score=score)), np.zeros((1, 6)))[0, 0]
    assert 1 <= worth <= count + 1e-6


def test_a_model_that_guesses_among_the_classes_is_worth_nothing():
    assert noisy_labels.worth(_bought(200, 5000, _llm(score=50.0, n_classes=2)), np.zeros((1, 6)))[0, 0] == 200


def test_labels_of_people_alone_are_left_as_they_are():
    asked = Purchases.of([Outcome("annotate", 100, 0, 0.0)])
    assert noisy_labels.worth(asked, np.zeros((1, 6))) is None
    odds = np.array([[0.7]])
    assert noisy_labels.capped(odds, asked, np.zeros((1, 6))) is odds


def test_no_student_scores_far_above_its_labels():
    capped = noisy_labels.capped(np.array([[3.0]]), _bought(0, 50_000, _llm(score=60.0)), np.zeros((1, 6)))[0, 0]
    assert capped == pytest.approx(np.log(0.6 / 0.4) + noisy_labels.SHIFT[0], abs=0.01)


@pytest.fixture(scope="module")
def annotator_task():
    """Draws of a task whose students learn steadily and whose teacher never begins."""
    students = [Outcome("annotate", n, 0, score) for n, score in ((100, 50.0), (500, 65.0), (2000, 76.0))]
    teachers = [Outcome("teacher", n, 0, 0.5, degenerate=True) for n in (500, 2000, 10_000)]
    return posterior.condition(Evidence("t", "f1", 0.5, (*students, *teachers)), prior.broad(), 800)


def test_a_good_cheap_model_is_asked_and_a_bad_one_is_not(annotator_task):
    def best(**fields):
        known = dataclasses.replace(_PRICES, llms=(_llm(**fields),))
        found = advice.judge(options.options_of(Wish(150.0), known), known, annotator_task)
        return advice.best_of(found).option

    assert best(score=92.0, usd=0.005).llm == _GPT
    assert best(score=20.0).llm == ""
    assert best(score=92.0, usd=5.0).llm == ""


def test_its_price_has_a_break_even(annotator_task):
    known = dataclasses.replace(_PRICES, llms=(_llm(score=92.0, usd=0.05),))
    found = {each.axis: each for each in advice.advise(Wish(150.0), known, annotator_task).break_evens}
    assert found["llm"].becomes_above.llm == ""
