"""Greedy decoding that keeps the teacher's distribution at each position while it decodes.

A second, teacher-forced pass over what was decoded would cost the decoder once more. Position i reads decoder input i
(the start token, then the targets) and predicts target i.

  masked   A row's positions end with the one that predicts its end token: those that a loss over real targets needs.
  counted  Every row has the positions of the whole batch: the start token, the longest row's tokens and, in the others,
           pads after the end token. The last token is an input too, so there is one position more than tokens. This is
           what a causal mask alone sees, and what the paper's reference code trains on.

Letters: B batch, L input length, T positions, E model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax
import jax
import jax.numpy as jnp
from jax import lax

from distill_or_annotate.capture.collecting import Collect

PADDINGS = ("masked", "counted")


@flax.struct.dataclass
class Captured:
    """What one batch leaves; buffers are zero beyond a row's positions.

    Attributes:
      targets: tokens, end token included, padded with 0 [B, T].
      n_targets: tokens of each row [B].
      n_positions: stored positions of each row [B].
      batch_length: decoder inputs of the whole batch, start token and pads included [B], the same in each row.
      log_probability: sum of the log-probabilities of each row's tokens at temperature 1 [B].
      kept: feature name to what was collected [B, T, ...].
    """

    targets: jax.Array
    n_targets: jax.Array
    n_positions: jax.Array
    batch_length: jax.Array
    log_probability: jax.Array
    kept: dict[str, jax.Array]


@flax.struct.dataclass
class _Loop:
    step: jax.Array
    token_Bx1: jax.Array
    ended_B: jax.Array
    finished: jax.Array
    cache: Any
    targets_BxT: jax.Array
    n_targets_B: jax.Array
    log_prob_B: jax.Array
    kept: dict[str, jax.Array]


def one_step(model: Any, params: Any, encoded: jax.Array, inputs: jax.Array) -> Callable[[Any, jax.Array], Any]:
    """Makes the function that decodes one position with a cache.

    Args:
      model: a T5X encoder-decoder model.
      params: its parameters.
      encoded: the encoder's output [B, L, E].
      inputs: encoder tokens [B, L].

    Returns:
      A function of (cache, tokens [rows, 1]) that returns (hidden states [rows, E], logits [rows, V], new cache). The
      hidden states are None where the network has no `decode_hidden` and `head`.
    """
    module = model.module

    def step(cache: Any, token: jax.Array) -> tuple[jax.Array | None, jax.Array, Any]:
        variables = {"params": params, "cache": cache}
        options = {"enable_dropout": False, "decode": True, "mutable": ["cache"]}
        if not hasattr(module, "decode_hidden"):
            length = {"max_decode_length": None}
            logits, new = module.apply(
                variables, encoded, inputs, token, token, **length, **options, method=module.decode
            )
            return None, logits[:, 0], new["cache"]
        hidden, new = module.apply(variables, encoded, inputs, token, token, **options, method=module.decode_hidden)
        logits = module.apply({"params": params}, hidden, method=module.head)
        return hidden[:, 0], logits[:, 0], new["cache"]

    return step


def encode_and_cache(model: Any, params: Any, inputs_BxL: jax.Array, n_positions: int) -> tuple[jax.Array, Any]:
    """Encodes a batch and prepares the decoder's cache.

    Args:
      model: a T5X encoder-decoder model.
      params: its parameters.
      inputs_BxL: encoder tokens `[batch, length]`, 0 for padding.
      n_positions: T, decoder positions that the cache holds.

    Returns:
      The encoder's output [B, L, E] and the cache.
    """
    encoded = model.module.apply({"params": params}, inputs_BxL, enable_dropout=False, method=model.module.encode)
    room = jnp.ones((inputs_BxL.shape[0], n_positions), jnp.int32)
    cache, _ = model._compute_kv_cache(params, encoded, inputs_BxL, room)
    return encoded, cache


def decode(
    model: Any,
    params: Any,
    inputs_BxL: jax.Array,
    *,
    n_positions: int,
    collect: Collect,
    padding: str = "masked",
    counts_start: bool | None = None,
    forced_BxT: jax.Array | None = None,
    eos_id: int = 1,
) -> Captured:
    """Decodes greedily, one position a step, until all rows have ended.

    Args:
      model: a T5X encoder-decoder model.
      params: its parameters.
      inputs_BxL: encoder tokens `[batch, length]`, 0 for padding.
      n_positions: T, the longest target, which may have as many tokens.
      collect: keeps what is stored of a position, see `collecting.collector`.
      padding: `masked` or `counted`.
      counts_start: whether the start token takes one of the T places, as in the paper's reference code; None for yes
        in `counted` and no in `masked`.
      forced_BxT: targets that are given, `[batch, n_positions]`, in rows that are to be scored rather than decoded; 0
        where the token is free.
      eos_id: id that ends a row.

    Returns:
      Targets and what was collected at their positions.

    Raises:
      ValueError: for another padding, or `counted` without a place for the start token.
    """
    if padding not in PADDINGS:
        raise ValueError(f"padding is {padding!r}; allowed: {', '.join(PADDINGS)}.")
    counted = padding == "counted"
    if counted and counts_start is False:
        raise ValueError("counts_start=False cannot go with padding='counted', where the last token is an input too.")
    max_tokens = n_positions - 1 if (counted if counts_start is None else counts_start) else n_positions
    encoded, cache = encode_and_cache(model, params, inputs_BxL, n_positions)
    step_fn = one_step(model, params, encoded, inputs_BxL)
    batch = inputs_BxL.shape[0]
    start_Bx1 = jnp.zeros((batch, 1), jnp.int32)
    shapes = jax.eval_shape(lambda c, t: collect(*step_fn(c, t)[:2]), cache, start_Bx1)
    if forced_BxT is None:
        forced_BxT = jnp.zeros((batch, n_positions), jnp.int32)

    def body(loop: _Loop) -> _Loop:
        hidden_BxE, logits_BxV, cache = step_fn(loop.cache, loop.token_Bx1)
        forced_B = lax.dynamic_index_in_dim(forced_BxT, loop.step, axis=1, keepdims=False)
        token_B = jnp.where(forced_B > 0, forced_B, jnp.argmax(logits_BxV, axis=-1).astype(jnp.int32))
        logits_BxV = logits_BxV.astype(jnp.float32)
        log_prob_B = jnp.take_along_axis(logits_BxV, token_B[:, None], axis=1)[:, 0] - jax.nn.logsumexp(logits_BxV, -1)
        ended_B = loop.ended_B
        token_B = jnp.where(ended_B, 0, token_B)
        now_ended_B = ended_B | (token_B == eos_id) | (loop.step >= max_tokens - 1)
        # Counted: one step more, for the position whose input is the batch's last token.
        finished = jnp.all(ended_B) if counted else jnp.all(now_ended_B)
        keep_B = jnp.ones_like(ended_B) if counted else ~ended_B

        def write(buffer: jax.Array, value: jax.Array) -> jax.Array:
            value = jnp.where(keep_B.reshape(-1, *(1,) * (value.ndim - 1)), value, jnp.zeros_like(value))
            return lax.dynamic_update_index_in_dim(buffer, value, loop.step, axis=1)

        return _Loop(
            step=loop.step + 1,
            token_Bx1=token_B[:, None],
            ended_B=now_ended_B,
            finished=finished,
            cache=cache,
            targets_BxT=lax.dynamic_update_index_in_dim(loop.targets_BxT, token_B, loop.step, axis=1),
            n_targets_B=loop.n_targets_B + ~ended_B,
            log_prob_B=loop.log_prob_B + jnp.where(ended_B, 0.0, log_prob_B),
            kept=jax.tree.map(write, loop.kept, collect(hidden_BxE, logits_BxV)),
        )

    final = lax.while_loop(
        lambda loop: ~loop.finished & (loop.step < n_positions),
        body,
        _Loop(
            step=jnp.int32(0),
            token_Bx1=start_Bx1,
            ended_B=jnp.zeros((batch,), bool),
            finished=jnp.bool_(False),
            cache=cache,
            targets_BxT=jnp.zeros((batch, n_positions), jnp.int32),
            n_targets_B=jnp.zeros((batch,), jnp.int32),
            log_prob_B=jnp.zeros((batch,), jnp.float32),
            kept=jax.tree.map(lambda x: jnp.zeros((batch, n_positions, *x.shape[1:]), x.dtype), shapes),
        ),
    )
    longest = jnp.full((batch,), 1, jnp.int32) + jnp.max(final.n_targets_B)
    return Captured(
        targets=final.targets_BxT,
        n_targets=final.n_targets_B,
        n_positions=longest if counted else final.n_targets_B,
        batch_length=longest,
        log_probability=final.log_prob_B,
        kept=final.kept,
    )
