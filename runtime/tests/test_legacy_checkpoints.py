"""T5X's older checkpoint format, restored through the ordinary configuration."""

import os

import jax
import jax.numpy as jnp
import legacy_format
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from t5x import checkpoints, legacy_checkpoints, partitioning, utils
from t5x.examples.t5 import network


class Model:
    """A tiny T5 as `TrainStateInitializer` wants it."""

    def get_initial_variables(self, rng, input_shapes, input_types=None):
        config = network.T5Config(
            vocab_size=24,
            emb_dim=8,
            num_heads=4,
            num_encoder_layers=1,
            num_decoder_layers=1,
            head_dim=4,
            mlp_dim=16,
            mlp_activations=("gelu", "linear"),
        )
        tokens = jnp.ones((2, 4), jnp.int32)
        return network.Transformer(config).init(rng, tokens, tokens, tokens, enable_dropout=False)


@pytest.fixture(scope="module")
def initializer():
    from t5x import adafactor

    return utils.TrainStateInitializer(
        optimizer_def=adafactor.Adafactor(logical_factor_rules=adafactor.standard_logical_factor_rules()),
        init_fn=Model().get_initial_variables,
        input_shapes={},
        partitioner=partitioning.PjitPartitioner(
            model_parallel_submesh=(1, 4, 1, 1), logical_axis_rules=partitioning.standard_logical_axis_rules()
        ),
    )


@pytest.fixture(scope="module")
def state(initializer):
    return initializer.from_scratch(jax.random.PRNGKey(3)).replace_step(jnp.int32(9))


@pytest.fixture(scope="module")
def numbers(state):
    return jax.tree.map(np.asarray, state.state_dict())


def restore(initializer, path, **options):
    cfg = utils.RestoreCheckpointConfig(path=str(path), mode="specific", **options)
    return initializer.from_checkpoint([cfg], init_rng=jax.random.PRNGKey(1))


@pytest.mark.parametrize("old_path", [False, True])
def test_a_train_state_comes_back_bit_for_bit_in_its_shards(initializer, numbers, tmp_path, old_path):
    path = tmp_path / "checkpoint_9"
    legacy_format.write(path, numbers, inline=["target/decoder/decoder_norm/scale"], old_path=old_path)
    restored = restore(initializer, path)
    jax.tree.map(np.testing.assert_array_equal, jax.tree.map(np.asarray, restored.state_dict()), numbers)
    table = restored.params["token_embedder"]["embedding"]
    assert table.sharding.spec == PartitionSpec("model", None)
    assert table.addressable_shards[0].data.shape == (6, 8)


def test_the_newest_of_a_folder_is_found_and_dtypes_are_honoured(initializer, numbers, tmp_path):
    for step in (2, 9):
        legacy_format.write(tmp_path / f"checkpoint_{step}", numbers)
    cfg = utils.RestoreCheckpointConfig(path=str(tmp_path), mode="latest", dtype="bfloat16")
    restored = initializer.from_checkpoint([cfg], init_rng=jax.random.PRNGKey(1))
    assert int(restored.step) == 9
    assert {leaf.dtype.name for leaf in jax.tree.leaves(restored.params)} == {"bfloat16"}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(restored.param_states)} == {"float32"}


def test_an_assignment_map_reads_from_it(initializer, numbers, tmp_path):
    """As with any other checkpoint: a fresh optimizer state, and the decoder's norm from the encoder's."""
    changed = jax.tree.map(np.copy, numbers)
    changed["target"]["encoder"]["encoder_norm"]["scale"] = np.arange(8, dtype=np.float32)
    path = tmp_path / "checkpoint_9"
    legacy_format.write(path, changed)
    rules = (
        (r"state/param_states.*", None),
        (r"target/decoder/decoder_norm/scale", "target/encoder/encoder_norm/scale"),
    )
    restored = restore(initializer, path, assignment_map=rules, fallback_to_scratch=True)
    np.testing.assert_array_equal(restored.params["decoder"]["decoder_norm"]["scale"], np.arange(8))


@pytest.mark.parametrize("bits_as_uint16", [False, True])
def test_bfloat16_is_read_also_where_its_bits_were_stored_as_integers(tmp_path, bits_as_uint16):
    array = jnp.asarray(np.linspace(-3, 3, 40).reshape(4, 10), jnp.bfloat16)
    tree = {"target": {"a": {"kernel": np.asarray(array)}}, "state": {"step": np.int32(1)}}
    path = tmp_path / "checkpoint_1"
    legacy_format.write(path, tree, version=2, bits_as_uint16=bits_as_uint16)
    loaded = checkpoints.load_t5x_checkpoint(str(path))["target"]["a"]["kernel"]
    assert loaded.dtype == jnp.bfloat16
    np.testing.assert_array_equal(loaded, np.asarray(array))
    opened = legacy_checkpoints.open_arrays(str(path))["target/a/kernel"]
    assert opened.shape == (4, 10) and opened.chunk_shape == (4, 8)
    np.testing.assert_array_equal(opened[:, 3:5], np.asarray(array)[:, 3:5])


def _missing_chunk(path):
    (path / "target.decoder.layers_0.mlp.wo.kernel" / "0.0").unlink()


def _cut_chunk(path):
    chunk = path / "target.decoder.layers_0.mlp.wo.kernel" / "0.0"
    chunk.write_bytes(chunk.read_bytes()[:20])


def _missing_array(path):
    (path / "target.decoder.layers_0.mlp.wo.kernel" / ".zarray").unlink()


def _cut_index(path):
    (path / "checkpoint").write_bytes((path / "checkpoint").read_bytes()[:-50])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_missing_chunk, "checkpoint_9, leaf target/decoder/layers_0/mlp/wo/kernel can't be read"),
        (_cut_chunk, "checkpoint_9, leaf target/decoder/layers_0/mlp/wo/kernel can't be read"),
        (_missing_array, "checkpoint_9, leaf target/decoder/layers_0/mlp/wo/kernel: no array"),
        (_cut_index, "checkpoint_9/checkpoint can't be read; it is cut short"),
    ],
)
def test_damage_names_the_file_and_the_leaf(initializer, numbers, tmp_path, damage, message):
    path = tmp_path / "checkpoint_9"
    legacy_format.write(path, numbers)
    damage(path)
    with pytest.raises(ValueError, match=message):
        restore(initializer, path)


@pytest.mark.parametrize("version", [None, 1])
def test_versions_without_a_tree_of_specs_are_refused(tmp_path, version):
    path = tmp_path / "checkpoint_1"
    legacy_format.write(path, {"target": {"a": np.ones(3)}, "state": {"step": np.int32(1)}}, version=version)
    with pytest.raises(ValueError, match=f"format version {version or 0}; versions from 2 on"):
        checkpoints.load_t5x_checkpoint(str(path))


def test_another_model_is_refused_by_shape(initializer, numbers, tmp_path):
    wrong = {**numbers, "target": {**numbers["target"], "token_embedder": {"embedding": np.zeros((12, 8), np.float32)}}}
    path = tmp_path / "checkpoint_9"
    legacy_format.write(path, wrong)
    with pytest.raises(ValueError, match=r"token_embedder/embedding: checkpoint \(12, 8\), model \(24, 8\)"):
        restore(initializer, path)


def test_a_path_in_the_index_cannot_lead_out_of_the_checkpoint(tmp_path):
    from flax import serialization

    outside = tmp_path / "outside"
    legacy_format.write(tmp_path / "other" / "checkpoint_1", {"target": {"secret": np.ones(5)}, "state": {}})
    os.rename(tmp_path / "other" / "checkpoint_1" / "target.secret", outside)
    path = tmp_path / "checkpoint_1"
    path.mkdir()
    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": "../outside/"}, "metadata": {"shape": [5]}}
    root = {"version": 3, "optimizer": {"target": {"a": spec}, "state": {"step": np.int32(1)}}}
    (path / "checkpoint").write_bytes(serialization.msgpack_serialize(root))
    with pytest.raises(ValueError, match=r"leaf target/a: no array in .*checkpoint_1/outside"):
        checkpoints.load_t5x_checkpoint(str(path))
