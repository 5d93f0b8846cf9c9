"""Laws of the distillation loss; each test fails under its own mutation of `losses/kl.py`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.losses import kl_divergence


def _logits(seed: int, batch: int = 2, length: int = 6, vocab: int = 11, scale: float = 2.0):
    rng = np.random.default_rng(seed)
    draw = rng.normal(size=(2, batch, length, vocab)) * scale
    return jnp.asarray(draw[0], jnp.float32), jnp.asarray(draw[1], jnp.float32)


def _reference(student, teacher, weights, temperature):
    """Float64 numpy, written from the formula."""
    s, t = (np.asarray(x, np.float64) / temperature for x in (student, teacher))
    logq = s - np.log(np.exp(s).sum(-1, keepdims=True))
    logp = t - np.log(np.exp(t).sum(-1, keepdims=True))
    return temperature**2 * ((np.exp(logp) * (logp - logq)).sum(-1) * np.asarray(weights)).sum()


def test_direction_is_teacher_to_student():
    student, teacher = _logits(0)
    weights = jnp.ones((2, 6))
    loss = kl_divergence(student, teacher, weights, 2.0)
    np.testing.assert_allclose(loss, _reference(student, teacher, weights, 2.0), rtol=1e-5)
    assert abs(_reference(teacher, student, weights, 2.0) - float(loss)) > 100 * 1e-5 * float(loss)


def test_equal_distributions_cost_nothing_whatever_their_offset():
    student, _ = _logits(1)
    assert abs(float(kl_divergence(student, student + 7.0, jnp.ones((2, 6))))) < 1e-4


@given(st.floats(0.5, 8.0), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_loss_is_temperature_squared_times_the_kl_of_scaled_logits(temperature, seed):
    student, teacher = _logits(seed)
    weights = jnp.ones((2, 6))
    scaled = kl_divergence(student / temperature, teacher / temperature, weights, 1.0)
    np.testing.assert_allclose(
        kl_divergence(student, teacher, weights, temperature), temperature**2 * scaled, rtol=2e-4, atol=1e-5
    )


def test_padding_has_no_share_and_real_positions_keep_theirs():
    student, teacher = _logits(2)
    weights = jnp.ones((2, 6)).at[:, 4:].set(0)
    damaged = student.at[:, 4:].add(jnp.arange(11.0) * 3)
    loss = kl_divergence(student, teacher, weights)
    np.testing.assert_allclose(kl_divergence(damaged, teacher, weights), loss, rtol=1e-6)
    assert float(loss) > 0.1
    gradient = jax.grad(kl_divergence)(damaged, teacher, weights)
    assert float(jnp.abs(gradient[:, 4:]).max()) == 0.0
    assert float(jnp.abs(gradient[:, :4]).max()) > 0.01


def test_longer_padding_changes_nothing():
    student, teacher = _logits(3)
    pad = ((0, 0), (0, 5), (0, 0))
    loss = kl_divergence(student, teacher, jnp.ones((2, 6)))
    longer = kl_divergence(jnp.pad(student, pad), jnp.pad(teacher, pad), jnp.pad(jnp.ones((2, 6)), pad[:2]))
    np.testing.assert_allclose(longer, loss, rtol=1e-6)


def test_gradient_agrees_with_finite_differences():
    student, teacher = _logits(4, batch=1, length=3, vocab=5)
    weights = jnp.asarray([[1.0, 0.5, 0.0]])
    gradient = np.asarray(jax.grad(kl_divergence)(student, teacher, weights, 2.0))
    step = 1e-5
    for index in np.ndindex(student.shape):
        up, down = np.asarray(student, np.float64), np.asarray(student, np.float64)
        up[index] += step
        down[index] -= step
        slope = (_reference(up, teacher, weights, 2.0) - _reference(down, teacher, weights, 2.0)) / (2 * step)
        np.testing.assert_allclose(gradient[index], slope, rtol=2e-3, atol=2e-5)


def test_the_teacher_gets_a_zero_gradient():
    student, teacher = _logits(5)
    gradient = jax.grad(kl_divergence, argnums=1)(student, teacher, jnp.ones((2, 6)))
    assert float(jnp.abs(gradient).max()) == 0.0


@pytest.mark.parametrize("block_positions", [1, 2, 3, 4])
def test_blocks_of_positions_give_the_same_loss_and_gradient(block_positions):
    student, teacher = _logits(6)
    weights = jnp.asarray(np.random.default_rng(0).random((2, 6)), jnp.float32)
    whole = jax.value_and_grad(kl_divergence)(student, teacher, weights, 2.0, 6)
    blocked = jax.value_and_grad(kl_divergence)(student, teacher, weights, 2.0, block_positions)
    np.testing.assert_allclose(blocked[0], whole[0], rtol=1e-5)
    np.testing.assert_allclose(blocked[1], whole[1], atol=1e-6)


def test_no_float32_copy_of_the_logits_stays_alive():
    """Peak temporaries of the compiled gradient stay below one float32 array of the logits' shape."""
    shape = (4, 64, 2048)
    logits = jax.ShapeDtypeStruct(shape, jnp.float32)
    weights = jax.ShapeDtypeStruct(shape[:2], jnp.float32)
    compiled = (
        jax.jit(jax.grad(lambda s, t, w: kl_divergence(s, t, w, 2.0, 4))).lower(logits, logits, weights).compile()
    )
    assert compiled.memory_analysis().temp_size_in_bytes < 4 * np.prod(shape) / 2


def test_errors_name_the_shapes_and_the_fix():
    student, teacher = _logits(7)
    with pytest.raises(ValueError, match=r"\(2, 6, 11\), teacher logits \(2, 6, 9\).*vocab_size"):
        kl_divergence(student, teacher[..., :9], jnp.ones((2, 6)))
    with pytest.raises(ValueError, match="temperature is 0"):
        kl_divergence(student, teacher, jnp.ones((2, 6)), 0.0)
