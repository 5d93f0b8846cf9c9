"""Generation: temperature sampling (greedy by default) and beam search over a function from tokens to logits.

Sequences inside the loops are [rows, T + 1]: column 0 holds the start token 0, and the step at index i reads column i
and writes column i + 1. Rows are examples times decodes, the decodes of one example next to each other. Both loops stop
as soon as nothing can change any more.

Dimension letters: B batch, K decodes (beams) per example, T length, V vocabulary.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from flax.core import FrozenDict
from jax import lax

from t5x import binary_search

Array = jax.Array
PyTree = Any

# Stands for a log-probability of minus infinity in sums that must stay finite.
NEG_INF = -1e7

# At and below this temperature the most likely token is taken.
MIN_TEMPERATURE = 1e-4

_INDEX_NAMES = frozenset({"cache_index"})
# Cache entries without a decode axis. Kept cross-attention keys and values stay one per example (ours).
_NEVER_MAPPED = frozenset({"cached_bias", "position_embedder_index", "kept_key", "kept_value"})


@flax.struct.dataclass
class DecodingState:
    """What a tokens-to-logits function is given at each step.

    Attributes:
      cur_index: index of the current token: a scalar, or [B * K] where rows differ.
      sequences: tokens so far, [B * K, T + 1].
      cur_token: [B * K, 1].
      cache: the network's cache.
    """

    cur_index: Array
    sequences: Array
    cur_token: Array
    cache: PyTree


@flax.struct.dataclass
class SamplingLoopState:
    """Carry of the sampling loop.

    Attributes:
      step: number of steps done.
      cur_index: index of the current token of each row, [B * K].
      sequences: [B * K, T + 1].
      cache: the network's cache.
      cur_token: [B * K, 1].
      ended: whether a row is finished, [B * K].
      rng: key for the steps to come.
      log_prob: sum of the log-probabilities of the generated tokens, [B * K].
    """

    step: Array
    cur_index: Array
    sequences: Array
    cache: PyTree
    cur_token: Array
    ended: Array
    rng: Array
    log_prob: Array


@flax.struct.dataclass
class BeamState:
    """Carry of the beam search loop; the last beam is the best.

    Attributes:
      cur_index: number of steps done.
      live_logprobs: [B, K] log-probabilities of unfinished beams.
      finished_scores: [B, K] length-normalised scores of finished beams.
      live_seqs: [B, K, T + 1].
      finished_seqs: [B, K, T + 1].
      finished_flags: [B, K] whether the slot holds a finished beam.
      cache: the network's cache, rows flattened to B * K.
    """

    cur_index: Array
    live_logprobs: Array
    finished_scores: Array
    live_seqs: Array
    finished_seqs: Array
    finished_flags: Array
    cache: PyTree


TokensIdsToLogits = Callable[[DecodingState], tuple[Array, PyTree]]


def cache_map(fn: Callable[[Array], Array], cache: PyTree, apply_to_index: bool = False) -> PyTree:
    """Maps `fn` over the cache entries that have a row per decode.

    Args:
      fn: function of an array.
      cache: nested dict of arrays.
      apply_to_index: also map `cache_index`, for caches in which it has a row per decode.

    Returns:
      A cache of the same structure and mapping type.
    """
    skipped = _NEVER_MAPPED if apply_to_index else _NEVER_MAPPED | _INDEX_NAMES
    frozen = isinstance(cache, FrozenDict)
    flat = traverse_util.flatten_dict(flax.core.unfreeze(cache) if frozen else cache, keep_empty_nodes=True)
    mapped = {
        path: leaf if path[-1] in skipped or leaf is traverse_util.empty_node else fn(leaf)
        for path, leaf in flat.items()
    }
    nested = traverse_util.unflatten_dict(mapped)
    return FrozenDict(nested) if frozen else nested


def add_beam_dim(x: Array, beam_size: int, offset: int = 0) -> Array:
    """Turns `x` [(`offset` axes), B, ...] into [(offset axes), B, K, ...] by repetition; K is `beam_size`."""
    x = jnp.expand_dims(x, offset + 1)
    return jnp.broadcast_to(x, (*x.shape[: offset + 1], beam_size, *x.shape[offset + 2 :]))


def flatten_beam_dim(x: Array, offset: int = 0) -> Array:
    """Turns `x` [(`offset` axes), B, K, ...] into [(offset axes), B * K, ...]."""
    if x.ndim < 2 + offset:
        return x
    return x.reshape(*x.shape[:offset], x.shape[offset] * x.shape[offset + 1], *x.shape[offset + 2 :])


def unflatten_beam_dim(x: Array, batch_size: int, beam_size: int, offset: int = 0) -> Array:
    """Turns `x` [(`offset` axes), B * K, ...] into [(offset axes), B, K, ...]; B is `batch_size`, K `beam_size`."""
    if x.ndim <= offset:
        return x
    if x.shape[offset] != batch_size * beam_size:
        raise ValueError(f"Axis {offset} of {x.shape} must be batch {batch_size} x beams {beam_size}.")
    return x.reshape(*x.shape[:offset], batch_size, beam_size, *x.shape[offset + 1 :])


def flat_batch_beam_expand(x: Array, beam_size: int, offset: int = 0) -> Array:
    """Repeats each example of `x` `beam_size` times: [(`offset` axes), B, ...] to [(offset axes), B * K, ...]."""
    return x if beam_size == 1 else flatten_beam_dim(add_beam_dim(x, beam_size, offset), offset)


def gather_beams(nested: PyTree, beam_indices: Array, batch_size: int, new_beam_size: int) -> PyTree:
    """Picks beams of each example.

    Args:
      nested: tree of arrays [B, old K, ...].
      beam_indices: integers [B, new K].
      batch_size: B.
      new_beam_size: new K.

    Returns:
      Tree of arrays [B, new K, ...].
    """
    beam_indices = beam_indices.reshape(batch_size, new_beam_size)

    def gather(x: Array) -> Array:
        index = beam_indices.reshape(batch_size, new_beam_size, *(1,) * (x.ndim - 2))
        return jnp.take_along_axis(x, index, axis=1)

    return jax.tree.map(lambda x: x if x.ndim < 2 else gather(x), nested)


def cache_gather_beams(
    cache: PyTree, beam_indices: Array, batch_size: int, old_beam_size: int, new_beam_size: int, offset: int = 0
) -> PyTree:
    """Picks beams of a cache with flattened rows.

    Args:
      cache: entries [(offset axes), B * old K, ...].
      beam_indices: integers [B, new K].
      batch_size: B.
      old_beam_size: old K.
      new_beam_size: new K; with one old and one new beam nothing moves.
      offset: axis of the rows.

    Returns:
      Entries [(offset axes), B * new K, ...].
    """
    if old_beam_size == 1 and new_beam_size == 1:
        return cache
    first = (jnp.arange(batch_size, dtype=beam_indices.dtype) * old_beam_size)[:, None]
    rows = (first + beam_indices).reshape(-1)
    return cache_map(lambda x: jnp.take(x, rows, axis=offset, mode="clip"), cache)


def top_k_two_stage(x: Array, k: int) -> tuple[Array, Array]:
    """Returns `lax.top_k(x, k)`, found in chunks first and among their winners afterwards.

    Args:
      x: [B, N].
      k: at most N.

    Returns:
      (values, indices), each [B, k], best first. Equal values may come in another order than from `lax.top_k`.
    """
    batch, count = x.shape
    # About sqrt(N / k) chunks balances the two stages; a chunk must hold k entries and divide N.
    chunks = next((c for c in range(int(np.sqrt(count / k)), 1, -1) if count % c == 0 and count // c >= k), 1)
    if chunks == 1:
        return lax.top_k(x, k)
    width = count // chunks
    values, index = lax.top_k(x.reshape(batch, chunks, width), k)
    index = index + (jnp.arange(chunks, dtype=index.dtype) * width)[None, :, None]
    best, where = lax.top_k(values.reshape(batch, chunks * k), k)
    return best, jnp.take_along_axis(index.reshape(batch, chunks * k), where, axis=1)


def gather_topk_beams(nested: PyTree, score_or_log_prob: Array, batch_size: int, new_beam_size: int) -> PyTree:
    """Picks the beams with the best scores, in ascending order.

    Args:
      nested: tree of arrays [B, K, ...].
      score_or_log_prob: what to rank the beams by, [B, K].
      batch_size: B.
      new_beam_size: number of beams to pick, at most K.
    """
    _, index = lax.top_k(score_or_log_prob, new_beam_size)
    return gather_beams(nested, jnp.flip(index, axis=1), batch_size, new_beam_size)


def brevity_penalty(alpha: float, length: int | Array) -> Array:
    """Returns ((5 + `length`) / 6) ** `alpha`, by which log-probabilities are divided; length in tokens."""
    return jnp.power((5.0 + jnp.asarray(length, jnp.float32)) / 6.0, alpha)


def _is_static(x: Any) -> bool:
    return isinstance(x, int | float | np.integer | np.floating)


def temperature_sample(
    inputs: Array,
    cache: PyTree,
    tokens_to_logits: TokensIdsToLogits,
    eos_id: int,
    decode_rng: Array | None = None,
    num_decodes: int = 1,
    temperature: float | Array = 1.0,
    topk: int | Array = 1,
    topp: float | Array = 0.0,
    cache_offset: int = 0,
    initial_index: Array | None = None,
    max_decode_steps: int | Array | None = None,
    max_decode_steps_hard_limit: int | None = None,
    rescale_log_probs: bool = True,
    state_callback_fn: Callable[[SamplingLoopState], SamplingLoopState] | None = None,
    logit_callback_fn: Callable[[Array, SamplingLoopState], Array] | None = None,
) -> tuple[Array, Array]:
    """Samples sequences token by token; greedy with the default `topk=1`.

    Args:
      inputs: integers [B, T], a prompt shifted right: column 0 is the start token 0, non-zero tokens are forced.
      cache: the network's cache for B rows.
      tokens_to_logits: maps a `DecodingState` to (logits [B * K, V], new cache).
      eos_id: id that ends a sequence when it is generated (not when it is forced).
      decode_rng: key; None means `PRNGKey(0)`.
      num_decodes: K, decodes per example.
      temperature: scalar or [B]; at most 1e-4 takes the most likely token.
      topk: sample among the k most likely tokens; 0 for all; may be traced.
      topp: sample among the most likely tokens whose probabilities sum to p; 0 for all; may be traced.
      cache_offset: axis of the rows in the cache.
      initial_index: [B] index to start at, with a cache that was prefilled up to there.
      max_decode_steps: tokens to generate after the prompt, at most T when static.
      max_decode_steps_hard_limit: static upper limit of `max_decode_steps`.
      rescale_log_probs: count log-probabilities after temperature, top-k and top-p rather than the network's own.
      state_callback_fn: maps the loop's state at the start of each step.
      logit_callback_fn: maps (logits, state) to logits.

    Returns:
      (sequences [B, K, T] padded with 0, log-probabilities [B, K]), in ascending order of the latter.

    Raises:
      ValueError: for both `topk` and `topp`, or `max_decode_steps` above T.
    """
    if _is_static(topk) and _is_static(topp) and topk and topp:
        raise ValueError(f"topk={topk} and topp={topp} are both set; for top-p sampling pass topk=0 explicitly.")
    batch, length = inputs.shape
    if _is_static(max_decode_steps) and max_decode_steps > length:
        raise ValueError(
            f"max_decode_steps={max_decode_steps} exceeds the length {length} of `inputs`: raise the length."
        )
    rows = batch * num_decodes
    if max_decode_steps_hard_limit is not None and max_decode_steps is not None:
        max_decode_steps = jnp.minimum(max_decode_steps, max_decode_steps_hard_limit)
    expand = functools.partial(flat_batch_beam_expand, beam_size=num_decodes)
    cache = cache_map(
        lambda x: expand(x, offset=cache_offset if x.ndim > 1 else 0), cache, apply_to_index=initial_index is not None
    )
    if not _is_static(temperature):
        temperature = jnp.asarray(temperature, jnp.float32)
        temperature = expand(jnp.broadcast_to(temperature, (batch,)))[:, None]
    prompt = jnp.pad(expand(inputs), ((0, 0), (0, 1)))
    columns = jnp.arange(length + 1, dtype=jnp.int32)[None, :]
    start = jnp.zeros((rows,), jnp.int32) if initial_index is None else expand(jnp.asarray(initial_index, jnp.int32))
    last_index = jnp.full((rows,), length, jnp.int32)
    if max_decode_steps is not None:
        prompt_end = jnp.max(jnp.where(prompt != 0, columns, 0), axis=1)
        last_index = jnp.minimum(last_index, prompt_end + max_decode_steps)
    prompt_eos = jnp.sum(prompt == eos_id, axis=1)

    def body(state: SamplingLoopState) -> SamplingLoopState:
        if state_callback_fn is not None:
            state = state_callback_fn(state)
        logits, cache = tokens_to_logits(
            DecodingState(
                cur_index=state.cur_index, sequences=state.sequences, cur_token=state.cur_token, cache=state.cache
            )
        )
        if logit_callback_fn is not None:
            logits = logit_callback_fn(logits, state)
        rng, step_rng = jax.random.split(state.rng)
        sampled, sampled_log_prob = _sample(logits, step_rng, temperature, topk, topp, rescale_log_probs)
        next_index = state.cur_index + 1
        forced = jnp.take_along_axis(prompt, next_index[:, None], axis=1, mode="clip")[:, 0]
        is_forced = forced != 0
        token = jnp.where(state.ended, 0, jnp.where(is_forced, forced, sampled.astype(prompt.dtype)))
        log_prob = state.log_prob + jnp.where(state.ended | is_forced, 0.0, sampled_log_prob)
        here = (columns == next_index[:, None]) & ~state.ended[:, None]
        sequences = jnp.where(here, token[:, None], state.sequences)
        more_eos = jnp.sum(sequences == eos_id, axis=1) > prompt_eos
        return SamplingLoopState(
            step=state.step + 1,
            cur_index=jnp.where(state.ended, state.cur_index, next_index),
            sequences=sequences,
            cache=cache,
            cur_token=token[:, None],
            ended=state.ended | more_eos | (next_index >= last_index),
            rng=rng,
            log_prob=log_prob,
        )

    initial = SamplingLoopState(
        step=jnp.int32(0),
        cur_index=start,
        # Up to a prefilled position the prompt is already written.
        sequences=jnp.where(columns <= start[:, None], prompt, 0),
        cache=cache,
        cur_token=jnp.take_along_axis(prompt, start[:, None], axis=1, mode="clip"),
        ended=start >= last_index,
        rng=jax.random.PRNGKey(0) if decode_rng is None else decode_rng,
        log_prob=jnp.zeros((rows,), jnp.float32),
    )
    final = lax.while_loop(lambda state: ~jnp.all(state.ended), body, initial)
    sequences = final.sequences[:, 1:].reshape(batch, num_decodes, length)
    log_prob = final.log_prob.reshape(batch, num_decodes)
    if num_decodes == 1:
        return sequences, log_prob
    order = jnp.argsort(log_prob, axis=1)
    return gather_beams((sequences, log_prob), order, batch, num_decodes)


def _sample(logits: Array, rng: Array, temperature: Any, topk: Any, topp: Any, rescale: bool) -> tuple[Array, Array]:
    """Returns one token [rows] of each row of logits [rows, V] and its log-probability [rows]."""
    logits = logits.astype(jnp.float32)
    always_best = (_is_static(topk) and topk == 1) or (_is_static(temperature) and temperature <= MIN_TEMPERATURE)
    best = jnp.argmax(logits, axis=-1)
    best_log_prob = jnp.max(logits, axis=-1) - jax.nn.logsumexp(logits, axis=-1)
    if always_best:
        only_one_left = _is_static(topk) and topk == 1 and rescale
        if only_one_left and _is_static(temperature) and temperature > MIN_TEMPERATURE:
            return best, jnp.zeros_like(best_log_prob)
        if only_one_left and not _is_static(temperature):
            return best, jnp.where(temperature[:, 0] > MIN_TEMPERATURE, 0.0, best_log_prob)
        return best, best_log_prob
    scaled = logits / jnp.maximum(temperature, MIN_TEMPERATURE)
    if not _is_static(topk):
        scaled = jnp.where(topk > 0, binary_search.topk_mask(scaled, jnp.maximum(topk, 1), NEG_INF), scaled)
    elif topk:
        kth = lax.top_k(scaled, min(int(topk), logits.shape[-1]))[0][:, -1:]
        scaled = jnp.where(scaled >= kth, scaled, NEG_INF)
    if not _is_static(topp):
        scaled = jnp.where(topp > 0, binary_search.topp_mask(scaled, topp, NEG_INF), scaled)
    elif topp:
        scaled = binary_search.topp_mask(scaled, topp, NEG_INF)
    sampled = jax.random.categorical(rng, scaled, axis=-1)
    scored = scaled if rescale else logits
    picked = jnp.take_along_axis(scored, sampled[:, None], axis=1)[:, 0]
    log_prob = picked - jax.nn.logsumexp(scored, axis=-1)
    if _is_static(temperature):
        return sampled, log_prob
    cold = temperature[:, 0] <= MIN_TEMPERATURE
    return jnp.where(cold, best, sampled), jnp.where(cold, best_log_prob, log_prob)


def beam_init(batch_size: int, beam_size: int, max_decode_len: int, cache: PyTree, offset: int = 0) -> BeamState:
    """Returns the state before the first step: one live beam per example, nothing finished.

    Args:
      batch_size: B.
      beam_size: K.
      max_decode_len: T.
      cache: the network's cache for B rows.
      offset: axis of the rows in the cache.

    Returns:
      The state, its cache expanded to B * K rows.
    """
    others = jnp.full((batch_size, beam_size - 1), NEG_INF, jnp.float32)
    sequences = jnp.zeros((batch_size, beam_size, max_decode_len + 1), jnp.int32)
    return BeamState(
        cur_index=jnp.int32(0),
        live_logprobs=jnp.concatenate([others, jnp.zeros((batch_size, 1), jnp.float32)], axis=1),
        finished_scores=jnp.full((batch_size, beam_size), NEG_INF, jnp.float32),
        live_seqs=sequences,
        finished_seqs=sequences,
        finished_flags=jnp.zeros((batch_size, beam_size), jnp.bool_),
        cache=cache_map(lambda x: flat_batch_beam_expand(x, beam_size, offset), cache),
    )


def beam_search(
    inputs: Array,
    cache: PyTree,
    tokens_to_logits: TokensIdsToLogits,
    eos_id: int,
    num_decodes: int = 4,
    alpha: float = 0.6,
    max_decode_len: int | None = None,
    max_decode_step: int = -1,
    min_log_prob: float = NEG_INF,
    decode_rng: Array | None = None,
    cache_offset: int = 0,
    initial_index: Array | None = None,
) -> tuple[Array, Array]:
    """Searches with K beams; as in T5X, even one beam goes on after an end token while it could still score better.

    Args:
      inputs: integers [B, T], a prompt shifted right: column 0 is the start token 0, non-zero tokens are forced.
      cache: the network's cache for B rows.
      tokens_to_logits: maps a `DecodingState` to (logits [B * K, V], new cache).
      eos_id: id that ends a sequence.
      num_decodes: K.
      alpha: exponent of the length penalty ((5 + length) / 6) ** alpha.
      max_decode_len: T if None.
      max_decode_step: stop after that many steps; -1 for no such limit.
      min_log_prob: stop when every live beam is less likely.
      decode_rng: ignored.
      cache_offset: axis of the rows in the cache.
      initial_index: [B] index to start at, with a cache that was prefilled up to there.

    Returns:
      (sequences [B, K, T] padded with 0, scores [B, K]), best last. Where no beam finished, its live beams and their
      log-probabilities; where some but not all did, the empty places come first, with the score -1e7.
    """
    del decode_rng
    batch, beams = inputs.shape[0], num_decodes
    length = inputs.shape[1] if max_decode_len is None else max_decode_len
    prompt = inputs[:, : length + 1].astype(jnp.int32)
    prompt = jnp.pad(prompt, ((0, 0), (0, length + 1 - prompt.shape[1])))
    columns = jnp.arange(length + 1, dtype=jnp.int32)
    start = jnp.zeros((batch,), jnp.int32) if initial_index is None else jnp.asarray(initial_index, jnp.int32)
    state = beam_init(batch, beams, length, cache, cache_offset)
    if initial_index is not None:
        # Prefilled caches count per row, so their index is expanded like the rest.
        offset = lambda x: cache_offset if x.ndim > 1 else 0  # noqa: E731
        expanded = cache_map(lambda x: flat_batch_beam_expand(x, beams, offset(x)), cache, apply_to_index=True)
        written = jnp.where(columns[None, :] <= start[:, None], prompt, 0)
        state = state.replace(live_seqs=add_beam_dim(written, beams), cache=expanded)

    def going_on(state: BeamState) -> Array:
        within = jnp.any(state.cur_index + start < length)
        if max_decode_step >= 0:
            within &= state.cur_index < max_decode_step
        best_live = state.live_logprobs[:, -1] / brevity_penalty(alpha, length)
        worst_finished = jnp.min(state.finished_scores, axis=1)
        settled = jnp.all(worst_finished > best_live)
        hopeless = jnp.all(state.live_logprobs < min_log_prob)
        return within & ~settled & ~hopeless

    def body(state: BeamState) -> BeamState:
        index = jnp.minimum(state.cur_index + start, length - 1)  # [B]; rows that began later wait at the end
        active = state.cur_index + start < length
        if initial_index is None:
            token = lax.dynamic_slice_in_dim(state.live_seqs, state.cur_index, 1, axis=2)
            flat_index = state.cur_index
        else:
            token = jnp.take_along_axis(state.live_seqs, index[:, None, None], axis=2)
            flat_index = flat_batch_beam_expand(index, beams)
        logits, cache = tokens_to_logits(
            DecodingState(
                cur_index=flat_index,
                sequences=flatten_beam_dim(state.live_seqs),
                cur_token=flatten_beam_dim(token),
                cache=state.cache,
            )
        )
        vocab = logits.shape[-1]
        log_probs = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1).reshape(batch, beams, vocab)
        log_probs = log_probs + state.live_logprobs[:, :, None]
        candidates = min(2 * beams, beams * vocab)
        if beams == 1:
            top_log_probs, top = lax.top_k(log_probs[:, 0], candidates)
        else:
            top_log_probs, top = top_k_two_stage(log_probs.reshape(batch, beams * vocab), candidates)
        top_beam, top_token = top // vocab, (top % vocab).astype(jnp.int32)

        forced = jnp.take_along_axis(prompt, index[:, None] + 1, axis=1)
        is_forced = forced != 0
        # Inside the prompt only the best beam lives on, with the forced token and an unchanged log-probability.
        first = jnp.arange(candidates, dtype=jnp.int32)[None, :] == 0
        forced_log_probs = jnp.where(first, state.live_logprobs[:, -1:], NEG_INF)
        top_log_probs = jnp.where(is_forced, forced_log_probs, top_log_probs)
        top_beam = jnp.where(is_forced, beams - 1, top_beam)
        top_token = jnp.where(is_forced, forced, top_token)

        sequences = gather_beams(state.live_seqs, top_beam, batch, candidates)
        here = columns[None, None, :] == (index + 1)[:, None, None]
        sequences = jnp.where(here, top_token[:, :, None], sequences)
        ends = (top_token == eos_id) & ~is_forced

        _, keep = lax.top_k(jnp.where(ends, NEG_INF, top_log_probs), beams)
        keep = jnp.flip(keep, axis=1)
        live_seqs, live_log_probs, live_beam = gather_beams(
            (sequences, jnp.where(ends, top_log_probs + NEG_INF, top_log_probs), top_beam), keep, batch, beams
        )
        scores = jnp.where(ends, top_log_probs / brevity_penalty(alpha, index + 1)[:, None], NEG_INF)
        pool = (
            jnp.concatenate([state.finished_seqs, sequences], axis=1),
            jnp.concatenate([state.finished_scores, scores], axis=1),
            jnp.concatenate([state.finished_flags, ends], axis=1),
        )
        finished = gather_topk_beams(pool, pool[1], batch, beams)
        if initial_index is not None:

            def choose(new: Array, old: Array) -> Array:
                return jnp.where(active.reshape(batch, *(1,) * (new.ndim - 1)), new, old)

            live_seqs, live_log_probs = choose(live_seqs, state.live_seqs), choose(live_log_probs, state.live_logprobs)
            finished = tuple(map(choose, finished, (state.finished_seqs, state.finished_scores, state.finished_flags)))
        return BeamState(
            cur_index=state.cur_index + 1,
            live_logprobs=live_log_probs,
            finished_scores=finished[1],
            live_seqs=live_seqs,
            finished_seqs=finished[0],
            finished_flags=finished[2],
            cache=cache_gather_beams(cache, live_beam, batch, beams, beams, cache_offset),
        )

    final = lax.while_loop(going_on, body, state)
    any_finished = jnp.any(final.finished_flags, axis=1)
    sequences = jnp.where(any_finished[:, None, None], final.finished_seqs, final.live_seqs)
    scores = jnp.where(any_finished[:, None], final.finished_scores, final.live_logprobs)
    return sequences[:, :, 1:], scores
