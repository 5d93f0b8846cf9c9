"""What is kept of the teacher at one position: its hidden state, its k best tokens, or its logits.

Letters: R rows, E model width, V vocabulary, k kept tokens.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

KINDS = ("hidden", "topk", "full")

HIDDEN = "teacher_hidden"
TOPK_IDS = "teacher_topk_ids"
TOPK_LOGPROBS = "teacher_topk_logprobs"
TAIL_LOGMASS = "teacher_tail_logmass"
LOGITS = "teacher_logits"
FEATURES = {"hidden": (HIDDEN,), "topk": (TOPK_IDS, TOPK_LOGPROBS, TAIL_LOGMASS), "full": (LOGITS,)}
"""Features of a record, and of a training batch, by kind of store."""

# Smallest log-probability kept: float16 ends at -65504, and exp(-1e4) is 0 in any float type.
_LEAST_LOGMASS = -1e4

Collect = Callable[[jax.Array | None, jax.Array], dict[str, jax.Array]]


def collector(kind: str, k: int = 32, temperature: float = 2.0, dtype: str = "bfloat16") -> Collect:
    """Makes the function that turns one position into what is stored of it.

    Args:
      kind: `hidden`, `topk` or `full`.
      k: tokens that `topk` keeps, at least 1.
      temperature: softmax temperature of the log-probabilities that `topk` keeps, above 0.
      dtype: float type of the stored numbers, see `stored_dtype`.

    Returns:
      A function of hidden states [R, E] (None where the network does not offer them) and logits [R, V] that returns
      feature name to array [R, ...].
    """
    number = jnp.dtype(dtype)
    if kind == "hidden":
        return lambda hidden_RxE, logits_RxV: {HIDDEN: hidden_RxE.astype(number)}
    if kind == "full":
        return lambda hidden_RxE, logits_RxV: {LOGITS: logits_RxV.astype(number)}

    def best(hidden_RxE: jax.Array | None, logits_RxV: jax.Array) -> dict[str, jax.Array]:
        del hidden_RxE
        ids, logprobs, tail = top_tokens(logits_RxV, k, temperature)
        return {TOPK_IDS: ids, TOPK_LOGPROBS: logprobs.astype(number), TAIL_LOGMASS: tail.astype(number)}

    return best


def top_tokens(logits_RxV: jax.Array, k: int, temperature: float) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The most likely tokens and the mass of all others.

    Args:
      logits_RxV: logits `[rows, vocab]`.
      k: tokens to keep, 1 to V.
      temperature: softmax temperature, above 0.

    Returns:
      Ids [R, k] (int32, best first), their float32 log-probabilities [R, k], and the log of the rest's probability [R],
      which is at least -1e4.
    """
    scaled_RxV = logits_RxV.astype(jnp.float32) / temperature
    norm_R = jax.nn.logsumexp(scaled_RxV, axis=-1)
    best_Rxk, ids_Rxk = jax.lax.top_k(scaled_RxV, k)
    # Summed over the rest rather than 1 - sum(best), which has no correct digit where the tail is below 1e-7.
    rows = jnp.arange(ids_Rxk.shape[0])[:, None]
    tail_R = jax.nn.logsumexp(scaled_RxV.at[rows, ids_Rxk].set(-jnp.inf), axis=-1) - norm_R
    logprobs_Rxk = best_Rxk - norm_R[:, None]
    return ids_Rxk, jnp.maximum(logprobs_Rxk, _LEAST_LOGMASS), jnp.maximum(tail_R, _LEAST_LOGMASS)


def stored_dtype(kind: str, dtype: str | None = None) -> str:
    """The float type that a store's numbers have.

    Log-probabilities are float16: rounding one errs by at most 2^-11 of it, so the expectation of the error is at most
    2^-11 of the distribution's entropy (0.005 nats for a uniform 32,128 tokens); bfloat16 would err 8 times as much.
    Hidden states are bfloat16, in which large teachers compute them.

    Args:
      kind: `hidden`, `topk` or `full`.
      dtype: a type of one's own; None takes the kind's.

    Returns:
      Its name.

    Raises:
      ValueError: for an unknown kind, or a type that the kind is not stored in.
    """
    allowed = {"hidden": ("bfloat16", "float32"), "topk": ("float16", "float32"), "full": ("float32", "float16")}
    if kind not in allowed:
        raise ValueError(f"kind is {kind!r}; allowed: {', '.join(KINDS)}.")
    if dtype is not None and dtype not in allowed[kind]:
        raise ValueError(f"dtype is {dtype!r}; a store of kind {kind!r} takes {' or '.join(allowed[kind])}.")
    return dtype or allowed[kind][0]


def ids_dtype(vocab_size: int) -> np.dtype:
    """The smallest unsigned type that holds every id of a vocabulary of `vocab_size` tokens: uint16 or uint32."""
    return np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.uint32)
