"""Layers of the T5 network, with the parameter tree and the logical axis names that T5X checkpoints use.

Dimension letters: B batch, L encoder length, T decoder length, q/k query/key length, E embed, H heads, D head_dim,
V vocabulary.

Where this differs from T5X on purpose, with the same meaning:
  * attention logits are accumulated, and their softmax is taken, in float32 whatever the compute dtype is;
  * embeddings are gathered instead of multiplied with one-hot rows;
  * the relative bias is looked up for the q + k - 1 distances only and then laid out along diagonals;
  * cross-attention can keep its projected keys and values in the cache (`keep_kv`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.partitioning import param_with_axes, with_sharding_constraint
from jax import lax

Array = jax.Array
DType = Any
Initializer = Callable[..., Array]

# Additive bias of a masked position; far below any logit, and finite so that a fully masked row stays a number.
MASKED = -1e10

_default_kernel_init = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
_attention_kernel_init = nn.initializers.variance_scaling(1.0, "fan_in", "normal")


def dot_product_attention(
    query: Array,
    key: Array,
    value: Array,
    bias: Array | None = None,
    dropout_rng: Array | None = None,
    dropout_rate: float = 0.0,
    deterministic: bool = False,
    dtype: DType = jnp.float32,
    float32_logits: bool = False,
) -> Array:
    """Computes softmax(query key^T + bias) value, without dividing by sqrt(D).

    Args:
      query: [B, q, H, D].
      key: [B, k, H, D].
      value: [B, k, H, D].
      bias: additive, broadcastable to [B, H, q, k].
      dropout_rng: key for dropout on the probabilities; needed when it is on.
      dropout_rate: probability in [0, 1) of dropping a key, shared by all queries.
      deterministic: True switches dropout off.
      dtype: dtype of the probabilities and of the result.
      float32_logits: also multiply query and key in float32 (the softmax is float32 in any case).

    Returns:
      [B, q, H, D] in `dtype`.

    Raises:
      ValueError: if the shapes of query, key and value disagree.
    """
    if key.shape != value.shape or query.shape[0] != key.shape[0] or query.shape[2:] != key.shape[2:]:
        raise ValueError(
            f"query {query.shape}, key {key.shape} and value {value.shape} must be [B, q, H, D], [B, k, H, D] and "
            "[B, k, H, D] with equal B, H and D."
        )
    probs = _attention_probs("bqhd,bkhd->bhqk", query, key, bias, float32_logits)
    probs = _drop_keys(probs, dropout_rng, dropout_rate, deterministic)
    return jnp.einsum("bhqk,bkhd->bqhd", probs.astype(dtype), value.astype(dtype))


def _attention_probs(spec: str, query: Array, key: Array, bias: Array | None, float32_logits: bool) -> Array:
    """Returns float32 attention probabilities [B, H, q, k]."""
    if float32_logits:
        query, key = query.astype(jnp.float32), key.astype(jnp.float32)
    logits = jnp.einsum(spec, query, key, preferred_element_type=jnp.float32)
    if bias is not None:
        logits = logits + bias.astype(jnp.float32)
    return jax.nn.softmax(logits, axis=-1)


def _drop_keys(probs: Array, rng: Array | None, rate: float, deterministic: bool) -> Array:
    """Drops whole keys (one mask for all queries) and rescales the rest."""
    if deterministic or rate == 0.0:
        return probs
    if rng is None:
        raise ValueError(f"dropout_rng is None while dropout_rate={rate}: pass a key, or deterministic=True.")
    keep = jax.random.bernoulli(rng, 1.0 - rate, (*probs.shape[:-2], 1, probs.shape[-1]))
    return probs * (keep.astype(probs.dtype) / (1.0 - rate))


class DenseGeneral(nn.Module):
    """Linear map without bias over any axes; its kernel is stored with two dimensions.

    Attributes:
      features: size(s) of the output axes.
      axis: input axis or axes that are contracted.
      dtype: compute dtype.
      kernel_init: initialiser, called with the two-dimensional shape.
      kernel_axes: the two logical axis names of the kernel.
    """

    features: int | Iterable[int]
    axis: int | Iterable[int] = -1
    dtype: DType = jnp.float32
    kernel_init: Initializer = _default_kernel_init
    kernel_axes: tuple[str, ...] = ()

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """Applies the map; the output axes replace the contracted ones at the end."""
        features = (self.features,) if isinstance(self.features, int) else tuple(self.features)
        axis = (self.axis,) if isinstance(self.axis, int) else tuple(self.axis)
        axis = tuple(a % inputs.ndim for a in axis)
        size = math.prod(inputs.shape[a] for a in axis)
        kernel = param_with_axes(
            "kernel",
            self.kernel_init,
            (size, math.prod(features)),
            jnp.float32,
            axes=tuple(self.kernel_axes) or None,
        )
        inputs = jnp.moveaxis(jnp.asarray(inputs, self.dtype), axis, range(-len(axis), 0))
        rows = inputs.shape[: -len(axis)]
        # As one matrix: contracted over two axes, the kernel's gradient makes XLA transpose the whole cotangent on CPU.
        out = jnp.dot(inputs.reshape(-1, size), jnp.asarray(kernel, self.dtype))
        return out.reshape(rows + features)


class MultiHeadDotProductAttention(nn.Module):
    """Multi-head attention with a key/value cache for decoding one token at a time.

    Attributes:
      num_heads: number of heads H.
      head_dim: size D of each head.
      dtype: compute dtype.
      dropout_rate: probability of dropping a key.
      kernel_init: initialiser of the four kernels; the query's is further divided by sqrt(D).
      float32_logits: multiply queries and keys in float32.
    """

    num_heads: int
    head_dim: int
    dtype: DType = jnp.float32
    dropout_rate: float = 0.0
    kernel_init: Initializer = _attention_kernel_init
    float32_logits: bool = False

    @nn.compact
    def __call__(
        self,
        inputs_q: Array,
        inputs_kv: Array,
        mask: Array | None = None,
        bias: Array | None = None,
        *,
        decode: bool = False,
        deterministic: bool = False,
        keep_kv: bool = False,
    ) -> Array:
        """Attends from `inputs_q` to `inputs_kv`.

        Args:
          inputs_q: [B, q, E].
          inputs_kv: [B, k, E]; unused once keys and values were kept (see `keep_kv`).
          mask: broadcastable to [B, H, q, k], positive where attention is allowed.
          bias: additive, broadcastable to [B, H, q, k]; in decode mode the current position's row, or all rows.
          decode: self-attention over cached keys and values; the first call (without a cache) only allocates it.
          deterministic: True switches dropout off.
          keep_kv: ours: store the projected keys and values as `kept_key`, `kept_value` [B, H, D, k] in the cache;
            calls that find them there use them. Their batch may be smaller than B: rows are then in groups (beams).

        Returns:
          [B, q, E] in `dtype`.

        Raises:
          ValueError: if a decoding step gets more than one query position.
        """
        project = functools.partial(
            DenseGeneral,
            features=(self.num_heads, self.head_dim),
            dtype=self.dtype,
            kernel_axes=("embed", "joined_kv"),
        )

        def query_init(*args: Any) -> Array:
            return self.kernel_init(*args) / np.sqrt(self.head_dim).astype(np.float32)

        query = _constrain(project(kernel_init=query_init, name="query")(inputs_q))
        bias = combine_biases(bias)
        if not decode and not self.is_initializing() and self.has_variable("cache", "kept_key"):
            out = self._attend_kept(query, mask, bias)
        else:
            key = _constrain(project(kernel_init=self.kernel_init, name="key")(inputs_kv))
            value = _constrain(project(kernel_init=self.kernel_init, name="value")(inputs_kv))
            if keep_kv:
                self.variable("cache", "kept_key", lambda: key.transpose(0, 2, 3, 1))
                self.variable("cache", "kept_value", lambda: value.transpose(0, 2, 3, 1))
            has_cache = self.has_variable("cache", "cached_key")
            if decode:
                length, cached_key, cached_value, index = self._cache(key)
            if decode and has_cache:
                key, value, current = _write_cache(cached_key, cached_value, index, query, key, value)
                seen = lax.broadcasted_iota(jnp.int32, (1, 1, 1, length), 3) <= current
                mask = combine_masks(mask, seen)
                if bias is not None and bias.shape[-2] > 1:
                    bias = lax.dynamic_slice_in_dim(bias, current, 1, axis=-2)
                out = self._attend_cache(query, key, value, combine_biases(_mask_to_bias(mask), bias))
            else:
                rng = None if deterministic or self.dropout_rate == 0.0 else self.make_rng("dropout")
                options = (rng, self.dropout_rate, deterministic, self.dtype, self.float32_logits)
                out = dot_product_attention(query, key, value, combine_biases(_mask_to_bias(mask), bias), *options)
        return DenseGeneral(
            features=inputs_q.shape[-1],
            axis=(-2, -1),
            dtype=self.dtype,
            kernel_init=self.kernel_init,
            kernel_axes=("joined_kv", "embed"),
            name="out",
        )(out)

    def _cache(self, key: Array) -> tuple[int, nn.Variable, nn.Variable, nn.Variable]:
        """Returns the cache's length and its three variables, allocating them where they are missing."""
        batch, length, heads, depth = key.shape
        shape = (batch, heads, depth, length)
        cached_key = self.variable("cache", "cached_key", jnp.zeros, shape, jnp.dtype(self.dtype))
        cached_value = self.variable("cache", "cached_value", jnp.zeros, shape, jnp.dtype(self.dtype))
        index = self.variable("cache", "cache_index", lambda: jnp.zeros((), jnp.int32))
        return cached_key.value.shape[-1], cached_key, cached_value, index

    def _attend_cache(self, query: Array, key: Array, value: Array, bias: Array | None) -> Array:
        """Attends to keys and values in the cache's layout [B, H, D, k]."""
        probs = _attention_probs("bqhd,bhdk->bhqk", query, key, bias, self.float32_logits)
        return jnp.einsum("bhqk,bhdk->bqhd", probs.astype(self.dtype), value)

    def _attend_kept(self, query: Array, mask: Array | None, bias: Array | None) -> Array:
        """Attends to kept keys and values; beams of one example become query positions, so that nothing is copied."""
        key, value = self.get_variable("cache", "kept_key"), self.get_variable("cache", "kept_value")
        rows, groups = query.shape[0], query.shape[0] // key.shape[0]
        bias = combine_biases(_mask_to_bias(mask), bias)
        if groups == 1:
            return self._attend_cache(query, key, value, bias)
        if rows != groups * key.shape[0]:
            raise ValueError(f"{rows} query rows are not a multiple of the {key.shape[0]} rows of kept keys.")
        length = query.shape[1]
        grouped = query.reshape(key.shape[0], groups * length, *query.shape[2:])
        if bias is not None:
            bias = jnp.broadcast_to(bias, (rows, bias.shape[1], length, key.shape[-1]))
            bias = bias.reshape(key.shape[0], groups, *bias.shape[1:]).swapaxes(1, 2)
            bias = bias.reshape(key.shape[0], bias.shape[1], groups * length, key.shape[-1])
        return self._attend_cache(grouped, key, value, bias).reshape(query.shape)


def _constrain(heads_BxLxHxD: Array) -> Array:
    return with_sharding_constraint(heads_BxLxHxD, ("batch", "length", "heads", "kv"))


def _mask_to_bias(mask: Array | None) -> Array | None:
    return None if mask is None else jnp.where(mask > 0, jnp.float32(0), jnp.float32(MASKED))


def _write_cache(
    cached_key: nn.Variable, cached_value: nn.Variable, index: nn.Variable, query: Array, key: Array, value: Array
) -> tuple[Array, Array, Array]:
    """Writes one position into the cache, advances the index; returns all keys, all values and the position written."""
    batch, heads, depth, _ = cached_key.value.shape
    expected = (batch, 1, heads, depth)
    if query.shape != expected:
        raise ValueError(f"A decoding step takes one query of shape {expected}, got {query.shape}; feed tokens [B, 1].")
    current = index.value
    for variable, new in ((cached_key, key), (cached_value, value)):
        new = new.transpose(0, 2, 3, 1).astype(variable.value.dtype)
        variable.value = lax.dynamic_update_slice_in_dim(variable.value, new, current, axis=3)
    index.value = current + 1
    return cached_key.value, cached_value.value, current


class MlpBlock(nn.Module):
    """Feed-forward block: the product of the activations of one or more input maps, then an output map.

    Attributes:
      intermediate_dim: hidden size M.
      activations: one name (or function) per input map; 'linear' is the identity, others come from `flax.linen`.
      kernel_init: initialiser of all kernels.
      intermediate_dropout_rate: dropout before the output map, shared along the length axis.
      dtype: compute dtype.
    """

    intermediate_dim: int = 2048
    activations: Sequence[str | Callable[[Array], Array]] = ("relu",)
    kernel_init: Initializer = _default_kernel_init
    intermediate_dropout_rate: float = 0.1
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, inputs: Array, decode: bool = False, deterministic: bool = False) -> Array:
        """Applies the block to each position.

        Args:
          inputs: [B, L, E].
          decode: accepted for T5X's sake; changes nothing.
          deterministic: True switches dropout off.

        Returns:
          [B, L, E].
        """
        del decode
        dense = functools.partial(DenseGeneral, dtype=self.dtype, kernel_init=self.kernel_init)
        hidden = None
        for i, activation in enumerate(self.activations):
            name = "wi" if len(self.activations) == 1 else f"wi_{i}"
            x = dense(self.intermediate_dim, kernel_axes=("embed", "mlp"), name=name)(inputs)
            x = _activation(activation)(x)
            hidden = x if hidden is None else hidden * x
        drop = nn.Dropout(self.intermediate_dropout_rate, broadcast_dims=(-2,))
        hidden = drop(hidden, deterministic=deterministic)
        hidden = with_sharding_constraint(hidden, ("batch", "length", "mlp"))
        return dense(inputs.shape[-1], kernel_axes=("mlp", "embed"), name="wo")(hidden)


def _activation(name_or_fn: str | Callable[[Array], Array]) -> Callable[[Array], Array]:
    if callable(name_or_fn):
        return name_or_fn
    if name_or_fn == "linear":
        return lambda x: x
    fn = getattr(nn, name_or_fn, None)
    if fn is None:
        raise ValueError(
            f"mlp activation {name_or_fn!r} is unknown: use 'linear' or a name in flax.linen such as 'gelu'."
        )
    return fn


class Embed(nn.Module):
    """Token embedding, optionally reused to compute logits.

    Attributes:
      num_embeddings: vocabulary size V.
      features: embedding size E.
      cast_input_dtype: integer dtype to cast the tokens to first, or None.
      dtype: dtype of the embedded tokens.
      attend_dtype: dtype in which `attend` computes (default: `dtype`).
      embedding_init: initialiser.
      one_hot: multiply one-hot rows instead of gathering, as T5X does on TPU.
    """

    num_embeddings: int
    features: int
    cast_input_dtype: DType | None = None
    dtype: DType = jnp.float32
    attend_dtype: DType | None = None
    embedding_init: Initializer = nn.initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0)
    one_hot: bool = False

    def setup(self) -> None:
        self.embedding = param_with_axes(
            "embedding",
            self.embedding_init,
            (self.num_embeddings, self.features),
            jnp.float32,
            axes=("vocab", "embed"),
            module=self,
        )

    def __call__(self, inputs: Array) -> Array:
        """Embeds integer tokens of any shape [...] as [..., E]; a token outside [0, V) becomes NaN when gathered."""
        if self.cast_input_dtype is not None:
            inputs = inputs.astype(self.cast_input_dtype)
        if not jnp.issubdtype(inputs.dtype, jnp.integer):
            raise ValueError(f"Tokens must be integers, got dtype {inputs.dtype}: cast them to int32.")
        if self.one_hot:
            rows = jax.nn.one_hot(inputs, self.num_embeddings, dtype=self.dtype)
            return jnp.dot(rows, jnp.asarray(self.embedding, self.dtype))
        # Gathered in float32 and cast afterwards: casting the table would touch V x E numbers at every call.
        output = jnp.take(self.embedding, inputs, axis=0).astype(self.dtype)
        if output.ndim == 3:
            output = with_sharding_constraint(output, ("batch", "length", "embed"))
        return output

    def attend(self, query: Array) -> Array:
        """Multiplies [..., E] with the transposed table; returns [..., V] in `attend_dtype`."""
        dtype = self.attend_dtype if self.attend_dtype is not None else self.dtype
        rows = query.astype(dtype).reshape(-1, self.features)  # one matrix, as in `DenseGeneral`
        return jnp.dot(rows, jnp.asarray(self.embedding, dtype).T).reshape(*query.shape[:-1], self.num_embeddings)


class RelativePositionBiases(nn.Module):
    """Learnt bias per head and bucket of relative distance.

    Attributes:
      num_buckets: number of buckets (half of them per direction when bidirectional).
      max_distance: distance from which all share the last bucket.
      num_heads: number of heads H.
      dtype: dtype of the bias.
      embedding_init: initialiser of the [H, num_buckets] table.
    """

    num_buckets: int
    max_distance: int
    num_heads: int
    dtype: DType = jnp.float32
    embedding_init: Initializer = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")

    @staticmethod
    def _relative_position_bucket(
        relative_position: Array, bidirectional: bool = True, num_buckets: int = 32, max_distance: int = 128
    ) -> Array:
        """Buckets `relative_position` = key index - query index (integers of any shape) into [0, num_buckets)."""
        distance = -jnp.asarray(relative_position, jnp.int32)
        offset = jnp.zeros_like(distance)
        if bidirectional:
            num_buckets //= 2
            offset = jnp.where(distance < 0, num_buckets, 0)
            distance = jnp.abs(distance)
        else:
            distance = jnp.maximum(distance, 0)
        exact = num_buckets // 2
        # The epsilon keeps log finite at 0 (that branch is discarded) and stays far below one bucket elsewhere.
        ratio = jnp.log(distance.astype(jnp.float32) / exact + jnp.finfo(jnp.float32).eps)
        scale = np.float32((num_buckets - exact) / math.log(max_distance / exact))
        far = jnp.minimum(exact + (ratio * scale).astype(jnp.int32), num_buckets - 1)
        return offset + jnp.where(distance < exact, distance, far)

    @nn.compact
    def __call__(self, qlen: int, klen: int, bidirectional: bool = True, query_index: Array | None = None) -> Array:
        """Biases by the distance from query to key.

        Args:
          qlen: number of queries.
          klen: number of keys.
          bidirectional: whether keys before and after the query have buckets of their own (encoder).
          query_index: ours: the one query position that is wanted.

        Returns:
          The biases [1, H, qlen, klen], or with `query_index` that one row of them [1, H, 1, klen].
        """
        table = param_with_axes(
            "rel_embedding",
            self.embedding_init,
            (self.num_heads, self.num_buckets),
            jnp.float32,
            axes=("heads", "relpos_buckets"),
        )
        rows = qlen if query_index is None else klen
        distance = np.arange(1 - rows, klen, dtype=np.int32)
        bucket = self._relative_position_bucket(distance, bidirectional, self.num_buckets, self.max_distance)
        by_distance = jnp.take(table, bucket, axis=1, mode="clip").astype(self.dtype)
        if query_index is None:
            return _diagonals(by_distance, qlen, klen)[None]
        # A slice of the same numbers: computed anew at each step, a device's logarithm might round to another bucket.
        return lax.dynamic_slice_in_dim(by_distance, klen - 1 - query_index, klen, axis=1)[None, :, None, :]


def _diagonals(by_distance: Array, qlen: int, klen: int) -> Array:
    """Lays [H, qlen + klen - 1] values of (key - query) out as [H, qlen, klen], by reshapes alone (no gather)."""
    heads, count = by_distance.shape
    rows = jnp.broadcast_to(jnp.pad(by_distance, ((0, 0), (0, 1)))[:, None, :], (heads, qlen, count + 1))
    flat = rows.reshape(heads, qlen * (count + 1))[:, qlen - 1 : qlen - 1 + qlen * count]
    return flat.reshape(heads, qlen, count)[:, :, :klen]


class LayerNorm(nn.Module):
    """RMS normalisation: no mean, no bias, statistics in float32.

    Attributes:
      epsilon: added to the mean square.
      dtype: dtype of the result.
      scale_init: initialiser of the scale.
    """

    epsilon: float = 1e-6
    dtype: DType = jnp.float32
    scale_init: Initializer = nn.initializers.ones

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Normalises the last axis of [..., E]."""
        x = jnp.asarray(x, jnp.float32)
        scale = param_with_axes("scale", self.scale_init, (x.shape[-1],), jnp.float32, axes=("embed",))
        normed = x * lax.rsqrt(jnp.mean(lax.square(x), axis=-1, keepdims=True) + self.epsilon)
        scale = jnp.asarray(scale, self.dtype).reshape((1,) * (x.ndim - 1) + (-1,))
        return normed.astype(self.dtype) * scale


def make_attention_mask(
    query_input: Array,
    key_input: Array,
    pairwise_fn: Callable[[Array, Array], Array] = jnp.multiply,
    extra_batch_dims: int = 0,
    dtype: DType = jnp.float32,
) -> Array:
    """Combines per-position values pairwise into a mask.

    Args:
      query_input: [B, q].
      key_input: [B, k].
      pairwise_fn: elementwise function of the two.
      extra_batch_dims: number of axes of size 1 to put in front.
      dtype: dtype of the mask.

    Returns:
      [B, 1, q, k], with `extra_batch_dims` further axes in front.
    """
    mask = pairwise_fn(jnp.expand_dims(query_input, -1), jnp.expand_dims(key_input, -2))
    mask = jnp.expand_dims(mask, -3)
    return jnp.expand_dims(mask, tuple(range(extra_batch_dims))).astype(dtype)


def make_causal_mask(x: Array, extra_batch_dims: int = 0, dtype: DType = jnp.float32) -> Array:
    """Mask that lets each position see itself and what comes before.

    Args:
      x: any array [B, T]; only its shape is read.
      extra_batch_dims: number of axes of length 1 to put in front.
      dtype: dtype of the mask.

    Returns:
      Ones and zeros, [B, 1, T, T] after the extra axes.
    """
    index = jnp.broadcast_to(jnp.arange(x.shape[-1], dtype=jnp.int32).reshape((1,) * (x.ndim - 1) + (-1,)), x.shape)
    return make_attention_mask(index, index, jnp.greater_equal, extra_batch_dims, dtype)


def combine_masks(*masks: Array | None, dtype: DType = jnp.float32) -> Array | None:
    """Returns the logical AND, as `dtype`, of the `masks` that are not None (all of one rank), or None without any."""
    present = [m for m in masks if m is not None]
    _check_ranks("masks", present)
    if not present:
        return None
    return functools.reduce(jnp.logical_and, [m > 0 if m.dtype != jnp.bool_ else m for m in present]).astype(dtype)


def combine_biases(*biases: Array | None) -> Array | None:
    """Returns the sum of the biases that are not None (all of one rank), or None without any."""
    present = [b for b in biases if b is not None]
    _check_ranks("biases", present)
    return functools.reduce(jnp.add, present) if present else None


def _check_ranks(what: str, arrays: list[Array]) -> None:
    if len({a.ndim for a in arrays}) > 1:
        raise ValueError(f"{what} must have one rank, got shapes {[a.shape for a in arrays]}.")


def make_decoder_mask(
    decoder_target_tokens: Array,
    dtype: DType,
    decoder_causal_attention: Array | None = None,
    decoder_segment_ids: Array | None = None,
) -> Array:
    """Makes the decoder's self-attention mask.

    Args:
      decoder_target_tokens: [B, T]; zeros are padding, which neither sees nor is seen.
      dtype: dtype of the mask.
      decoder_causal_attention: [B, T], 1 where positions see each other in both directions (a prefix), or None.
      decoder_segment_ids: [B, T] numbers of packed segments, which don't see each other, or None.

    Returns:
      [B, 1, T, T].
    """
    mask = make_causal_mask(decoder_target_tokens, dtype=dtype)
    if decoder_causal_attention is not None:
        prefix = make_attention_mask(decoder_causal_attention, decoder_causal_attention, jnp.logical_and, dtype=dtype)
        mask = jnp.logical_or(mask, prefix).astype(dtype)
    real = decoder_target_tokens > 0
    masks = [mask, make_attention_mask(real, real, dtype=dtype)]
    if decoder_segment_ids is not None:
        masks.append(make_attention_mask(decoder_segment_ids, decoder_segment_ids, jnp.equal, dtype=dtype))
    return combine_masks(*masks, dtype=dtype)
