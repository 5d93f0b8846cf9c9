"""Optax behind the optimizer interface."""

import flax.core
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from t5x import optimizers

PARAMS = flax.core.freeze({"layer": {"w": jnp.arange(6.0).reshape(2, 3)}, "scale": jnp.ones(3)})
AXES = flax.core.freeze({"layer": {"w": P("embed", "mlp")}, "scale": P("embed")})
GRADS = jax.tree.map(lambda x: jnp.cos(x) + 0.1, PARAMS)

NAMED = {
    "adabelief": ({"learning_rate": 0.1}, optax.adabelief),
    "adagrad": ({"learning_rate": 0.1}, optax.adagrad),
    "adam": ({"learning_rate": 0.1}, optax.adam),
    "adamw": ({"learning_rate": 0.1, "weight_decay": 0.01}, optax.adamw),
    "lamb": ({"learning_rate": 0.1}, optax.lamb),
    "lion": ({"learning_rate": 0.1}, optax.lion),
    "rmsprop": ({"learning_rate": 0.1, "momentum": 0.9}, optax.rmsprop),
    "sgd": ({"learning_rate": 0.1, "momentum": 0.9}, optax.sgd),
}


@pytest.mark.parametrize("name", NAMED)
def test_each_constructor_steps_as_optax_does(name):
    kwargs, constructor = NAMED[name]
    plain = constructor(**kwargs)
    optimizer = getattr(optimizers, name)(**kwargs).create(PARAMS)
    params, state = PARAMS, plain.init(PARAMS)
    for _ in range(2):
        updates, state = plain.update(GRADS, state, params)
        params = optax.apply_updates(params, updates)
        optimizer = optimizer.apply_gradient(GRADS, learning_rate=123.0)  # the trainer's rate is ignored
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), optimizer.target, params)
    assert int(optimizer.state.step) == 2


def every_wrapped_optimizer():
    names = ["adabelief", "adagrad", "adam", "adamw", "fromage", "lamb"]
    names += ["lars", "lion", "radam", "rmsprop", "sgd", "yogi"]
    made = {name: getattr(optimizers, name)(learning_rate=0.1) for name in names}
    made["noisy_sgd"] = optimizers.noisy_sgd(learning_rate=0.1, key=jax.random.key(0))
    made["chain"] = optimizers.chain([optax.clip_by_global_norm(1.0), optax.adamw(0.1)])
    schedule = optax.warmup_cosine_decay_schedule(0.0, 0.1, 10, 100)
    made["scheduled"] = optimizers.chain(transformations=[optax.clip(1.0), optax.lion(schedule)])
    made["injected"] = optimizers.OptaxWrapper(optax.inject_hyperparams(optax.adam)(learning_rate=0.1))
    made["stepwise"] = optimizers.OptaxWrapper(optax.MultiSteps(optax.adam(0.1), 2).gradient_transformation())
    mask = flax.core.freeze({"layer": {"w": True}, "scale": False})
    made["masked"] = optimizers.OptaxWrapper(optax.masked(optax.adam(0.1), mask))
    return made


MADE = every_wrapped_optimizer()


@pytest.mark.parametrize("name", MADE)
def test_state_survives_its_dictionary(name):
    optimizer = MADE[name].create(PARAMS).apply_gradient(GRADS)
    state_dict = optimizer.state_dict()
    assert set(state_dict) == {"target", "state"} and "step" in state_dict["state"]
    assert not any(isinstance(node, dict) and not node for node in _nodes(state_dict["state"]["param_states"]))
    restored = MADE[name].create(PARAMS).restore_state(state_dict)
    assert jax.tree.structure(restored) == jax.tree.structure(optimizer)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), restored, optimizer))


def _nodes(tree):
    if isinstance(tree, dict):
        for value in tree.values():
            yield value
            yield from _nodes(value)


@pytest.mark.parametrize("name", MADE)
def test_axes_are_derived_for_every_state(name):
    optimizer = MADE[name].create(PARAMS)
    axes = MADE[name].derive_logical_axes(optimizer, AXES)
    leaves, _ = jax.tree.flatten(optimizer.state.param_states)
    specs = jax.tree.leaves(axes.state.param_states, is_leaf=lambda x: x is None)
    assert len(specs) == len(leaves)
    for leaf, spec in zip(leaves, specs, strict=True):
        assert spec == {(2, 3): P("embed", "mlp"), (3,): P("embed")}.get(jnp.shape(leaf))


def test_moments_take_the_axes_of_their_parameter_and_counters_none():
    definition = optimizers.adamw(learning_rate=0.1)
    axes = definition.derive_logical_axes(definition.create(PARAMS), AXES)
    adam = axes.state.param_states[0]
    assert adam.mu == AXES and adam.nu == AXES and adam.count is None
    assert axes.target == AXES and axes.state.step is None


def test_factored_moments_of_optax_are_replicated():
    params = {"w": jnp.zeros((128, 256))}
    definition = optimizers.OptaxWrapper(optax.adafactor(0.1))
    axes = definition.derive_logical_axes(definition.create(params), {"w": P("embed", "mlp")})
    assert jax.tree.leaves(axes.state.param_states) == []


def test_a_definition_without_arrays_can_be_created_from_shapes():
    shapes = jax.eval_shape(optimizers.adam(0.1).create, PARAMS)
    assert shapes.state.param_states[0].mu["scale"].shape == (3,)
