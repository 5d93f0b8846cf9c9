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

# Largest float32 block of logits worked on at once. Below it one block is all there is, and no loop is compiled.
_BLOCK_BYTES = 64 * 1024 * 1024
# Where there are several blocks, at least so many: a block's own temporaries are about twice its size.
_LEAST_BLOCKS = 8

# (student block [B, t, V] in float32, block of the data, constants) -> (loss [B, t], gradient [B, t, V], teacher's best
# token [B, t]). Static: equal rules must compare and hash as equal, so that they are compiled once.
Rule = Callable[[jax.Array, PyTree, PyTree], tuple[jax.Array, jax.Array, jax.Array]]


class Positions(NamedTuple):
    """What a comparison of student and teacher says of each position.

    Attributes:
      values_BxT: float32 loss `[batch, length]`, at least 0, times the squared temperature; not weighted.
      teacher_best_BxT: int32 `[batch, length]`, the teacher's most likely token.
    """

    values_BxT: jax.Array
    teacher_best_BxT: jax.Array


def positionwise(
    rule: Rule, student_BxTxV: jax.Array, data: PyTree, constants: PyTree = (), block_positions: int | None = None
) -> Positions:
    """Applies a rule to every position; only the student's logits get a gradient.

    Args:
      rule: loss and gradient of a block.
      student_BxTxV: student logits `[batch, length, vocab]`, any float type.
      data: arrays `[batch, length, ...]` that are cut into the same blocks.
      constants: arrays that every block sees whole.
      block_positions: positions worked on at once, 1 to T; None chooses by size.

    Returns:
      Losses and the teacher's best tokens.
    """
    batch, length, vocab = student_BxTxV.shape
    if block_positions is None:
        total_bytes = 4 * batch * length * vocab
        limit_bytes = _BLOCK_BYTES if total_bytes <= _BLOCK_BYTES else min(_BLOCK_BYTES, total_bytes // _LEAST_BLOCKS)
        block_positions = limit_bytes // (4 * batch * vocab)
    size = _divisor_at_most(length, block_positions)
    data, constants = jax.lax.stop_gradient((data, constants))
    return Positions(*_positions(rule, size, student_BxTxV, data, constants))


def _divisor_at_most(length: int, limit: int) -> int:
    """Largest divisor of `length` that is at most `limit`: blocks of one size need no remainder program."""
    return next(size for size in range(min(length, max(limit, 1)), 0, -1) if length % size == 0)


def _block(x_BxTxN: jax.Array, index: jax.Array, size: int) -> jax.Array:
    return jax.lax.dynamic_slice_in_dim(x_BxTxN, index * size, size, axis=1)


def _put(x_BxTxN: jax.Array, block: jax.Array, index: jax.Array, size: int) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(x_BxTxN, block.astype(x_BxTxN.dtype), index * size, axis=1)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _positions(rule: Rule, size: int, student_BxTxV, data: PyTree, constants: PyTree):
    return _run(rule, size, student_BxTxV, data, constants, with_gradient=False)[:2]


def _run(rule: Rule, size: int, student_BxTxV, data: PyTree, constants: PyTree, with_gradient: bool):
    batch, length, _ = student_BxTxV.shape
    if length == size:
        values, gradient, best = rule(student_BxTxV.astype(jnp.float32), data, constants)
        return values, best.astype(jnp.int32), gradient.astype(student_BxTxV.dtype) if with_gradient else None

    def step(index, carry):
        values, best, logits = carry
        student_block = _block(student_BxTxV if logits is None else logits, index, size).astype(jnp.float32)
        data_block = jax.tree.map(lambda x: _block(x, index, size), data)
        block_values, gradient, block_best = rule(student_block, data_block, constants)
        logits = None if logits is None else _put(logits, gradient, index, size)
        return _put(values, block_values, index, size), _put(best, block_best, index, size), logits

    start = (jnp.zeros((batch, length), jnp.float32), jnp.zeros((batch, length), jnp.int32))
    return jax.lax.fori_loop(0, length // size, step, (*start, student_BxTxV if with_gradient else None))


def _forward(rule: Rule, size: int, student_BxTxV, data: PyTree, constants: PyTree):
    values, best, gradient_BxTxV = _run(rule, size, student_BxTxV, data, constants, with_gradient=True)
    return (values, best), gradient_BxTxV


def _backward(rule: Rule, size: int, gradient_BxTxV: jax.Array, cotangents):
    scaled = cotangents[0][..., None] * gradient_BxTxV
    # The teacher is a constant, whatever form it comes in.
    return scaled.astype(gradient_BxTxV.dtype), None, None


_positions.defvjp(_forward, _backward)
