"""The best label word, by the sum of the log-probabilities of its pieces and its end token.

Greedy decoding may write what is no label; here only labels compete. The encoder runs once, cross-attention keys and
values are computed once, and all labels are walked side by side, one row for each leaf of the trie of label words.

Letters: B batch, K labels, T positions, E model width, V vocabulary.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from distill_or_annotate.capture import decoding
from distill_or_annotate.capture.collecting import Collect
from t5x import decoding as t5x_decoding


@dataclasses.dataclass(frozen=True)
class LabelTrie:
    """Label words as pieces, each with its end token.

    Attributes:
      words: the label words.
      pieces_KxT: their ids, end token included, padded with 0.
    """

    words: tuple[str, ...]
    pieces_KxT: np.ndarray

    @classmethod
    def from_words(
        cls,
        words: Sequence[str],
        encode: Callable[[str], Sequence[int]],
        eos_id: int = 1,
        max_pieces: int | None = None,
    ) -> LabelTrie:
        """Cuts label words into pieces.

        Args:
          words: label words, at least one.
          encode: gives the ids of a word, without end token.
          eos_id: id that ends a target.
          max_pieces: longest target in tokens, end token included; None for no limit.

        Returns:
          The trie.

        Raises:
          ValueError: no words, two words with the same pieces, a word without pieces, or one that is too long.
        """
        if not words:
            raise ValueError("labels is empty: the best label word needs label words (TaskSpec.labels).")
        seen: dict[tuple[int, ...], str] = {}
        for word in words:
            pieces = (*(int(piece) for piece in encode(word)), eos_id)
            if len(pieces) == 1:
                raise ValueError(f"labels: {word!r} has no pieces in this vocabulary. Give it another word.")
            if pieces in seen:
                raise ValueError(
                    f"labels: {seen[pieces]!r} and {word!r} have the same pieces {list(pieces)}, so that no model can "
                    "tell them apart. Give one of them another word, or use a vocabulary that keeps them apart."
                )
            if max_pieces is not None and len(pieces) > max_pieces:
                raise ValueError(
                    f"labels: {word!r} has {len(pieces)} pieces with its end token, but targets have at most "
                    f"{max_pieces}. Raise TASK_FEATURE_LENGTHS['targets']."
                )
            seen[pieces] = word
        table = np.zeros((len(seen), max(map(len, seen))), np.int32)
        for row, pieces in zip(table, seen, strict=True):
            row[: len(pieces)] = pieces
        return cls(tuple(seen.values()), table)


def decode(
    model: Any, params: Any, inputs_BxL: jax.Array, *, pieces_KxT: np.ndarray, n_positions: int, collect: Collect
) -> decoding.Captured:
    """Picks each example's best label word and keeps the distributions at its positions.

    Args:
      model: a T5X encoder-decoder model.
      params: its parameters.
      inputs_BxL: encoder tokens `[batch, length]`, 0 for padding.
      pieces_KxT: label words, see `LabelTrie`.
      n_positions: positions of the result, at least the labels'.
      collect: keeps what is stored of a position, see `collecting.collector`.

    Returns:
      Targets and what was collected at their positions.
    """
    batch, (n_labels, length) = inputs_BxL.shape[0], pieces_KxT.shape
    encoded, cache = decoding.encode_and_cache(model, params, inputs_BxL, length)

    layer_axis = 1 if getattr(model.module, "scan_layers", False) else 0

    def expand(x: jax.Array, offset: int = 0) -> jax.Array:
        return t5x_decoding.flat_batch_beam_expand(x, n_labels, offset)

    cache = t5x_decoding.cache_map(lambda x: expand(x, layer_axis), cache)
    step_fn = decoding.one_step(model, params, expand(encoded), expand(inputs_BxL))
    targets_TxR = jnp.tile(jnp.asarray(pieces_KxT), (batch, 1)).T
    inputs_TxR = jnp.pad(targets_TxR, ((1, 0), (0, 0)))[:-1]
    best_only = hasattr(model.module, "decode_hidden")

    def step(cache: Any, tokens: tuple[jax.Array, jax.Array]) -> tuple[Any, tuple[Any, jax.Array]]:
        token_R, target_R = tokens
        hidden, logits, cache = step_fn(cache, token_R[:, None])
        logits = logits.astype(jnp.float32)
        log_prob_R = jnp.take_along_axis(logits, target_R[:, None], 1)[:, 0] - jax.nn.logsumexp(logits, axis=-1)
        # What is kept is made of the winner alone, so that no logits [K labels, V] wait for the end.
        kept = hidden if best_only else collect(hidden, logits)
        return cache, (kept, jnp.where(target_R > 0, log_prob_R, 0.0))

    _, (kept, log_prob_TxR) = lax.scan(step, cache, (inputs_TxR, targets_TxR))
    scores_BxK = jnp.sum(log_prob_TxR, axis=0).reshape(batch, n_labels)
    best_B = jnp.argmax(scores_BxK, axis=1)

    def winner(x: jax.Array) -> jax.Array:
        x = x.reshape(length, batch, n_labels, *x.shape[2:])
        index = best_B.reshape(1, batch, 1, *(1,) * (x.ndim - 3))
        return jnp.moveaxis(jnp.take_along_axis(x, index, axis=2)[:, :, 0], 0, 1)

    kept = jax.tree.map(winner, kept)
    if best_only:
        logits = model.module.apply({"params": params}, kept, method=model.module.head)
        flat = collect(kept.reshape(-1, kept.shape[-1]), logits.reshape(-1, logits.shape[-1]))
        kept = jax.tree.map(lambda x: x.reshape(batch, length, *x.shape[1:]), flat)
    targets_BxT = jnp.asarray(pieces_KxT)[best_B]
    real_BxT = targets_BxT > 0

    def ragged(x: jax.Array) -> jax.Array:
        x = jnp.where(real_BxT.reshape(batch, length, *(1,) * (x.ndim - 2)), x, jnp.zeros_like(x))
        return jnp.pad(x, ((0, 0), (0, n_positions - length), *((0, 0),) * (x.ndim - 2)))

    n_targets_B = jnp.sum(real_BxT, axis=1, dtype=jnp.int32)
    return decoding.Captured(
        targets=ragged(targets_BxT),
        n_targets=n_targets_B,
        n_positions=n_targets_B,
        batch_length=jnp.full((batch,), 1, jnp.int32) + jnp.max(n_targets_B),
        log_probability=jnp.max(scores_BxK, axis=1),
        kept=jax.tree.map(ragged, kept),
    )
