"""Stacked trees in memory, one tree on disk: checkpoints of a scanned and of an unscanned run serve each other."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.model import scanned, stacking
from distill_or_annotate.model.stacking import stack_layers, unstack_layers
from t5x import adafactor, checkpoints, models, optimizers, partitioning, restoring, utils
from t5x.examples.t5 import network

CONFIG = network.T5Config(
    vocab_size=16,
    emb_dim=8,
    num_heads=2,
    num_encoder_layers=2,
    num_decoder_layers=3,
    head_dim=4,
    mlp_dim=16,
    dropout_rate=0.0,
)
SHAPES = dict.fromkeys(("encoder_input_tokens", "decoder_input_tokens", "decoder_target_tokens"), (8, 3))
OPTIMIZERS = {
    "adafactor": functools.partial(
        adafactor.Adafactor,
        beta1=0.9,
        min_dim_size_to_factor=8,
        logical_factor_rules=adafactor.standard_logical_factor_rules(),
    ),
    "adamw": lambda: optimizers.chain([optax.clip_by_global_norm(1.0), optax.adamw(1e-2)]),
    "none": lambda: None,
}
NETWORKS = {"unscanned": network.Transformer, "scanned": scanned.Transformer}


def initializer(kind, optimizer, model_size=1, config=CONFIG):
    model = models.EncoderDecoderModel(NETWORKS[kind](config), None, None, OPTIMIZERS[optimizer]())
    placing = partitioning.PjitPartitioner(model_parallel_submesh=(1, model_size, 1, 1))
    return utils.TrainStateInitializer(model.optimizer_def, model.get_initial_variables, SHAPES, placing), placing


def random_state(kind, optimizer, model_size=1):
    """A state in its shards whose every number is another one, as after some training."""
    made, placing = initializer(kind, optimizer, model_size)
    state = made.global_train_state_shape
    rng = np.random.default_rng(0)
    # Adafactor's parts of shape (1,) stand for nothing and hold zeros.
    fill = lambda x: (rng.normal(size=x.shape) * (x.shape != (1,))).astype(x.dtype)  # noqa: E731
    filled = jax.tree.map(fill, state.state_dict())
    filled["state"]["step"] = jnp.int32(7)
    return placing.move_params_to_devices(state.restore_state(filled), made.train_state_axes), made, placing


def save(folder, kind, optimizer, model_size=1, **options):
    state, made, placing = random_state(kind, optimizer, model_size)
    manager = checkpoints.OrbaxCheckpointManagerInterface(
        str(folder), made.global_train_state_shape, placing, **options
    )
    manager.save(state, [stacking.unstack_on_save])
    manager.close()
    return state, str(folder / "checkpoint_7")


def restore(path, kind, optimizer, model_size=1, config=CONFIG, **options):
    made, _ = initializer(kind, optimizer, model_size, config)
    cfg = utils.RestoreCheckpointConfig(
        path, mode="specific", state_transformation_fns=[stacking.stack_on_restore], **options
    )
    return made.from_checkpoint([cfg])


def flat(state_dict):
    return {name: np.asarray(x) for name, x in utils.flatten_dict_string_keys(state_dict).items()}


def assert_same(found, expected):
    assert found.keys() == expected.keys() and len(found) > 20
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize(("optimizer", "model_size"), [("adafactor", 2), ("adamw", 1)])
@pytest.mark.parametrize(("writer", "reader"), [("scanned", "unscanned"), ("unscanned", "scanned")])
def test_a_checkpoint_of_one_network_restores_into_the_other(tmp_path, writer, reader, optimizer, model_size):
    written, path = save(tmp_path, writer, optimizer, model_size)
    expected = flat(unstack_layers(written.state_dict()))
    shapes = {name: leaf.shape for name, leaf in restoring.read_leaves(path).items()}
    assert shapes == {name: x.shape for name, x in expected.items()}  # on disk, the unscanned tree
    found = restore(path, reader, optimizer, model_size)
    assert_same(flat(unstack_layers(found.state_dict())), expected)
    kernel = found.params["decoder"]["layers" if reader == "scanned" else "layers_1"]["mlp"]["wo"]["kernel"]
    assert kernel.sharding.shard_shape(kernel.shape)[-2] == 16 // model_size
    if writer == "scanned":  # and a scanned run goes on from its own
        assert_same(flat(restore(path, writer, optimizer, model_size).state_dict()), flat(written.state_dict()))


def test_dtypes_of_saving_and_restoring_are_honoured(tmp_path):
    written, path = save(tmp_path, "scanned", "adafactor", save_dtype=jnp.bfloat16)
    found = restore(path, "scanned", "adafactor", dtype="float32")
    kernel, stored = (s.params["encoder"]["layers"]["mlp"]["wi"]["kernel"] for s in (found, written))
    assert kernel.dtype == jnp.float32
    np.testing.assert_array_equal(kernel, stored.astype(jnp.bfloat16).astype(jnp.float32))


def test_parameters_alone_are_read_with_an_assignment_map_of_the_models_own_names(tmp_path):
    written, path = save(tmp_path, "unscanned", "adamw")
    found = restore(path, "scanned", "none", assignment_map=[(r"(target/.*/layers/.*)", r"\1")])
    assert_same(flat(found.params), flat(stack_layers(written.params)))


def test_a_stacked_leaf_is_read_when_its_turn_comes(tmp_path):
    written, path = save(tmp_path, "unscanned", "none")
    made, _ = initializer("scanned", "none")
    stored = stacking._unflatten(restoring.read_leaves(path))
    found = stacking.stack_on_restore(stored, made.global_train_state_shape.state_dict(), is_resuming=True)
    leaf = found["target"]["decoder"]["layers"]["mlp"]["wo"]["kernel"]
    assert isinstance(leaf, stacking.StackedLeaf) and leaf.shape == (3, 16, 8) and leaf.dtype == jnp.float32
    expected = [written.params["decoder"][f"layers_{i}"]["mlp"]["wo"]["kernel"] for i in range(3)]
    np.testing.assert_array_equal(np.asarray(leaf), np.stack(expected))


def test_a_checkpoint_of_another_depth_is_refused(tmp_path):
    _, path = save(tmp_path, "unscanned", "none")
    deeper = CONFIG.replace(num_decoder_layers=4)
    with pytest.raises(
        ValueError, match=r"checkpoint_7: The checkpoint has 3 layers of target/decoder/layers/.*model 4"
    ):
        restore(path, "scanned", "none", config=deeper)


@given(depth=st.integers(1, 13), width=st.integers(1, 3), wrap=st.sampled_from([np.asarray, jnp.asarray]))
@settings(max_examples=20, deadline=None)
def test_stacking_and_unstacking_undo_each_other(depth, width, wrap):
    rng = np.random.default_rng(depth)
    tree = {"decoder": {f"layers_{i}": {"w": wrap(rng.normal(size=(width, 2)))} for i in range(depth)}}
    tree["decoder"]["norm"] = wrap(rng.normal(size=2))
    stacked = stack_layers(tree)
    assert stacked["decoder"]["layers"]["w"].shape == (depth, width, 2)
    assert stacked["decoder"]["norm"] is tree["decoder"]["norm"]
    again = unstack_layers(stacked)
    assert jax.tree.structure(again) == jax.tree.structure(tree)
    jax.tree.map(np.testing.assert_array_equal, again, tree)
    shapes = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, tree))
    assert jax.tree.map(jnp.shape, unstack_layers(stack_layers(shapes))) == jax.tree.map(jnp.shape, tree)


@pytest.mark.parametrize(
    ("function", "tree", "message"),
    [
        (stack_layers, {"layers_0/w": (2,), "layers_2/w": (2,)}, r"layers/w can't be stacked: layers \[1\] of 3"),
        (stack_layers, {"layers_0/w": (2,), "layers_1/w": (3,)}, r"layers/w can't.*shapes \[\(2,\), \(3,\)\]"),
        (unstack_layers, {"layers/v": (2, 3), "layers/w": (4, 3)}, r"layers/w has shape \(4, 3\).*layers/v is of 2"),
        (unstack_layers, {"layers/w": ()}, r"layers/w has shape \(\)"),
    ],
)
def test_trees_that_are_no_layers_of_one_kind_are_refused(function, tree, message):
    leaves = {name: np.zeros(shape) for name, shape in tree.items()}
    with pytest.raises(ValueError, match=message):
        function(stacking._unflatten(leaves))
