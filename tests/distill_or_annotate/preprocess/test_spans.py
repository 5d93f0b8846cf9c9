"""Span corruption loses nothing, masks what it says, and numbers its spans."""

import pytest
import seqio
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.preprocess import spans

FIRST_SENTINEL = 259 + 9
LENGTHS = st.integers(2, 40)
DENSITIES = st.floats(0.05, 0.9)
MEANS = st.floats(1.0, 5.0)
SEEDS = st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1))

# One graph for all examples: tracing anew for each would take most of the time.
_mask = tf.function(
    spans.noise_mask,
    input_signature=[
        tf.TensorSpec([], tf.int32),
        tf.TensorSpec([2], tf.int32),
        tf.TensorSpec([], tf.float32),
        tf.TensorSpec([], tf.float32),
        tf.TensorSpec([], tf.int32),
    ],
)


def _runs(mask):
    """Lengths of the runs of true values."""
    return [len(run) for run in "".join("x" if masked else " " for masked in mask).split()]


def _put_back(inputs, targets, first_sentinel):
    """Replaces each sentinel of the inputs by what follows it in the targets."""
    cut, current = {}, None
    for token in targets:
        if first_sentinel - 20 < token <= first_sentinel:
            current = token
            cut[current] = []
        else:
            cut[current].append(token)
    restored = []
    for token in inputs:
        restored += cut.pop(token) if token in cut else [token]
    assert not cut, f"sentinels {sorted(cut)} of the targets are not in the inputs"
    return restored


@settings(max_examples=150, deadline=None)
@given(LENGTHS, SEEDS, DENSITIES, MEANS, st.integers(1, 10))
def test_mask_has_the_asked_share_in_at_most_the_allowed_spans(length, seed, density, mean, max_spans):
    mask = _mask(length, seed, density, mean, max_spans).numpy().tolist()
    assert len(mask) == length
    n_noise = min(max(int(tf.round(tf.constant(length, tf.float32) * density)), 1), length - 1)
    assert sum(mask) == n_noise
    assert 1 <= len(_runs(mask)) <= max_spans


@settings(max_examples=60, deadline=None)
@given(st.integers(20, 40), SEEDS)
def test_spans_number_tokens_over_mean_length(length, seed):
    mask = _mask(length, seed, 0.3, 2.0, 20).numpy().tolist()
    # Kept tokens outnumber spans here, so that none is given up for want of a gap.
    assert len(_runs(mask)) == int(tf.round(sum(mask) / 2))


@settings(max_examples=150, deadline=None)
@given(LENGTHS, SEEDS, DENSITIES, MEANS)
def test_cut_spans_put_back_give_the_sequence(length, seed, density, mean):
    tokens = tf.range(100, 100 + length)
    mask = _mask(length, seed, density, mean, 10)
    inputs = spans.replace_spans(tokens, mask, FIRST_SENTINEL + 100).numpy().tolist()
    targets = spans.cut_spans(tokens, mask, FIRST_SENTINEL + 100).numpy().tolist()
    assert _put_back(inputs, targets, FIRST_SENTINEL + 100) == tokens.numpy().tolist()


@settings(max_examples=60, deadline=None)
@given(LENGTHS, SEEDS, DENSITIES)
def test_sentinels_count_downwards_alike_in_inputs_and_targets(length, seed, density):
    tokens = tf.range(1, 1 + length)
    mask = _mask(length, seed, density, 1.5, 10)
    expected = [FIRST_SENTINEL - i for i in range(len(_runs(mask.numpy().tolist())))]
    for made in (spans.replace_spans, spans.cut_spans):
        sequence = made(tokens, mask, FIRST_SENTINEL).numpy().tolist()
        assert [token for token in sequence if token > FIRST_SENTINEL - 20] == expected


def test_a_worked_example():
    tokens = tf.constant([11, 12, 13, 14, 15, 16])
    mask = tf.constant([True, False, False, True, True, False])
    assert spans.replace_spans(tokens, mask, 99).numpy().tolist() == [99, 12, 13, 98, 16]
    assert spans.cut_spans(tokens, mask, 99).numpy().tolist() == [99, 11, 98, 14, 15]


def test_every_position_can_be_masked_and_can_be_kept():
    masks = [_mask(6, [seed, 1], 0.34, 1.0, 10).numpy() for seed in range(100)]
    share = sum(mask.astype(float) for mask in masks) / len(masks)
    # 2 of 6 each time: 0.33 a position; the ends are no likelier than the middle by more than chance and gaps allow.
    assert share.min() > 0.15 and share.max() < 0.55


def _dataset(n_examples, length=12):
    # Byte ids: 3 to 258 are bytes, the extra ids come after them.
    return tf.data.Dataset.from_tensors({"targets": tf.range(10, 10 + length)}).repeat(n_examples)


def _features(extra_ids=10):
    return {"targets": seqio.Feature(seqio.ByteVocabulary(extra_ids=extra_ids))}


def _corrupted(seed, **options):
    with seqio.utils.map_seed_manager(seed):
        dataset = spans.span_corruption(_dataset(5), _features(), **options)
    return [(e["inputs"].tolist(), e["targets"].tolist()) for e in dataset.as_numpy_iterator()]


def test_preprocessor_uses_the_vocabularys_last_ids_and_loses_nothing():
    for inputs, targets in _corrupted(0):
        assert targets[0] == FIRST_SENTINEL
        assert _put_back(inputs, targets, FIRST_SENTINEL) == list(range(10, 22))


def test_preprocessor_draws_anew_for_each_example_and_repeats_with_its_seed():
    made = _corrupted(0)
    assert len({tuple(inputs) for inputs, _ in made}) > 1
    assert made == _corrupted(0)
    assert made != _corrupted(1)


@pytest.mark.parametrize("options", [{"noise_density": 0.0}, {"noise_density": 1.0}, {"mean_span_tokens": 0.5}])
def test_shares_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="noise_density is"):
        spans.span_corruption(_dataset(1), _features(), **options)


def test_a_vocabulary_without_extra_ids_is_refused():
    with pytest.raises(ValueError, match="no extra ids"):
        spans.span_corruption(_dataset(1), _features(extra_ids=0))
