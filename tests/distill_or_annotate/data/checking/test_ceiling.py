"""The agreement ceiling is the best that one answer a source can score: worked by hand, and against brute force."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.data.checking.ceiling import Ceiling, ceiling
from distill_or_annotate.metrics.evaluation import Scorer

TYPES = ("Action", "Reagent")
ENTITY_TARGETS = ("", "Mix [Action]", "Mix [Action] salt [Reagent]", "salt [Reagent]", "Mix salt [Reagent]")
WORDS = ("YES", "NO", "MAYBE")


def _rows(pairs):
    return [{"source": source, "target": target} for source, target in pairs]


def _pairs(targets, n_sources=4, most=9):
    return st.lists(
        st.tuples(st.sampled_from("abcdef"[:n_sources]), st.sampled_from(targets)), min_size=1, max_size=most
    )


def _brute_force(rows, metric, labels, mode="fair"):
    answers = {}
    for row in rows:
        answers.setdefault(row["source"], {})[row["target"]] = None
    scorer = Scorer(metric, labels, mode)
    best = 0.0
    for choice in itertools.product(*answers.values()):
        chosen = dict(zip(answers, choice, strict=True))
        scores = scorer.scores([row["target"] for row in rows], [chosen[row["source"]] for row in rows])
        best = max(best, scores[scorer.metric])
    return best


def test_accuracy_is_the_share_of_the_most_frequent_answers():
    rows = _rows([("a", "YES"), ("A ", "yes"), ("a", "NO"), ("b", "NO")])
    # Source a: 2 of 3 right; b: 1 of 1.
    assert ceiling(rows, "accuracy", WORDS) == Ceiling(75.0, "accuracy")


def test_entity_f1_weighs_entities():
    rows = _rows([("a", "Mix [Action] salt [Reagent]"), ("a", "Mix [Action]"), ("b", "Mix [Action]")])
    # With both entities: found 2+1+1, predicted 2+2+1, gold 2+1+1, F1 8/9. With the one: found 1+1+1, predicted
    # 1+1+1, gold 4, F1 6/7.
    assert ceiling(rows, "entity_f1", TYPES).score == pytest.approx(100 * 8 / 9)


def test_the_whole_decides_rather_than_each_source():
    # Rows of one source: {x} twice and {} thrice. Alone, answering x gets 4/7; answering nothing gets 0. Still x.
    rows = _rows([("a", "x [Action]")] * 2 + [("a", "")] * 3)
    assert ceiling(rows, "entity_f1", TYPES).score == pytest.approx(100 * 4 / 7)
    # Beside 100 perfect entities x costs more than it finds: (200 + 4) / (200 + 7) < 200 / (200 + 2).
    rows += _rows([("b", "y [Action]")] * 100)
    assert ceiling(rows, "entity_f1", TYPES).score == pytest.approx(100 * 200 / 202)


def test_all_accepted_answers_count_in_token_f1():
    rows = [
        {"source": "who?", "target": "June Gable", "targets": ["June Gable", "Gable"]},
        {"source": "who?", "target": "Gable"},
    ]
    assert ceiling(rows, "token_f1", ()).score == pytest.approx(100.0)
    # The paper's mode knows the first answer only: "Gable" against "June Gable" has F1 2/3.
    assert ceiling(rows, "token_f1", (), mode="paper").score == pytest.approx(100 * (1 + 2 / 3) / 2)


def test_paraphrases_have_no_ceiling():
    found = ceiling(_rows([("a", "b"), ("a", "c")]), "chrf_ibleu", ())
    assert found.score is None and "many right answers" in found.reason and found.display() == "-"


def test_classes_without_a_row_and_unknown_labels_do_not_lower_it():
    assert ceiling(_rows([("a", "YES"), ("b", "PERHAPS")]), "macro_f1", WORDS).score == 100.0
    assert ceiling(_rows([("a", "YES"), ("a", "YES"), ("a", "NO")]), "accuracy", WORDS).score == pytest.approx(200 / 3)


def test_less_than_100_never_reads_100():
    assert Ceiling(99.9999, "accuracy").display() == "99.99"
    assert Ceiling(100.0, "accuracy").display() == "100.00"


def test_many_targets_of_one_source_are_not_all_tried():
    rows = _rows([("a", f"{i} [Action]") for i in range(2000)])
    assert 0 < ceiling(rows, "entity_f1", TYPES).score < 1


@settings(max_examples=150, deadline=None)
@given(_pairs(ENTITY_TARGETS))
def test_entity_f1_equals_the_best_of_all_choices(pairs):
    rows = _rows(pairs)
    expected = _brute_force(rows, "entity_f1", TYPES)
    several = len({pair[0] for pair in set(pairs)}) < len(set(pairs))
    assert ceiling(rows, "entity_f1", TYPES).score == pytest.approx(expected if several else 100.0)


@settings(max_examples=100, deadline=None)
@given(_pairs(WORDS))
def test_accuracy_equals_the_best_of_all_choices(pairs):
    assert ceiling(_rows(pairs), "accuracy", WORDS).score == pytest.approx(
        _brute_force(_rows(pairs), "accuracy", WORDS)
    )


@settings(max_examples=100, deadline=None)
@given(_pairs(WORDS), st.sampled_from(["accuracy", "macro_f1"]), st.sampled_from(["fair", "paper"]))
def test_it_is_a_percentage_and_does_not_depend_on_the_order(pairs, metric, mode):
    score = ceiling(_rows(pairs), metric, WORDS, mode).score
    assert 0 <= score <= 100
    if metric == "accuracy":
        assert ceiling(_rows(pairs[::-1]), metric, WORDS, mode).score == pytest.approx(score)


@given(st.dictionaries(st.text(min_size=1).filter(str.strip), st.sampled_from(WORDS), min_size=1))
def test_it_is_100_when_each_source_has_one_target(targets):
    unique = {" ".join(source.casefold().split()): target for source, target in targets.items()}
    assert ceiling(_rows(unique.items()), "macro_f1", WORDS).score == 100.0
