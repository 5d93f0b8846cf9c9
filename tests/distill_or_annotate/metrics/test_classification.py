"""Label words: accuracy and F1, and what becomes of outputs that are no label."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.metrics.classification import UnknownLabel, UnknownLabels, unknown_labels
from distill_or_annotate.metrics.evaluation import Scorer

LABELS = ("Irrelevant", "Supporting", "Refuting")
TARGETS = ["Irrelevant", "Supporting", "Supporting", "Refuting"]
PREDICTIONS = [" supporting", "SUPPORTING", "banana", "refuting "]


def test_case_and_surrounding_spaces_do_not_count():
    assert Scorer("accuracy", LABELS).scores(["Refuting"], [" reFUTing\n"])["accuracy"] == 100.0


def test_fair_counts_an_unknown_answer_as_wrong():
    scores = Scorer("macro_f1", LABELS).scores(TARGETS, PREDICTIONS)
    # Right: one of two Supporting, the Refuting. F1: Irrelevant 0, Supporting 2*1/(2+2), Refuting 1; mean 50.
    assert scores["accuracy"] == 50.0
    assert scores["macro_f1"] == pytest.approx(50.0)
    # 2 right, 3 valid predictions, 4 targets: 2*2/7.
    assert scores["micro_f1"] == pytest.approx(400 / 7)


def test_paper_counts_an_unknown_answer_as_the_first_label():
    scorer = Scorer("accuracy", ("REFUTES", "SUPPORTS"), mode="paper")
    assert scorer.scores(["REFUTES", "SUPPORTS"], ["", "banana"])["accuracy"] == 50.0
    assert Scorer("macro_f1", LABELS, mode="paper").metric == "micro_f1"


def test_target_that_is_no_label_is_an_error():
    message = (
        r"target: 'Suporting' \(2 rows, nearest 'Supporting'\), '\?' \(1 row\) not among the labels "
        r"\('Irrelevant', 'Supporting', 'Refuting'\)\. Fix the rows, or add the label\."
    )
    with pytest.raises(ValueError, match=message):
        Scorer("accuracy", LABELS).scores(["Suporting ", "?", "SUPORTING"], ["Refuting"] * 3)


def test_unknown_labels_come_most_frequent_first_with_the_nearest_label():
    targets = ["refuting", "Refutes", "Maybe", "maybe ", "Irrelevant", "REFUTES", "refutes"]
    found = unknown_labels(targets, LABELS)
    assert found == [UnknownLabel("Refutes", 3, "Refuting"), UnknownLabel("Maybe", 2, None)]
    assert unknown_labels([" supporting\n"], LABELS) == []


def test_only_the_first_unknown_labels_are_named():
    with pytest.raises(UnknownLabels, match=r"'E' \(1 row\) and 2 more not among") as caught:
        Scorer("accuracy", LABELS).scores(list("ABCDEFG"), ["x"] * 7)
    assert len(caught.value.unknown) == 7


def test_lengths_metric_mode_and_labels_are_checked():
    with pytest.raises(ValueError, match="received 2 targets and 1 predictions"):
        Scorer("accuracy", LABELS).scores(TARGETS[:2], PREDICTIONS[:1])
    with pytest.raises(ValueError, match=r"metric: 'acuracy' is not one of .*near: \['accuracy'\]"):
        Scorer("acuracy", LABELS)
    with pytest.raises(ValueError, match="mode: 'fare' is not one of"):
        Scorer("accuracy", LABELS, mode="fare")
    with pytest.raises(ValueError, match="labels: metric 'accuracy' needs"):
        Scorer("accuracy", ())


# The first example imports scikit-learn.
@pytest.mark.parametrize("mode", ["fair", "paper"])
@settings(deadline=None)
@given(
    pairs=st.lists(
        st.tuples(st.sampled_from(LABELS), st.sampled_from([*LABELS, "", "banana"])), min_size=1, max_size=30
    )
)
def test_scores_equal_scikit_learn(mode, pairs):
    from sklearn.metrics import accuracy_score, f1_score

    targets, predictions = map(list, zip(*pairs, strict=True))
    scores = Scorer("macro_f1", LABELS, mode).scores(targets, predictions)
    if mode == "paper":
        predictions = [p if p in LABELS else LABELS[0] for p in predictions]
    expected = {
        "accuracy": accuracy_score(targets, predictions),
        "macro_f1": f1_score(targets, predictions, labels=LABELS, average="macro", zero_division=0),
        "micro_f1": f1_score(targets, predictions, labels=LABELS, average="micro", zero_division=0),
    }
    assert scores == pytest.approx({name: 100 * value for name, value in expected.items()})
