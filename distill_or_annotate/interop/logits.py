"""The logits of a stored model on a few tokens, in NumPy, with one piece of one tensor in memory at a time.

It serves to compare a model before and after a conversion. Each form is read here under its own names and axes, apart
from the table that conversions use (`naming`), so that a mistake in the table shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from distill_or_annotate.interop.naming import NORM_EPSILON, RELATIVE_BUCKETS, RELATIVE_MAX_DISTANCE, Sizes
from distill_or_annotate.interop.tensors import StoredTensor

_MASKED = -1e10


class T5xWeights:
    """A model under T5X's names: kernels are [in, out], biases [heads, buckets].

    Args:
      tensors: tensors by slash-joined name.
    """

    def __init__(self, tensors: Mapping[str, StoredTensor]) -> None:
        self._tensors = tensors

    def embedded(self, tokens: np.ndarray) -> np.ndarray:
        """Rows of the embedding, [..., width], of `tokens`."""
        return self._tensors["token_embedder/embedding"].rows(tokens)

    def bias(self, stack: str) -> np.ndarray:
        """The relative position biases of a `stack`, [heads, buckets]."""
        return self._tensors[f"{stack}/relpos_bias/rel_embedding"].whole()

    def scale(self, stack: str, layer: int | None, before: str) -> np.ndarray:
        """The scale of a norm, [width].

        Args:
          stack: `encoder` or `decoder`.
          layer: its number; None for the norm at the end.
          before: the sub-layer that follows the norm: `self`, `cross` or `mlp`.

        Returns:
          The scale.
        """
        if layer is None:
            return self._tensors[f"{stack}/{stack}_norm/scale"].whole()
        middle = {"mlp": "mlp", "cross": "cross_attention", "self": "self_attention"}[before]
        middle = "attention" if (stack, before) == ("encoder", "self") else middle
        return self._tensors[f"{stack}/layers_{layer}/pre_{middle}_layer_norm/scale"].whole()

    def product(self, x: np.ndarray, stack: str, layer: int, block: str, part: str) -> np.ndarray:
        """Applies one matrix.

        Args:
          x: [..., in].
          stack: `encoder` or `decoder`.
          layer: its number.
          block: `self`, `cross` or `mlp`.
          part: `q`, `k`, `v`, `o`, `wi`, `wi_0`, `wi_1` or `wo`.

        Returns:
          [..., out].
        """
        blocks = {"mlp": "mlp", "cross": "encoder_decoder_attention", "self": "self_attention"}
        name = "attention" if (stack, block) == ("encoder", "self") else blocks[block]
        part = {"q": "query", "k": "key", "v": "value", "o": "out"}.get(part, part)
        return self._times(x, f"{stack}/layers_{layer}/{name}/{part}/kernel")

    def head(self, x: np.ndarray) -> np.ndarray:
        """Logits of an untied head, [..., vocab], for hidden states `x`."""
        return self._times(x, "decoder/logits_dense/kernel")

    def tied_head(self, x: np.ndarray) -> np.ndarray:
        """Unscaled logits of the embedding, [..., vocab], for hidden states `x`."""
        return _by_rows(x, self._tensors["token_embedder/embedding"])

    def _times(self, x: np.ndarray, name: str) -> np.ndarray:
        return np.concatenate(
            [x @ piece.astype(np.float32, copy=False) for _, _, piece in self._tensors[name].pieces(1)], -1
        )


class HuggingFaceWeights:
    """A model under Hugging Face's names: weights are [out, in], biases [buckets, heads].

    Args:
      tensors: tensors by dotted name.
    """

    def __init__(self, tensors: Mapping[str, StoredTensor]) -> None:
        self._tensors = tensors

    def embedded(self, tokens: np.ndarray) -> np.ndarray:
        """As in `T5xWeights`, for `tokens`."""
        return self._tensors["shared.weight"].rows(tokens)

    def bias(self, stack: str) -> np.ndarray:
        """As in `T5xWeights`, for a `stack`."""
        return self._tensors[f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"].whole().T

    def scale(self, stack: str, layer: int | None, before: str) -> np.ndarray:
        """The scale of the norm before sub-layer `before` of `layer` of a `stack`, as in `T5xWeights`."""
        if layer is None:
            return self._tensors[f"{stack}.final_layer_norm.weight"].whole()
        return self._tensors[f"{stack}.block.{layer}.layer.{self._place(stack, before)}.layer_norm.weight"].whole()

    def product(self, x: np.ndarray, stack: str, layer: int, block: str, part: str) -> np.ndarray:
        """Applies matrix `part` of `block` of `layer` of a `stack` to `x`, as in `T5xWeights`."""
        name = {"self": "SelfAttention", "cross": "EncDecAttention", "mlp": "DenseReluDense"}[block]
        prefix = f"{stack}.block.{layer}.layer.{self._place(stack, block)}"
        return _by_rows(x, self._tensors[f"{prefix}.{name}.{part}.weight"])

    def head(self, x: np.ndarray) -> np.ndarray:
        """As in `T5xWeights`, for `x`."""
        return _by_rows(x, self._tensors["lm_head.weight"])

    def tied_head(self, x: np.ndarray) -> np.ndarray:
        """As in `T5xWeights`, for `x`."""
        return _by_rows(x, self._tensors["shared.weight"])

    @staticmethod
    def _place(stack: str, block: str) -> int:
        return {"self": 0, "cross": 1, "mlp": 1 if stack == "encoder" else 2}[block]


def _by_rows(x: np.ndarray, tensor: StoredTensor) -> np.ndarray:
    return np.concatenate([x @ piece.astype(np.float32, copy=False).T for _, _, piece in tensor.pieces(0)], -1)


def fixed_batch(vocab_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Token ids to compare logits on, spread over the vocabulary: inputs [2, 9] with padding, targets [2, 6].

    Args:
      vocab_size: rows of the embedding, above 3.

    Returns:
      The encoder's input and the decoder's targets; 0 is padding, 1 ends a sequence.
    """
    spread = np.linspace(2, vocab_size - 1, 30).astype(np.int64)
    inputs, targets = spread[np.arange(18) * 11 % 30].reshape(2, 9), spread[np.arange(12) * 7 % 30].reshape(2, 6)
    inputs[:, -1] = targets[:, -1] = 1
    inputs[1, 4:] = [1, 0, 0, 0, 0]
    targets[1, 3:] = [1, 0, 0]
    return inputs, targets


def compute(
    weights: T5xWeights | HuggingFaceWeights,
    sizes: Sizes,
    inputs: np.ndarray,
    targets: np.ndarray,
    advance: Callable[[int], Any] | None = None,
) -> np.ndarray:
    """Teacher-forced float32 logits.

    Args:
      weights: the stored model.
      sizes: its sizes.
      inputs: token ids [batch, input length]; 0 is padding.
      targets: token ids [batch, target length]; 0 is padding.
      advance: called with 1 after each layer; None does nothing.

    Returns:
      [batch, target length, vocab].
    """
    shifted = np.pad(targets[:, :-1], ((0, 0), (1, 0)))
    real = inputs > 0
    length = targets.shape[1]

    encoder_bias = _position_bias(weights.bias("encoder"), inputs.shape[1], bidirectional=True)
    encoder_bias = encoder_bias + np.where(real[:, None, None, :], 0, _MASKED).astype(np.float32)
    x = weights.embedded(inputs)
    for layer in range(sizes.num_encoder_layers):
        x = x + _attention(weights, sizes, x, None, "encoder", layer, "self", encoder_bias)
        x = x + _mlp(weights, sizes, x, "encoder", layer)
        if advance:
            advance(1)
    encoded = _normed(x, weights.scale("encoder", None, ""))

    decoder_bias = _position_bias(weights.bias("decoder"), length, bidirectional=False)
    decoder_bias = decoder_bias + np.where(np.tri(length, dtype=bool), 0, _MASKED).astype(np.float32)
    cross_bias = np.where(real[:, None, None, :], 0, _MASKED).astype(np.float32)
    y = weights.embedded(shifted)
    for layer in range(sizes.num_decoder_layers):
        y = y + _attention(weights, sizes, y, None, "decoder", layer, "self", decoder_bias)
        y = y + _attention(weights, sizes, y, encoded, "decoder", layer, "cross", cross_bias)
        y = y + _mlp(weights, sizes, y, "decoder", layer)
        if advance:
            advance(1)
    y = _normed(y, weights.scale("decoder", None, ""))
    return weights.tied_head(y) / np.float32(np.sqrt(sizes.emb_dim)) if sizes.tied else weights.head(y)


def _normed(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return x / np.sqrt(np.mean(x * x, -1, keepdims=True) + np.float32(NORM_EPSILON)) * scale


def _attention(
    weights: Any,
    sizes: Sizes,
    x: np.ndarray,
    encoded: np.ndarray | None,
    stack: str,
    layer: int,
    block: str,
    bias: np.ndarray,
) -> np.ndarray:
    x = _normed(x, weights.scale(stack, layer, block))

    def heads(states: np.ndarray, part: str) -> np.ndarray:
        made = weights.product(states, stack, layer, block, part)
        return made.reshape(*made.shape[:2], sizes.num_heads, sizes.head_dim).transpose(0, 2, 1, 3)

    seen = x if encoded is None else encoded
    scores = heads(x, "q") @ heads(seen, "k").transpose(0, 1, 3, 2) + bias
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    scores /= scores.sum(-1, keepdims=True)
    joined = (scores @ heads(seen, "v")).transpose(0, 2, 1, 3)
    return weights.product(joined.reshape(*joined.shape[:2], -1), stack, layer, block, "o")


def _mlp(weights: Any, sizes: Sizes, x: np.ndarray, stack: str, layer: int) -> np.ndarray:
    x = _normed(x, weights.scale(stack, layer, "mlp"))
    if sizes.gated:
        hidden = weights.product(x, stack, layer, "mlp", "wi_0")
        hidden = 0.5 * hidden * (1 + np.tanh(np.sqrt(2 / np.pi).astype(np.float32) * (hidden + 0.044715 * hidden**3)))
        hidden = hidden * weights.product(x, stack, layer, "mlp", "wi_1")
    else:
        hidden = np.maximum(weights.product(x, stack, layer, "mlp", "wi"), 0)
    return weights.product(hidden, stack, layer, "mlp", "wo")


def _position_bias(table: np.ndarray, length: int, bidirectional: bool) -> np.ndarray:
    """[1, heads, queries, keys] from [heads, buckets]: exact near, logarithmic far."""
    distance = np.arange(length)[:, None] - np.arange(length)[None, :]
    buckets, offset = RELATIVE_BUCKETS, np.zeros_like(distance)
    if bidirectional:
        buckets //= 2
        offset = np.where(distance < 0, buckets, 0)
        distance = np.abs(distance)
    distance = np.maximum(distance, 0)
    exact = buckets // 2
    far = np.log(np.maximum(distance, 1) / exact) / np.log(RELATIVE_MAX_DISTANCE / exact) * (buckets - exact)
    bucket = offset + np.where(distance < exact, distance, np.minimum(exact + far.astype(int), buckets - 1))
    return table[:, bucket][None]
