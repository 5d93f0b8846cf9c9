"""Adafactor against numbers worked by hand, against Optax, and its state's shapes."""

import flax.core
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from t5x import adafactor
from t5x.adafactor import Adafactor, FactorDim, HParamMap
from t5x.optimizers import OptimizerState

RATE = 0.1


def one_step(param, grad, step=0, state=None, **kwargs):
    definition = Adafactor(learning_rate=RATE, **kwargs)
    optimizer = definition.create({"w": jnp.asarray(param, jnp.float32)})
    state = state or optimizer.state.replace(step=jnp.int32(step))
    return optimizer.replace(state=state).apply_gradient({"w": jnp.asarray(grad, jnp.float32)})


def test_the_first_step_of_a_vector_is_the_sign_times_the_parameters_rms():
    # beta2 = 1 - 1^-0.8 = 0, so v = g^2 and g/sqrt(v) = sign(g); rms((3,4)) = sqrt(12.5).
    got = one_step([3.0, 4.0], [0.5, -2.0])
    shift = RATE * np.sqrt(12.5)
    np.testing.assert_allclose(got.target["w"], [3 - shift, 4 + shift], rtol=1e-6)
    np.testing.assert_allclose(got.state.param_states["w"].v, [0.25, 4.0], rtol=1e-6)
    assert int(got.state.step) == 1


def test_the_second_step_decays_by_the_schedule_and_clips_the_update():
    first = one_step([3.0, 4.0], [1.0, 1.0])
    second = first.apply_gradient({"w": jnp.array([4.0, 4.0])})
    beta2 = 1 - 2**-0.8  # 0.4257
    v = beta2 * 1.0 + (1 - beta2) * 16.0
    np.testing.assert_allclose(second.state.param_states["w"].v, [v, v], rtol=1e-6)
    # 4 / sqrt(v) = 1.31 for both, so its rms is above the threshold of 1 and the update becomes 1.
    before = np.asarray(first.target["w"])
    want = before - RATE * np.sqrt(np.mean(before**2))
    np.testing.assert_allclose(second.target["w"], want, rtol=1e-6)


def test_a_factored_step_by_hand():
    # g^2 = [[1,4],[9,16]]: row means (2.5, 12.5), column means (5, 10), mean of rows 7.5, so
    # v = outer / 7.5 = [[5/3, 10/3], [25/3, 50/3]]; g^2 / v = [[.6, 1.2], [1.08, .96]], of mean .96: no clipping.
    got = one_step(np.zeros((2, 2)), [[1.0, 2.0], [3.0, 4.0]], min_dim_size_to_factor=2)
    np.testing.assert_allclose(got.state.param_states["w"].v_row, [2.5, 12.5], rtol=1e-6)
    np.testing.assert_allclose(got.state.param_states["w"].v_col, [5.0, 10.0], rtol=1e-6)
    want = -RATE * 1e-3 * np.sqrt([[0.6, 1.2], [1.08, 0.96]])  # zero parameters move at epsilon2
    np.testing.assert_allclose(got.target["w"], want, rtol=1e-5)


def test_step_offset_restarts_the_schedule():
    filled = OptimizerState(
        jnp.int32(1000), {"w": adafactor._AdafactorParamState(*(jnp.zeros(1),) * 2, jnp.ones(2), jnp.zeros(1))}
    )
    fresh = one_step([1.0, 1.0], [3.0, 3.0], state=filled, step_offset=1000)
    np.testing.assert_allclose(fresh.state.param_states["w"].v, [9.0, 9.0], rtol=1e-6)  # beta2 = 0
    kept = one_step([1.0, 1.0], [3.0, 3.0], state=filled)
    weight = 1001**-0.8
    np.testing.assert_allclose(kept.state.param_states["w"].v, [1 - weight + 9 * weight] * 2, rtol=1e-5)


def test_momentum_weight_decay_and_unscaled_steps():
    got = one_step([3.0, 4.0], [1.0, 1.0], beta1=0.9, multiply_by_parameter_scale=False)
    np.testing.assert_allclose(got.state.param_states["w"].m, [0.01, 0.01], rtol=1e-6)  # (1 - .9) * rate * 1
    np.testing.assert_allclose(got.target["w"], [2.99, 3.99], rtol=1e-6)
    decayed = one_step([3.0, 4.0], [1.0, 1.0], weight_decay_rate=0.5, multiply_by_parameter_scale=False)
    np.testing.assert_allclose(decayed.target["w"], [1.5 - RATE, 2.0 - RATE], rtol=1e-6)
    by_rate = one_step(
        [3.0, 4.0],
        [1.0, 1.0],
        weight_decay_rate=0.5,
        weight_decay_rate_lr_exponent=1.0,
        multiply_by_parameter_scale=False,
    )
    np.testing.assert_allclose(by_rate.target["w"], [3 * 0.95 - RATE, 4 * 0.95 - RATE], rtol=1e-6)


def test_bounds_on_the_parameter_scale_and_a_scale_per_parameter():
    capped = one_step([3.0, 4.0], [1.0, 1.0], max_parameter_scale=2.0)
    np.testing.assert_allclose(capped.target["w"], [2.8, 3.8], rtol=1e-6)
    by_name = one_step([3.0, 4.0], [1.0, 1.0], multiply_by_parameter_scale=HParamMap([("v", True), (".*", False)]))
    np.testing.assert_allclose(by_name.target["w"], [2.9, 3.9], rtol=1e-6)


def test_a_gradient_that_is_not_finite_can_be_skipped():
    got = one_step([3.0, 4.0], [np.nan, 1.0], skip_nan_updates=True)
    np.testing.assert_array_equal(got.target["w"], [3.0, 4.0])
    np.testing.assert_array_equal(got.state.param_states["w"].v, [0.0, 0.0])
    assert int(got.state.step) == 1
    assert np.isnan(one_step([3.0, 4.0], [np.nan, 1.0]).target["w"]).any()


def test_the_global_norm_is_clipped_over_all_parameters():
    definition = Adafactor(learning_rate=RATE, global_norm_clip_threshold=1.0)
    optimizer = definition.create({"a": jnp.ones(1), "b": jnp.ones(1)})
    got = optimizer.apply_gradient({"a": jnp.array([3.0]), "b": jnp.array([4.0])})  # norm 5
    np.testing.assert_allclose(got.state.param_states["a"].v, [0.36], rtol=1e-5)
    np.testing.assert_allclose(got.state.param_states["b"].v, [0.64], rtol=1e-5)


@pytest.mark.parametrize("shape", [(130, 200), (200, 130), (7, 300), (40,)])
def test_optax_walks_the_same_way(shape):
    key = jax.random.PRNGKey(0)
    params = {"w": jax.random.normal(key, shape)}
    reference = optax.adafactor(RATE)
    reference_state = reference.init(params)
    optimizer = Adafactor(learning_rate=RATE).create(params)
    update, apply = jax.jit(reference.update), jax.jit(lambda optimizer, grads: optimizer.apply_gradient(grads))
    for step in range(4):
        grads = {"w": jax.random.normal(jax.random.fold_in(key, step), shape) * (step + 1)}
        updates, reference_state = update(grads, reference_state, params)
        params = optax.apply_updates(params, updates)
        optimizer = apply(optimizer, grads)
    np.testing.assert_allclose(optimizer.target["w"], params["w"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "shape,v_row,v_col",
    [((512, 1024), (512,), (1024,)), ((1024, 512), (512,), (1024,)), ((384, 384), (384,), (384,))],
)
def test_large_matrices_keep_a_row_and_a_column(shape, v_row, v_col):
    state = jax.eval_shape(Adafactor().init_state, {"w": jax.ShapeDtypeStruct(shape, jnp.float32)}).param_states["w"]
    assert (state.v_row.shape, state.v_col.shape, state.v.shape, state.m.shape) == (v_row, v_col, (1,), (1,))


@pytest.mark.parametrize("shape", [(12, 32), (512,), (127, 4096)])
def test_small_parameters_keep_the_full_moment(shape):
    state = jax.eval_shape(Adafactor().init_state, {"w": jax.ShapeDtypeStruct(shape, jnp.float32)}).param_states["w"]
    assert (state.v_row.shape, state.v_col.shape, state.v.shape, state.m.shape) == ((1,), (1,), shape, (1,))


def stacked_definition(**kwargs):
    rules = adafactor.standard_logical_factor_rules()
    definition = Adafactor(learning_rate=RATE, logical_factor_rules=rules, min_dim_size_to_factor=2, **kwargs)
    definition.set_param_axes(flax.core.freeze({"w": ("layers", "embed", "mlp"), "s": ("layers", "embed")}))
    return definition


def test_stacked_layers_step_as_if_they_were_apart():
    key = jax.random.PRNGKey(3)
    params = {"w": jax.random.normal(key, (3, 4, 6)), "s": jax.random.normal(key, (3, 4)) * jnp.arange(1, 4)[:, None]}
    grads = jax.tree.map(lambda x: jnp.cos(7 * x), params)
    stacked = stacked_definition().create(params).apply_gradient(grads)
    for layer in range(3):
        apart = Adafactor(learning_rate=RATE, min_dim_size_to_factor=2).create({k: x[layer] for k, x in params.items()})
        apart = apart.apply_gradient({k: x[layer] for k, x in grads.items()})
        for name in params:
            np.testing.assert_allclose(stacked.target[name][layer], apart.target[name], rtol=1e-5)


def test_more_than_two_dimensions_need_a_rule():
    params = {"w": jnp.zeros((4, 4, 4))}
    with pytest.raises(ValueError, match=r"w of shape \(4, 4, 4\) needs an explicit factor rule"):
        Adafactor().create(params)
    dims = (FactorDim.ROW, FactorDim.COLUMN, FactorDim.COLUMN)
    state = Adafactor(factor_map=HParamMap([("w", dims)])).create(params).state.param_states["w"]
    assert (state.v_row.shape, state.v_col.shape) == ((4,), (4, 4))
    assert Adafactor(factor_map=HParamMap([("w", None)])).create(params).state.param_states["w"].v.shape == (4, 4, 4)


def test_axes_without_a_rule_and_mixed_axes_are_refused():
    definition = Adafactor(logical_factor_rules=adafactor.standard_logical_factor_rules())
    with pytest.raises(KeyError, match="heds"):
        definition.set_param_axes({"w": ("embed", "heds")})
    with pytest.raises(ValueError, match="mixes ROW, COLUMN and NONE"):
        definition.set_param_axes({"w": ("embed", "mlp", "relpos_buckets")})


def test_logical_axes_follow_the_parameter_only_for_full_moments():
    definition = Adafactor(beta1=0.9)
    optimizer = definition.create({"big": jnp.zeros((128, 256)), "small": jnp.zeros((2, 4))})
    axes = {"big": ("embed", "mlp"), "small": ("embed", "mlp")}
    states = definition.derive_logical_axes(optimizer, axes).state.param_states
    assert states["big"] == adafactor._AdafactorParamState(None, None, None, ("embed", "mlp"))
    assert states["small"] == adafactor._AdafactorParamState(None, None, ("embed", "mlp"), ("embed", "mlp"))


def test_bfloat16_parameters_stay_bfloat16_and_no_rate_is_an_error():
    optimizer = Adafactor().create({"w": jnp.ones(3, jnp.bfloat16)})
    grads = {"w": jnp.ones(3, jnp.bfloat16)}
    assert optimizer.apply_gradient(grads, learning_rate=0.5).target["w"].dtype == jnp.bfloat16
    with pytest.raises(ValueError, match="learning_rate is None"):
        optimizer.apply_gradient(grads)
    with pytest.raises(ValueError, match="no hyperparameter"):
        optimizer.apply_gradient(grads, learning_rat=0.5)
