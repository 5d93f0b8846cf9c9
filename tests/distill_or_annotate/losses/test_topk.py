"""The k + 1 outcomes: the whole KL at k = V, a lower bound of it below, stable where the tail is small."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from distill_or_annotate.losses import TeacherTopK, kl_divergence, top_k

_KINDS = ("forward", "reverse", "jsd(0.3)")


def _logits(seed, batch=2, length=4, vocab=9, scale=3.0):
    draw = np.random.default_rng(seed).normal(size=(2, batch, length, vocab)) * scale
    return jnp.asarray(draw[0], jnp.float32), jnp.asarray(draw[1], jnp.float32)


def _loss(student, teacher, k, kind="forward", temperature=2.0, block=None):
    kept = top_k(teacher, k, temperature)
    return kept.compare(student, jnp.ones(student.shape[:2]), kind, temperature, block).total


def _bucketed(student, teacher, k, temperature):
    """Float64 numpy: forward KL over k tokens and the rest."""
    s, t = (np.asarray(x, np.float64) / temperature for x in (student, teacher))
    q, p = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (s, t))
    order = np.argsort(-p, axis=-1, kind="stable")
    q, p = (np.take_along_axis(x, order, -1) for x in (q, p))
    q, p = (np.concatenate([x[..., :k], x[..., k:].sum(-1, keepdims=True)], -1) for x in (q, p))
    return temperature**2 * (p * (np.log(p) - np.log(q))).sum()


@pytest.mark.parametrize("kind", _KINDS)
def test_all_tokens_kept_is_the_whole_divergence_and_its_gradient(kind):
    student, teacher = _logits(0)
    whole = jax.value_and_grad(kl_divergence)(student, teacher, jnp.ones((2, 4)), 2.0, kind=kind)
    kept = jax.value_and_grad(_loss)(student, teacher, 9, kind)
    np.testing.assert_allclose(kept[0], whole[0], rtol=1e-5)
    np.testing.assert_allclose(kept[1], whole[1], atol=1e-5)


@pytest.mark.parametrize("kind", _KINDS)
@given(seed=st.integers(0, 10_000), k=st.sampled_from([1, 4, 8]), scale=st.floats(0.1, 8.0))
@settings(max_examples=15, deadline=None)
def test_fewer_tokens_never_cost_more_than_more_tokens(kind, seed, k, scale):
    student, teacher = _logits(seed, scale=scale)
    fewer, more = float(_loss(student, teacher, k, kind)), float(_loss(student, teacher, k + 1, kind))
    assert -1e-5 <= fewer <= more * (1 + 1e-4) + 1e-5
    assert more <= float(kl_divergence(student, teacher, jnp.ones((2, 4)), kind=kind)) * (1 + 1e-4) + 1e-5


def test_the_tail_is_one_outcome_on_both_sides():
    student, teacher = _logits(1)
    for k in (1, 3, 8):
        np.testing.assert_allclose(_loss(student, teacher, k), _bucketed(student, teacher, k, 2.0), rtol=1e-5)


@pytest.mark.parametrize("kind", _KINDS)
def test_gradient_agrees_with_finite_differences(kind):
    student, teacher = _logits(2, batch=1, length=2, vocab=6, scale=1.5)
    gradient = np.asarray(jax.grad(_loss)(student, teacher, 3, kind))
    step = 1e-2
    for index in np.ndindex(student.shape):
        up, down = (
            _loss(student.at[index].add(step), teacher, 3, kind),
            _loss(student.at[index].add(-step), teacher, 3, kind),
        )
        np.testing.assert_allclose(gradient[index], (up - down) / (2 * step), rtol=2e-2, atol=2e-3)


def test_a_tail_far_below_float32_s_rounding_keeps_its_logarithm():
    # Student and teacher agree on token 0; the tails are e^-60 and e^-50 of it, which 1 - sum would call 0.
    student, teacher = (jnp.zeros((1, 1, 9)).at[..., 1:].set(-x) for x in (60.0, 50.0))
    kept = top_k(teacher, 1, 1.0)
    np.testing.assert_allclose(kept.log_tail_BxT, np.log(8) - 50, rtol=1e-5)
    loss, gradient = jax.value_and_grad(lambda s: kept.compare(s, jnp.ones((1, 1)), "reverse", 1.0).total)(student)
    assert np.isfinite(float(loss)) and bool(jnp.isfinite(gradient).all())
    # With a certain teacher, what pulls the student's tail is the student's own tail, e^-60 each: not lost to 1 - 1.
    forward = jax.grad(lambda s: kept.compare(s, jnp.ones((1, 1)), "forward", 1.0).total)(student)
    np.testing.assert_allclose(forward[0, 0, 1:], np.exp(-60.0) - np.exp(-50.0), rtol=1e-3)


def test_a_teacher_without_a_tail_and_one_that_is_all_tail_are_finite():
    student, teacher = _logits(3)
    kept = top_k(teacher, 2)._replace(log_tail_BxT=jnp.full((2, 4), -jnp.inf))
    loss, gradient = jax.value_and_grad(lambda s: kept.compare(s, jnp.ones((2, 4))).total)(student)
    assert np.isfinite(float(loss)) and bool(jnp.isfinite(gradient).all())
    nothing = TeacherTopK(kept.ids_BxTxK, jnp.full((2, 4, 2), -jnp.inf), jnp.zeros((2, 4)))
    loss, gradient = jax.value_and_grad(lambda s: nothing.compare(s, jnp.ones((2, 4))).total)(student)
    assert float(loss) > 0 and bool(jnp.isfinite(gradient).all())


@pytest.mark.parametrize("block", [1, 2])
def test_blocks_give_the_same_loss_and_gradient(block):
    student, teacher = _logits(4)
    whole, blocked = (jax.value_and_grad(_loss)(student, teacher, 3, "forward", 2.0, size) for size in (4, block))
    np.testing.assert_allclose(blocked[0], whole[0], rtol=1e-5)
    np.testing.assert_allclose(blocked[1], whole[1], atol=1e-6)


def test_the_order_of_the_k_tokens_does_not_matter_and_the_best_one_is_found():
    student, teacher = _logits(5)
    kept = top_k(teacher, 4)
    turned = TeacherTopK(kept.ids_BxTxK[..., ::-1], kept.log_probs_BxTxK[..., ::-1], kept.log_tail_BxT)
    one, other = (x.compare(student, jnp.ones((2, 4))) for x in (kept, turned))
    np.testing.assert_allclose(one.total, other.total, rtol=1e-5)
    np.testing.assert_array_equal(one.teacher_best_BxT, jnp.argmax(teacher, axis=-1))
    np.testing.assert_array_equal(other.teacher_best_BxT, jnp.argmax(teacher, axis=-1))


def test_a_batch_spread_over_eight_devices_gathers_nothing_of_the_vocabulary_s_size():
    assert len(jax.devices()) == 8
    student, teacher = _logits(6, batch=8, length=4, vocab=64)
    mesh = Mesh(np.asarray(jax.devices()).reshape(8), ("data",))
    place = lambda x: jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))  # noqa: E731
    kept, weights = top_k(teacher, 3), jnp.ones((8, 4))
    step = jax.jit(jax.value_and_grad(lambda s, t, w: t.compare(s, w, block_positions=2).total))
    arguments = (place(student), jax.tree.map(place, kept), place(weights))
    text = step.lower(*arguments).compile().as_text()
    moved = re.findall(r"= \S*\[([\d,]*)\]\S* (?:all-gather|all-to-all|all-reduce|collective-permute)", text)
    assert moved and all(np.prod([int(n) for n in sizes.split(",") if n] or [1]) < 64 for sizes in moved), moved
    loss, gradient = step(*arguments)
    expected = jax.value_and_grad(_loss)(student, teacher, 3)
    np.testing.assert_allclose(loss, expected[0], rtol=1e-5)
    np.testing.assert_allclose(gradient, expected[1], atol=1e-5)


def test_errors_name_the_shapes_and_the_fix():
    student, teacher = _logits(7)
    kept = top_k(teacher, 3)
    with pytest.raises(ValueError, match=r"ids \(2, 4, 3\), log-probabilities \(2, 4, 3\) and tail \(2, 3\)"):
        kept._replace(log_tail_BxT=kept.log_tail_BxT[:, :3]).compare(student, jnp.ones((2, 4)))
    with pytest.raises(ValueError, match="k at most the vocabulary"):
        kept.compare(student[..., :2], jnp.ones((2, 4)))
