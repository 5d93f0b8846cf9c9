"""What is kept of a distribution, and how much rounding costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.capture import collecting


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.1, 1.0, 8.0, 30.0]), st.sampled_from([1.0, 2.0]))
def test_kept_tokens_and_tail_are_one_whole(seed, spread, temperature):
    logits = jax.random.normal(jax.random.PRNGKey(seed), (3, 50)) * spread
    ids, logprobs, tail = collecting.top_tokens(logits, 4, temperature)
    exact = jax.nn.log_softmax(logits.astype(jnp.float32) / temperature, axis=-1)
    np.testing.assert_allclose(logprobs, np.take_along_axis(np.asarray(exact), np.asarray(ids), 1), atol=1e-5)
    mass = np.exp(np.asarray(logprobs, np.float64)).sum(1) + np.exp(np.asarray(tail, np.float64))
    np.testing.assert_allclose(mass, 1.0, atol=1e-5)


def test_a_tiny_tail_keeps_its_digits():
    logits = jnp.array([[40.0, 0.0, 0.0, 0.0]])
    _, _, tail = collecting.top_tokens(logits, 1, 1.0)
    assert float(tail[0]) == pytest.approx(np.log(3.0) - 40.0, abs=1e-4)


def test_a_tail_without_tokens_is_no_infinity():
    _, logprobs, tail = collecting.top_tokens(jnp.array([[1.0, -jnp.inf]]), 2, 1.0)
    assert np.isfinite(np.asarray(logprobs, np.float16)).all() and np.isfinite(np.asarray(tail, np.float16)).all()
    assert np.exp(float(tail[0])) == 0


@pytest.mark.parametrize("spread", [0.0, 1.0, 4.0, 12.0])
def test_float16_errs_by_at_most_a_2048th_of_the_entropy(spread):
    logprobs = np.asarray(jax.nn.log_softmax(jax.random.normal(jax.random.PRNGKey(1), (200, 500)) * spread, axis=-1))
    p = np.exp(logprobs.astype(np.float64))
    entropy = -(p * logprobs).sum(1)

    def error(dtype):
        return (p * np.abs(np.asarray(jnp.asarray(logprobs, dtype), np.float64) - logprobs)).sum(1)

    assert (error(jnp.float16) <= entropy * 2**-11 + 1e-7).all()
    assert error(jnp.bfloat16).max() > error(jnp.float16).max() * 3


def test_the_types_of_a_store():
    assert [collecting.stored_dtype(kind) for kind in collecting.KINDS] == ["bfloat16", "float16", "float32"]
    assert collecting.ids_dtype(32128) == np.uint16 and collecting.ids_dtype(65536) == np.uint16
    assert collecting.ids_dtype(65537) == np.uint32
    with pytest.raises(ValueError, match="kind is 'top'; allowed: hidden, topk, full"):
        collecting.stored_dtype("top")
    with pytest.raises(ValueError, match="'bfloat16'; a store of kind 'topk' takes float16 or float32"):
        collecting.stored_dtype("topk", "bfloat16")
