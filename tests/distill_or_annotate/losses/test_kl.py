"""Laws of the distillation loss; each test fails under its own mutation of `losses`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.losses import TeacherHidden, TeacherLogits, kl_divergence

_KINDS = ("forward", "reverse", "jsd(0.5)", "jsd(0.1)")


def _logits(seed: int, batch: int = 2, length: int = 6, vocab: int = 11, scale: float = 2.0):
    rng = np.random.default_rng(seed)
    draw = rng.normal(size=(2, batch, length, vocab)) * scale
    return jnp.asarray(draw[0], jnp.float32), jnp.asarray(draw[1], jnp.float32)


def _reference(student, teacher, weights, temperature, kind="forward"):
    """Float64 numpy, written from the formulas."""
    s, t = (np.asarray(x, np.float64) / temperature for x in (student, teacher))
    q, p = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (s, t))

    def kl(a, b):
        return (a * (np.log(a) - np.log(b))).sum(-1)

    if kind == "forward":
        values = kl(p, q)
    elif kind == "reverse":
        values = kl(q, p)
    else:
        beta = float(kind[4:-1])
        mean = beta * p + (1 - beta) * q
        values = beta * kl(p, mean) + (1 - beta) * kl(q, mean)
    return temperature**2 * (values * np.asarray(weights)).sum()


@pytest.mark.parametrize("kind", _KINDS)
def test_each_divergence_has_its_own_direction(kind):
    student, teacher = _logits(0)
    weights = jnp.ones((2, 6))
    loss = kl_divergence(student, teacher, weights, 2.0, kind=kind)
    np.testing.assert_allclose(loss, _reference(student, teacher, weights, 2.0, kind), rtol=1e-5)
    turned = _reference(teacher, student, weights, 2.0, kind)
    if kind == "jsd(0.5)":
        np.testing.assert_allclose(loss, turned, rtol=1e-5)
    else:
        assert abs(turned - float(loss)) > 100 * 1e-5 * float(loss)


def test_the_default_is_teacher_to_student():
    student, teacher = _logits(0)
    expected = _reference(student, teacher, np.ones((2, 6)), 2.0, "forward")
    np.testing.assert_allclose(kl_divergence(student, teacher, jnp.ones((2, 6))), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", _KINDS)
def test_equal_distributions_cost_nothing_whatever_their_offset(kind):
    student, _ = _logits(1)
    loss, gradient = jax.value_and_grad(kl_divergence)(student, student + 7.0, jnp.ones((2, 6)), kind=kind)
    assert abs(float(loss)) < 1e-4
    assert float(jnp.abs(gradient).max()) < 1e-5


@pytest.mark.parametrize("kind", _KINDS)
@given(temperature=st.floats(0.5, 8.0), seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_loss_is_temperature_squared_times_that_of_scaled_logits(kind, temperature, seed):
    student, teacher = _logits(seed)
    weights = jnp.ones((2, 6))
    scaled = kl_divergence(student / temperature, teacher / temperature, weights, 1.0, kind=kind)
    np.testing.assert_allclose(
        kl_divergence(student, teacher, weights, temperature, kind=kind),
        temperature**2 * scaled,
        rtol=2e-4,
        atol=1e-5 * temperature**2,
    )


@pytest.mark.parametrize("kind", _KINDS)
def test_padding_has_no_share_and_real_positions_keep_theirs(kind):
    student, teacher = _logits(2)
    weights = jnp.ones((2, 6)).at[:, 4:].set(0)
    damaged = student.at[:, 4:].add(jnp.arange(11.0) * 3)
    loss = kl_divergence(student, teacher, weights, kind=kind)
    np.testing.assert_allclose(kl_divergence(damaged, teacher, weights, kind=kind), loss, rtol=1e-6)
    assert float(loss) > 0.1
    gradient = jax.grad(kl_divergence)(damaged, teacher, weights, kind=kind)
    assert float(jnp.abs(gradient[:, 4:]).max()) == 0.0
    assert float(jnp.abs(gradient[:, :4]).max()) > 0.01


@pytest.mark.parametrize("kind", _KINDS)
def test_longer_padding_changes_nothing(kind):
    student, teacher = _logits(3)
    pad = ((0, 0), (0, 5), (0, 0))
    loss = kl_divergence(student, teacher, jnp.ones((2, 6)), kind=kind)
    weights = jnp.pad(jnp.ones((2, 6)), pad[:2])
    longer = kl_divergence(jnp.pad(student, pad), jnp.pad(teacher, pad), weights, kind=kind)
    np.testing.assert_allclose(longer, loss, rtol=1e-6)


@pytest.mark.parametrize("kind", _KINDS)
def test_gradient_agrees_with_finite_differences(kind):
    student, teacher = _logits(4, batch=1, length=3, vocab=5)
    weights = jnp.asarray([[1.0, 0.5, 0.0]])
    gradient = np.asarray(jax.grad(lambda s: 3.0 * kl_divergence(s, teacher, weights, 2.0, kind=kind))(student))
    step = 1e-5
    for index in np.ndindex(student.shape):
        up, down = np.asarray(student, np.float64), np.asarray(student, np.float64)
        up[index] += step
        down[index] -= step
        rise = _reference(up, teacher, weights, 2.0, kind) - _reference(down, teacher, weights, 2.0, kind)
        np.testing.assert_allclose(gradient[index], 3.0 * rise / (2 * step), rtol=2e-3, atol=2e-5)


def test_the_teacher_gets_a_zero_gradient():
    student, teacher = _logits(5)
    gradient = jax.grad(kl_divergence, argnums=1)(student, teacher, jnp.ones((2, 6)))
    assert float(jnp.abs(gradient).max()) == 0.0


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("block_positions", [1, 2, 3, 4])
def test_blocks_of_positions_give_the_same_loss_and_gradient(block_positions, dtype):
    student, teacher = (x.astype(dtype) for x in _logits(6))
    weights = jnp.asarray(np.random.default_rng(0).random((2, 6)), jnp.float32)
    whole = jax.value_and_grad(kl_divergence)(student, teacher, weights, 2.0, 6)
    blocked = jax.value_and_grad(kl_divergence)(student, teacher, weights, 2.0, block_positions)
    np.testing.assert_allclose(blocked[0], whole[0], rtol=1e-5)
    assert blocked[1].dtype == dtype
    np.testing.assert_allclose(*(x.astype(jnp.float32) for x in (blocked[1], whole[1])), atol=1e-6, rtol=1e-2)
    np.testing.assert_allclose(kl_divergence(student, teacher, weights, 2.0, block_positions), whole[0], rtol=1e-5)


def test_the_student_s_logits_serve_others_after_the_loss_has_read_them():
    """The gradient is written where the logits stood; whoever else reads them must see the logits."""
    student, teacher = _logits(7)

    @jax.jit
    def both(s):
        s = 2.0 * s  # a temporary, so that its place may be taken
        loss, pull = jax.vjp(lambda x: kl_divergence(x, teacher, jnp.ones((2, 6)), 2.0, 2), s)
        return loss, pull(jnp.float32(1.0))[0], jnp.argmax(s, axis=-1), jnp.sum(s)

    _, gradient, best, total = both(student)
    np.testing.assert_array_equal(best, jnp.argmax(student, axis=-1))
    np.testing.assert_allclose(total, 2 * jnp.sum(student), rtol=1e-5)
    assert float(jnp.abs(gradient).max()) > 0.01


def test_values_are_those_of_each_position_and_best_tokens_are_the_teacher_s():
    student, teacher = _logits(8)
    found = TeacherLogits(teacher).compare(student, 0.25 * jnp.ones((2, 6)))
    np.testing.assert_allclose(found.total, 0.25 * jnp.sum(found.values_BxT), rtol=1e-5)
    one = jnp.zeros((2, 6)).at[1, 3].set(1)
    np.testing.assert_allclose(found.values_BxT[1, 3], _reference(student, teacher, one, 2.0), rtol=1e-5)
    np.testing.assert_array_equal(found.teacher_best_BxT, jnp.argmax(teacher, axis=-1))


def test_a_teacher_that_is_certain_gives_finite_losses_and_gradients():
    student, _ = _logits(9)
    teacher = jnp.full((2, 6, 11), -jnp.inf).at[..., 4].set(0.0)
    loss, gradient = jax.value_and_grad(kl_divergence)(student, teacher, jnp.ones((2, 6)), 1.0)
    np.testing.assert_allclose(loss, -jnp.sum(jax.nn.log_softmax(student)[..., 4]), rtol=1e-5)
    assert bool(jnp.isfinite(gradient).all())


@pytest.mark.parametrize("block_positions", [None, 2])
@pytest.mark.parametrize("kind", _KINDS)
def test_hidden_states_and_head_are_the_logits_that_they_make(kind, block_positions):
    student, _ = _logits(10)
    rng = np.random.default_rng(3)
    hidden, kernel = (jnp.asarray(rng.normal(size=n), jnp.bfloat16) for n in ((2, 6, 7), (7, 11)))
    weights = jnp.asarray(rng.random((2, 6)), jnp.float32)
    logits = jnp.matmul(hidden.astype(jnp.float32), kernel.astype(jnp.float32)) * 7**-0.5

    def from_hidden(student, hidden, kernel):
        return TeacherHidden(hidden, kernel, 7**-0.5).compare(student, weights, kind, 2.0, block_positions).total

    expected = jax.value_and_grad(kl_divergence)(student, logits, weights, 2.0, kind=kind)
    loss, gradients = jax.value_and_grad(from_hidden, (0, 1, 2))(student, hidden, kernel)
    np.testing.assert_allclose(loss, expected[0], rtol=1e-5)
    np.testing.assert_allclose(gradients[0], expected[1], atol=1e-5)
    assert all(float(jnp.abs(x).max()) == 0.0 for x in gradients[1:])
    best = TeacherHidden(hidden, kernel, 7**-0.5).compare(student, weights).teacher_best_BxT
    np.testing.assert_array_equal(best, jnp.argmax(logits, axis=-1))


def test_errors_name_the_shapes_and_the_fix():
    student, teacher = _logits(7)
    ones = jnp.ones((2, 6))
    with pytest.raises(ValueError, match=r"\(2, 6, 11\), teacher logits \(2, 6, 9\).*vocab_size"):
        kl_divergence(student, teacher[..., :9], ones)
    with pytest.raises(ValueError, match="temperature is 0"):
        kl_divergence(student, teacher, ones, 0.0)
    with pytest.raises(ValueError, match=r"weights have shape \(2, 5\), expected \(2, 6\)"):
        kl_divergence(student, teacher, ones[:, :5])
    with pytest.raises(ValueError, match=r"states \(2, 6, 7\) and its head \(11, 7\).*transposed"):
        TeacherHidden(jnp.ones((2, 6, 7)), jnp.ones((11, 7))).compare(student, ones)
