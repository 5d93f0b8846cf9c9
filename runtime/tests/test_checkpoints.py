"""Checkpoints: what is stored, what is restored where, what is kept, and what errors say."""

import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax.linen import partitioning as flax_partitioning
from jax.sharding import PartitionSpec

from t5x import adafactor, checkpoint_utils, checkpoints, optimizers, partitioning, utils

# After a read has failed, Orbax's other reads of the same checkpoint report to an event loop that is closed by then.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def variables(rng, input_shapes, input_types=None, vocab=16):
    """A model's variables: a table that is split over `model`, and a vector."""
    axes = flax_partitioning.AxisMetadata
    return {
        "params": {
            "table": jax.random.normal(rng, (vocab, 4)),
            "norm": {"scale": jnp.ones((4,))},
        },
        "params_axes": {"table_axes": axes(names=("vocab", "embed")), "norm": {"scale_axes": axes(names=("embed",))}},
    }


class Model:
    """Stands for a model in `TrainStateInitializer`."""

    def __init__(self, vocab=16):
        self.vocab = vocab

    def get_initial_variables(self, rng, input_shapes, input_types=None):
        return variables(rng, input_shapes, input_types, self.vocab)


def make_initializer(vocab=16, optimizer=True, definition=None):
    partitioner = partitioning.PjitPartitioner(
        model_parallel_submesh=(1, 4, 1, 1), logical_axis_rules=partitioning.standard_logical_axis_rules()
    )
    definition = definition or adafactor.Adafactor(logical_factor_rules=adafactor.standard_logical_factor_rules())
    optimizer_def = definition if optimizer else None
    return utils.TrainStateInitializer(
        optimizer_def=optimizer_def,
        init_fn=Model(vocab).get_initial_variables,
        input_shapes={"x": (8, 4)},
        partitioner=partitioner,
    )


def make_manager(folder, initializer, **options):
    return checkpoints.OrbaxCheckpointManagerInterface(
        str(folder), initializer.global_train_state_shape, initializer._partitioner, **options
    )


@pytest.fixture(scope="module")
def initializer():
    return make_initializer()


@pytest.fixture(scope="module")
def state(initializer):
    return initializer.from_scratch(jax.random.PRNGKey(0)).replace_step(jnp.int32(7))


@pytest.fixture(scope="module")
def saved(initializer, state, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    manager = make_manager(folder, initializer)
    assert manager.save(state)
    manager.close()
    return os.path.join(folder, "checkpoint_7")


def restore(initializer, path, **options):
    cfg = utils.RestoreCheckpointConfig(path=path, mode="specific", **options)
    return initializer.from_checkpoint([cfg], init_rng=jax.random.PRNGKey(1))


def assert_same(a, b):
    a, b = jax.tree.map(np.asarray, (a.state_dict(), b.state_dict()))
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_a_state_comes_back_bit_for_bit_in_its_shards(initializer, state, saved):
    restored = restore(initializer, saved)
    assert_same(restored, state)
    table = restored.params["table"]
    assert table.sharding.spec == PartitionSpec("model", None)
    assert table.addressable_shards[0].data.shape == (4, 4)


def test_names_and_folders_are_those_of_the_documented_layout(saved):
    assert os.path.exists(os.path.join(saved, "state", "_METADATA"))
    assert checkpoint_utils.detect_checkpoint_type(saved) is checkpoint_utils.CheckpointTypes.ORBAX
    loaded = checkpoints.load_t5x_checkpoint(saved)
    assert sorted(loaded) == ["state", "target"]
    assert loaded["state"]["step"] == 7
    assert sorted(loaded["state"]["param_states"]["norm"]["scale"]) == ["m", "v", "v_col", "v_row"]


def test_a_state_may_be_donated_while_it_is_being_written(initializer, state, tmp_path):
    manager = make_manager(tmp_path, initializer)
    own = jax.tree.map(jnp.copy, state)
    expected = jax.tree.map(np.array, own.state_dict())
    overwrite = jax.jit(lambda tree: jax.tree.map(lambda x: x * 0 - 1, tree), donate_argnums=0)
    manager.save(own)
    for _ in range(20):
        own = overwrite(own)
    jax.block_until_ready(own.params)
    manager.close()
    loaded = checkpoints.load_t5x_checkpoint(str(tmp_path))
    jax.tree.map(np.testing.assert_array_equal, loaded, expected)


def test_the_save_dtype_casts_parameters_and_not_the_optimizer(initializer, state, tmp_path):
    manager = make_manager(tmp_path, initializer, save_dtype=jnp.bfloat16)
    manager.save(state)
    manager.close()
    loaded = checkpoints.load_t5x_checkpoint(str(tmp_path))
    assert loaded["target"]["table"].dtype == jnp.bfloat16
    assert loaded["state"]["param_states"]["table"]["v"].dtype == np.float32
    resumed = manager.restore(is_resuming=True)
    assert resumed.params["table"].dtype == jnp.float32


@pytest.mark.parametrize("dtype", [None, "float32", "bfloat16", "float16"])
def test_the_restore_dtype_casts_parameters_and_not_the_optimizer(initializer, saved, dtype):
    restored = restore(initializer, saved, dtype=dtype)
    assert restored.params["table"].dtype == jnp.dtype(dtype or "float32")
    assert restored.param_states["table"].v.dtype == jnp.float32


def test_an_inference_state_ignores_the_optimizer_in_a_checkpoint(saved, state):
    restored = restore(make_initializer(optimizer=False), saved)
    np.testing.assert_array_equal(restored.params["table"], state.params["table"])
    assert int(restored.step) == 7


def test_parameters_alone_start_a_run_with_a_fresh_optimizer(initializer, state, tmp_path):
    path = tmp_path / "checkpoint_0"
    tree = {"target": state.state_dict()["target"], "state": {"step": jnp.int32(0)}}
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as writer:
        writer.save(path, args=ocp.args.Composite(state=ocp.args.PyTreeSave(tree)))
    rules = ((r"state/param_states.*", None),)
    restored = restore(initializer, str(path), assignment_map=rules, fallback_to_scratch=True)
    np.testing.assert_array_equal(restored.params["table"], state.params["table"])
    assert int(restored.step) == 0
    assert restored.param_states["table"].v.shape == (16, 4)
    with pytest.raises(ValueError, match=r"lacks 8 of the model's 11 leaves: state/param_states/norm/scale"):
        restore(initializer, str(path))


def test_optax_starts_fresh_from_parameters_alone_its_counters_included(state, tmp_path):
    path = tmp_path / "checkpoint_0"
    tree = {"target": state.state_dict()["target"], "state": {"step": jnp.int32(0)}}
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as writer:
        writer.save(path, args=ocp.args.Composite(state=ocp.args.PyTreeSave(tree)))
    initializer = make_initializer(definition=optimizers.adamw(learning_rate=0.1))
    rules = ((r"state/param_states.*", None),)
    restored = restore(initializer, str(path), assignment_map=rules, fallback_to_scratch=True)
    np.testing.assert_array_equal(restored.params["table"], state.params["table"])
    fresh = [leaf for leaf in jax.tree.leaves(restored.param_states) if leaf is not None]
    assert fresh and all(not np.asarray(leaf).any() for leaf in fresh)


def test_several_leaves_may_read_one_stored_array_without_sharing_it(initializer, saved):
    rules = ((r"state/param_states/table/v", "target/table"),)
    restored = restore(initializer, saved, assignment_map=rules)
    np.testing.assert_array_equal(restored.param_states["table"].v, restored.params["table"])
    jax.jit(lambda s: s, donate_argnums=0)(restored)  # fails when one buffer occurs twice


def test_a_transformation_that_computes_gets_the_arrays(initializer, state, saved):
    def double(state_dict, target_state_dict, *, is_resuming=False):
        return {**state_dict, "target": jax.tree.map(lambda x: 2 * x, state_dict["target"])}

    restored = restore(initializer, saved, state_transformation_fns=[double])
    np.testing.assert_array_equal(restored.params["table"], 2 * np.asarray(state.params["table"]))


def test_another_model_is_refused_with_folder_leaf_and_shapes(saved):
    with pytest.raises(ValueError, match=r"checkpoint_7 .*target/table: checkpoint \(16, 4\), model \(32, 4\)"):
        restore(make_initializer(vocab=32), saved)


@pytest.mark.parametrize("victim", ["manifest.ocdbt", "_METADATA", "d"])
def test_a_damaged_checkpoint_is_refused_by_name(initializer, saved, tmp_path, victim):
    path = shutil.copytree(saved, tmp_path / "checkpoint_7")
    target = path / "state" / victim
    shutil.rmtree(target) if target.is_dir() else target.write_bytes(target.read_bytes()[:10])
    with pytest.raises(ValueError, match=f"{path}.*(cut short|damaged)"):
        restore(initializer, str(path))


def test_a_truncated_array_is_named(initializer, saved, tmp_path):
    path = shutil.copytree(saved, tmp_path / "checkpoint_7")
    # The merged files, which hold such small arrays; what a process wrote before the merge is not read again.
    for file in (path / "state" / "d").iterdir():
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])
    with pytest.raises(ValueError, match=rf"{path}.*cut short or damaged.*(target|param_states|step)\."):
        restore(initializer, str(path))


def test_a_half_written_checkpoint_is_no_checkpoint(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "checkpoint_7")
    os.mkdir(tmp_path / "checkpoint_9")  # a name without content
    shutil.copytree(saved, tmp_path / "checkpoint_11.orbax-checkpoint-tmp")
    assert checkpoints.all_steps(str(tmp_path)) == [7]
    assert checkpoints.latest_step(str(tmp_path)) == 7
    assert checkpoint_utils.remove_unfinished(str(tmp_path)) == ["checkpoint_11.orbax-checkpoint-tmp"]
    assert sorted(os.listdir(tmp_path)) == ["checkpoint_7", "checkpoint_9"]


def test_a_missing_checkpoint_names_those_beside_it(initializer, saved):
    with pytest.raises(ValueError, match=r"checkpoint_8 does not exist. Complete ones beside it: .*checkpoint_7"):
        restore(initializer, saved.replace("checkpoint_7", "checkpoint_8"))


def test_an_object_store_is_refused_and_not_made_a_folder(initializer):
    with pytest.raises(ValueError, match="local or mounted folders only"):
        restore(initializer, "gs://bucket/checkpoint_7")


def test_other_formats_are_refused_by_name(initializer, tmp_path):
    folder = tmp_path / "checkpoint_5"
    folder.mkdir()
    (folder / "checkpoint").write_bytes(b'model_checkpoint_path: "x"')
    assert checkpoint_utils.detect_checkpoint_type(str(folder)) is checkpoint_utils.CheckpointTypes.T5X_TF
    with pytest.raises(ValueError, match="checkpoint_5 is a T5X_TF checkpoint"):
        restore(initializer, str(folder))


def save_steps(manager, state, steps):
    for step in steps:
        manager.save(state.replace_step(jnp.int32(step)))
        manager.wait_until_finished()


def test_the_newest_are_kept_and_pinned_ones_beside_them(initializer, state, tmp_path):
    manager = make_manager(tmp_path, initializer, keep=2, force_keep_period=3)
    save_steps(manager, state, [1, 2])
    checkpoint_utils.pin_checkpoint(str(tmp_path / "checkpoint_1"))
    save_steps(manager, state, [3, 4, 5])
    manager.close()
    assert manager.all_steps() == [1, 3, 4, 5]


def test_an_existing_step_is_not_written_again(initializer, state, tmp_path):
    manager = make_manager(tmp_path, initializer)
    assert manager.save(state)
    assert not manager.save(state)
    manager.close()


def test_save_policy(initializer, tmp_path):
    manager = make_manager(tmp_path, initializer, period=10, checkpoint_steps=[3])
    assert [s for s in range(1, 21) if manager.should_save(s)] == [3, 10, 20]


def test_restore_modes(initializer, state, tmp_path):
    manager = make_manager(tmp_path, initializer)
    save_steps(manager, state, [1, 2])
    manager.close()

    def paths(**options):
        return utils.get_first_valid_restore_config_and_paths([None, utils.RestoreCheckpointConfig(**options)])[1]

    folder = str(tmp_path)
    assert paths(path=folder, mode="latest") == [f"{folder}/checkpoint_2"]
    assert paths(path=folder, mode="all") == [f"{folder}/checkpoint_1", f"{folder}/checkpoint_2"]
    assert paths(path=[], mode="specific") == []
    with pytest.raises(ValueError, match="is no folder"):
        paths(path=f"{folder}/none", mode="latest")
    states = initializer.from_checkpoints([utils.RestoreCheckpointConfig(path=folder, mode="all")])
    assert [int(s.step) for s, _ in states] == [1, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "newest"}, r"mode is 'newest'; allowed"),
        ({"dtype": "float8"}, r"dtype is 'float8'; allowed"),
        ({"fallback_to_scratch": True}, "needs a transformation"),
    ],
)
def test_impossible_restore_configurations_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        utils.RestoreCheckpointConfig(path="x", **options)
