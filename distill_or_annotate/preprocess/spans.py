"""Span corruption: spans of tokens give way to sentinels, and the model says what stood there.

    inputs   galate <0> tulol with the <1> lurcap
    targets  <0> some <1> dorous

(the objective of Raffel et al. 2020, section 3.1.4; written here since SeqIO has no such preprocessor). Sentinels are a
vocabulary's extra ids, its last ones, counted downwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf


def span_corruption(
    dataset: tf.data.Dataset,
    output_features: Mapping[str, Any],
    noise_density: float = 0.2,
    mean_span_tokens: float = 2.0,
) -> tf.data.Dataset:
    """Turns token sequences into corrupted inputs and what was cut from them.

    Args:
      dataset: examples with `targets`, int32 `[length]`, at least 2 tokens and no end of sequence.
      output_features: SeqIO features; the vocabulary of `targets` must have an extra id for each span.
      noise_density: share of tokens that give way, above 0 and below 1.
      mean_span_tokens: mean tokens of a span, at least 1.

    Returns:
      Examples with `inputs` and `targets`.

    Raises:
      ValueError: if a share is out of range, or the vocabulary has no extra ids.
    """
    import seqio  # brings JAX with it, which importing this room must not

    if not 0 < noise_density < 1 or mean_span_tokens < 1:
        raise ValueError(
            f"noise_density is {noise_density}, mean_span_tokens is {mean_span_tokens}; "
            "allowed: above 0 and below 1, and at least 1."
        )
    vocabulary = output_features["targets"].vocabulary
    if not vocabulary.extra_ids:
        raise ValueError("the vocabulary of `targets` has no extra ids; span corruption needs one for each span.")
    first_sentinel = vocabulary.vocab_size - 1

    @seqio.map_over_dataset(num_seeds=1)
    def corrupt(example, seed):
        tokens = tf.cast(example["targets"], tf.int32)
        mask = noise_mask(tf.size(tokens), seed, noise_density, mean_span_tokens, vocabulary.extra_ids)
        return {
            "inputs": replace_spans(tokens, mask, first_sentinel),
            "targets": cut_spans(tokens, mask, first_sentinel),
        }

    return corrupt(dataset)


def noise_mask(
    length: tf.Tensor, seed: tf.Tensor, noise_density: float, mean_span_tokens: float, max_spans: int
) -> tf.Tensor:
    """A random mask of spans; no two touch.

    Args:
      length: tokens of the sequence, scalar int32, at least 2.
      seed: stateless seed, int32 `[2]`.
      noise_density: share of tokens in spans.
      mean_span_tokens: mean tokens of a span.
      max_spans: largest number of spans.

    Returns:
      bool `[length]`: round(length * noise_density) true values, at least 1 and at most length - 1.
    """
    wanted = tf.round(tf.cast(length, tf.float32) * noise_density)
    n_noise = tf.clip_by_value(tf.cast(wanted, tf.int32), 1, length - 1)
    n_spans = tf.cast(tf.round(tf.cast(n_noise, tf.float32) / mean_span_tokens), tf.int32)
    # Between two spans stands at least one kept token, so there is one gap more than kept tokens at the most.
    n_spans = tf.clip_by_value(n_spans, 1, tf.minimum(tf.minimum(n_noise, length - n_noise + 1), max_spans))
    span_seed, gap_seed = tf.unstack(tf.random.split(seed, 2))
    spans = _partition(n_noise, n_spans, span_seed)
    # The first and the last gap may be empty: each borrows a token that is not there.
    gaps = _partition(length - n_noise + 2, n_spans + 1, gap_seed)
    ends = tf.one_hot(0, n_spans + 1, dtype=tf.int32) + tf.one_hot(n_spans, n_spans + 1, dtype=tf.int32)
    gaps -= ends
    lengths = tf.reshape(tf.stack([gaps[:-1], spans], axis=1), [-1])
    is_span = tf.tile([False, True], [n_spans])
    return tf.concat([tf.repeat(is_span, lengths), tf.zeros([gaps[-1]], tf.bool)], axis=0)


def _partition(total: tf.Tensor, parts: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """`parts` positive whole numbers with the given sum, every such sequence being as likely as any other."""
    cuts = tf.random.experimental.stateless_shuffle(tf.range(1, total), seed)[: parts - 1]
    edges = tf.concat([[0], tf.sort(cuts), [total]], axis=0)
    return edges[1:] - edges[:-1]


def replace_spans(tokens: tf.Tensor, mask: tf.Tensor, first_sentinel: int) -> tf.Tensor:
    """The sequence with each masked span replaced by one sentinel.

    Args:
      tokens: int32 `[length]`.
      mask: bool `[length]`.
      first_sentinel: id of the first sentinel; the next ones count downwards.

    Returns:
      int32 `[length - masked + spans]`.
    """
    starts = _starts(mask)
    sentinels = first_sentinel + 1 - tf.cumsum(tf.cast(starts, tf.int32))
    kept = tf.where(starts, sentinels, tokens)
    return tf.boolean_mask(kept, tf.logical_or(starts, tf.logical_not(mask)))


def cut_spans(tokens: tf.Tensor, mask: tf.Tensor, first_sentinel: int) -> tf.Tensor:
    """Each masked span after its sentinel.

    Args:
      tokens: int32 `[length]`.
      mask: bool `[length]`.
      first_sentinel: id of the first sentinel.

    Returns:
      int32 `[masked + spans]`.
    """
    starts = _starts(mask)
    sentinels = first_sentinel + 1 - tf.cumsum(tf.cast(starts, tf.int32))
    pairs = tf.stack([sentinels, tokens], axis=1)
    return tf.boolean_mask(pairs, tf.stack([starts, mask], axis=1))


def _starts(mask: tf.Tensor) -> tf.Tensor:
    before = tf.concat([[False], mask[:-1]], axis=0)
    return tf.logical_and(mask, tf.logical_not(before))
