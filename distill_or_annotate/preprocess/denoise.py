"""Copy-denoising: some tokens are masked or swapped, and the model says the whole sentence.

    inputs   galate <m> tulol with the fizet lurcap
    targets  galate some tulol with the dorous lurcap

A model that was pre-trained on span corruption alone has never copied a word; the entity format (each entity's words,
then its type) needs that, and a thousand labels do not teach it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf


def copy_denoising(
    dataset: tf.data.Dataset,
    output_features: Mapping[str, Any],
    mask_rate: float = 0.2,
    replace_rate: float = 0.1,
) -> tf.data.Dataset:
    """Turns token sequences into noisy inputs and themselves.

    Args:
      dataset: examples with `targets`, int32 `[length]`, without end of sequence.
      output_features: SeqIO features; the vocabulary's last extra id masks, and replacements are drawn from the ids
        above the control pieces and below the extra ids.
      mask_rate: share of tokens that give way to the mask.
      replace_rate: share of tokens that give way to a random token.

    Returns:
      Examples with `inputs` and `targets`, of one length.

    Raises:
      ValueError: if the rates are negative or their sum is above 1, or the vocabulary has no extra ids.
    """
    import seqio  # brings JAX with it, which importing this room must not

    if mask_rate < 0 or replace_rate < 0 or mask_rate + replace_rate > 1:
        raise ValueError(
            f"mask_rate is {mask_rate}, replace_rate is {replace_rate}; allowed: from 0, together at most 1."
        )
    vocabulary = output_features["targets"].vocabulary
    if not vocabulary.extra_ids:
        raise ValueError("the vocabulary of `targets` has no extra ids; copy-denoising masks with the last of them.")
    # Span corruption counts its sentinels downwards from the last id; the mask is the far end of the same range.
    mask_id = vocabulary.vocab_size - vocabulary.extra_ids
    first_word = max(vocabulary.unk_id, vocabulary.eos_id, vocabulary.pad_id) + 1

    @seqio.map_over_dataset(num_seeds=2)
    def disturb(example, seeds):
        tokens = tf.cast(example["targets"], tf.int32)
        draw = tf.random.stateless_uniform(tf.shape(tokens), seeds[0])
        random_tokens = tf.random.stateless_uniform(tf.shape(tokens), seeds[1], first_word, mask_id, tf.int32)
        noisy = tf.where(draw < mask_rate + replace_rate, random_tokens, tokens)
        return {"inputs": tf.where(draw < mask_rate, mask_id, noisy), "targets": tokens}

    return disturb(dataset)
