"""The student's loss under distillation, in the shape that a T5X train step expects of a model.

A T5X step asks its model for `loss_fn(params, batch, dropout_rng) -> (loss, metrics)`. `DistillationObjective` is such
a model: it closes over the teacher's logits of a batch and over nothing else of the teacher.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from clu import metrics as clu_metrics

from distill_or_annotate.losses import kl_divergence
from t5x import losses as t5x_losses

Batch = Mapping[str, jax.Array]


class DistillationObjective:
    """`(1 - cross_entropy_weight) * T^2 KL(teacher || student) + cross_entropy_weight * cross-entropy`.

    Like every T5X loss it is a sum over target positions, divided only by the student's `loss_normalizing_factor`.
    Padding is masked: positions whose target is 0 have no share (our `fair` mode; the paper's reference counts them).

    Args:
      student: the T5X model that is trained; its z-loss and label smoothing apply to the cross-entropy alone.
      teacher_logits_fn: batch -> teacher logits `[batch, length, vocab]`.
      temperature: softmax temperature of both sides; the paper's reference code uses 2.
      cross_entropy_weight: share of the cross-entropy on the batch's targets (pseudo-labels and gold labels), 0 to 1.
      constrain: applied to each array of the batch first; places the student's batch on the mesh.

    Raises:
      ValueError: if `cross_entropy_weight` is outside 0 to 1.
    """

    def __init__(
        self,
        student: Any,
        teacher_logits_fn: Callable[[Batch], jax.Array],
        temperature: float = 2.0,
        cross_entropy_weight: float = 0.0,
        constrain: Callable[[jax.Array], jax.Array] = lambda array: array,
    ):
        if not 0 <= cross_entropy_weight <= 1:
            raise ValueError(f"cross_entropy_weight is {cross_entropy_weight}; allowed: 0 (KL) to 1 (labels).")
        self._student = student
        self._teacher_logits_fn = teacher_logits_fn
        self._temperature = temperature
        self._cross_entropy_weight = cross_entropy_weight
        self._constrain = constrain

    def loss_fn(self, params: Any, batch: Batch, dropout_rng: jax.Array | None) -> tuple[jax.Array, dict[str, Any]]:
        """Loss and metrics of one batch.

        Args:
          params: the student's parameters.
          batch: encoder and decoder tokens, int32 `[batch, length]` each.
          dropout_rng: key of the student's dropout; None switches it off. The teacher never drops anything.

        Returns:
          The float32 loss, and the student's own metrics plus `distill/kl_per_token` (at T, times T^2),
          `distill/cross_entropy_per_token` and `distill/agreement` (share of positions with equal argmax).
        """
        teacher_logits_BxTxV = jax.lax.stop_gradient(self._teacher_logits_fn(batch))
        batch = jax.tree.map(self._constrain, dict(batch))
        logits_BxTxV = self._student._compute_logits(params, batch, dropout_rng)
        factor, weights_BxT = t5x_losses.get_loss_normalizing_factor_and_weights(
            self._student._loss_normalizing_factor, batch
        )
        targets_BxT = batch["decoder_target_tokens"]
        if weights_BxT is None:
            weights_BxT = targets_BxT > 0
        weights_BxT = weights_BxT.astype(jnp.float32)

        kl = kl_divergence(logits_BxTxV, teacher_logits_BxTxV, weights_BxT, self._temperature)
        cross_entropy, z_loss, _ = t5x_losses.compute_weighted_cross_entropy(
            logits_BxTxV,
            targets_BxT,
            weights=weights_BxT,
            label_smoothing=self._student._label_smoothing,
            z_loss=self._student._z_loss,
        )
        loss = (1 - self._cross_entropy_weight) * kl + self._cross_entropy_weight * cross_entropy
        if factor is not None:
            loss = loss / factor
        metrics = self._student._compute_metrics(
            logits=logits_BxTxV, targets=targets_BxT, mask=weights_BxT, loss=loss, z_loss=z_loss
        )
        agree_BxT = jnp.argmax(logits_BxTxV, -1) == jnp.argmax(teacher_logits_BxTxV, -1)
        tokens = jnp.sum(weights_BxT)
        for name, total in (
            ("kl_per_token", kl),
            ("cross_entropy_per_token", cross_entropy - z_loss),
            ("agreement", jnp.sum(agree_BxT * weights_BxT)),
        ):
            metrics[f"distill/{name}"] = _mean(total, tokens)
        return loss, metrics


def _mean(total: jax.Array, count: jax.Array) -> clu_metrics.Metric:
    """A mean that travels as (sum, count), so that shards and microbatches cannot bias it."""
    return clu_metrics.Average(total=total, count=count)
