"""Standard errors by resampling agree with theory where theory is known."""

import time

import numpy as np
import pytest

from distill_or_annotate.metrics import bootstrap


def _share(sums):
    return 100 * sums[..., 0] / sums[..., 1]


def _accuracy_counts(n_right, n_examples):
    return np.stack([np.arange(n_examples) < n_right, np.ones(n_examples)], axis=1).astype(float)


def test_error_of_an_accuracy_is_that_of_a_binomial():
    # 100 sqrt(0.3 * 0.7 / 400) = 2.29; the estimate from 2,000 resamples is within some 5% of it.
    error = bootstrap.standard_error(_accuracy_counts(120, 400), _share, n_resamples=2000)
    assert error == pytest.approx(2.291, rel=0.06)


def test_same_seed_same_draws_other_seed_others():
    counts = _accuracy_counts(30, 100)
    first, again, other = (bootstrap.resampled_scores(counts, _share, seed, 50) for seed in (0, 0, 1))
    assert (first == again).all() and (first != other).any()


def test_two_systems_see_the_same_resamples():
    left, right = _accuracy_counts(30, 100), _accuracy_counts(70, 100)
    right[:, 0] = 1 - left[:, 0]
    # Where one is right the other is wrong, so on shared resamples the scores add up to 100.
    total = bootstrap.resampled_scores(left, _share) + bootstrap.resampled_scores(right, _share)
    assert total == pytest.approx(np.full(bootstrap.N_RESAMPLES, 100.0))


def test_chunks_do_not_change_the_draws_much_nor_the_number(monkeypatch):
    counts = _accuracy_counts(30, 100)
    whole = bootstrap.resampled_scores(counts, _share, n_resamples=300)
    monkeypatch.setattr(bootstrap, "_WEIGHTS_PER_CHUNK", 700)
    assert (bootstrap.resampled_scores(counts, _share, n_resamples=300) == whole).all()


def test_ten_thousand_examples_take_well_under_two_seconds():
    start = time.perf_counter()
    bootstrap.standard_error(_accuracy_counts(3000, 10_000), _share)
    assert time.perf_counter() - start < 2.0


def test_no_examples_is_an_error():
    with pytest.raises(ValueError, match="received 0 examples and 1000 resamples"):
        bootstrap.resampled_scores(np.zeros((0, 2)), _share)
