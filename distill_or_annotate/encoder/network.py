"""The network of BERT and DistilBERT, with logical axis names as T5X's partitioners ask for them.

Dimension letters: B batch, L length, E width, H heads, D head width, M feed-forward width, K labels.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.partitioning import param_with_axes

from distill_or_annotate.encoder.config import ClassifierConfig, EncoderConfig


# By `erf` and with its own derivative: what JAX differentiates itself computes `erfc` piece by piece, several times.
@jax.custom_jvp
def _exact_gelu(x: jax.Array) -> jax.Array:
    return 0.5 * x * (1.0 + jax.lax.erf(x * 0.5**0.5))


@_exact_gelu.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    below = 0.5 * (1.0 + jax.lax.erf(x * 0.5**0.5))
    return x * below, dx * (below + x * jnp.exp(-0.5 * jnp.square(x)) * (2 * jnp.pi) ** -0.5)


_ACTIVATIONS = {
    "gelu": _exact_gelu,
    "gelu_new": functools.partial(nn.gelu, approximate=True),
    "relu": nn.relu,
}
_MASKED = -1e9
# What BERT is initialised with; matters for parts that a checkpoint lacks, such as a new head.
_KERNEL_INIT = nn.initializers.truncated_normal(0.02)


class Dense(nn.Module):
    """A linear map with a bias.

    Attributes:
      features: width of the output.
      axes: logical names of the kernel's two axes; None for one that is never split.
    """

    features: int
    axes: Sequence[str | None]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps the last axis of [..., width]."""
        axes = tuple(self.axes)
        kernel = param_with_axes("kernel", _KERNEL_INIT, (x.shape[-1], self.features), jnp.float32, axes=axes)
        bias = param_with_axes("bias", nn.initializers.zeros, (self.features,), jnp.float32, axes=axes[1:])
        # As one matrix: XLA's CPU backend takes twice as long for the gradient of a product with three axes.
        flat = jnp.dot(x.reshape(-1, x.shape[-1]), kernel) + bias[None]
        return flat.reshape(*x.shape[:-1], self.features)


class LayerNorm(nn.Module):
    """Normalisation by mean and variance, with scale and bias.

    Attributes:
      epsilon: added to the variance.
    """

    epsilon: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalises the last axis of [..., E]."""
        scale = param_with_axes("scale", nn.initializers.ones, (x.shape[-1],), jnp.float32, axes=("embed",))
        bias = param_with_axes("bias", nn.initializers.zeros, (x.shape[-1],), jnp.float32, axes=("embed",))
        centred = x - jnp.mean(x, axis=-1, keepdims=True)
        normed = centred * jax.lax.rsqrt(jnp.mean(jnp.square(centred), axis=-1, keepdims=True) + self.epsilon)
        flat = (1,) * (x.ndim - 1) + (-1,)
        return normed * scale.reshape(flat) + bias.reshape(flat)


class Attention(nn.Module):
    """Multi-head self-attention.

    Attributes:
      config: the encoder's sizes.
    """

    config: EncoderConfig

    @nn.compact
    def __call__(self, x_BxLxE: jax.Array, real_BxL: jax.Array, enable_dropout: bool) -> jax.Array:
        """Attends to real tokens only.

        Args:
          x_BxLxE: hidden states.
          real_BxL: where a token is real.
          enable_dropout: needs a key named `dropout`.

        Returns:
          [B, L, E].
        """
        cfg = self.config
        batch, length, width = x_BxLxE.shape
        heads = (batch, length, cfg.num_heads, width // cfg.num_heads)
        query, key, value = (
            Dense(width, ("embed", "joined_kv"), name=name)(x_BxLxE).reshape(heads).transpose(0, 2, 1, 3)
            for name in ("query", "key", "value")
        )
        logits_BxHxqxk = jnp.einsum("bhqd,bhkd->bhqk", query, key) * heads[-1] ** -0.5
        logits_BxHxqxk = jnp.where(real_BxL[:, None, None, :], logits_BxHxqxk, _MASKED)
        probs = jax.nn.softmax(logits_BxHxqxk, axis=-1)
        probs = nn.Dropout(cfg.attention_dropout_rate)(probs, deterministic=not enable_dropout)
        joined = jnp.einsum("bhqk,bhkd->bhqd", probs, value).transpose(0, 2, 1, 3).reshape(batch, length, width)
        return Dense(width, ("joined_kv", "embed"), name="out")(joined)


class Layer(nn.Module):
    """Attention and feed-forward, each added and then normalised.

    Attributes:
      config: the encoder's sizes.
    """

    config: EncoderConfig

    @nn.compact
    def __call__(self, x_BxLxE: jax.Array, real_BxL: jax.Array, enable_dropout: bool) -> jax.Array:
        """Runs the layer.

        Args:
          x_BxLxE: hidden states.
          real_BxL: where a token is real.
          enable_dropout: needs a key named `dropout`.

        Returns:
          [B, L, E].
        """
        cfg = self.config

        def dropped(x: jax.Array) -> jax.Array:
            return nn.Dropout(cfg.dropout_rate)(x, deterministic=not enable_dropout)

        attended = Attention(cfg, name="attention")(x_BxLxE, real_BxL, enable_dropout)
        x_BxLxE = LayerNorm(cfg.layer_norm_epsilon, name="attention_norm")(x_BxLxE + dropped(attended))
        inside = _ACTIVATIONS[cfg.activation](Dense(cfg.mlp_dim, ("embed", "mlp"), name="wi")(x_BxLxE))
        outside = Dense(cfg.emb_dim, ("mlp", "embed"), name="wo")(inside)
        return LayerNorm(cfg.layer_norm_epsilon, name="mlp_norm")(x_BxLxE + dropped(outside))


class Encoder(nn.Module):
    """Embeddings and layers.

    Attributes:
      config: its sizes.
    """

    config: EncoderConfig

    @nn.compact
    def __call__(
        self, tokens_BxL: jax.Array, layers: int | None = None, enable_dropout: bool = False
    ) -> tuple[jax.Array, ...]:
        """Encodes tokens.

        Args:
          tokens_BxL: ids, 0 for padding; all belong to the first segment.
          layers: run so many layers, 0 to all; None runs all.
          enable_dropout: needs a key named `dropout`.

        Returns:
          Hidden states [B, L, E]: the embeddings, then each layer's.
        """
        cfg = self.config
        init = nn.initializers.normal(0.02)
        rows = {"word_embedding": cfg.n_pieces, "position_embedding": cfg.n_positions}
        if cfg.n_segments:
            rows["segment_embedding"] = cfg.n_segments
        # Never split by rows: BERT's 30,522 pieces divide by few meshes.
        tables = {
            name: param_with_axes(name, init, (size, cfg.emb_dim), jnp.float32, axes=(None, "embed"))
            for name, size in rows.items()
        }
        length = tokens_BxL.shape[1]
        x = jnp.take(tables["word_embedding"], tokens_BxL, axis=0) + tables["position_embedding"][None, :length]
        if cfg.n_segments:
            x = x + tables["segment_embedding"][None, :1]
        x = LayerNorm(cfg.layer_norm_epsilon, name="embedding_norm")(x)
        x = nn.Dropout(cfg.dropout_rate)(x, deterministic=not enable_dropout)
        hidden, real_BxL = [x], tokens_BxL > 0
        for index in range(cfg.num_layers if layers is None else layers):
            hidden.append(Layer(cfg, name=f"layers_{index}")(hidden[-1], real_BxL, enable_dropout))
        return tuple(hidden)


class Classifier(nn.Module):
    """An encoder and the head that chooses among labels.

    Attributes:
      config: its sizes.
    """

    config: ClassifierConfig

    @nn.compact
    def __call__(self, tokens_BxL: jax.Array, enable_dropout: bool = False) -> jax.Array:
        """Returns logits of the labels.

        Args:
          tokens_BxL: ids, 0 for padding.
          enable_dropout: needs a key named `dropout`.

        Returns:
          Float32 [B, K].
        """
        cfg = self.config
        last_BxLxE = Encoder(cfg, name="encoder")(tokens_BxL, enable_dropout=enable_dropout)[-1]
        if cfg.head == "mean":
            real_BxLx1 = (tokens_BxL > 0).astype(jnp.float32)[..., None]
            pooled_BxE = jnp.sum(last_BxLxE * real_BxLx1, 1) / jnp.maximum(jnp.sum(real_BxLx1, 1), 1.0)
        elif cfg.head == "distilbert":
            pooled_BxE = nn.relu(Dense(cfg.emb_dim, ("embed", None), name="pre_classifier")(last_BxLxE[:, 0]))
        else:
            pooled_BxE = jnp.tanh(Dense(cfg.emb_dim, ("embed", None), name="pooler")(last_BxLxE[:, 0]))
        pooled_BxE = nn.Dropout(cfg.head_dropout_rate)(pooled_BxE, deterministic=not enable_dropout)
        return Dense(cfg.n_labels, ("embed", None), name="classifier")(pooled_BxE)
