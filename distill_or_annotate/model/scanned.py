"""T5 with its layers under `flax.linen.scan`: one layer is traced and compiled, whatever the depth.

A drop-in for `t5x.examples.t5.network.Transformer` with its layers, configuration and methods. Where that network has
`encoder/layers_0`, `encoder/layers_1`, ..., this one has `encoder/layers` whose arrays carry a leading axis, by its
logical name `layers`; so has its decoding cache. `distill_or_annotate.model.stacking` keeps checkpoints the same.

Both networks compute the same function. With dropout on, both sample masks from one distribution but not the same
masks: Flax derives a module's random key from the module's path in the tree. The layers of the unscanned network have
paths of their own (`layers_0/mlp`, `layers_1/mlp`), which are folded into the key one by one. Under `scan` there is a
single path, `layers/mlp`: the key is split into as many as there are layers before the loop, and each turn folds the
same path into its own part. Giving both the same masks would mean to derive keys by hand in every layer. For the same
reason one seed initialises the two networks differently; `stack_layers` turns parameters of one into those of the
other.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen import partitioning

from t5x.examples.t5 import layers, network
from t5x.examples.t5.layers import Array

LAYERS_AXIS = "layers"
# What of a layer's forward pass is kept for its backward pass; the rest is computed again.
_POLICIES = {
    "none": None,
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


def _scan(body: Callable[..., Array], layer: nn.Module, x: Array, length: int, remat: str) -> Array:
    """Applies `body(layer, x) -> x` as often as there are layers, each time with the next layer's variables."""

    def turn(layer: nn.Module, x: Array) -> tuple[Array, None]:
        return body(layer, x), None

    if remat != "none":
        # A loop's body can't be merged with another turn's, so the barriers against that would only cost.
        turn = nn.remat(turn, policy=_POLICIES[remat], prevent_cse=False)
    scanned = partitioning.scan_with_axes(
        turn,
        variable_axes={"params": 0, "cache": 0},
        split_rngs={"params": True, "dropout": True},
        length=length,
        axis_name=LAYERS_AXIS,
    )
    return scanned(layer, x)[0]


class Encoder(network.Encoder):
    """The encoder stack over a shared token embedding, its layers scanned.

    Attributes:
      remat: see `Transformer`.
    """

    remat: str = "none"

    def setup(self) -> None:
        cfg = self.config
        self.relpos_bias = network._relpos(cfg)
        self.layers = network.EncoderLayer(cfg)
        self.encoder_norm = network._norm(cfg)
        self.input_dropout = network._dropout(cfg)
        self.output_dropout = nn.Dropout(cfg.dropout_rate)

    def __call__(self, tokens: Array, mask: Array | None = None, deterministic: bool = False) -> Array:
        bias = self.relpos_bias(tokens.shape[-1], tokens.shape[-1], True)
        x = self.input_dropout(self.shared_embedding(tokens), deterministic=deterministic)

        def body(layer: nn.Module, x: Array) -> Array:
            return layer(x, mask, bias, deterministic)

        x = _scan(body, self.layers, x, self.config.num_encoder_layers, self.remat)
        return self.output_dropout(self.encoder_norm(x), deterministic=deterministic)


class Decoder(network.Decoder):
    """The decoder stack over a shared token embedding, its layers scanned, and the logits.

    Attributes:
      remat: see `Transformer`.
    """

    remat: str = "none"

    def setup(self) -> None:
        cfg = self.config
        self.relpos_bias = network._relpos(cfg)
        self.layers = network.DecoderLayer(cfg)
        self.decoder_norm = network._norm(cfg)
        self.input_dropout = network._dropout(cfg)
        self.output_dropout = network._dropout(cfg)
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
        length, index = tokens.shape[-1], None
        if decode and self.layers.has_variable("cache", "self_attention"):
            cache = self.layers.get_variable("cache", "self_attention")
            # Read before the layers run, because each of them advances its own copy; they all stand at one position.
            length, index = cache["cached_key"].shape[-1], cache["cache_index"][0]
        bias = self.relpos_bias(length, length, False, index)
        x = self.input_dropout(self.shared_embedding(tokens), deterministic=deterministic)

        def body(layer: nn.Module, x: Array) -> Array:
            return layer(x, encoded, decoder_mask, encoder_decoder_mask, bias, deterministic, decode, keep_kv)

        # Nothing is differentiated through a cache.
        remat = "none" if decode or keep_kv else self.remat
        x = _scan(body, self.layers, x, self.config.num_decoder_layers, remat)
        return self.output_dropout(self.decoder_norm(x), deterministic=deterministic)


class Transformer(network.Transformer):
    """T5 with scanned layers; methods, arguments and results are those of `network.Transformer`.

    Attributes:
      remat: what a layer keeps of its forward pass for its backward pass: 'none' recomputes nothing, 'full' recomputes
        the layer from its input, 'dots' keeps the results of products with parameters.
    """

    remat: str = "none"
    # Where the axis of the rows is in the cache: behind that of the layers.
    scan_layers = True

    def setup(self) -> None:
        if self.remat not in _POLICIES:
            near = difflib.get_close_matches(str(self.remat), _POLICIES, n=1) or ["none"]
            raise ValueError(
                f"scanned.Transformer.remat is {self.remat!r}; allowed: {', '.join(map(repr, _POLICIES))}. "
                f"Fix: scanned.Transformer.remat = {near[0]!r}."
            )
        cfg = self.config
        self.token_embedder = layers.Embed(
            num_embeddings=cfg.vocab_size,
            features=cfg.emb_dim,
            dtype=cfg.dtype,
            attend_dtype=jnp.float32,
            embedding_init=nn.initializers.normal(stddev=1.0),
        )
        self.encoder = Encoder(cfg, self.token_embedder, remat=self.remat)
        self.decoder = Decoder(cfg, self.token_embedder, remat=self.remat)
