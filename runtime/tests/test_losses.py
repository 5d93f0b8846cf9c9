"""Losses: hand values, gradients against autodiff and optax, smoothing, z-loss, normalising factors."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5x import losses
from t5x.losses import SpecialLossNormalizingFactor as Factor


def random_case(seed=0, batch=2, length=3, vocab=7, scale=2.0):
    rng = np.random.default_rng(seed)
    logits = jnp.asarray(rng.normal(size=(batch, length, vocab)) * scale, jnp.float32)
    targets = jnp.asarray(rng.integers(0, vocab, size=(batch, length)), jnp.int32)
    weights = jnp.asarray(rng.integers(0, 3, size=(batch, length)), jnp.float32)
    return logits, targets, weights


def plain_loss(logits, targets, weights, smoothing, z_loss):
    """The definition, differentiated by JAX; its z-loss is stopped where the documented gradient has none."""
    vocab = logits.shape[-1]
    on, off = 1 - smoothing, smoothing / (vocab - 1)
    soft = jax.nn.one_hot(targets, vocab) * (on - off) + off
    entropy = -(on * math.log(on) + smoothing * math.log(off)) if smoothing else 0.0
    log_z = jax.nn.logsumexp(logits, axis=-1)
    loss = -jnp.sum(soft * (logits - log_z[..., None]), axis=-1) - entropy + z_loss * log_z**2
    return jnp.sum(loss * weights)


def test_hand_worked_value():
    # Probabilities 1/2, 1/4, 1/4; target 1 costs ln 4. logZ = ln 4 with logits ln 2, 0, 0.
    logits = jnp.log(jnp.array([[[2.0, 1.0, 1.0]]]))
    total, z_part, weight = losses.compute_weighted_cross_entropy(logits, jnp.array([[1]]), z_loss=0.1)
    assert float(z_part) == pytest.approx(0.1 * math.log(4) ** 2, rel=1e-6)
    assert float(total) == pytest.approx(math.log(4) + 0.1 * math.log(4) ** 2, rel=1e-6)
    assert float(weight) == 1.0


def test_loss_without_extras_is_optax_cross_entropy():
    logits, targets, weights = random_case()
    expected = jnp.sum(optax.softmax_cross_entropy_with_integer_labels(logits, targets) * weights)
    np.testing.assert_allclose(losses.compute_weighted_cross_entropy(logits, targets, weights)[0], expected, rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.1, 0.5]), st.sampled_from([0.0, 1e-4, 0.3]))
def test_value_and_gradient_equal_the_definition(seed, smoothing, z_loss):
    logits, targets, weights = random_case(seed)

    def ours(x):
        return losses.compute_weighted_cross_entropy(x, targets, weights, smoothing, z_loss)[0]

    expected = jax.value_and_grad(plain_loss)(logits, targets, weights, smoothing, z_loss)
    value, gradient = jax.value_and_grad(ours)(logits)
    np.testing.assert_allclose(value, expected[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-5, atol=1e-5)


def test_gradient_equals_finite_differences():
    logits, targets, weights = random_case(batch=1, length=2, vocab=4)

    def ours(x):
        return float(losses.compute_weighted_cross_entropy(jnp.asarray(x), targets, weights + 1, 0.1, 0.2)[0])

    gradient = jax.grad(lambda x: losses.compute_weighted_cross_entropy(x, targets, weights + 1, 0.1, 0.2)[0])(logits)
    base, step = np.asarray(logits), 1e-2
    for index in np.ndindex(base.shape):
        moved = np.zeros_like(base)
        moved[index] = step
        numeric = (ours(base + moved) - ours(base - moved)) / (2 * step)
        assert gradient[index] == pytest.approx(numeric, abs=2e-3)


def test_integer_and_soft_targets_are_the_same_loss():
    logits, targets, _ = random_case()
    soft = jax.nn.one_hot(targets, 7)
    by_integer, pull_integer = jax.vjp(lambda x: losses.integer_cross_entropy(x, targets, 0.3), logits)
    by_soft, pull_soft = jax.vjp(lambda x: losses.cross_entropy_with_logits(x, soft, 0.3), logits)
    np.testing.assert_allclose(by_integer, by_soft, rtol=1e-5)
    cotangent = (jnp.ones((2, 3)) * 1.5, jnp.ones((2, 3)) * 100.0)
    np.testing.assert_allclose(pull_integer(cotangent)[0], pull_soft(cotangent)[0], rtol=1e-5, atol=1e-6)


def test_only_the_first_output_sends_a_gradient():
    logits, targets, _ = random_case()
    for fn in (
        lambda x: losses.integer_cross_entropy(x, targets, 0.3)[1],
        lambda x: losses.cross_entropy_with_logits(x, jax.nn.one_hot(targets, 7), 0.3)[1],
    ):
        assert not np.any(jax.grad(lambda x, fn=fn: jnp.sum(fn(x)))(logits))


def test_z_loss_weight_gets_no_gradient_and_raises_the_pull_on_log_z():
    logits, targets, _ = random_case()
    assert jax.grad(lambda z: jnp.sum(losses.integer_cross_entropy(logits, targets, z)[0]))(0.3) == 0.0
    log_z = jax.nn.logsumexp(logits, axis=-1)
    with_z, without = (
        jax.grad(lambda x, z=z: losses.compute_weighted_cross_entropy(x, targets, z_loss=z)[0])(logits)
        for z in (0.3, 0.0)
    )
    expected = 2 * 0.3 * log_z[..., None] * jax.nn.softmax(logits)
    np.testing.assert_allclose(with_z - without, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.05, 0.1, 0.4])
def test_a_perfect_smoothed_prediction_scores_zero_and_is_a_minimum(smoothing):
    targets = jnp.array([[2, 0]])
    perfect = jnp.log(jax.nn.one_hot(targets, 5) * (1 - smoothing - smoothing / 4) + smoothing / 4)
    value, gradient = jax.value_and_grad(
        lambda x: losses.compute_weighted_cross_entropy(x, targets, label_smoothing=smoothing)[0]
    )(perfect)
    assert float(value) == pytest.approx(0.0, abs=2e-6)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-6)


def test_weights_of_zero_hide_positions_entirely():
    logits, targets, _ = random_case()
    weights = jnp.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    hidden = logits.at[:, 2].set(1e4)
    a = losses.compute_weighted_cross_entropy(logits, targets, weights, 0.1, 0.2)
    b = losses.compute_weighted_cross_entropy(hidden, targets, weights, 0.1, 0.2)
    np.testing.assert_array_equal(a, b)
    assert float(a[2]) == 3.0


def test_normalising_factor_divides_both_sums_and_not_the_weight():
    logits, targets, weights = random_case()
    plain = losses.compute_weighted_cross_entropy(logits, targets, weights, z_loss=0.1)
    divided = losses.compute_weighted_cross_entropy(logits, targets, weights, z_loss=0.1, loss_normalizing_factor=4.0)
    np.testing.assert_allclose(np.array(divided[:2]) * 4, plain[:2], rtol=1e-6)
    assert divided[2] == plain[2]


def test_bfloat16_logits_are_summed_in_float32():
    logits = jnp.zeros((1, 1, 5000), jnp.bfloat16)
    loss, gradient = jax.value_and_grad(
        lambda x: losses.compute_weighted_cross_entropy(x, jnp.zeros((1, 1), jnp.int32))[0]
    )(logits)
    assert float(loss) == pytest.approx(math.log(5000), rel=1e-6)
    assert loss.dtype == jnp.float32 and gradient.dtype == jnp.bfloat16


def test_backward_pass_keeps_no_second_array_over_the_vocabulary():
    logits, targets, _ = random_case()
    _, pull = jax.vjp(lambda x: losses.integer_cross_entropy(x, targets, 0.1, 0.1), logits)
    kept = [x for x in jax.tree.leaves(pull) if hasattr(x, "shape") and x.shape == logits.shape]
    assert len(kept) == 1  # the logits themselves


def test_shape_and_smoothing_errors_name_the_values():
    with pytest.raises(ValueError, match=r"logits \(2, 3\) .* targets \(2, 3\)"):
        losses.compute_weighted_cross_entropy(jnp.ones((2, 3)), jnp.ones((2, 3), jnp.int32))
    with pytest.raises(ValueError, match=r"label_smoothing=1.0 must be in \[0, 1\)"):
        losses.compute_weighted_cross_entropy(jnp.ones((2, 3, 4)), jnp.ones((2, 3), jnp.int32), label_smoothing=1.0)


BATCH = {
    "decoder_target_tokens": jnp.array([[3, 4, 1, 0], [5, 1, 0, 0]]),
    "decoder_loss_weights": jnp.array([[1, 1, 1, 0], [2, 1, 0, 0]]),
}


def test_numbers_and_none_leave_the_batch_alone():
    for factor in (None, 7, 2.5):
        out, weights = losses.get_loss_normalizing_factor_and_weights(factor, BATCH)
        assert out == factor
        np.testing.assert_array_equal(weights, BATCH["decoder_loss_weights"])
    assert losses.get_loss_normalizing_factor_and_weights(None, {"decoder_target_tokens": jnp.ones((1, 2))})[1] is None


@pytest.mark.parametrize(
    ("factor", "with_weights", "without"),
    [("num_real_target_tokens", 6, 5), (Factor.NUM_TOTAL_TARGET_TOKENS, 8, 8), ("AVERAGE_PER_SEQUENCE", 2, 2)],
)
def test_special_factors(factor, with_weights, without):
    value, _ = losses.get_loss_normalizing_factor_and_weights(factor, BATCH)
    assert float(value) == pytest.approx(with_weights)
    value, weights = losses.get_loss_normalizing_factor_and_weights(
        factor, {"decoder_target_tokens": BATCH["decoder_target_tokens"]}
    )
    assert float(value) == pytest.approx(without)
    assert ((weights > 0) == (BATCH["decoder_target_tokens"] > 0)).all()


def test_average_per_sequence_weighs_each_packed_segment_once():
    batch = {
        "decoder_target_tokens": jnp.array([[3, 4, 1, 5, 1, 0]]),
        "decoder_loss_weights": jnp.array([[1.0, 1.0, 1.0, 1.0, 0.0, 0.0]]),
        "decoder_segment_ids": jnp.array([[1, 1, 1, 2, 2, 0]]),
        "decoder_positions": jnp.array([[0, 1, 2, 0, 1, 0]]),
    }
    factor, weights = losses.get_loss_normalizing_factor_and_weights("average_per_sequence", batch)
    np.testing.assert_allclose(weights, [[1 / 3, 1 / 3, 1 / 3, 1, 0, 0]], rtol=1e-6)
    assert float(factor) == pytest.approx(2.0)


def test_a_sequence_without_weight_counts_as_nothing():
    batch = {"decoder_target_tokens": jnp.array([[3, 1], [0, 0]]), "decoder_loss_weights": jnp.array([[1, 1], [0, 0]])}
    factor, weights = losses.get_loss_normalizing_factor_and_weights("average_per_sequence", batch)
    np.testing.assert_allclose(weights, [[0.5, 0.5], [0, 0]])
    assert float(factor) == 1.0


def test_an_unknown_factor_lists_what_there_is():
    assert losses.convert_special_loss_normalizing_factor_to_enum("Num_Real_Target_Tokens") is Factor(1)
    with pytest.raises(ValueError, match=r"'num_real_tokens' is unknown.*Did you mean 'NUM_REAL_TARGET_TOKENS'"):
        losses.convert_special_loss_normalizing_factor_to_enum("num_real_tokens")
