"""Errors of scores and differences: right where the answer is known, wider with clusters, silent about single seeds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.statistics import Models, difference, estimate, holm


def _percent(sums):
    return 100.0 * sums[..., 0] / sums[..., 1]


def _models(*answers, seeds=None):
    """Models that got the examples right where their answers are 1."""
    counts = np.stack([np.stack([np.array(each, float), np.ones(len(each))], axis=1) for each in answers])
    return Models(tuple(seeds or [(0, i) for i in range(len(answers))]), counts)


def _coin(p, n, seed):
    return (np.random.default_rng(seed).random(n) < p).astype(int)


def test_one_model_has_the_error_of_its_examples():
    found = estimate(_models(_coin(0.7, 400, 0)), _percent)
    p = found.value / 100
    assert found.stderr == pytest.approx(100 * (p * (1 - p) / 400) ** 0.5, rel=0.1)
    assert (found.n_models, found.n_data_seeds, found.n_clusters) == (1, 1, 400)
    assert found.low < found.value < found.high


def test_seeds_without_examples_noise_have_the_error_of_a_mean():
    # Each model's examples are all alike within the model's score only up to its share, so examples add little.
    shares = [0.50, 0.54, 0.58]
    answers = [np.repeat([1, 0], [int(10_000 * s), 10_000 - int(10_000 * s)]) for s in shares]
    found = estimate(_models(*answers), _percent, n_resamples=4000)
    assert found.value == pytest.approx(54.0)
    # Standard deviation 4 over the root of 3; examples add half a point.
    assert found.stderr == pytest.approx((4**2 / 3 + 0.5**2) ** 0.5, rel=0.06)


def test_data_seeds_weigh_the_same_whatever_their_training_seeds():
    right, wrong = [1] * 10, [0] * 10
    found = estimate(_models(right, right, right, wrong, seeds=[(0, 0), (0, 1), (0, 2), (1, 0)]), _percent)
    assert found.value == 50.0 and found.n_data_seeds == 2


def test_examples_of_one_claim_are_drawn_together():
    answers = np.repeat(_coin(0.5, 40, 1), 10)
    alone = estimate(_models(answers), _percent)
    together = estimate(_models(answers), _percent, clusters=[str(i // 10) for i in range(400)])
    assert together.n_clusters == 40
    assert together.stderr == pytest.approx(alone.stderr * 10**0.5, rel=0.15)


def test_a_paired_difference_is_surer_than_two_errors_apart():
    base = _coin(0.6, 500, 2)
    better = base.copy()
    better[np.flatnonzero(base == 0)[:20]] = 1
    found = difference(_models(better), _models(base), _percent)
    assert found.value == pytest.approx(4.0)
    assert found.stderr < estimate(_models(base), _percent).stderr
    assert found.p_value < 0.001 and found.low > 0


def test_equal_systems_do_not_differ():
    base = _models(_coin(0.6, 100, 3))
    found = difference(base, base, _percent)
    assert (found.value, found.stderr, found.p_value) == (0.0, 0.0, 1.0)


def test_a_difference_changes_its_sign_with_the_order():
    first, second = _models(_coin(0.7, 200, 4)), _models(_coin(0.6, 200, 5))
    one, other = difference(first, second, _percent), difference(second, first, _percent)
    assert one.value == -other.value and one.stderr == pytest.approx(other.stderr)


def test_shared_data_seeds_are_drawn_together():
    # Two easy and two hard draws of labels: both strategies rise and fall with them, their difference does not.
    low, high = np.repeat([1, 0], [400, 600]), np.repeat([1, 0], [600, 400])
    first = _models(low, high, low, high, seeds=[(i, 0) for i in range(4)])
    shared = difference(first, first, _percent)
    apart = difference(first, _models(low, high, low, high, seeds=[(i + 9, 0) for i in range(4)]), _percent)
    assert shared.stderr == 0.0 and apart.stderr > 5


def test_other_examples_are_refused():
    with pytest.raises(ValueError, match="same examples"):
        difference(_models([1, 0]), _models([1, 0, 1]), _percent)
    with pytest.raises(ValueError, match="numbers must be equal"):
        estimate(_models([1, 0]), _percent, clusters=["a"])
    with pytest.raises(ValueError, match="none twice"):
        _models([1], [0], seeds=[(0, 0), (0, 0)])


def test_most_intervals_hold_a_true_zero():
    held = 0
    for trial in range(60):
        found = difference(
            _models(_coin(0.6, 200, 100 + trial)), _models(_coin(0.6, 200, 500 + trial)), _percent, n_resamples=200
        )
        held += found.low <= 0 <= found.high
    assert 52 <= held <= 60


@settings(deadline=None, max_examples=50)
@given(p_values=st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_lowers_never_reorders_and_stays_within_bonferroni(p_values):
    corrected = holm(p_values)
    assert all(p <= q <= min(1.0, p * len(p_values)) + 1e-12 for p, q in zip(p_values, corrected, strict=True))
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert [corrected[i] for i in order] == sorted(corrected)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([1.2])
