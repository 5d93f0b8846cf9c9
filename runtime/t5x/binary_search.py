"""Vectorised bisection over the bits of a number, and the masks for top-k and top-p sampling built on it.

A predicate that turns from False to True once, as its argument grows, is located in 32 evaluations for a whole batch,
which works for traced k and p, where `lax.top_k` cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Array = jax.Array

_INT_MIN = np.int32(-(2**31))
_INF_BITS = np.int32(0x7F800000)


def int32_bsearch(batch_shape: Sequence[int], predicate: Callable[[Array], Array]) -> Array:
    """Finds, per batch element, the largest int32 at which a monotone predicate is still False.

    Args:
      batch_shape: shape of the batch.
      predicate: maps int32 of that shape to booleans of that shape; False up to some value and True after it.

    Returns:
      int32 of `batch_shape`; -2**31 where the predicate is True everywhere.
    """
    zero = jnp.zeros(tuple(batch_shape), jnp.int32)
    start = jnp.where(predicate(zero), _INT_MIN, zero)

    def try_bit(i: Array, found: Array) -> Array:
        candidate = found | lax.shift_left(jnp.int32(1), jnp.int32(30) - i)
        return jnp.where(predicate(candidate), found, candidate)

    return lax.fori_loop(jnp.int32(0), jnp.int32(31), try_bit, start)


def _int_to_float(ordered: Array) -> Array:
    """Maps int32 to float32 monotonically (negative numbers have their magnitude bits flipped)."""
    bits = jnp.where(ordered < 0, jnp.bitwise_xor(ordered, np.int32(0x7FFFFFFF)), ordered)
    return lax.bitcast_convert_type(bits, jnp.float32)


def float32_bsearch(batch_shape: Sequence[int], predicate: Callable[[Array], Array]) -> Array:
    """Finds, per batch element, the largest float32 at which a monotone predicate is still False.

    Args:
      batch_shape: shape of the batch.
      predicate: maps float32 of that shape to booleans of that shape; False up to some value and True after it.

    Returns:
      float32 of `batch_shape`, from -inf to inf; -inf where the predicate is True everywhere. A backend that flushes
      subnormal numbers cannot tell them from 0.
    """
    low = np.int32(-(0x7F800000 + 1))  # the integer that stands for -inf; beyond both ends lie the NaNs

    def on_integers(x: Array) -> Array:
        return jnp.where(x > _INF_BITS, True, jnp.where(x < low, False, predicate(_int_to_float(x))))

    return _int_to_float(jnp.maximum(int32_bsearch(batch_shape, on_integers), low))


def topk_mask(x: Array, k: int | Array, replace_val: float | Array) -> Array:
    """Replaces all but the k largest entries of the last axis; ties with the k-th are kept.

    Args:
      x: [..., V].
      k: how many to keep, at least 1; may be traced.
      replace_val: value for the others.

    Returns:
      [..., V].
    """
    values = x.astype(jnp.float32)
    threshold = float32_bsearch(x.shape[:-1], lambda t: jnp.sum(values >= t[..., None], axis=-1) < k)
    return jnp.where(values >= threshold[..., None], x, jnp.asarray(replace_val, x.dtype))


def topp_mask(logits: Array, p: float | Array, replace_val: float | Array) -> Array:
    """Replaces all logits outside the smallest set of tokens whose probabilities sum to at least p.

    Args:
      logits: [..., V].
      p: probability in (0, 1]; may be traced.
      replace_val: value for the others.

    Returns:
      [..., V]; ties with the last token of the set are kept.
    """
    probs = jax.nn.softmax(logits.astype(jnp.float32), axis=-1)

    def below(t: Array) -> Array:
        return jnp.sum(jnp.where(probs >= t[..., None], probs, 0.0), axis=-1) < p

    # Rounding can leave the sum of all just below p = 1; then nothing may be masked, which -inf gives.
    threshold = float32_bsearch(logits.shape[:-1], below)
    return jnp.where(probs >= threshold[..., None], logits, jnp.asarray(replace_val, logits.dtype))
