"""Agreement with a gold sample, against scikit-learn and by hand."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from sklearn.metrics import cohen_kappa_score

from distill_or_annotate.annotators import forms
from distill_or_annotate.annotators.agreement import agreement, calibration_error, cohens_kappa

STANCE = forms.of_task("stanceosaurus")
LABELS = st.sampled_from(STANCE.labels)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(LABELS, LABELS), min_size=2, max_size=60))
def test_kappa_is_scikit_learns(pairs):
    first, second = zip(*pairs, strict=True)
    ours = cohens_kappa(first, second, STANCE.labels)
    if len({*first, *second}) == 1:
        assert ours is None
    else:
        assert ours == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)


def test_calibration_error_by_hand():
    # Bin 0.9-1: mean confidence 0.95, half right, weight 2 of 4: 0.225. Bin 0.5-0.6: 0.55, all right: 0.225.
    confidences = np.array([0.93, 0.97, 0.55, 0.55])
    assert calibration_error(confidences, np.array([1, 0, 1, 1])) == pytest.approx(45.0)
    assert calibration_error(np.array([1.0, 0.0]), np.array([1, 0])) == 0


def test_classes_are_compared_where_there_is_a_label():
    gold = [{"source": str(i), "target": target} for i, target in enumerate(["Refuting", "Querying", "Querying"])]
    found = agreement(STANCE, gold, {"0": "Refuting", "1": "REFUTING"}, {"0": 1.0})
    assert (found.n_gold, found.n_compared, found.accuracy, found.n_with_confidence) == (3, 2, 50.0, 1)
    assert found.calibration_error == 0 and found.entity_f1 is None and found.kappa == pytest.approx(0.0)
    assert "2 of 3 gold rows: accuracy 50.0%, Cohen's kappa 0.000, calibration error 0.0% (on 1)" in found.sentence()


def test_entities_get_an_f1():
    gold = [{"source": "a b", "target": "a [Action] b [Reagent]"}, {"source": "c", "target": ""}]
    found = agreement(forms.of_task("wlp"), gold, {"a b": "a [Action]", "c": ""})
    assert found.accuracy == 50.0 and found.entity_f1 == pytest.approx(200 / 3) and found.kappa is None


def test_any_of_several_answers_is_right():
    gold = [{"source": "q", "target": "1969", "targets": ["1969", "July 1969"]}]
    assert agreement(forms.of_task("natural_questions"), gold, {"q": "july  1969"}).accuracy == 100


def test_no_common_item_is_said_not_scored():
    found = agreement(STANCE, [{"source": "x", "target": "Querying"}], {})
    assert found.accuracy is None and "put their sources into the pool" in found.sentence()
