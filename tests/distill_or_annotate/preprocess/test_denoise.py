"""Copy-denoising keeps length and target, and disturbs the share that it says."""

import pytest
import seqio
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.preprocess import denoise

MASK_ID = 259
"""A byte vocabulary's first extra id, which is the last one counted downwards as sentinels are."""


def _features(extra_ids=10):
    return {"targets": seqio.Feature(seqio.ByteVocabulary(extra_ids=extra_ids))}


def _disturbed(sequences, seed=0, **options):
    dataset = tf.data.Dataset.from_generator(
        lambda: ({"targets": sequence} for sequence in sequences),
        output_signature={"targets": tf.TensorSpec([None], tf.int32)},
    )
    with seqio.utils.map_seed_manager(seed):
        dataset = denoise.copy_denoising(dataset, _features(), **options)
    return [(e["inputs"].tolist(), e["targets"].tolist()) for e in dataset.as_numpy_iterator()]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.integers(3, 258), min_size=1, max_size=30), min_size=1, max_size=8), st.integers(0, 2**31))
def test_target_is_the_sentence_and_input_is_as_long(sequences, seed):
    made = _disturbed(sequences, seed)
    assert [target for _, target in made] == sequences
    assert [len(noisy) for noisy, _ in made] == [len(sequence) for sequence in sequences]


def test_masks_and_replaces_the_shares_asked_for():
    # Token 3 everywhere: a replacement is anything else but the mask, or by chance (1 in 256) itself.
    made = _disturbed([[3] * 200] * 50)
    noisy = [token for inputs, _ in made for token in inputs]
    masked = sum(token == MASK_ID for token in noisy) / len(noisy)
    replaced = sum(token not in (3, MASK_ID) for token in noisy) / len(noisy)
    # 10,000 draws: standard errors 0.004 and 0.003; five of them.
    assert masked == pytest.approx(0.2, abs=0.02)
    assert replaced == pytest.approx(0.1, abs=0.015)


def test_replacements_are_ordinary_pieces():
    made = _disturbed([[7] * 200] * 20, mask_rate=0.0, replace_rate=1.0)
    drawn = {token for inputs, _ in made for token in inputs}
    assert len(drawn) > 200
    assert min(drawn) >= 3 and max(drawn) < MASK_ID


def test_without_noise_the_input_is_the_sentence():
    assert _disturbed([[5, 6, 7]], mask_rate=0.0, replace_rate=0.0) == [([5, 6, 7], [5, 6, 7])]


def test_same_seed_same_noise_other_seed_other_noise():
    sequences = [list(range(10, 40))] * 4
    made = _disturbed(sequences, seed=1)
    assert made == _disturbed(sequences, seed=1)
    assert made != _disturbed(sequences, seed=2)
    assert len({tuple(inputs) for inputs, _ in made}) > 1


@pytest.mark.parametrize("rates", [(-0.1, 0.1), (0.1, -0.1), (0.7, 0.4)])
def test_rates_out_of_range_are_refused(rates):
    with pytest.raises(ValueError, match="mask_rate is"):
        _disturbed([[5]], mask_rate=rates[0], replace_rate=rates[1])


def test_a_vocabulary_without_extra_ids_is_refused():
    dataset = tf.data.Dataset.from_tensors({"targets": [5, 6]})
    with pytest.raises(ValueError, match="no extra ids"):
        denoise.copy_denoising(dataset, _features(extra_ids=0))
