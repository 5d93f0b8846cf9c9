"""The student's loss under distillation, in the shape that a T5X train step expects of a model.

A T5X step asks its model for `loss_fn(params, batch, dropout_rng) -> (loss, metrics)`. `DistillationObjective` is such
a model: it closes over what is known of the teacher at each position of a batch and over nothing else of it.

Padding. `masked` counts the real target tokens. `counted` is the paper's reference code: its student reads the
teacher's whole output (start, tokens, end, and pads up to the longest row of the batch in which it was generated) and
is compared with the teacher at each of these positions; no mask but the causal one acts in either decoder, and the mean
is over positions. On a T5X batch:

  * The teacher's output, as a decoder reads it, is `decoder_input_tokens`: targets shifted right, so start, tokens,
    end, pads. Its first `n` positions are the reference's; `n` is the longest row with its end, plus 1 for the start.
  * Both networks are given ones as `decoder_target_tokens`, from which T5X networks make their padding masks: what
    remains is the causal mask in the decoder, and the encoder's own.
  * `n` comes with the batch as feature `decoder_counted_positions`, int32 `[batch]` or `[batch, 1]`, each row's that of
    the batch in which it was generated; 0 leaves a row out. Who generates targets knows it. Without the feature the
    batch's whole padded length counts, in each row that has a target.
  * A decoder length below `n` cuts the counted positions. The reference's `max_length` counts the start token, so that
    the same number as length of the targets feature cuts nothing.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from clu import metrics as clu_metrics

from distill_or_annotate.losses import Positions, TeacherLogits, divergence
from distill_or_annotate.losses.kl import checked_temperature
from t5x import losses as t5x_losses
from t5x import models as t5x_models

Batch = Mapping[str, jax.Array]

COUNTED_POSITIONS = "decoder_counted_positions"
# As `t5x.models` names it: the whole batch's factor, which travels with each of its slices.
_FACTOR = "loss_normalizing_factor"
_PADDINGS = ("masked", "counted")
_NORMALIZERS = ("tokens", "positions", "examples")


@dataclasses.dataclass(frozen=True)
class DistillationOptions:
    """What is minimised: `(1 - alpha) * T^2 D(teacher, student) + alpha * cross-entropy`, summed and divided.

    Args:
      divergence: `forward`, `reverse` or `jsd(BETA)`; see `losses.divergences`.
      temperature: T, softmax temperature of both sides, above 0; the paper's reference code uses 2.
      alpha: share of the cross-entropy on the batch's real targets (pseudo-labels and gold labels), 0 to 1.
      padding: `masked` compares at real target tokens, `counted` at every position the reference counts.
      normalize_by: what the sum is divided by, both parts alike: `tokens` (the batch's real target tokens),
        `positions` (those compared) or `examples`. It replaces the student's `loss_normalizing_factor`; None leaves
        that in force (T5X's default for it is none, so that the loss is a sum).

    Raises:
      ValueError: for a name that is not one of these (near ones listed) or a number out of range.
    """

    divergence: str = "forward"
    temperature: float = 2.0
    alpha: float = 0.0
    padding: str = "masked"
    normalize_by: str | None = None

    def __post_init__(self):
        divergence(self.divergence)
        checked_temperature(self.temperature)
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha is {self.alpha}; allowed: 0 (the divergence alone) to 1 (cross-entropy alone).")
        _check_name("padding", self.padding, _PADDINGS)
        if self.normalize_by is not None:
            _check_name("normalize_by", self.normalize_by, _NORMALIZERS)


class DistillationObjective:
    """A student's loss against a teacher; stands where a T5X train step expects a model.

    Args:
      student: the T5X model that is trained; its z-loss and label smoothing apply to the cross-entropy alone.
      teacher_fn: batch -> what is known of the teacher: logits `[batch, length, vocab]`, or one of
        `losses.TeacherLogits`, `TeacherHidden` and `TeacherTopK`.
      options: what is minimised.
      constrain: applied to each array of the batch first; places the student's batch on the mesh.
    """

    def __init__(
        self,
        student: Any,
        teacher_fn: Callable[[Batch], Any],
        options: DistillationOptions | None = None,
        constrain: Callable[[jax.Array], jax.Array] = lambda array: array,
    ):
        self._student = student
        self._teacher_fn = teacher_fn
        self._options = options or DistillationOptions()
        self._constrain = constrain

    def with_normalizing_factor(self, batch: Batch) -> Batch:
        """Returns `batch` with what each of its slices is to be divided by, as `t5x.trainer` asks for it."""
        factor = self._weights(batch)[0]
        if factor is None:
            return batch
        return {**batch, _FACTOR: jnp.full(batch["decoder_target_tokens"].shape[:1], factor, jnp.float32)}

    def loss_fn(self, params: Any, batch: Batch, dropout_rng: jax.Array | None) -> tuple[jax.Array, dict[str, Any]]:
        """Loss and metrics of one batch.

        Args:
          params: the student's parameters.
          batch: encoder and decoder tokens, int32 `[batch, length]` each, and what the teacher's side needs; in
            `counted` padding optionally `decoder_counted_positions` (see the module).
          dropout_rng: key of the student's dropout; None switches it off. The teacher never drops anything.

        Returns:
          The float32 loss, and the student's own metrics plus `distill/NAME_per_token` (the divergence at real tokens,
          at T, times T^2; NAME is `kl`, `reverse_kl` or `jsd`), in `counted` also `distill/NAME_per_position`, and at
          real tokens `distill/cross_entropy_per_token` and `distill/agreement` (share with equal argmax).

        Raises:
          ValueError: if the batch is packed and padding is counted.
        """
        options = self._options
        teacher = jax.lax.stop_gradient(self._teacher_fn(self._seen_by_networks(batch)))
        if isinstance(teacher, jax.Array):
            teacher = TeacherLogits(teacher)
        batch = jax.tree.map(self._constrain, dict(batch))
        logits_BxTxV = self._student._compute_logits(params, self._seen_by_networks(batch), dropout_rng)
        factor, weights_BxT, compared_BxT = self._weights(batch)
        targets_BxT = batch["decoder_target_tokens"]

        share_BxT = (1 - options.alpha) * (compared_BxT if factor is None else compared_BxT / factor)
        found: Positions = teacher.compare(logits_BxTxV, share_BxT, options.divergence, options.temperature)
        cross_entropy, z_loss, _ = t5x_losses.compute_weighted_cross_entropy(
            # Where it has no share in the loss, its gradient would be an array of zeros.
            logits_BxTxV if options.alpha else jax.lax.stop_gradient(logits_BxTxV),
            targets_BxT,
            weights=weights_BxT,
            label_smoothing=self._student._label_smoothing,
            z_loss=self._student._z_loss,
        )
        loss = found.total + options.alpha * (cross_entropy if factor is None else cross_entropy / factor)
        metrics = self._student._compute_metrics(
            logits=logits_BxTxV, targets=targets_BxT, mask=weights_BxT, loss=loss, z_loss=z_loss
        )
        agree_BxT = jnp.argmax(logits_BxTxV, -1) == found.teacher_best_BxT
        tokens, name = jnp.sum(weights_BxT), divergence(options.divergence).metric
        metrics[f"distill/{name}_per_token"] = _mean(jnp.sum(found.values_BxT * weights_BxT), tokens)
        if options.padding == "counted":
            summed = jnp.sum(found.values_BxT * compared_BxT)
            metrics[f"distill/{name}_per_position"] = _mean(summed, jnp.sum(compared_BxT))
        metrics["distill/cross_entropy_per_token"] = _mean(cross_entropy - z_loss, tokens)
        metrics["distill/agreement"] = _mean(jnp.sum(agree_BxT * weights_BxT), tokens)
        return loss, metrics

    def _seen_by_networks(self, batch: Batch) -> Batch:
        """The batch as both networks read it: without a padding mask in the decoder where padding counts."""
        if self._options.padding == "masked":
            return batch
        if "decoder_segment_ids" in batch:
            raise ValueError(
                "padding is 'counted', but the batch is packed, and a packed row has no padding of its own. Fix: "
                "train/utils.DatasetConfig.pack = False, or padding 'masked'."
            )
        return {**batch, "decoder_target_tokens": jnp.ones_like(batch["decoder_target_tokens"])}

    def _weights(self, batch: Batch) -> tuple[float | jax.Array | None, jax.Array, jax.Array]:
        """What the sum is divided by, the weights of real tokens, and the weights of the positions compared."""
        options = self._options
        factor = None if options.normalize_by else self._student._loss_normalizing_factor
        factor, weights_BxT = t5x_losses.get_loss_normalizing_factor_and_weights(factor, batch)
        targets_BxT = batch["decoder_target_tokens"]
        if weights_BxT is None:
            weights_BxT = targets_BxT > 0
        weights_BxT = weights_BxT.astype(jnp.float32)
        compared_BxT = weights_BxT if options.padding == "masked" else _counted(batch)
        if options.normalize_by == "tokens":
            factor = jnp.sum(weights_BxT)
        elif options.normalize_by == "positions":
            factor = jnp.sum(compared_BxT)
        elif options.normalize_by == "examples":
            ids_BxT = batch.get("decoder_segment_ids", jnp.any(compared_BxT > 0, axis=-1, keepdims=True))
            factor = t5x_models.count_packed_examples(ids_BxT.astype(jnp.int32)).astype(jnp.float32)
        return batch[_FACTOR][0] if _FACTOR in batch else factor, weights_BxT, compared_BxT


def _counted(batch: Batch) -> jax.Array:
    """1 at each position that the paper's reference would compare, else 0."""
    targets_BxT = batch["decoder_target_tokens"]
    rows, length = targets_BxT.shape
    if COUNTED_POSITIONS in batch:
        counts_Bx1 = batch[COUNTED_POSITIONS].reshape(rows, 1)
    else:
        counts_Bx1 = length * jnp.any(targets_BxT > 0, axis=-1, keepdims=True)
    return (jnp.arange(length)[None, :] < counts_Bx1).astype(jnp.float32)


def _check_name(field: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        near = difflib.get_close_matches(str(value).lower(), allowed, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{field} is {value!r}; allowed: {', '.join(map(repr, allowed))}.{hint}")


def _mean(total: jax.Array, count: jax.Array) -> clu_metrics.Metric:
    """A mean that travels as (sum, count), so that shards and microbatches cannot bias it."""
    return clu_metrics.Average(total=total, count=count)
