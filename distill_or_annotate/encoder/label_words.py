"""Probabilities of label words as the distributions over a vocabulary from which a T5 would write them.

A classifier knows log P(label). A sequence model over the same label words knows, at each position of a target, which
piece comes next. The two are one where only label words exist: the probability of a piece after a prefix is the sum
over the labels that go on with it, divided by the sum over the labels that have the prefix. Multiplied along a label
word, end token included, these give back P(label); so T5X's own cross-entropy, distillation and stores serve a
classifier too.

Letters: B batch, K labels, T positions, U pieces that labels have at one position, V vocabulary.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

# Log-probability of what no label has: nothing at any temperature in use (10 leaves 1e-40 of a vocabulary of 32,128 at
# 1), and finite, so that a divergence in either direction is a number.
LEAST = -100.0
_NEVER = -1e9


def follows(pieces_KxT: np.ndarray, targets_BxT: jax.Array) -> jax.Array:
    """Which labels begin as a target does.

    Args:
      pieces_KxT: ids of each label word with its end token, padded with 0.
      targets_BxT: target tokens, 0 for padding.

    Returns:
      Boolean [B, T + 1, K]: whether the first t tokens are the label's, for t from 0 to T; T is that of `pieces_KxT`.
    """
    length = pieces_KxT.shape[1]
    cut_BxT = targets_BxT[:, :length]
    cut_BxT = jnp.pad(cut_BxT, ((0, 0), (0, length - cut_BxT.shape[1])))
    same_BxTxK = cut_BxT[:, :, None] == jnp.asarray(pieces_KxT.T)[None]
    ever_BxTxK = jnp.cumprod(same_BxTxK.astype(jnp.int32), axis=1) > 0
    return jnp.concatenate([jnp.ones_like(ever_BxTxK[:, :1]), ever_BxTxK], axis=1)


def token_logits(
    label_logits_BxK: jax.Array, pieces_KxT: np.ndarray, targets_BxT: jax.Array, vocab_size: int
) -> jax.Array:
    """The next piece's log-probabilities along a target.

    Args:
      label_logits_BxK: a classifier's logits.
      pieces_KxT: ids of each label word with its end token, padded with 0; no two alike.
      targets_BxT: the targets along which to walk, `[batch, length]`; a label word each, or anything else.
      vocab_size: V.

    Returns:
      Float32 log-probabilities [B, length, V], `LEAST` where no label goes on so, and everywhere after a beginning that
      no label has.
    """
    batch, length = targets_BxT.shape
    log_probs_BxK = jax.nn.log_softmax(label_logits_BxK.astype(jnp.float32), axis=-1)
    begins_BxTxK = follows(pieces_KxT, targets_BxT)
    columns = []
    for position in range(length):
        column_BxV = jnp.full((batch, vocab_size), LEAST, jnp.float32)
        if position < pieces_KxT.shape[1]:
            pieces_K = pieces_KxT[:, position]
            different_U = np.unique(pieces_K[pieces_K > 0])
            has_UxK = pieces_K[None] == different_U[:, None]
            possible_BxUxK = begins_BxTxK[:, position, None, :] & jnp.asarray(has_UxK)[None]
            mass_BxU = jax.nn.logsumexp(jnp.where(possible_BxUxK, log_probs_BxK[:, None, :], _NEVER), axis=-1)
            mass_BxU = mass_BxU - jax.nn.logsumexp(mass_BxU, axis=-1, keepdims=True)
            known_BxU = jnp.any(possible_BxUxK, axis=-1)
            mass_BxU = jnp.where(known_BxU, jnp.maximum(mass_BxU, LEAST), LEAST)
            column_BxV = column_BxV.at[:, different_U].set(mass_BxU)
        columns.append(column_BxV)
    return jnp.stack(columns, axis=1)


def allowed(pieces_KxT: np.ndarray, targets_BxT: jax.Array, vocab_size: int) -> jax.Array:
    """Where a label word goes on after the beginning of a target.

    Args:
      pieces_KxT: as in `token_logits`.
      targets_BxT: the targets along which to walk, `[batch, length]`.
      vocab_size: V.

    Returns:
      Boolean [B, length, V]; all true after a beginning that no label has.
    """
    uniform_BxK = jnp.zeros((targets_BxT.shape[0], pieces_KxT.shape[0]), jnp.float32)
    # Of equally likely labels none comes near the floor, however many there are.
    found_BxTxV = token_logits(uniform_BxK, pieces_KxT, targets_BxT, vocab_size) > LEAST / 2
    return found_BxTxV | ~jnp.any(found_BxTxV, axis=-1, keepdims=True)
