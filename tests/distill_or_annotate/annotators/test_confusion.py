"""Matrices of mistakes: assumed, written down, fitted to gold labels and to votes alone."""

import numpy as np
import pytest

from distill_or_annotate.annotators import confusion
from distill_or_annotate.annotators.confusion import Confusion, ConfusionError

LABELS = ("a", "b", "c")
TRUE = [
    np.array([[0.9, 0.1, 0.0], [0.1, 0.8, 0.1], [0.0, 0.3, 0.7]]),
    np.array([[0.7, 0.2, 0.1], [0.0, 0.95, 0.05], [0.2, 0.2, 0.6]]),
    np.array([[0.8, 0.0, 0.2], [0.1, 0.85, 0.05], [0.05, 0.05, 0.9]]),
]


@pytest.fixture(scope="module")
def drawn():
    """Classes of 4,000 items, and what annotators with the matrices above say of them; a tenth is missing."""
    generator = np.random.default_rng(7)
    gold = generator.choice(3, size=4000, p=[0.5, 0.3, 0.2])
    votes = np.stack([[generator.choice(3, p=matrix[true]) for true in gold] for matrix in TRUE], axis=1)
    votes[generator.random(votes.shape) < 0.1] = confusion.MISSING
    return gold, votes


def test_a_matrix_is_found_from_items_of_known_label(drawn):
    gold, votes = drawn
    for column, matrix in enumerate(TRUE):
        fitted = confusion.fitted_to_gold(LABELS, gold, votes[:, [column]])
        np.testing.assert_allclose(fitted.matrix, matrix, atol=0.04)
        assert fitted.provenance == "assumed" and "4000 items" in fitted.source  # one label an item
    assert confusion.fitted_to_gold(LABELS, gold, votes).provenance == "fitted"


def test_matrices_and_labels_are_found_from_votes_alone(drawn):
    gold, votes = drawn
    pooled, each, beliefs = confusion.fitted_to_votes(LABELS, votes)
    np.testing.assert_allclose(each, TRUE, atol=0.06)
    np.testing.assert_allclose(pooled.matrix, np.mean(TRUE, axis=0), atol=0.06)
    there = votes != confusion.MISSING
    counts = np.eye(4)[votes][..., :3].sum(1)
    majority_right = np.mean(counts.argmax(1) == gold)
    assert np.mean(beliefs.argmax(1) == gold) > majority_right
    np.testing.assert_allclose(beliefs.sum(1), 1)
    assert pooled.source.startswith(f"{there.sum()} votes of up to 3 annotators")
    assert pooled.provenance == "fitted"


def test_an_annotator_of_few_votes_counts_as_little_as_he_said():
    votes = np.full((200, 4), confusion.MISSING)
    votes[:, :3] = np.arange(200)[:, None] % 3
    votes[0] = 0
    assert confusion.fitted_to_votes(LABELS, votes)[0].accuracy > 0.999


def test_votes_of_which_most_items_have_one_are_assumed_by_either_way():
    votes = np.full((101, 2), confusion.MISSING)
    votes[:, 0] = np.arange(101) % 3
    votes[0, 1] = 0
    assert confusion.fitted_to_votes(LABELS, votes)[0].provenance == "assumed"
    assert confusion.fitted_to_gold(LABELS, votes[:, 0], votes).provenance == "assumed"


def test_of_a_class_that_nobody_saw_the_accuracy_of_the_others_is_assumed_and_said():
    gold = np.arange(200) % 2
    for fitted in (
        confusion.fitted_to_gold(LABELS, gold, np.stack([gold] * 3, axis=1)),
        confusion.fitted_to_votes(LABELS, np.stack([gold] * 3, axis=1))[0],
    ):
        assert fitted.matrix[2, 2] == pytest.approx(1, abs=0.001) and fitted.provenance == "assumed"
        assert fitted.source.endswith("; nobody saw c")


def test_votes_that_tell_nothing_of_each_other_are_refused():
    with pytest.raises(ConfusionError, match="no item has two"):
        confusion.fitted_to_votes(LABELS, np.array([[0, -1], [-1, 2]]))


def test_an_assumed_matrix_spreads_its_mistakes():
    found = confusion.assumed(LABELS, 0.8)
    np.testing.assert_allclose(found.matrix, [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    assert (found.provenance, found.accuracy) == ("assumed", pytest.approx(0.8))


def test_what_is_not_written_down_is_right():
    found = confusion.from_shares(LABELS, {"A": {"b": 0.25}})
    np.testing.assert_allclose(found.matrix, [[0.75, 0.25, 0], [0, 1, 0], [0, 0, 1]])


def test_a_row_that_names_its_own_label_is_taken_as_it_stands():
    found = confusion.from_shares(LABELS, {"a": {"A": 0.7, "c": 0.3}})
    np.testing.assert_allclose(found.matrix, [[0.7, 0, 0.3], [0, 1, 0], [0, 0, 1]])


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: confusion.assumed(LABELS, 1.1), "0 to 1"),
        (lambda: confusion.assumed(("a",), 0.5), "two labels"),
        (lambda: confusion.from_shares(LABELS, {"a": {"z": 0.1}}), "'z' is not among"),
        (lambda: confusion.from_shares(LABELS, {"a": {"b": 1.5}}), "shares of a add up to 1.5; 1 is the most"),
        (lambda: confusion.from_shares(LABELS, {"a": {"a": 0.9, "b": 0.2}}), "shares of a add up to 1.1"),
        (lambda: confusion.from_shares(LABELS, {"a": {"b": -0.1}}), r"a = \{b = -0\.1\}; a share"),
        (lambda: confusion.from_shares(LABELS, {"a": {"b": True}}), r"a = \{b = True\}; a share is a number"),
        (lambda: confusion.from_shares(LABELS, {"a": {"b": "0.1"}}), r"a = \{b = '0\.1'\}; a share is a number"),
        (lambda: confusion.from_shares(LABELS, {"a": {"b": [1]}}), r"a = \{b = \[1\]\}; a share is a number"),
        (lambda: confusion.from_shares(LABELS, {"a": {"b": float("nan")}}), r"a = \{b = nan\}; a share is a number"),
        (lambda: confusion.from_shares(LABELS, {"a": {"b": 0.1, "B": 0.2}}), "'B' in the row of a stands there twice"),
        (lambda: confusion.from_shares(LABELS, {"a": {"b": 0.1}, "A": {"c": 0.2}}), "'A' stands there twice"),
        (lambda: confusion.from_shares(LABELS, {"a": {"a": 0.5, "b": 0.1}}), "a add up to 0.6, with that of a itself"),
        (lambda: confusion.assumed(LABELS, True), "accuracy True"),
        (lambda: confusion.assumed(LABELS, "0.9"), "accuracy '0.9'"),
        (lambda: confusion.from_shares(LABELS, {"a": 0.9}), "a = 0.9; shares by given label"),
        (lambda: confusion.from_shares(LABELS, 0.9), "received 0.9; a table"),
        (lambda: Confusion(LABELS, np.eye(2), "assumed", ""), "3 labels need"),
        (lambda: Confusion(LABELS, np.eye(3), "guessed", ""), "allowed: assumed, fitted"),
    ],
)
def test_what_is_no_matrix_is_refused(make, told):
    with pytest.raises(ConfusionError, match=told):
        make()
