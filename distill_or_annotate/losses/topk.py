"""The student against the k tokens that the teacher found likeliest, and one bucket for all others.

Letters: B batch, T target positions, k tokens, V vocabulary. The teacher is `p_1 .. p_k` and the tail's mass
`p_0 = 1 - sum p_i`, all at the training temperature; the student's side is cut the same way: `q_0` is the mass of all
tokens that are not among the k. What is compared are two distributions over k + 1 outcomes, so the loss is at most the
one over the whole vocabulary (data processing inequality) and equal to it where k = V.

The student's tail is a logsumexp over the other tokens: `1 - sum q_i` would lose it to rounding as soon as the k tokens
carry nearly everything. Its gradient to a token of the tail is the bucket's, shared out by probability.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from distill_or_annotate.losses.blocks import Positions, positionwise
from distill_or_annotate.losses.divergences import Divergence, divergence
from distill_or_annotate.losses.kl import checked_temperature

# Over the two leading axes, so that a scatter stays local to each row of a sharded batch.
_at = jax.vmap(jax.vmap(lambda row, ids: row[ids]))
_set = jax.vmap(jax.vmap(lambda row, ids, value: row.at[ids].set(value)))


@dataclasses.dataclass(frozen=True)
class _Bucketed:
    """Rule of `blocks`: the data are ids, log-probabilities and the tail's log-mass."""

    kind: Divergence
    temperature: float

    def __call__(self, student, teacher, _):
        ids, log_p_k, log_p_tail = teacher
        scaled = student / self.temperature
        scaled_k = _at(scaled, ids)
        rest = _set(scaled, ids, jnp.full(ids.shape, -jnp.inf, scaled.dtype))
        # One exponential over the vocabulary serves the tail's mass, the normaliser and the gradient.
        top = jnp.max(rest, axis=-1, keepdims=True)
        top = jnp.where(top > -jnp.inf, top, 0.0)  # an empty tail, k = V
        mass = jnp.exp(rest - top)
        mass_sum = jnp.sum(mass, axis=-1, keepdims=True)
        log_q = jnp.concatenate([scaled_k, jnp.log(mass_sum) + top], axis=-1)
        log_q = log_q - jax.nn.logsumexp(log_q, axis=-1, keepdims=True)
        log_p = jnp.concatenate([log_p_k, log_p_tail[..., None]], axis=-1).astype(jnp.float32)
        pull = self.kind.pull(log_p, log_q)
        outcome = pull - jnp.exp(log_q) * jnp.sum(pull, axis=-1, keepdims=True)
        share = jnp.where(mass_sum > 0, outcome[..., -1:] / jnp.where(mass_sum > 0, mass_sum, 1.0), 0.0)
        gradient = _set(share * mass, ids, outcome[..., :-1])
        best = jnp.take_along_axis(ids, jnp.argmax(log_p_k, axis=-1, keepdims=True), axis=-1)[..., 0]
        return self.temperature**2 * self.kind.value(log_p, log_q), self.temperature * gradient, best


class TeacherTopK(NamedTuple):
    """The teacher's k likeliest tokens at every position, at the training temperature and no other.

    Args:
      ids_BxTxK: integers `[batch, length, k]`, below the vocabulary's size and distinct within a position.
      log_probs_BxTxK: their log-probabilities at the temperature, same shape, any float type.
      log_tail_BxT: `[batch, length]`, log of the mass of all other tokens; -inf where there is none.
    """

    ids_BxTxK: jax.Array
    log_probs_BxTxK: jax.Array
    log_tail_BxT: jax.Array

    def compare(
        self,
        student_logits_BxTxV: jax.Array,
        weights_BxT: jax.Array,
        kind: str | Divergence = "forward",
        temperature: float = 2.0,
        block_positions: int | None = None,
    ) -> Positions:
        """Compares the student with the teacher over k + 1 outcomes.

        Args:
          student_logits_BxTxV: student logits `[batch, length, vocab]`, any float type.
          weights_BxT: weight of each position in the total `[batch, length]`, 0 for padding; see `blocks.positionwise`.
          kind: divergence by name; see `losses.divergences`.
          temperature: the one at which the teacher's probabilities were taken; the student's too.
          block_positions: positions worked on at once, 1 to T; None chooses by size.

        Returns:
          The divergence times the squared temperature, summed and of each position, and the teacher's best tokens.

        Raises:
          ValueError: if the shapes disagree, or for an unknown divergence or a temperature that is not positive.
        """
        ids, log_probs, log_tail = (x.shape for x in self)
        batch, length, vocab = student_logits_BxTxV.shape
        if ids != log_probs or ids[:2] != (batch, length) or log_tail != (batch, length) or ids[2] > vocab:
            raise ValueError(
                f"student logits have shape {student_logits_BxTxV.shape}, the teacher's ids {ids}, log-probabilities "
                f"{log_probs} and tail {log_tail}; needed: [batch, length, k] twice and [batch, length], k at most the "
                "vocabulary. Fix: read the store with the batch's own length, captured over the student's vocabulary."
            )
        rule = _Bucketed(divergence(kind), checked_temperature(temperature))
        data = (self.ids_BxTxK.astype(jnp.int32), self.log_probs_BxTxK, self.log_tail_BxT)
        return positionwise(rule, student_logits_BxTxV, weights_BxT, data, (), block_positions)


def top_k(teacher_logits_BxTxV: jax.Array, k: int, temperature: float = 2.0) -> TeacherTopK:
    """Cuts teacher logits down to k tokens and the tail.

    Args:
      teacher_logits_BxTxV: `[batch, length, vocab]`.
      k: tokens kept, 1 to the vocabulary's size.
      temperature: the training temperature, above 0.

    Returns:
      Ids in falling order of probability, log-probabilities, and the tail's log-mass as a logsumexp over the tail.
    """
    log_p = jax.nn.log_softmax(teacher_logits_BxTxV.astype(jnp.float32) / checked_temperature(temperature))
    values, ids = jax.lax.top_k(log_p, k)
    rest = _set(log_p, ids, jnp.full(ids.shape, -jnp.inf, log_p.dtype))
    return TeacherTopK(ids.astype(jnp.int32), values, jax.nn.logsumexp(rest, axis=-1))
