"""Token-level losses: cross-entropy with z-loss and label smoothing, and how its sum is normalised.

Dimension letters: B batch, T decoder length, V vocabulary. Everything is computed in float32.
"""

from __future__ import annotations

import difflib
import enum
import functools
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp

Array = jax.Array


@jax.custom_vjp
def cross_entropy_with_logits(logits: Array, targets: Array, z_loss: float) -> tuple[Array, Array]:
    """Computes cross-entropy against soft targets, plus `z_loss` times the squared log-normaliser.

    Args:
      logits: [..., V].
      targets: [..., V] probabilities (or one-hot rows); they get no gradient other than through z_loss = 0.
      z_loss: weight of logZ^2, at least 0; it gets a zero gradient.

    Returns:
      (loss, z_loss part of it), each [...]. Only the first one's cotangent reaches the logits.
    """
    return _soft_forward(logits, targets, z_loss)[0]


def _log_normaliser(logits: Array) -> Array:
    return jax.nn.logsumexp(logits.astype(jnp.float32), axis=-1)


def _soft_forward(logits: Array, targets: Array, z_loss: float) -> tuple[tuple[Array, Array], tuple]:
    log_z = _log_normaliser(logits)
    targets_float = targets.astype(jnp.float32)
    loss = -jnp.sum(targets_float * (logits.astype(jnp.float32) - log_z[..., None]), axis=-1)
    z_part = z_loss * jnp.square(log_z)
    return (loss + z_part, z_part), (logits, targets, z_loss, log_z)


def _soft_backward(residuals: tuple, cotangents: tuple[Array, Array]) -> tuple[Array, Array, Array]:
    logits, targets, z_loss, log_z = residuals
    log_probs = logits.astype(jnp.float32) - log_z[..., None]
    scale = (1.0 + 2.0 * z_loss * log_z)[..., None]
    ct = cotangents[0][..., None]
    d_logits = ct * (scale * jnp.exp(log_probs) - targets.astype(jnp.float32))
    return d_logits.astype(logits.dtype), (-ct * log_probs).astype(targets.dtype), jnp.zeros_like(jnp.asarray(z_loss))


cross_entropy_with_logits.defvjp(_soft_forward, _soft_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def integer_cross_entropy(
    logits: Array, targets: Array, z_loss: float = 0.0, label_smoothing: float = 0.0
) -> tuple[Array, Array]:
    """Computes `cross_entropy_with_logits` against integer targets without forming [..., V] targets (ours).

    Args:
      logits: [..., V].
      targets: integers [...] in [0, V).
      z_loss: weight of logZ^2, at least 0; it gets a zero gradient.
      label_smoothing: Python float in [0, 1): probability spread evenly over the V - 1 other tokens. The entropy of
        that target is subtracted, so that a perfect prediction scores 0.

    Returns:
      (loss, z_loss part of it), each [...]. Only the first one's cotangent reaches the logits.
    """
    return _integer_forward(logits, targets, z_loss, label_smoothing)[0]


def _smoothing(vocab_size: int, label_smoothing: float) -> tuple[float, float, float]:
    """Returns the target's probability, each other token's, and the entropy of that distribution in nats."""
    if not 0.0 <= label_smoothing < 1.0:
        raise ValueError(f"label_smoothing={label_smoothing} must be in [0, 1); set 0.0 for none.")
    if label_smoothing == 0.0:
        return 1.0, 0.0, 0.0
    on, off = 1.0 - label_smoothing, label_smoothing / (vocab_size - 1)
    return on, off, -(on * math.log(on) + label_smoothing * math.log(off))


def _is_target(logits: Array, targets: Array) -> Array:
    # Compared with an iota rather than gathered: it fuses into the reductions, and shards with the vocabulary.
    return jax.lax.broadcasted_iota(targets.dtype, logits.shape, logits.ndim - 1) == targets[..., None]


def _integer_forward(
    logits: Array, targets: Array, z_loss: float, label_smoothing: float
) -> tuple[tuple[Array, Array], tuple]:
    on, off, entropy = _smoothing(logits.shape[-1], label_smoothing)
    log_z = _log_normaliser(logits)
    target_logit = jnp.sum(jnp.where(_is_target(logits, targets), logits.astype(jnp.float32), 0.0), axis=-1)
    loss = log_z - (on - off) * target_logit
    if label_smoothing > 0.0:
        loss = loss - off * jnp.sum(logits.astype(jnp.float32), axis=-1) - entropy
    z_part = z_loss * jnp.square(log_z)
    return (loss + z_part, z_part), (logits, targets, z_loss, log_z)


def _integer_backward(
    label_smoothing: float, residuals: tuple, cotangents: tuple[Array, Array]
) -> tuple[Array, None, Array]:
    logits, targets, z_loss, log_z = residuals
    on, off, _ = _smoothing(logits.shape[-1], label_smoothing)
    probs = jnp.exp(logits.astype(jnp.float32) - log_z[..., None])
    scale = (1.0 + 2.0 * z_loss * log_z)[..., None]
    d_logits = cotangents[0][..., None] * (scale * probs - jnp.where(_is_target(logits, targets), on, off))
    return d_logits.astype(logits.dtype), None, jnp.zeros_like(jnp.asarray(z_loss))


integer_cross_entropy.defvjp(_integer_forward, _integer_backward)


def compute_weighted_cross_entropy(
    logits: Array,
    targets: Array,
    weights: Array | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    loss_normalizing_factor: float | Array | None = None,
) -> tuple[Array, Array, Array]:
    """Sums the weighted cross-entropy over a batch.

    Args:
      logits: [B, T, V].
      targets: integers [B, T] in [0, V).
      weights: [B, T], at least 0, or None for ones.
      label_smoothing: in [0, 1); see `integer_cross_entropy`.
      z_loss: weight of logZ^2, at least 0.
      loss_normalizing_factor: divides both sums when given.

    Returns:
      (sum of the loss including z-loss, sum of the z-loss, sum of the weights), scalars.

    Raises:
      ValueError: if the ranks of logits and targets do not fit.
    """
    if logits.ndim != targets.ndim + 1:
        raise ValueError(
            f"logits {logits.shape} must have one axis (the vocabulary) more than targets {targets.shape}."
        )
    loss, z_part = integer_cross_entropy(logits, targets, z_loss, label_smoothing)
    if weights is None:
        weight_sum = jnp.float32(targets.size)
    else:
        loss, z_part, weight_sum = loss * weights, z_part * weights, jnp.sum(weights, dtype=jnp.float32)
    if loss_normalizing_factor is not None:
        loss, z_part = loss / loss_normalizing_factor, z_part / loss_normalizing_factor
    return jnp.sum(loss), jnp.sum(z_part), weight_sum


@enum.unique
class SpecialLossNormalizingFactor(enum.Enum):
    """Normalising factors that depend on the batch.

    NUM_REAL_TARGET_TOKENS is the sum of the loss weights, NUM_TOTAL_TARGET_TOKENS counts padding too, and
    AVERAGE_PER_SEQUENCE gives each sequence (each packed segment) the same total weight.
    """

    NUM_REAL_TARGET_TOKENS = 1
    NUM_TOTAL_TARGET_TOKENS = 2
    AVERAGE_PER_SEQUENCE = 3


def convert_special_loss_normalizing_factor_to_enum(x: str) -> SpecialLossNormalizingFactor:
    """Returns the member called `x`, in any case.

    Args:
      x: a member's name.

    Returns:
      The member.

    Raises:
      ValueError: if there is none, listing what there is.
    """
    names = [member.name for member in SpecialLossNormalizingFactor]
    if x.strip().upper() in names:
        return SpecialLossNormalizingFactor[x.strip().upper()]
    near = difflib.get_close_matches(x.strip().upper(), names, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"loss_normalizing_factor={x!r} is unknown: use a number, None, or one of {names}.{hint}")


def _sum_weights_per_segment(positions: Array, segment_ids: Array, weights: Array) -> Array:
    """Returns at each token [B, T] the sum of the weights of its segment; 0 at padding (segment 0).

    `positions` is accepted for T5X's sake: segment ids alone tell segments apart.
    """
    del positions
    same = (segment_ids[:, :, None] == segment_ids[:, None, :]) & (segment_ids > 0)[:, :, None]
    return jnp.sum(jnp.where(same, weights[:, None, :], jnp.zeros((), weights.dtype)), axis=-1)


def get_loss_normalizing_factor_and_weights(
    loss_normalizing_factor: float | int | str | SpecialLossNormalizingFactor | None, batch: Mapping[str, Array]
) -> tuple[float | Array | None, Array | None]:
    """Resolves a normalising factor for a batch.

    Args:
      loss_normalizing_factor: None, a number, a `SpecialLossNormalizingFactor` or its name in any case.
      batch: has `decoder_target_tokens` [B, T]; optionally `decoder_loss_weights` and, when packed,
        `decoder_segment_ids` and `decoder_positions`.

    Returns:
      (factor or None, loss weights [B, T] or None). None and numbers leave the batch's weights alone; the special ones
      default them to 1 at targets > 0.

    Raises:
      ValueError: for an unknown name or member.
    """
    weights = batch.get("decoder_loss_weights")
    factor = loss_normalizing_factor
    if isinstance(factor, str):
        factor = convert_special_loss_normalizing_factor_to_enum(factor)
    if not isinstance(factor, SpecialLossNormalizingFactor):
        return factor, weights
    targets = batch["decoder_target_tokens"]
    if weights is None:
        weights = jnp.asarray(targets > 0, jnp.float32)
    if factor is SpecialLossNormalizingFactor.NUM_REAL_TARGET_TOKENS:
        return jnp.sum(weights), weights
    if factor is SpecialLossNormalizingFactor.NUM_TOTAL_TARGET_TOKENS:
        return math.prod(targets.shape), weights
    weights = jnp.asarray(weights, jnp.float32)
    if "decoder_segment_ids" in batch:
        per_token = _sum_weights_per_segment(batch.get("decoder_positions"), batch["decoder_segment_ids"], weights)
    else:
        per_token = jnp.broadcast_to(jnp.sum(weights, axis=-1, keepdims=True), weights.shape)
    weights = jnp.where(per_token > 0, weights / jnp.where(per_token > 0, per_token, 1.0), 0.0)
    return jnp.sum(weights), weights
