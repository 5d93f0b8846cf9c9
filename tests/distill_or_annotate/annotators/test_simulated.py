"""Simulated annotators: seeded, in step with their matrices, priced by the judgement."""

from collections import Counter

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from distill_or_annotate.annotators import confusion, simulated
from distill_or_annotate.annotators.simulated import ADJUDICATOR, Annotators, SimulationError, SpanNoise
from distill_or_annotate.ledger import LedgerError
from distill_or_annotate.metrics.entities import WLP_TYPES, parse_entities

LABELS = ("Irrelevant", "Supporting", "Refuting")
UPPER = {kind.upper() for kind in WLP_TYPES}


def _rows(n_rows):
    return [{"source": f"claim {i}", "target": LABELS[i % 3]} for i in range(n_rows)]


def _entity_rows(n_rows):
    return [
        {"source": f"{i} cold spin of red blood cells", "target": "spin [Action] red blood cells [Reagent]"}
        for i in range(n_rows)
    ]


def _accuracy(rows, found):
    return np.mean([row["target"] == label for row, label in zip(rows, found.labels, strict=True)])


def test_votes_follow_the_matrix():
    matrix = confusion.from_shares(LABELS, {"Refuting": {"Supporting": 0.3}, "Supporting": {"Irrelevant": 0.1}})
    found = simulated.simulate(_rows(6000), Annotators(matrix, 0.1), entities=False)
    counts = Counter(zip((row["target"] for row in _rows(6000)), found.labels, strict=True))
    shares = [[counts[true, given] / 2000 for given in LABELS] for true in LABELS]
    np.testing.assert_allclose(shares, matrix.matrix, atol=0.03)
    assert matrix.provenance == found.provenance == "assumed"


def test_annotators_who_never_err_give_the_true_labels():
    rows = _rows(50)
    found = simulated.simulate(rows, Annotators(confusion.assumed(LABELS, 1.0), 0.2, 3), entities=False)
    assert [row["target"] for row in rows] == list(found.labels) and found.n_disputed == 0
    assert found.usd == pytest.approx(50 * 3 * 0.2)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.integers(0, 40), st.integers(1, 4), st.integers(0, 9))
def test_a_smaller_pool_gets_the_first_labels_of_a_larger_one(n_rows, n_more, n_annotators, seed):
    group = Annotators(confusion.assumed(LABELS, 0.6), 0.1, n_annotators, seed=seed)
    small, large = (simulated.simulate(_rows(n), group, entities=False) for n in (n_rows, n_rows + n_more))
    assert large.labels[:n_rows] == small.labels and large.votes[:n_rows] == small.votes


def test_one_more_annotator_changes_nothing_of_what_the_others_said():
    three, four = (
        simulated.simulate(_rows(40), Annotators(confusion.assumed(LABELS, 0.6), 0.1, k), entities=False)
        for k in (3, 4)
    )
    assert [votes[:3] for votes in four.votes] == list(three.votes)


def test_a_majority_of_five_beats_one_and_another_seed_errs_elsewhere():
    rows, matrix = _rows(2000), confusion.assumed(LABELS, 0.7)
    one, five, other = (
        simulated.simulate(rows, Annotators(matrix, 0.1, k, seed=seed), entities=False)
        for k, seed in ((1, 0), (5, 0), (1, 1))
    )
    assert _accuracy(rows, one) == pytest.approx(0.7, abs=0.04)
    # Of five: all but ties, 0.837 right by majority, and 0.05 or so of the ties.
    assert _accuracy(rows, five) > 0.83
    assert one.labels != other.labels


def test_an_adjudicator_settles_and_is_paid_for_what_is_disputed():
    rows, matrix = _rows(500), confusion.assumed(LABELS, 0.7)
    group = Annotators(matrix, 0.1, 2, adjudication=ADJUDICATOR, adjudicator_usd=1.0)
    found = simulated.simulate(rows, group, entities=False)
    disputed = [len(set(votes)) > 1 for votes in found.votes]
    assert found.n_disputed == sum(disputed) > 100
    assert found.usd == pytest.approx(500 * 2 * 0.1 + found.n_disputed)
    settled = [row["target"] == label for row, label, is_disputed in zip(rows, found.labels, disputed, strict=True)
               if is_disputed]  # fmt: skip
    assert all(settled)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 30), st.floats(0, 10), st.integers(1, 7), st.integers(1, 3))
def test_whole_batches_are_bought_within_the_cap(n_rows, max_usd, batch_size, n_annotators):
    group = Annotators(confusion.assumed(LABELS, 0.9), 0.15, n_annotators, batch_size=batch_size)
    found = simulated.simulate(_rows(n_rows), group, entities=False, max_usd=max_usd)
    assert found.usd <= max_usd + 1e-9
    assert len(found.labels) == n_rows or len(found.labels) % batch_size == 0
    assert found.usd == pytest.approx(len(found.labels) * n_annotators * 0.15)


def test_entities_are_missed_shifted_and_given_other_types():
    noise = SpanNoise(missed=0.2, shifted=0.5)
    group = Annotators(confusion.assumed(WLP_TYPES, 0.8), 0.1, spans=noise)
    found = simulated.simulate(_entity_rows(1500), group, entities=True)
    entities = [parse_entities(label, UPPER) for label in found.labels]
    assert np.mean([len(each) for each in entities]) == pytest.approx(1.6, abs=0.08)
    long = [words for each in entities for words, _ in each if "blood" in words]
    assert set(long) == {"red blood cells", "blood cells", "red blood"}
    assert np.mean([words == "red blood cells" for words in long]) == pytest.approx(0.5, abs=0.05)
    kinds = [kind for each in entities for words, kind in each if words == "spin"]
    assert np.mean([kind == "ACTION" for kind in kinds]) == pytest.approx(0.8, abs=0.04)


def test_an_entity_stands_where_most_annotators_have_it():
    perfect = confusion.assumed(WLP_TYPES, 1.0)
    lazy = Annotators(perfect, 0.1, 5, spans=SpanNoise(missed=0.2))
    rows = _entity_rows(400)
    found = simulated.simulate(rows, lazy, entities=True)
    # Three or more of five: 94% of the entities, where one annotator has 80%.
    kept = sum(len(parse_entities(label, UPPER)) for label in found.labels) / 800
    assert kept == pytest.approx(0.942, abs=0.03)
    assert set(found.labels) <= {rows[0]["target"], "spin [Action]", "red blood cells [Reagent]", ""}


def test_provenance_is_assumed_unless_all_of_it_was_fitted():
    fitted = confusion.fitted_to_gold(LABELS, np.array([0, 1, 2]), np.array([[0, 0], [1, 1], [1, 2]]))
    assert Annotators(fitted, 0.1).provenance == "fitted"
    assert Annotators(fitted, 0.1, spans=SpanNoise(missed=0.1)).provenance == "assumed"
    assert Annotators(fitted, 0.1, adjudication=ADJUDICATOR).provenance == "assumed"


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ({"n_annotators": 0}, "at least 1"),
        ({"n_annotators": 2.5}, "n_annotators: received 2.5; it must be a whole number, at least 1"),
        ({"n_annotators": True}, "received True"),
        ({"seed": 0.5}, "seed: received 0.5; it must be a whole number"),
        ({"usd_per_judgement": float("nan")}, "finite number of dollars"),
        ({"adjudicator_usd": float("inf")}, "finite number of dollars"),
        ({"usd_per_judgement": -1}, "at least 0"),
        ({"adjudication": "vote"}, "majority, adjudicator"),
        ({"spans": SpanNoise(missed=2)}, "0 to 1"),
    ],
)
def test_annotators_that_cannot_be_are_refused(field, told):
    with pytest.raises(SimulationError, match=told):
        Annotators(confusion.assumed(LABELS, 0.9), **({"usd_per_judgement": 0.1} | field))


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("mix [Action] x [Foo] y [Reagent]", r"the type \[Foo\] of .* is not among Amount, Reagent"),
        ("mix [Action] x y", "not of the form"),
        ("[Action]", "not of the form"),
    ],
)
def test_a_target_that_holds_no_entities_of_the_matrix_is_named(target, told):
    rows = [{"source": "mix x y", "target": target}]
    with pytest.raises(SimulationError, match=told):
        simulated.simulate(rows, Annotators(confusion.assumed(WLP_TYPES, 1.0), 0.1), entities=True)


def test_brackets_of_the_text_are_no_types():
    rows = [{"source": "Use [viral] water", "target": "Use [Action] [viral] water [Reagent]"}]
    found = simulated.simulate(rows, Annotators(confusion.assumed(WLP_TYPES, 1.0), 0.1), entities=True)
    assert found.labels == (rows[0]["target"],)


@pytest.mark.parametrize("max_usd", [float("nan"), -1.0, float("inf")])
def test_a_cap_that_is_none_is_refused(max_usd):
    with pytest.raises(LedgerError, match="max_usd: received"):
        group = Annotators(confusion.assumed(LABELS, 0.9), 0.1)
        simulated.simulate(_rows(2), group, entities=False, max_usd=max_usd)


def test_a_target_outside_the_matrix_is_named():
    with pytest.raises(SimulationError, match="'Shrugging' is not among the labels"):
        rows = [{"source": "x", "target": "Shrugging"}]
        simulated.simulate(rows, Annotators(confusion.assumed(LABELS, 0.9), 0.1), entities=False)
