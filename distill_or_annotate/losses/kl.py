"""The student against the teacher's whole distribution, given as logits or as the hidden states that make them.

Letters: B batch, T target positions, E the teacher's width, V vocabulary. With `p = softmax(teacher / temperature)` and
`q = softmax(student / temperature)` the loss of one position is, for the divergence `forward`,

    temperature**2 * sum_v p_v * (log p_v - log q_v)

and its gradient to the student's logits is `temperature * (q - p)`. The factor `temperature**2` keeps that gradient's
size independent of the temperature (Hinton, Vinyals and Dean 2015, section 2.1; the paper's reference code uses
temperature 2 and the same factor). A plain implementation holds about five float32 arrays `[B, T, V]`; this one holds
one block of positions at a time.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from distill_or_annotate.losses.blocks import Positions, positionwise
from distill_or_annotate.losses.divergences import Divergence, divergence


@dataclasses.dataclass(frozen=True)
class _WholeVocabulary:
    """Rule of `blocks`: the data are the teacher's logits, or hidden states with the head as constants."""

    kind: Divergence
    temperature: float

    def __call__(self, student, teacher, head):
        if head:
            kernel_ExV, scale = head
            dtype = jnp.promote_types(teacher.dtype, kernel_ExV.dtype)
            teacher = scale * jnp.matmul(
                teacher.astype(dtype), kernel_ExV.astype(dtype), preferred_element_type=jnp.float32
            )
            # Read four times below: without the barrier XLA for CPU computes the product anew for each reader.
            teacher = jax.lax.optimization_barrier(teacher)
        teacher = teacher.astype(jnp.float32)
        value, gradient = self.kind.of_logits(teacher / self.temperature, student / self.temperature)
        return self.temperature**2 * value, self.temperature * gradient, jnp.argmax(teacher, axis=-1)


class TeacherLogits(NamedTuple):
    """The teacher's logits at every position.

    Args:
      logits_BxTxV: `[batch, length, vocab]`, any float type.
    """

    logits_BxTxV: jax.Array

    def compare(
        self,
        student_logits_BxTxV: jax.Array,
        weights_BxT: jax.Array,
        kind: str | Divergence = "forward",
        temperature: float = 2.0,
        block_positions: int | None = None,
    ) -> Positions:
        """Compares the student with the teacher, position by position.

        Args:
          student_logits_BxTxV: student logits `[batch, length, vocab]`, any float type.
          weights_BxT: weight of each position in the total `[batch, length]`, 0 for padding; see `blocks.positionwise`.
          kind: divergence by name; see `losses.divergences`.
          temperature: softmax temperature of both sides, above 0.
          block_positions: positions worked on at once, 1 to T; None chooses by size.

        Returns:
          The divergence times the squared temperature, summed and of each position, and the teacher's best tokens.

        Raises:
          ValueError: if the shapes disagree, or for an unknown divergence or a temperature that is not positive.
        """
        if student_logits_BxTxV.shape != self.logits_BxTxV.shape:
            raise ValueError(
                f"student logits have shape {student_logits_BxTxV.shape}, teacher logits {self.logits_BxTxV.shape}: "
                "both must be [batch, length, vocab] over one vocabulary. Fix: give both models the same vocab_size."
            )
        rule = _WholeVocabulary(divergence(kind), checked_temperature(temperature))
        return positionwise(rule, student_logits_BxTxV, weights_BxT, self.logits_BxTxV, (), block_positions)


class TeacherHidden(NamedTuple):
    """The teacher's decoder states after the final norm, and its head: logits exist one block at a time, once.

    Args:
      hidden_BxTxE: `[batch, length, width]`, any float type.
      head_kernel_ExV: `[width, vocab]`: the untied head, or the token embedding transposed.
      scale: factor of the logits: 1 for an untied head, `width ** -0.5` for a tied one.
    """

    hidden_BxTxE: jax.Array
    head_kernel_ExV: jax.Array
    scale: float | jax.Array = 1.0

    def compare(
        self,
        student_logits_BxTxV: jax.Array,
        weights_BxT: jax.Array,
        kind: str | Divergence = "forward",
        temperature: float = 2.0,
        block_positions: int | None = None,
    ) -> Positions:
        """Compares the student with the teacher; arguments as in `compare` of `TeacherLogits`."""
        batch, length, vocab = student_logits_BxTxV.shape
        hidden, head = self.hidden_BxTxE.shape, self.head_kernel_ExV.shape
        if hidden[:2] != (batch, length) or head != (hidden[2], vocab):
            raise ValueError(
                f"student logits have shape {student_logits_BxTxV.shape}, the teacher's hidden states {hidden} and its "
                f"head {head}; needed: [batch, length, width] and [width, vocab] over one vocabulary. Fix: a tied head "
                "is the token embedding transposed; a store is read with the batch's own length."
            )
        rule = _WholeVocabulary(divergence(kind), checked_temperature(temperature))
        # The scale travels as an array, so that a traced one will do.
        head = (self.head_kernel_ExV, jnp.asarray(self.scale, jnp.float32))
        return positionwise(rule, student_logits_BxTxV, weights_BxT, self.hidden_BxTxE, head, block_positions)


def kl_divergence(
    student_logits_BxTxV: jax.Array,
    teacher_logits_BxTxV: jax.Array,
    weights_BxT: jax.Array,
    temperature: float = 2.0,
    block_positions: int | None = None,
    kind: str | Divergence = "forward",
) -> jax.Array:
    """Weighted sum over positions of `temperature**2` times the divergence, by default `KL(teacher || student)`.

    The teacher is a constant: its cotangent is zero, whatever the caller does with it.

    Args:
      student_logits_BxTxV: student logits `[batch, length, vocab]`, any float type.
      teacher_logits_BxTxV: teacher logits, same shape.
      weights_BxT: weight of each position `[batch, length]`, 0 for padding.
      temperature: softmax temperature of both sides, above 0.
      block_positions: target positions worked on at once, 1 to T; None chooses by size.
      kind: divergence by name; see `losses.divergences`.

    Returns:
      A float32 scalar, a sum (not a mean) over all positions, as T5X losses are.

    Raises:
      ValueError: if the shapes disagree, or for an unknown divergence or a temperature that is not positive.
    """
    teacher = TeacherLogits(teacher_logits_BxTxV)
    return teacher.compare(student_logits_BxTxV, weights_BxT, kind, temperature, block_positions).total


def checked_temperature(temperature: float) -> float:
    """Returns `temperature` as a float; a ValueError if it is not above 0."""
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; it must be above 0 (the paper's reference uses 2).")
    return float(temperature)
