"""Train states: layout of their dictionaries, axes and updates."""

import flax.core
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.linen.partitioning import AxisMetadata
from jax.sharding import PartitionSpec as P

from t5x import adafactor, optimizers, train_state
from t5x.train_state import FlaxOptimTrainState, InferenceState

VARIABLES = {
    "params": {"dense": {"kernel": jnp.ones((2, 3))}, "scale": jnp.full((3,), 2.0)},
    "params_axes": {
        "dense": {"kernel_axes": AxisMetadata(names=("embed", "mlp"))},
        "scale_axes": AxisMetadata(names=("embed",)),
    },
}
MUTABLES = {
    **VARIABLES,
    "stats": {"mean": jnp.zeros((3,))},
    "stats_axes": {"mean_axes": AxisMetadata(names=("embed",))},
    "count": {"n": jnp.zeros((), jnp.int32)},
}


def made(variables=VARIABLES, definition=None):
    rules = adafactor.standard_logical_factor_rules()
    return FlaxOptimTrainState.create(definition or adafactor.Adafactor(logical_factor_rules=rules), variables)


def shapes(tree):
    return jax.tree.map(jnp.shape, tree)


def test_the_state_dictionary_has_the_layout_of_checkpoints():
    unfactored = {"v_row": (1,), "v_col": (1,), "m": (1,)}
    assert shapes(made().state_dict()) == {
        "target": {"dense": {"kernel": (2, 3)}, "scale": (3,)},
        "state": {
            "step": (),
            "param_states": {"dense": {"kernel": {**unfactored, "v": (2, 3)}}, "scale": {**unfactored, "v": (3,)}},
        },
    }
    inference = InferenceState.create(VARIABLES).state_dict()
    assert shapes(inference) == {"target": {"dense": {"kernel": (2, 3)}, "scale": (3,)}, "state": {"step": ()}}


def test_mutables_are_what_is_neither_parameter_nor_axes():
    state = made(MUTABLES)
    assert set(state.flax_mutables) == {"stats", "count"}
    assert set(state.state_dict()["flax_mutables"]) == {"stats", "count"}
    axes = state.as_logical_axes()
    assert axes.flax_mutables["stats"]["mean"] == P("embed") and axes.flax_mutables["count"]["n"] is None
    assert "flax_mutables" not in made().state_dict() and not made().flax_mutables


def test_both_states_answer_the_protocol():
    assert isinstance(made(), train_state.TrainState)
    assert {"state_dict", "restore_state", "replace_step"} <= set(dir(InferenceState))


def test_axes_stand_where_the_arrays_were():
    axes = made().as_logical_axes()
    assert axes.params == flax.core.freeze({"dense": {"kernel": P("embed", "mlp")}, "scale": P("embed")})
    assert axes.param_states["scale"].v == P("embed") and axes.step is None
    inference = InferenceState.create(VARIABLES).as_logical_axes()
    assert inference.params == axes.params and inference.step is None


def test_an_update_moves_parameters_and_counts_a_step():
    state = made(MUTABLES)
    grads = jax.tree.map(jnp.ones_like, state.params)
    new = state.apply_gradient(grads, learning_rate=0.1, flax_mutables={"count": {"n": 5}})
    # Adafactor's first step: learning rate times the parameter's rms.
    np.testing.assert_allclose(new.params["dense"]["kernel"], np.full((2, 3), 0.9), rtol=1e-6)
    np.testing.assert_allclose(new.params["scale"], np.full(3, 1.8), rtol=1e-6)
    assert int(new.step) == 1 and int(state.step) == 0 and new.flax_mutables == {"count": {"n": 5}}


@pytest.mark.parametrize("variables", [VARIABLES, MUTABLES])
@pytest.mark.parametrize("definition", [None, optimizers.adamw(learning_rate=0.1)])
def test_restoring_a_dictionary_gives_the_state_back(variables, definition):
    state = made(variables, definition)
    mutables = state.flax_mutables
    trained = state.apply_gradient(jax.tree.map(jnp.ones_like, state.params), 0.1, flax_mutables=mutables)
    again = state.restore_state(trained.state_dict())
    assert jax.tree.structure(again) == jax.tree.structure(trained)
    jax.tree.map(np.testing.assert_array_equal, again, trained)


def test_an_inference_state_reads_a_trained_one_and_has_no_optimizer():
    trained = made().replace_step(jnp.int32(7)).replace_params(jax.tree.map(lambda x: x + 1, made().params))
    state = InferenceState.create(VARIABLES).restore_state(trained.state_dict())
    assert int(state.step) == 7
    jax.tree.map(np.testing.assert_array_equal, state.params, trained.params)
    with pytest.raises(NotImplementedError):
        _ = state.param_states
    with pytest.raises(NotImplementedError):
        state.apply_gradient({}, 0.1)


def test_what_is_missing_is_named():
    incomplete = {**VARIABLES, "params_axes": {"scale_axes": AxisMetadata(names=("embed",))}}
    with pytest.raises(ValueError, match=r"no logical axes for \['dense/kernel'\]"):
        made(incomplete)
    with pytest.raises(ValueError, match="Adafactor needs logical axes"):
        made({"params": VARIABLES["params"]})
    with pytest.raises(ValueError, match="lacks the collection 'params'"):
        made({"count": {}})
    with pytest.raises(ValueError, match=r"collections \['count', 'stats'\]"):
        made(MUTABLES).restore_state(made().state_dict())
    with pytest.raises(ValueError, match="has no derive_logical_axes"):

        class Bare(optimizers.OptimizerDef):
            def init_state(self, params):
                return optimizers.OptimizerState(jnp.int32(0), None)

        made(VARIABLES, Bare(None)).as_logical_axes()


def test_optax_needs_no_axes():
    state = FlaxOptimTrainState.create(optimizers.sgd(0.5), {"params": {"w": jnp.ones(2)}})
    assert state.as_logical_axes().params["w"] is None
    new = state.apply_gradient({"w": jnp.ones(2)} if isinstance(state.params, dict) else state.params, 9.0)
    np.testing.assert_allclose(new.params["w"], [0.5, 0.5])


def test_states_cross_jit_without_recompiling():
    calls = []

    @jax.jit
    def step(state):
        calls.append(1)
        return state.replace_step(state.step + 1)

    state = made()
    for _ in range(3):
        state = step(state)
    assert int(state.step) == 3 and len(calls) == 1
