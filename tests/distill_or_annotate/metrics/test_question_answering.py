"""Token F1 and exact match of SQuAD v1.1, and what several accepted answers do to them."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.metrics.evaluation import Scorer, evaluate
from distill_or_annotate.metrics.question_answering import answer_f1, normalise

FAIR, PAPER = Scorer("token_f1"), Scorer("token_f1", mode="paper")
# Few words, so that answers overlap; articles and marks, so that some normalise to nothing.
WORDS = st.sampled_from(["the", "a", "!", "Paris", "paris,", "New", "York", "1989", "an", "U.S."])
TEXTS = st.lists(WORDS, max_size=4).map(" ".join)
EXAMPLES = st.lists(st.tuples(st.lists(TEXTS, min_size=1, max_size=3), TEXTS), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("The  Sixth\tSense!", "sixth sense"),
        ("An apple a day", "apple day"),
        # Marks go first and leave no space behind, so an article may come to light, or a word be glued.
        ("A.", ""),
        ("t.h.e end", "end"),
        ("54 Mbit / s", "54 mbit s"),
        ("September 28 , 2017", "september 28 2017"),
        ("Grey's Anatomy", "greys anatomy"),
        ("athena", "athena"),
        # Only ASCII marks are removed; v1.1 keeps these.
        ("“Paris” –", "“paris” –"),
        ("day–the–night", "day– –night"),
    ],
)
def test_answers_are_normalised_as_in_squad(text, normalised):
    assert normalise(text) == normalised


def test_f1_counts_common_words_as_often_as_both_have_them():
    # Common: new, york (once: the answer has it once). 2 * 2 / (2 + 4).
    assert answer_f1("the New York", "new york york city") == pytest.approx(4 / 6)


def test_fair_takes_the_best_accepted_answer_and_paper_the_one_target():
    targets = [["Washington", "George Washington"], ["1989"]]
    predictions = ["George Washington", "in 1989"]
    # Best: 1 and 2 * 1 / (1 + 2). First: 2 * 1 / (1 + 2) twice.
    assert FAIR.scores(targets, predictions) == pytest.approx({"token_f1": 250 / 3, "exact_match": 50.0})
    assert PAPER.scores(targets, predictions) == pytest.approx({"token_f1": 200 / 3, "exact_match": 0.0})


def test_f1_and_match_each_take_their_own_best_answer():
    # F1 of `a` against `the` is 0 (nothing in common), yet both normalise to nothing and so match.
    assert FAIR.scores([["the", "b c"]], ["a"]) == {"token_f1": 0.0, "exact_match": 100.0}


@pytest.mark.parametrize("scorer", [FAIR, PAPER])
@pytest.mark.parametrize(("target", "prediction"), [("The", "a"), ("", ""), ("Paris", ""), ("", "Paris")])
def test_no_common_word_scores_nothing(scorer, target, prediction):
    assert scorer.scores([target], [prediction])["token_f1"] == 0.0


@settings(deadline=None)
@given(EXAMPLES, st.randoms(use_true_random=False))
def test_scores_are_bounded_and_know_no_order(examples, shuffle):
    targets, predictions = map(list, zip(*examples, strict=True))
    scores = FAIR.scores(targets, predictions)
    assert all(0 <= value <= 100 for value in scores.values())
    reordered = [(shuffle.sample(accepted, len(accepted)), prediction) for accepted, prediction in examples]
    shuffle.shuffle(reordered)
    assert FAIR.scores(*map(list, zip(*reordered, strict=True))) == pytest.approx(scores)


@settings(deadline=None)
@given(EXAMPLES, TEXTS)
def test_another_accepted_answer_never_lowers_a_score(examples, answer):
    targets, predictions = map(list, zip(*examples, strict=True))
    before = FAIR.counts(targets, predictions)
    assert (FAIR.counts([[*accepted, answer] for accepted in targets], predictions) >= before).all()
    assert (before >= PAPER.counts(targets, predictions)).all()


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_f1_is_symmetric_and_whole_only_for_the_same_words(answer, prediction):
    score = answer_f1(answer, prediction)
    assert score == answer_f1(prediction, answer)
    same = sorted(normalise(answer).split()) == sorted(normalise(prediction).split()) != []
    assert (score == 1) == same


def test_model_is_held_against_the_most_accepted_answer_and_constant_answers_are_flagged():
    rows = [{"source": "who?", "target": f"Person {i}", "targets": [f"Person {i}", "Nobody"]} for i in range(20)]
    result = evaluate(FAIR, rows, ["nobody"] * 20)
    assert result["score"] == result["floors"]["constant"] == 100.0
    assert result["floors"]["empty"] == 0.0 and result["floors"]["copied_source"] == 0.0
    assert result["degenerate"]["flagged"] and result["degenerate"]["constant_share"] == 1.0
    assert evaluate(PAPER, rows, ["nobody"] * 20)["score"] == 0.0


def test_good_answers_are_not_flagged_and_empty_ones_are_counted():
    rows = [{"source": f"who {i}?", "target": f"Person {i}"} for i in range(100)]
    right = set(random.Random(0).sample(range(100), 80))
    result = evaluate(FAIR, rows, [row["target"] if i in right else "" for i, row in enumerate(rows)])
    # The constant answer `Person 0`: one whole, 99 that share the word `person`: (1 + 99 / 2) / 100.
    assert result["score"] == pytest.approx(80.0) and result["floors"]["constant"] == pytest.approx(50.5)
    assert not result["degenerate"]["flagged"] and result["degenerate"]["invalid_share"] == pytest.approx(0.2)
