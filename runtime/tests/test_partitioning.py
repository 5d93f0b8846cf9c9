"""Meshes, rules and partitioned functions on eight real virtual devices."""

import flax.core
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.linen import partitioning as flax_partitioning
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from t5x import adafactor, partitioning, train_state
from t5x.examples.t5 import network


def made(model_size=1, **kwargs):
    assert jax.device_count() == 8
    return partitioning.PjitPartitioner(model_parallel_submesh=(1, model_size, 1, 1), **kwargs)


@pytest.mark.parametrize("model_size", [1, 2, 4, 8])
def test_a_submesh_gives_that_many_model_ways(model_size):
    part = made(model_size)
    assert dict(part.mesh.shape) == {"data": 8 // model_size, "model": model_size}
    assert part.data_mesh_size == 8 // model_size and part.mesh is part.mesh


def test_on_cpu_the_number_of_partitions_is_ignored():
    assert dict(partitioning.PjitPartitioner(num_partitions=1).mesh.shape) == {"data": 1, "model": 8}
    both = partitioning.PjitPartitioner(num_partitions=4, model_parallel_submesh=(1, 2, 1, 1))
    assert dict(both.mesh.shape) == {"data": 4, "model": 2}


def test_two_shapes_give_a_replica_axis_that_carries_the_batch():
    part = partitioning.PjitPartitioner(ici_mesh_shape=(2, 2, 2), dcn_mesh_shape=(1, 1, 1))
    assert part.mesh.axis_names == ("replica", "data", "model")
    assert part.data_partition_spec == P(("replica", "data")) and part.data_mesh_size == 4
    assert part.logical_axis_rules[0] == ("batch", ("replica", "data"))
    assert part.get_data_layout(8).num_shards == 1


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="num_partitions"):
        partitioning.PjitPartitioner()
    with pytest.raises(ValueError, match=r"3-way model parallelism on 8 devices.*\[1, 2, 4, 8\]"):
        _ = made(3).mesh
    with pytest.raises(ValueError, match="must be 1 or 2"):
        partitioning.standard_logical_axis_rules(3, 1)


class Core:
    """A TPU core as far as meshes look at it: placement is arithmetic on coordinates."""

    def __init__(self, x, y, core):
        self.coords, self.core_on_chip, self.process_index, self.id = (x, y, 0), core, 0, (x * 4 + y) * 2 + core
        self.device_kind, self.platform = "TPU v4", "tpu"


def test_on_hardware_with_coordinates_a_submesh_is_a_block_of_neighbours():
    cores = [Core(x, y, core) for x in range(4) for y in range(4) for core in range(2)]
    assert partitioning.bounds_from_last_device(cores[-1]) == (4, 4, 1, 2)
    mesh = partitioning.get_mesh((2, 2, 1, 2), input_devices=list(reversed(cores)))
    assert mesh.devices.shape == (4, 8)
    for row in mesh.devices:
        spread = [{partitioning.get_coords(device)[i] for device in row} for i in range(4)]
        assert [max(values) - min(values) + 1 for values in spread] == [2, 2, 1, 2]
    with pytest.raises(ValueError, match="does not tile"):
        partitioning.get_mesh((1, 1, 1, 4), input_devices=cores)


# The table of the interface: (activation, parameter) dims, then logical axes -> spec.
RULES = [
    ((1, 1), ("embed", "joined_kv"), P(None, "model")),
    ((1, 1), ("vocab", "embed"), P("model", None)),
    ((1, 1), ("heads", "relpos_buckets"), P("model", None)),
    ((1, 1), ("embed",), P(None)),
    ((1, 2), ("embed", "joined_kv"), P("data", "model")),
    ((1, 2), ("vocab", "embed"), P("model", "data")),
    ((1, 2), ("embed",), P("data")),
    ((2, 1), ("batch", "length", "embed"), P("data", None, "model")),
    ((2, 2), ("embed", "mlp"), P("data", "model")),
    ((2, 2), ("embed",), P("model")),
    ((2, 2), ("batch", "length", "embed"), P("data", None, "model")),
    ((1, 1), ("batch", "length", "heads", "kv"), P("data", None, "model", None)),
]


@pytest.mark.parametrize("dims,axes,spec", RULES)
def test_standard_rules_give_the_specs_of_the_interface(dims, axes, spec):
    rules = partitioning.standard_logical_axis_rules(*dims)
    assert flax_partitioning.logical_to_mesh_axes(axes, rules) == spec


def test_additional_rules_come_last_and_tuples_use_both_axes():
    rules = partitioning.standard_logical_axis_rules(additional_rules=[("expert", "data")])
    assert rules[-1] == ("expert", "data")
    spread = (("batch", ("data", "model")), ("heads", "model"))
    assert flax_partitioning.logical_to_mesh_axes(("batch", "heads"), spread) == P(("data", "model"), None)


def small_t5_state(optimizer_def):
    config = network.T5Config(
        vocab_size=64, emb_dim=128, num_heads=8, head_dim=16, mlp_dim=128, num_encoder_layers=1, num_decoder_layers=1
    )
    tokens = jnp.ones((2, 4), jnp.int32)

    def create(rng):
        variables = network.Transformer(config).init(rng, tokens, tokens, tokens, enable_dropout=False)
        if optimizer_def is None:
            return train_state.InferenceState.create(variables)
        return train_state.FlaxOptimTrainState.create(optimizer_def, variables)

    return jax.eval_shape(create, jax.random.PRNGKey(0))


def test_specs_of_a_t5_state():
    state = small_t5_state(adafactor.Adafactor(logical_factor_rules=adafactor.standard_logical_factor_rules()))
    axes = made(4).get_mesh_axes(state)
    assert jax.tree.structure(axes.params) == jax.tree.structure(state.params)
    layer = axes.params["decoder"]["layers_0"]
    assert axes.params["token_embedder"]["embedding"] == P("model", None)
    assert layer["self_attention"]["query"]["kernel"] == P(None, "model")
    assert layer["encoder_decoder_attention"]["out"]["kernel"] == P("model", None)
    assert layer["mlp"]["wo"]["kernel"] == P("model", None)
    assert axes.params["encoder"]["relpos_bias"]["rel_embedding"] == P("model", None)
    assert axes.params["encoder"]["encoder_norm"]["scale"] == P(None)
    assert axes.step is None
    states = axes.param_states["decoder"]["layers_0"]["mlp"]["wo"]["kernel"]  # 128 x 128: factored
    assert (states.v_row, states.v_col, states.v) == (None, None, None)
    assert axes.param_states["token_embedder"]["embedding"].v == P("model", None)  # 64 rows: not factored


def test_two_partitioners_lay_one_model_out_in_their_own_ways():
    state = small_t5_state(None)
    rules = [(name, None) for name, _ in partitioning.standard_logical_axis_rules()]
    teacher, student = made(4).get_mesh_axes(state), made(4, logical_axis_rules=rules).get_mesh_axes(state)
    used = lambda axes: {axis for spec in jax.tree.leaves(axes) for axis in spec if axis}  # noqa: E731
    assert used(teacher) == {"model"} and used(student) == set()


def test_an_axis_without_a_rule_is_named_with_its_parameter():
    with pytest.raises(ValueError, match=r"No logical axis rule for \['embed'\] of .*scale.*additional_rules"):
        made(logical_axis_rules=[("vocab", "model")]).get_mesh_axes(small_t5_state(None))


@given(st.sampled_from([1, 2, 4, 8]), st.integers(1, 6))
def test_a_layout_covers_the_batch_once_or_is_refused(model_size, batch_size):
    part = made(model_size)
    if batch_size % part.data_mesh_size:
        with pytest.raises(ValueError, match=f"batch_size={batch_size} must be a multiple"):
            part.get_data_layout(batch_size)
        return
    assert part.get_data_layout(batch_size) == partitioning.DataLayout(batch_size, 0, 1, True)
    chunk = part.get_local_chunk_info((batch_size, 3), ("data", None))
    assert chunk == partitioning.LocalChunkInfo((slice(0, batch_size), slice(0, 3)), 0)


def test_the_default_layout_is_one_example_per_data_shard():
    assert made(2).get_data_layout().batch_size == 4
    with pytest.raises(NotImplementedError):
        made().get_data_layout(8, host_index=0)


def test_a_partitioned_function_lays_out_inputs_and_results_and_donates():
    part = made(4)
    step = part.partition(
        lambda state, batch: ({"w": state["w"] + batch.sum()}, {"sum": batch.sum()}),
        in_axis_resources=({"w": P(None, "model")}, part.data_partition_spec),
        out_axis_resources=({"w": P(None, "model")}, None),
        donate_argnums=(0,),
    )
    state = {"w": jax.device_put(jnp.zeros((3, 8)), NamedSharding(part.mesh, P(None, "model")))}
    batch = np.ones((4, 2), np.float32)
    compiled = part.compile(step, state, batch)
    for fn in (compiled, step):
        before = state["w"]
        state, found = fn(state, batch)
        assert before.is_deleted() and float(found["sum"]) == 8.0
        assert state["w"].sharding.spec == P(None, "model") and found["sum"].sharding.is_fully_replicated
    np.testing.assert_array_equal(state["w"], np.full((3, 8), 16.0))


def test_constraints_act_inside_a_partitioned_function_and_nowhere_else():
    x = jnp.ones((8, 4))
    assert partitioning.with_sharding_constraint(x, P("data")) is x
    assert not partitioning.global_mesh_defined()
    part = made(2)
    seen = []

    def body(y):
        seen.append(partitioning.global_mesh_defined())
        return jax.tree.map(lambda z: partitioning.with_sharding_constraint(z, P("data", "model")) * 2, y)

    constrained = part.partition(body, (None,), P("data", "model"))(x)
    assert seen == [True] and constrained.sharding.spec == P("data", "model")
    text = part.partition(body, (None,), None).lower(x).as_text()
    assert text.count("Sharding") + text.count("sharding_constraint") >= 1


def test_one_function_is_traced_anew_under_each_partitioners_rules():
    def body(x):
        return flax_partitioning.with_sharding_constraint(x, ("batch", "mlp")) + 0

    for axis in ("model", None):
        part = made(2, logical_axis_rules=[("batch", "data"), ("mlp", axis)])
        text = part.partition(body, (None,), None).lower(jnp.ones((8, 4))).as_text()
        constraint = text.split("sharding_constraint")[1].split("\n")[0]
        assert '"data"' in constraint and ('"model"' in constraint) is (axis == "model")


def test_static_arguments_have_no_resources():
    part = made(2)
    scale = part.partition(lambda x, n: x * n, (P("data"),), P("data"), static_argnums=(1,))
    np.testing.assert_array_equal(scale(np.ones((4,), np.float32), 3), np.full(4, 3.0))


def test_host_arrays_become_global_ones():
    part = made(2)
    batch = {"a": np.arange(8), "b": np.ones((4, 2))}
    found = partitioning.host_local_array_to_global_array(batch, part.mesh, P("data"))
    assert found["b"].sharding.spec == P("data")
    jax.tree.map(np.testing.assert_array_equal, found, batch)
    mixed = partitioning.host_local_array_to_global_array(batch, part.mesh, {"a": None, "b": P("data")})
    assert mixed["a"].sharding.is_fully_replicated


def test_axis_names_are_a_leaf_and_say_what_they_are():
    names = partitioning.AxisNames("embed", None)
    assert jax.tree.leaves({"x": names}) == [names] and names == ("embed", None)
    assert repr(names) == "AxisNames('embed', None)"


def test_moving_parameters_puts_them_in_their_shards():
    part = made(8)
    state = train_state.InferenceState.create({"params": {"w": np.ones((8, 8), np.float32)}})
    moved = part.move_params_to_devices(
        state, state.replace(step=None, params=flax.core.freeze({"w": P(None, "model")}))
    )
    assert moved.params["w"].addressable_shards[0].data.shape == (8, 1)
