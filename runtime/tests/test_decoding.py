"""Decoding against plain-Python references on Markov chains, where every probability is known."""

import itertools

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5x import binary_search, decoding

EOS, V, T = 1, 5, 6


def chain(seed, examples=2, peak=1.0):
    """Log-probabilities [examples, V, V] of the next token given the last one; token 0 is never generated."""
    logits = np.random.default_rng(seed).normal(size=(examples, V, V)) * peak
    logits[:, :, 0] = -50.0
    return (logits - np.log(np.exp(logits).sum(-1, keepdims=True))).astype(np.float32)


def markov(table):
    """A tokens-to-logits function over the chain, whose cache says which example a row belongs to and counts calls."""

    def fn(state):
        rows = jnp.asarray(table)[state.cache["example"][:, 0], state.cur_token[:, 0]]
        return rows, {**state.cache, "calls": {"cache_index": state.cache["calls"]["cache_index"] + 1}}

    return fn


def fresh_cache(examples=2):
    return {
        "example": jnp.arange(examples, dtype=jnp.int32)[:, None],
        "calls": {"cache_index": jnp.int32(0)},
    }


def greedy(table, prompt):
    """Follows the most likely token, forcing the prompt."""
    out, last, score = [], 0, 0.0
    for i in range(T):
        forced = prompt[i + 1] if i + 1 < len(prompt) else 0
        token = forced or int(np.argmax(table[last]))
        score += 0.0 if forced else float(table[last][token])
        out.append(token)
        if token == EOS and not forced:
            break
        last = token
    return out + [0] * (T - len(out)), score


def beam_reference(table, beams, alpha=0.6):
    """Beam search over lists, written from its description: 2K candidates, K finished, length penalty."""
    penalty = lambda n: ((5 + n) / 6) ** alpha  # noqa: E731
    live, finished = [(0.0, [])], []
    for step in range(1, T + 1):
        candidates = []
        for score, seq in live:
            row = table[seq[-1] if seq else 0]
            candidates += [(score + float(row[t]), [*seq, t]) for t in range(V)]
        candidates = sorted(candidates, key=lambda c: -c[0])[: 2 * beams]
        finished += [(s / penalty(step), q) for s, q in candidates if q[-1] == EOS]
        finished = sorted(finished, key=lambda c: -c[0])[:beams]
        live = [c for c in candidates if c[1][-1] != EOS][:beams]
        if len(finished) == beams and finished[-1][0] > live[0][0] / penalty(T):
            break
    return sorted(finished or live, key=lambda c: c[0])


def zeros(batch=2):
    return jnp.zeros((batch, T), jnp.int32)


@jax.jit
def sample_greedily(table, inputs):
    return decoding.temperature_sample(inputs, fresh_cache(), markov(table), EOS)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(0, V - 1), min_size=2 * (T - 1), max_size=2 * (T - 1)))
def test_default_sampling_is_greedy_and_forces_the_prompt(seed, tokens):
    table = chain(seed)
    tokens = [0 if t == EOS else t for t in tokens]
    inputs = np.pad(np.array(tokens, np.int32).reshape(2, T - 1), ((0, 0), (1, 0)))
    out, log_prob = sample_greedily(table, inputs)
    assert out.shape == (2, 1, T)
    for i in range(2):
        assert out[i, 0].tolist() == greedy(table[i], inputs[i].tolist())[0]
    np.testing.assert_array_equal(log_prob, 0.0)  # after top-1 nothing else has any probability


@pytest.mark.parametrize("kwargs", [{"temperature": 0.0, "topk": 0}, {"rescale_log_probs": False}])
def test_greedy_scores_are_the_networks_own_log_probabilities(kwargs):
    table = chain(3)
    out, log_prob = decoding.temperature_sample(zeros(), fresh_cache(), markov(table), EOS, **kwargs)
    for i in range(2):
        tokens, score = greedy(table[i], [0])
        assert out[i, 0].tolist() == tokens
        assert float(log_prob[i, 0]) == pytest.approx(score, rel=1e-5)


def count_calls(decode_fn, table, inputs, **kwargs):
    calls = []

    def counted(state):
        jax.debug.callback(lambda i: calls.append(int(i)), state.cache["calls"]["cache_index"])
        return markov(table)(state)

    out = decode_fn(inputs, fresh_cache(), counted, EOS, **kwargs)
    jax.block_until_ready(out)
    jax.effects_barrier()
    return len(calls), out


def always(token):
    """A chain that all but surely emits `token`."""
    table = np.full((2, V, V), -20.0, np.float32)
    table[:, :, token] = 0.0
    return table


@pytest.mark.parametrize(
    ("decode_fn", "kwargs"),
    [(decoding.temperature_sample, {}), (decoding.beam_search, {"num_decodes": 1}), (decoding.beam_search, {})],
)
def test_loops_stop_when_every_row_has_ended(decode_fn, kwargs):
    assert count_calls(decode_fn, always(3), zeros(), **kwargs)[0] == T
    steps, (out, _) = count_calls(decode_fn, always(EOS), zeros(), **kwargs)
    assert steps < T and (steps == 1 or kwargs != {"num_decodes": 1})
    np.testing.assert_array_equal(out[:, -1], [[EOS, 0, 0, 0, 0, 0]] * 2)


def test_one_row_waits_for_the_other():
    table = np.stack([always(EOS)[0], always(3)[0]])
    steps, (out, _) = count_calls(decoding.temperature_sample, table, zeros())
    assert steps == T
    np.testing.assert_array_equal(out[:, 0], [[EOS, 0, 0, 0, 0, 0], [3] * T])


def test_end_tokens_of_the_prompt_do_not_end_it():
    inputs = jnp.array([[0, 3, EOS, 2, 0, 0]] * 2)
    out, _ = decoding.temperature_sample(inputs, fresh_cache(), markov(always(EOS)), EOS)
    np.testing.assert_array_equal(out[:, 0], [[3, EOS, 2, EOS, 0, 0]] * 2)


def test_max_decode_steps_counts_after_the_prompt():
    inputs = jnp.array([[0, 2, 2, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    sample = jax.jit(
        lambda n: decoding.temperature_sample(inputs, fresh_cache(), markov(always(3)), EOS, max_decode_steps=n)
    )
    np.testing.assert_array_equal(sample(2)[0][:, 0], [[2, 2, 3, 3, 0, 0], [3, 3, 0, 0, 0, 0]])
    limited = decoding.temperature_sample(
        inputs, fresh_cache(), markov(always(3)), EOS, max_decode_steps=4, max_decode_steps_hard_limit=1
    )
    np.testing.assert_array_equal(limited[0][:, 0], [[2, 2, 3, 0, 0, 0], [3, 0, 0, 0, 0, 0]])
    with pytest.raises(ValueError, match="max_decode_steps=7 exceeds the length 6"):
        decoding.temperature_sample(inputs, fresh_cache(), markov(always(3)), EOS, max_decode_steps=7)


def test_sampling_follows_the_probabilities():
    probs = np.array([0.0, 0.1, 0.2, 0.3, 0.4])
    table = np.broadcast_to(np.log(probs + 1e-9), (1, V, V)).astype(np.float32)
    inputs = jnp.zeros((1, 1), jnp.int32)

    def first_tokens(**kwargs):
        out, _ = decoding.temperature_sample(
            inputs, fresh_cache(1), markov(table), EOS, jax.random.PRNGKey(0), num_decodes=4000, **kwargs
        )
        return np.bincount(np.asarray(out).ravel(), minlength=V) / 4000

    np.testing.assert_allclose(first_tokens(topk=0), probs, atol=0.03)
    np.testing.assert_allclose(first_tokens(topk=2), [0, 0, 0, 3 / 7, 4 / 7], atol=0.03)
    np.testing.assert_allclose(first_tokens(topk=0, topp=0.69), [0, 0, 0, 3 / 7, 4 / 7], atol=0.03)
    sharp = probs**2 / np.sum(probs**2)
    np.testing.assert_allclose(first_tokens(topk=0, temperature=0.5), sharp, atol=0.03)


def test_traced_and_static_settings_sample_the_same():
    table = chain(5, examples=1)

    def sample(topk, topp):
        return decoding.temperature_sample(
            jnp.zeros((1, T), jnp.int32), fresh_cache(1), markov(table), EOS, num_decodes=64, topk=topk, topp=topp
        )

    for topk, topp in ((3, 0.0), (0, 0.7)):
        static, traced = sample(topk, topp), jax.jit(sample)(topk, topp)
        np.testing.assert_array_equal(static[0], traced[0])
        np.testing.assert_allclose(static[1], traced[1], rtol=1e-5, atol=1e-5)


def test_decodes_come_sorted_with_the_best_last_and_differ_between_examples():
    table = chain(7)
    out, log_prob = decoding.temperature_sample(
        zeros(), fresh_cache(), markov(table), EOS, jax.random.PRNGKey(1), num_decodes=8, topk=0
    )
    assert out.shape == (2, 8, T)
    assert (np.diff(log_prob, axis=1) >= 0).all()
    for i, k in itertools.product(range(2), range(8)):
        last, score = 0, 0.0
        for token in out[i, k].tolist():
            score += float(table[i, last, token])
            last = token
            if token == EOS:
                break
        assert float(log_prob[i, k]) == pytest.approx(score, rel=1e-4)


def test_each_example_may_have_its_temperature():
    out, _ = decoding.temperature_sample(
        zeros(),
        fresh_cache(),
        markov(chain(9, peak=0.1)),
        EOS,
        num_decodes=50,
        temperature=jnp.array([0.0, 1.0]),
        topk=0,
    )
    assert len({tuple(s) for s in out[0].tolist()}) == 1 < len({tuple(s) for s in out[1].tolist()})


def test_topk_and_topp_together_are_refused():
    with pytest.raises(ValueError, match="pass topk=0"):
        decoding.temperature_sample(zeros(), fresh_cache(), markov(chain(0)), EOS, topp=0.5)


def test_a_prefilled_cache_starts_in_the_middle():
    table, inputs = chain(11), jnp.array([[0, 3, 2, 0, 0, 0], [0, 4, 0, 0, 0, 0]])
    whole, _ = decoding.temperature_sample(inputs, fresh_cache(), markov(table), EOS)
    cache = {"example": fresh_cache()["example"], "calls": {"cache_index": jnp.array([2, 1])}}
    part, _ = decoding.temperature_sample(inputs, cache, markov(table), EOS, initial_index=jnp.array([2, 1]))
    np.testing.assert_array_equal(part, whole)


def test_callbacks_see_the_state_and_change_logits():
    def ban_three(logits, state):
        del state
        return logits.at[:, 3].set(decoding.NEG_INF)

    out, _ = decoding.temperature_sample(
        zeros(),
        fresh_cache(),
        markov(always(3)),
        EOS,
        logit_callback_fn=ban_three,
        state_callback_fn=lambda state: state.replace(ended=state.ended | (state.step >= 2)),
    )
    assert not (np.asarray(out) == 3).any() and (np.asarray(out)[:, :, 2:] == 0).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 3]))
def test_beam_search_equals_the_reference(seed, beams):
    table = chain(seed, peak=2.0)
    out, scores = _beam(table, beams)
    for i in range(2):
        expected = beam_reference(table[i], beams)
        got = [(float(s), seq) for s, seq in zip(scores[i], out[i].tolist(), strict=True) if s > -1e6]
        assert [seq for _, seq in got] == [seq + [0] * (T - len(seq)) for _, seq in expected]
        np.testing.assert_allclose([s for s, _ in got], [s for s, _ in expected], rtol=1e-4)


@jax.jit
def _beam1(table):
    return decoding.beam_search(zeros(), fresh_cache(), markov(table), EOS, num_decodes=1)


@jax.jit
def _beam2(table):
    return decoding.beam_search(zeros(), fresh_cache(), markov(table), EOS, num_decodes=2)


@jax.jit
def _beam3(table):
    return decoding.beam_search(zeros(), fresh_cache(), markov(table), EOS, num_decodes=3)


def _beam(table, beams):
    return {1: _beam1, 2: _beam2, 3: _beam3}[beams](table)


def test_enough_beams_find_the_best_sequence_of_all():
    table = chain(13, examples=2)
    out, scores = decoding.beam_search(zeros(), fresh_cache(), markov(table), EOS, num_decodes=40, alpha=0.0)
    for i in range(2):
        best = (-1e9, None)
        for n in range(1, T + 1):
            for middle in itertools.product(range(2, V), repeat=n - 1):
                seq = [0, *middle, EOS]
                best = max(best, (sum(float(table[i, a, b]) for a, b in itertools.pairwise(seq)), seq[1:]))
        assert out[i, -1].tolist()[: len(best[1])] == best[1]
        assert float(scores[i, -1]) == pytest.approx(best[0], rel=1e-4)


def test_one_confident_beam_is_greedy():
    table = chain(17, peak=30.0)
    table[:, :, EOS] = -60.0
    table[:, 4, :] = -60.0
    table[:, 4, EOS] = 0.0
    out, _ = _beam1(table)
    for i in range(2):
        assert out[i, 0].tolist() == greedy(table[i], [0])[0]


@pytest.mark.parametrize("beams", [1, 3])
def test_beam_search_forces_the_prompt(beams):
    table = chain(19)
    inputs = jnp.array([[0, 3, 2, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    out, _ = decoding.beam_search(inputs, fresh_cache(), markov(table), EOS, num_decodes=beams)
    np.testing.assert_array_equal(out[0, :, :2], [[3, 2]] * beams)
    free, _ = decoding.beam_search(zeros(), fresh_cache(), markov(table), EOS, num_decodes=beams)
    np.testing.assert_array_equal(out[1], free[1])


def test_beams_that_never_end_are_returned_live():
    out, scores = decoding.beam_search(zeros(), fresh_cache(), markov(always(3)), EOS, num_decodes=1)
    np.testing.assert_array_equal(out[:, 0], [[3] * T] * 2)
    assert (np.asarray(scores) > -1e-3).all()
    cut, _ = decoding.beam_search(zeros(), fresh_cache(), markov(always(3)), EOS, num_decodes=1, max_decode_step=2)
    np.testing.assert_array_equal(cut[:, 0], [[3, 3, 0, 0, 0, 0]] * 2)


def test_length_penalty():
    assert float(decoding.brevity_penalty(0.6, 10)) == pytest.approx(1.73286, rel=1e-5)
    assert float(decoding.brevity_penalty(0.0, 10)) == 1.0


def test_cache_map_skips_what_has_no_row_per_decode():
    cache = {
        "a": {"cached_key": jnp.ones(2), "cache_index": jnp.ones(2), "kept_key": jnp.ones(2)},
        "b": {"cached_bias": jnp.ones(2), "position_embedder_index": jnp.ones(2)},
    }

    def touched(cache, **kwargs):
        out = decoding.cache_map(lambda x: x + 1, cache, **kwargs)
        assert type(out) is type(cache)
        flat = flax.traverse_util.flatten_dict(flax.core.unfreeze(out))
        return {k[-1] for k, v in flat.items() if v[0] == 2}

    assert touched(cache) == touched(flax.core.freeze(cache)) == {"cached_key"}
    assert touched(cache, apply_to_index=True) == {"cached_key", "cache_index"}


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 1))
@settings(max_examples=10, deadline=None)
def test_beam_axes_fold_and_unfold(batch, beams, offset):
    x = jnp.arange(6 * batch).reshape(*((2,) * offset), batch, -1)
    flat = decoding.flat_batch_beam_expand(x, beams, offset)
    np.testing.assert_array_equal(flat, np.repeat(np.asarray(x), beams, axis=offset))
    np.testing.assert_array_equal(
        decoding.unflatten_beam_dim(flat, batch, beams, offset), decoding.add_beam_dim(x, beams, offset)
    )


def test_gathering_a_cache_moves_whole_rows():
    cache = {"x": jnp.arange(6).reshape(6, 1), "cache_index": jnp.int32(3)}
    out = decoding.cache_gather_beams(cache, jnp.array([[2, 0, 0], [1, 1, 2]]), 2, 3, 3)
    assert out["x"][:, 0].tolist() == [2, 0, 0, 4, 4, 5] and int(out["cache_index"]) == 3


@pytest.mark.parametrize(("count", "k"), [(1000, 4), (997, 4), (64, 30), (6, 6)])
def test_two_stage_top_k_equals_top_k(count, k):
    x = jnp.asarray(np.random.default_rng(0).permutation(3 * count).reshape(3, count), jnp.float32)
    for ours, theirs in zip(decoding.top_k_two_stage(x, k), jax.lax.top_k(x, k), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@settings(max_examples=30, deadline=None)
@given(st.integers(-(2**31), 2**31 - 1))
def test_integer_bisection_finds_the_last_false(limit):
    found = binary_search.int32_bsearch((1,), lambda x: x > limit)
    assert int(found[0]) == limit


@settings(max_examples=30, deadline=None)
@given(st.floats(width=32, allow_nan=False, allow_subnormal=False))
def test_float_bisection_finds_the_last_false(limit):
    found = binary_search.float32_bsearch((1,), lambda x: x > jnp.float32(limit))
    assert float(found[0]) == pytest.approx(limit, rel=0, abs=1.2e-38)  # XLA takes subnormal numbers for 0


def test_masks_keep_the_k_largest_with_ties_and_the_smallest_set_of_mass_p():
    x = jnp.array([[3.0, 1.0, 2.0, 2.0], [-1.0, -2.0, -3.0, -4.0]])
    np.testing.assert_array_equal(binary_search.topk_mask(x, 2, -9.0), [[3, -9, 2, 2], [-1, -2, -9, -9]])
    logits = jnp.log(jnp.array([[0.5, 0.2, 0.2, 0.1]]))
    for p, kept in ((0.4, 1), (0.51, 3), (0.95, 4), (1.0, 4)):
        assert int(jnp.sum(binary_search.topp_mask(logits, p, -jnp.inf) > -jnp.inf)) == kept
