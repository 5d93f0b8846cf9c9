"""The T5 encoder-decoder: T5X's `network.T5Config` and `network.Transformer`, with the same parameter tree.

Ours beyond T5X: `decode_hidden` and `head` split the decoder's final hidden states from the logits, and `init_cache`
prepares decoding with cross-attention keys and values computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax
import flax.linen as nn
import jax.numpy as jnp

from t5x.examples.t5 import layers
from t5x.examples.t5.layers import Array

RELPOS_BUCKETS = 32
RELPOS_MAX_DISTANCE = 128


@flax.struct.dataclass
class T5Config:
    """Sizes and switches of the network.

    Attributes:
      vocab_size: rows of the token embedding.
      dtype: compute dtype (a name such as 'bfloat16' will do); parameters are float32 in any case.
      emb_dim: model width E.
      num_heads: attention heads.
      num_encoder_layers: encoder depth.
      num_decoder_layers: decoder depth.
      head_dim: size of each head; heads x head_dim need not equal E.
      mlp_dim: hidden size of the feed-forward blocks.
      mlp_activations: ('relu',) for T5 1.0, ('gelu', 'linear') for T5 1.1.
      dropout_rate: probability in [0, 1), used everywhere.
      logits_via_embedding: reuse the token embedding for the logits, divided by sqrt(E).
      float32_attention_logits: multiply queries and keys in float32; the softmax is float32 in any case.
    """

    vocab_size: int
    dtype: Any = jnp.float32
    emb_dim: int = 512
    num_heads: int = 8
    num_encoder_layers: int = 6
    num_decoder_layers: int = 6
    head_dim: int = 64
    mlp_dim: int = 2048
    mlp_activations: Sequence[str] = ("relu",)
    dropout_rate: float = 0.1
    logits_via_embedding: bool = False
    float32_attention_logits: bool = False


def _norm(config: T5Config, name: str | None = None) -> layers.LayerNorm:
    return layers.LayerNorm(dtype=config.dtype, name=name)


def _dropout(config: T5Config) -> nn.Dropout:
    return nn.Dropout(config.dropout_rate, broadcast_dims=(-2,))


def _attention(config: T5Config, name: str) -> layers.MultiHeadDotProductAttention:
    return layers.MultiHeadDotProductAttention(
        num_heads=config.num_heads,
        head_dim=config.head_dim,
        dtype=config.dtype,
        dropout_rate=config.dropout_rate,
        float32_logits=config.float32_attention_logits,
        name=name,
    )


def _mlp(config: T5Config) -> layers.MlpBlock:
    return layers.MlpBlock(
        intermediate_dim=config.mlp_dim,
        activations=tuple(config.mlp_activations),
        intermediate_dropout_rate=config.dropout_rate,
        dtype=config.dtype,
        name="mlp",
    )


def _relpos(config: T5Config) -> layers.RelativePositionBiases:
    return layers.RelativePositionBiases(
        num_buckets=RELPOS_BUCKETS,
        max_distance=RELPOS_MAX_DISTANCE,
        num_heads=config.num_heads,
        dtype=config.dtype,
    )


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each pre-normed and residual."""

    config: T5Config

    @nn.compact
    def __call__(self, x: Array, mask: Array | None, bias: Array, deterministic: bool) -> Array:
        """Applies self-attention and the MLP.

        Args:
          x: [B, L, E].
          mask: which keys each query sees, [B, 1, L, L]; None for all.
          bias: position biases [1, H, queries, keys].
          deterministic: True switches dropout off.

        Returns:
          [B, L, E].
        """
        cfg = self.config
        y = _norm(cfg, "pre_attention_layer_norm")(x)
        y = _attention(cfg, "attention")(y, y, mask, bias, deterministic=deterministic)
        x = x + _dropout(cfg)(y, deterministic=deterministic)
        y = _norm(cfg, "pre_mlp_layer_norm")(x)
        y = _mlp(cfg)(y, deterministic=deterministic)
        return x + _dropout(cfg)(y, deterministic=deterministic)


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention and feed-forward, each pre-normed and residual."""

    config: T5Config

    @nn.compact
    def __call__(
        self,
        x: Array,
        encoded: Array,
        decoder_mask: Array | None,
        encoder_decoder_mask: Array | None,
        bias: Array,
        deterministic: bool,
        decode: bool,
        keep_kv: bool,
    ) -> Array:
        """Applies self-attention, cross-attention and the MLP.

        Args:
          x: [B, T, E].
          encoded: the encoder's output [B, L, E].
          decoder_mask: mask of self-attention [B, 1, T, T]; None for all.
          encoder_decoder_mask: mask of cross-attention [B, 1, T, L]; None for all.
          bias: position biases of self-attention [1, H, queries, keys].
          deterministic: True switches dropout off.
          decode: True for one position at a time, with a cache.
          keep_kv: store cross-attention keys and values in the cache.

        Returns:
          [B, T, E].
        """
        cfg = self.config
        y = _norm(cfg, "pre_self_attention_layer_norm")(x)
        attention = _attention(cfg, "self_attention")
        y = attention(y, y, decoder_mask, bias, deterministic=deterministic, decode=decode)
        x = x + _dropout(cfg)(y, deterministic=deterministic)
        y = _norm(cfg, "pre_cross_attention_layer_norm")(x)
        attention = _attention(cfg, "encoder_decoder_attention")
        y = attention(y, encoded, encoder_decoder_mask, deterministic=deterministic, keep_kv=keep_kv)
        x = x + _dropout(cfg)(y, deterministic=deterministic)
        y = _norm(cfg, "pre_mlp_layer_norm")(x)
        y = _mlp(cfg)(y, deterministic=deterministic)
        return x + _dropout(cfg)(y, deterministic=deterministic)


class Encoder(nn.Module):
    """The encoder stack over a shared token embedding."""

    config: T5Config
    shared_embedding: nn.Module

    def setup(self) -> None:
        cfg = self.config
        self.relpos_bias = _relpos(cfg)
        self.layers = [EncoderLayer(cfg) for _ in range(cfg.num_encoder_layers)]
        self.encoder_norm = _norm(cfg)
        self.input_dropout = _dropout(cfg)
        self.output_dropout = nn.Dropout(cfg.dropout_rate)

    def __call__(self, tokens: Array, mask: Array | None = None, deterministic: bool = False) -> Array:
        """Encodes tokens.

        Args:
          tokens: token ids [B, L].
          mask: which keys each query sees, [B, 1, L, L]; None for all.
          deterministic: True switches dropout off.

        Returns:
          [B, L, E].
        """
        bias = self.relpos_bias(tokens.shape[-1], tokens.shape[-1], True)
        x = self.input_dropout(self.shared_embedding(tokens), deterministic=deterministic)
        for layer in self.layers:
            x = layer(x, mask, bias, deterministic)
        return self.output_dropout(self.encoder_norm(x), deterministic=deterministic)


class Decoder(nn.Module):
    """The decoder stack over a shared token embedding, and the logits."""

    config: T5Config
    shared_embedding: nn.Module

    def setup(self) -> None:
        cfg = self.config
        self.relpos_bias = _relpos(cfg)
        self.layers = [DecoderLayer(cfg) for _ in range(cfg.num_decoder_layers)]
        self.decoder_norm = _norm(cfg)
        self.input_dropout = _dropout(cfg)
        self.output_dropout = _dropout(cfg)
        if not cfg.logits_via_embedding:
            self.logits_dense = layers.DenseGeneral(cfg.vocab_size, dtype=jnp.float32, kernel_axes=("embed", "vocab"))

    def __call__(
        self,
        encoded: Array,
        tokens: Array,
        decoder_mask: Array | None = None,
        encoder_decoder_mask: Array | None = None,
        deterministic: bool = False,
        decode: bool = False,
        keep_kv: bool = False,
    ) -> Array:
        """Hidden states after the final norm and its dropout.

        Args:
          encoded: the encoder's output [B, L, E].
          tokens: input token ids [B, T].
          decoder_mask: mask of self-attention [B, 1, T, T]; None for all.
          encoder_decoder_mask: mask of cross-attention [B, 1, T, L]; None for all.
          deterministic: True switches dropout off.
          decode: True for one position at a time, with a cache.
          keep_kv: store cross-attention keys and values in the cache.

        Returns:
          [B, T, E].
        """
        length, index = tokens.shape[-1], None
        if decode and self.layers and self.layers[0].has_variable("cache", "self_attention"):
            cache = self.layers[0].get_variable("cache", "self_attention")
            # Read before the layers run, because each of them advances its own copy.
            length, index = cache["cached_key"].shape[-1], cache["cache_index"]
        bias = self.relpos_bias(length, length, False, index)
        x = self.input_dropout(self.shared_embedding(tokens), deterministic=deterministic)
        for layer in self.layers:
            x = layer(x, encoded, decoder_mask, encoder_decoder_mask, bias, deterministic, decode, keep_kv)
        return self.output_dropout(self.decoder_norm(x), deterministic=deterministic)

    def head(self, hidden: Array) -> Array:
        """Maps hidden states [..., E] to float32 logits [..., V]."""
        if self.config.logits_via_embedding:
            return self.shared_embedding.attend(hidden) / jnp.sqrt(jnp.float32(hidden.shape[-1]))
        return self.logits_dense(hidden)


class Transformer(nn.Module):
    """T5: `__call__` for teacher forcing, `encode` and `decode` for generation."""

    config: T5Config

    def setup(self) -> None:
        cfg = self.config
        self.token_embedder = layers.Embed(
            num_embeddings=cfg.vocab_size,
            features=cfg.emb_dim,
            dtype=cfg.dtype,
            attend_dtype=jnp.float32,
            embedding_init=nn.initializers.normal(stddev=1.0),
        )
        self.encoder = Encoder(cfg, self.token_embedder)
        self.decoder = Decoder(cfg, self.token_embedder)

    def encode(
        self, encoder_input_tokens: Array, encoder_segment_ids: Array | None = None, enable_dropout: bool = True
    ) -> Array:
        """Encodes the input.

        Args:
          encoder_input_tokens: integers [B, L]; 0 is padding.
          encoder_segment_ids: [B, L] numbers of packed segments, or None.
          enable_dropout: needs a 'dropout' RNG unless the rate is 0.

        Returns:
          [B, L, E].
        """
        real = encoder_input_tokens > 0
        mask = layers.make_attention_mask(real, real)
        if encoder_segment_ids is not None:
            same = layers.make_attention_mask(encoder_segment_ids, encoder_segment_ids, jnp.equal)
            mask = layers.combine_masks(mask, same)
        return self.encoder(encoder_input_tokens, mask, deterministic=not enable_dropout)

    def decode_hidden(
        self,
        encoded: Array,
        encoder_input_tokens: Array,
        decoder_input_tokens: Array,
        decoder_target_tokens: Array,
        encoder_segment_ids: Array | None = None,
        decoder_segment_ids: Array | None = None,
        decoder_positions: Array | None = None,
        enable_dropout: bool = True,
        decode: bool = False,
        max_decode_length: int | None = None,
        keep_kv: bool = False,
    ) -> Array:
        """Runs the decoder up to its final norm (and dropout): `head` of the result are the logits.

        Args:
          encoded: [B, L, E] from `encode`.
          encoder_input_tokens: [B, L], for the mask.
          decoder_input_tokens: [B, T], targets shifted right; [B, 1] in a decoding step.
          decoder_target_tokens: [B, T], for the mask; ignored with `decode`.
          encoder_segment_ids: [B, L] or None.
          decoder_segment_ids: [B, T] or None.
          decoder_positions: accepted and unused: only differences inside a segment survive the mask.
          enable_dropout: needs a 'dropout' RNG unless the rate is 0.
          decode: one step with the cache (without a cache: allocate one of length T).
          max_decode_length: accepted and unused: the cache knows its length.
          keep_kv: store cross-attention keys and values in the cache.

        Returns:
          [B, T, E].

        Raises:
          ValueError: with `decode` and segment ids (packing makes no sense there).
        """
        del decoder_positions, max_decode_length
        real_inputs = encoder_input_tokens > 0
        if decode:
            if encoder_segment_ids is not None or decoder_segment_ids is not None:
                raise ValueError("decode=True takes no segment ids: decode unpacked examples (pack=False).")
            decoder_mask = None
            cross = layers.make_attention_mask(jnp.ones_like(decoder_input_tokens), real_inputs)
        else:
            decoder_mask = layers.make_decoder_mask(
                decoder_target_tokens, jnp.float32, decoder_segment_ids=decoder_segment_ids
            )
            cross = layers.make_attention_mask(decoder_target_tokens > 0, real_inputs)
            if encoder_segment_ids is not None:
                same = layers.make_attention_mask(decoder_segment_ids, encoder_segment_ids, jnp.equal)
                cross = layers.combine_masks(cross, same)
        return self.decoder(encoded, decoder_input_tokens, decoder_mask, cross, not enable_dropout, decode, keep_kv)

    def head(self, hidden: Array) -> Array:
        """Maps decoder hidden states [..., E] to float32 logits [..., V]."""
        return self.decoder.head(hidden)

    def decode(self, *args: Any, **kwargs: Any) -> Array:
        """Returns float32 logits [B, T, V]; `args` and `kwargs` are the arguments of `decode_hidden`."""
        return self.head(self.decode_hidden(*args, **kwargs))

    def init_cache(self, encoded: Array, encoder_input_tokens: Array, decoder_input_tokens: Array) -> None:
        """Allocates a cache for decoding and fills in cross-attention keys and values; apply it with `cache` mutable.

        Args:
          encoded: the encoder's output [B, L, E].
          encoder_input_tokens: [B, L]; padding is masked.
          decoder_input_tokens: any tokens [B, T]; their shape is the cache's.
        """
        ones = jnp.ones_like(decoder_input_tokens)
        self.decode_hidden(encoded, encoder_input_tokens, ones, ones, enable_dropout=False, decode=True, keep_kv=True)

    def __call__(
        self,
        encoder_input_tokens: Array,
        decoder_input_tokens: Array,
        decoder_target_tokens: Array,
        encoder_segment_ids: Array | None = None,
        decoder_segment_ids: Array | None = None,
        encoder_positions: Array | None = None,
        decoder_positions: Array | None = None,
        *,
        enable_dropout: bool = True,
        decode: bool = False,
    ) -> Array:
        """Encodes, then decodes with teacher forcing.

        Args:
          encoder_input_tokens: integers [B, L]; 0 is padding.
          decoder_input_tokens: integers [B, T], targets shifted right.
          decoder_target_tokens: integers [B, T]; 0 is padding.
          encoder_segment_ids: [B, L] numbers of packed segments, or None.
          decoder_segment_ids: [B, T], or None.
          encoder_positions: accepted and unused.
          decoder_positions: accepted and unused.
          enable_dropout: needs a 'dropout' RNG unless the rate is 0.
          decode: as in `decode_hidden`.

        Returns:
          float32 logits [B, T, V].
        """
        del encoder_positions
        encoded = self.encode(encoder_input_tokens, encoder_segment_ids, enable_dropout)
        tokens = (encoder_input_tokens, decoder_input_tokens, decoder_target_tokens)
        segments = (encoder_segment_ids, decoder_segment_ids, decoder_positions)
        return self.decode(encoded, *tokens, *segments, enable_dropout=enable_dropout, decode=decode)
