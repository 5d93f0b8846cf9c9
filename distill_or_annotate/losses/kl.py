"""KL(teacher || student) at a temperature, with a gradient of its own that keeps no copy of the logits.

Letters: B batch, T target positions, V vocabulary. With `p = softmax(teacher / temperature)` and
`q = softmax(student / temperature)` the loss of one position is

    temperature**2 * sum_v p_v * (log p_v - log q_v)

and its gradient to the student's logits is `temperature * (q - p)`. The factor `temperature**2` keeps that gradient's
size independent of the temperature (Hinton, Vinyals and Dean 2015, section 2.1; the paper's reference code uses
temperature 2 and the same factor). A plain implementation holds about five float32 arrays `[B, T, V]`; this one holds
one block of positions at a time, and only the two inputs wait for the backward pass.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

# Largest float32 block of logits worked on at once. Below it one block is all there is, and no loop is compiled.
_BLOCK_BYTES = 64 * 1024 * 1024


def kl_divergence(
    student_logits_BxTxV: jax.Array,
    teacher_logits_BxTxV: jax.Array,
    weights_BxT: jax.Array,
    temperature: float = 2.0,
    block_positions: int | None = None,
) -> jax.Array:
    """Weighted sum over positions of `temperature**2 * KL(teacher || student)`.

    The teacher is a constant: its cotangent is zero, whatever the caller does with it.

    Args:
      student_logits_BxTxV: student logits `[batch, length, vocab]`, any float type.
      teacher_logits_BxTxV: teacher logits, same shape.
      weights_BxT: weight of each position `[batch, length]`, 0 for padding.
      temperature: softmax temperature of both sides, above 0.
      block_positions: target positions worked on at once, 1 to T; None chooses by size.

    Returns:
      A float32 scalar, a sum (not a mean) over all positions, as T5X losses are.

    Raises:
      ValueError: if the shapes disagree or the temperature is not positive.
    """
    if student_logits_BxTxV.shape != teacher_logits_BxTxV.shape:
        raise ValueError(
            f"student logits have shape {student_logits_BxTxV.shape}, teacher logits {teacher_logits_BxTxV.shape}: "
            "both must be [batch, length, vocab] over one vocabulary. Fix: give both models the same vocab_size."
        )
    if weights_BxT.shape != student_logits_BxTxV.shape[:2]:
        raise ValueError(f"weights have shape {weights_BxT.shape}, expected {student_logits_BxTxV.shape[:2]}.")
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}; it must be above 0 (the paper's reference uses 2).")
    length = student_logits_BxTxV.shape[1]
    if block_positions is None:
        batch, _, vocab = student_logits_BxTxV.shape
        block_positions = max(1, _BLOCK_BYTES // (4 * batch * vocab))
    return _kl_sum(
        student_logits_BxTxV,
        jax.lax.stop_gradient(teacher_logits_BxTxV),
        weights_BxT.astype(jnp.float32),
        float(temperature),
        _divisor_at_most(length, block_positions),
    )


def _divisor_at_most(length: int, limit: int) -> int:
    """Largest divisor of `length` that is at most `limit`: blocks of one size need no remainder program."""
    return next(size for size in range(min(length, max(limit, 1)), 0, -1) if length % size == 0)


def _block(x_BxTxN: jax.Array, index: jax.Array | int, size: int) -> jax.Array:
    return jax.lax.dynamic_slice_in_dim(x_BxTxN, index * size, size, axis=1)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _kl_sum(student_BxTxV, teacher_BxTxV, weights_BxT, temperature: float, size: int) -> jax.Array:
    def block_sum(index):
        logq = jax.nn.log_softmax(_block(student_BxTxV, index, size).astype(jnp.float32) / temperature)
        logp = jax.nn.log_softmax(_block(teacher_BxTxV, index, size).astype(jnp.float32) / temperature)
        kl = jnp.sum(jnp.exp(logp) * (logp - logq), axis=-1)
        return jnp.sum(kl * _block(weights_BxT, index, size))

    blocks = student_BxTxV.shape[1] // size
    if blocks == 1:
        total = block_sum(0)
    else:
        total = jax.lax.fori_loop(0, blocks, lambda i, acc: acc + block_sum(i), jnp.float32(0))
    return temperature**2 * total


def _kl_forward(student_BxTxV, teacher_BxTxV, weights_BxT, temperature: float, size: int):
    loss = _kl_sum(student_BxTxV, teacher_BxTxV, weights_BxT, temperature, size)
    return loss, (student_BxTxV, teacher_BxTxV, weights_BxT)


def _kl_backward(temperature: float, size: int, residuals, cotangent: jax.Array):
    student_BxTxV, teacher_BxTxV, weights_BxT = residuals

    def block_gradient(index):
        q = jax.nn.softmax(_block(student_BxTxV, index, size).astype(jnp.float32) / temperature)
        p = jax.nn.softmax(_block(teacher_BxTxV, index, size).astype(jnp.float32) / temperature)
        scale = cotangent * temperature * _block(weights_BxT, index, size)
        return (scale[..., None] * (q - p)).astype(student_BxTxV.dtype)

    blocks = student_BxTxV.shape[1] // size
    if blocks == 1:
        gradient_BxTxV = block_gradient(0)
    else:

        def write(index, gradient):
            return jax.lax.dynamic_update_slice_in_dim(gradient, block_gradient(index), index * size, axis=1)

        gradient_BxTxV = jax.lax.fori_loop(0, blocks, write, jnp.zeros_like(student_BxTxV))
    # Weights are data (a mask), the teacher a constant: neither has a gradient here.
    return gradient_BxTxV, jnp.zeros_like(teacher_BxTxV), jnp.zeros_like(weights_BxT)


_kl_sum.defvjp(_kl_forward, _kl_backward)
