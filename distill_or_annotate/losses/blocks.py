"""A loss of each position with a gradient of its own, computed one block of positions at a time.

Letters: B batch, T target positions, t positions of one block, V vocabulary.

The gradient is computed together with the loss and takes the student's logits' place in memory: a block is read, and
its gradient is written where it was read. So the backward pass has nothing to compute but a product, the teacher's
side may be rebuilt block by block (and only once), and beside the student's logits, and the teacher's where they come
whole, no array of their size is alive in any type but theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

PyTree = Any

# Float32 logits up to here are one block, and no loop is compiled: their temporaries are small enough.
_WHOLE_BYTES = 8 * 1024 * 1024
# Above, blocks are at most so large, and at least so many: a block's own temporaries are up to five times its size.
_BLOCK_BYTES = 64 * 1024 * 1024
_LEAST_BLOCKS = 8

# (student block [B, t, V] in float32, block of the data, constants) -> (loss [B, t], gradient [B, t, V], teacher's best
# token [B, t]). Static: equal rules must compare and hash as equal, so that they are compiled once.
Rule = Callable[[jax.Array, PyTree, PyTree], tuple[jax.Array, jax.Array, jax.Array]]


class Positions(NamedTuple):
    """A comparison of student and teacher.

    Attributes:
      total: float32 scalar, the weighted sum of the values; the one through which the student gets a gradient.
      values_BxT: float32 loss of each position `[batch, length]`, times the squared temperature, not weighted.
      teacher_best_BxT: int32 `[batch, length]`, the teacher's most likely token.
    """

    total: jax.Array
    values_BxT: jax.Array
    teacher_best_BxT: jax.Array


def positionwise(
    rule: Rule,
    student_BxTxV: jax.Array,
    weights_BxT: jax.Array,
    data: PyTree,
    constants: PyTree = (),
    block_positions: int | None = None,
) -> Positions:
    """Applies a rule to every position; only the student's logits get a gradient, and only through the total.

    Args:
      rule: loss and gradient of a block.
      student_BxTxV: student logits `[batch, length, vocab]`, any float type.
      weights_BxT: weight of each position in the total `[batch, length]`, 0 for none. Whatever the sum is to be
        multiplied or divided by belongs here: behind the sum it would cost a pass over the gradient.
      data: arrays `[batch, length, ...]` that are cut into the same blocks.
      constants: arrays that every block sees whole.
      block_positions: positions worked on at once, 1 to T; None chooses by size.

    Returns:
      The weighted sum, its terms, and the teacher's best tokens.

    Raises:
      ValueError: if the weights are not of the logits' batch and length.
    """
    batch, length, vocab = student_BxTxV.shape
    if weights_BxT.shape != (batch, length):
        raise ValueError(f"weights have shape {weights_BxT.shape}, expected {(batch, length)}.")
    if block_positions is None:
        total_bytes = 4 * batch * length * vocab
        limit_bytes = _WHOLE_BYTES if total_bytes <= _WHOLE_BYTES else min(_BLOCK_BYTES, total_bytes // _LEAST_BLOCKS)
        block_positions = limit_bytes // (4 * batch * vocab)
    size = _divisor_at_most(length, block_positions)
    weights_BxT = weights_BxT.astype(jnp.float32)
    # The teacher and the weights are data, in whatever form they come.
    weights_BxT, data, constants = jax.lax.stop_gradient((weights_BxT, data, constants))
    total, values, best = _positions(rule, size, student_BxTxV, weights_BxT, data, constants)
    return Positions(total, jax.lax.stop_gradient(values), best)


def _divisor_at_most(length: int, limit: int) -> int:
    """Largest divisor of `length` that is at most `limit`: blocks of one size need no remainder program."""
    return next(size for size in range(min(length, max(limit, 1)), 0, -1) if length % size == 0)


def _block(x_BxTxN: jax.Array, index: jax.Array, size: int) -> jax.Array:
    return jax.lax.dynamic_slice_in_dim(x_BxTxN, index * size, size, axis=1)


def _put(x_BxTxN: jax.Array, block: jax.Array, index: jax.Array, size: int) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(x_BxTxN, block.astype(x_BxTxN.dtype), index * size, axis=1)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _positions(rule: Rule, size: int, student_BxTxV, weights_BxT, data: PyTree, constants: PyTree):
    return _run(rule, size, student_BxTxV, weights_BxT, data, constants, with_gradient=False)[0]


def _run(rule: Rule, size: int, student_BxTxV, weights_BxT, data: PyTree, constants: PyTree, with_gradient: bool):
    """((total, values, best), gradient of the total or None)."""
    batch, length, _ = student_BxTxV.shape

    def step(index, carry):
        values, best, logits = carry
        # Behind the barrier nothing else reads the logits, so that writing into them needs no copy of them.
        source = student_BxTxV if logits is None else logits
        student_block = jax.lax.optimization_barrier(_block(source, index, size)).astype(jnp.float32)
        data_block = jax.tree.map(lambda x: _block(x, index, size), data)
        block_values, gradient, block_best = rule(student_block, data_block, constants)
        if logits is not None:
            logits = _put(logits, _block(weights_BxT, index, size)[..., None] * gradient, index, size)
        return _put(values, block_values, index, size), _put(best, block_best, index, size), logits

    if length == size:
        values, gradient, best = rule(student_BxTxV.astype(jnp.float32), data, constants)
        gradient = (weights_BxT[..., None] * gradient).astype(student_BxTxV.dtype) if with_gradient else None
    else:
        start = (jnp.zeros((batch, length), jnp.float32), jnp.zeros((batch, length), jnp.int32))
        last = (*start, student_BxTxV if with_gradient else None)
        values, best, gradient = jax.lax.fori_loop(0, length // size, step, last)
    return (jnp.sum(values * weights_BxT), values, best.astype(jnp.int32)), gradient


def _forward(rule: Rule, size: int, student_BxTxV, weights_BxT, data: PyTree, constants: PyTree):
    return _run(rule, size, student_BxTxV, weights_BxT, data, constants, with_gradient=True)


def _backward(rule: Rule, size: int, gradient_BxTxV: jax.Array, cotangents):
    return (cotangents[0] * gradient_BxTxV).astype(gradient_BxTxV.dtype), None, None, None


_positions.defvjp(_forward, _backward)
