"""One trajectory of the T5 network, whatever the mesh, the microbatches and the number of processes."""

import socket

import jax
import numpy as np
import pytest

from t5x import adafactor, checkpoints, models, partitioning, trainer, utils
from t5x.examples.t5 import network

BATCH, LENGTH, VOCAB = 32, 6, 64
CONFIG = network.T5Config(
    vocab_size=VOCAB,
    emb_dim=16,
    num_heads=8,
    head_dim=4,
    mlp_dim=32,
    num_encoder_layers=1,
    num_decoder_layers=2,
    mlp_activations=("gelu", "linear"),
    dropout_rate=0.0,
)


def batches(count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        batch = {name: rng.integers(2, VOCAB, (BATCH, LENGTH)) for name in ("encoder_input_tokens", "targets")}
        targets = batch.pop("targets")
        targets[::3, 4:] = 0  # some rows are shorter than others
        batch["decoder_target_tokens"] = targets
        batch["decoder_input_tokens"] = np.pad(targets[:, :-1], ((0, 0), (1, 0)))
        batch["decoder_loss_weights"] = (targets > 0).astype(np.int32)
        yield {name: x.astype(np.int32) for name, x in batch.items()}


def trajectory(model_size, num_microbatches, parameter_dims=1, steps=3):
    """Parameters after some steps, as NumPy arrays by name."""
    partitioner = partitioning.PjitPartitioner(
        model_parallel_submesh=(1, model_size, 1, 1),
        logical_axis_rules=partitioning.standard_logical_axis_rules(parameter_partitioning_dims=parameter_dims),
    )
    optimizer = adafactor.Adafactor(logical_factor_rules=adafactor.standard_logical_factor_rules())
    model = models.EncoderDecoderModel(network.Transformer(CONFIG), None, None, optimizer, z_loss=1e-4)
    shapes = {name: x.shape for name, x in next(batches(1)).items()}
    initializer = utils.TrainStateInitializer(optimizer, model.get_initial_variables, shapes, partitioner)
    with trainer.Trainer(
        model=model,
        train_state=initializer.from_scratch(jax.random.PRNGKey(0)),
        partitioner=partitioner,
        eval_names=[],
        summary_dir=None,
        train_state_axes=initializer.train_state_axes,
        rng=jax.random.PRNGKey(1),
        learning_rate_fn=utils.create_learning_rate_scheduler("constant", base_learning_rate=0.1),
        num_microbatches=num_microbatches,
    ) as running:
        running.train(batches(steps), steps, start_step=0).result()
        state = running.train_state.state_dict()
    return {name: np.asarray(x) for name, x in utils.flatten_dict_string_keys(state["target"]).items()}


@pytest.fixture(scope="module")
def expected():
    return trajectory(1, None)


@pytest.mark.parametrize("num_microbatches", [1, 4])
@pytest.mark.parametrize("model_size", [8, 4, 1], ids=["1x8", "2x4", "8x1"])
def test_meshes_and_microbatches_give_one_trajectory(expected, model_size, num_microbatches):
    found = trajectory(model_size, num_microbatches)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-4, atol=2e-5, err_msg=name)


def test_parameters_sharded_over_both_axes_give_the_same(expected):
    found = trajectory(4, None, parameter_dims=2)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-4, atol=2e-5, err_msg=name)


def free_port():
    with socket.socket() as listening:
        listening.bind(("localhost", 0))
        return listening.getsockname()[1]


@pytest.mark.slow
def test_two_processes_train_like_one(start, configured, tmp_path):
    macros = {
        "TRAIN_STEPS": 4,
        "EVAL_PERIOD": 0,
        "DROPOUT_RATE": 0.0,
        "train/utils.DatasetConfig.shuffle": False,
        "train/utils.DatasetConfig.seed": 0,
    }
    configured("train", "finetune", macros | {"MODEL_DIR": f"'{tmp_path}/one'"})()
    address = f"--coordinator_address=localhost:{free_port()}"
    extra = ["--multiprocess_gpu", address, "--process_count=2", "--initialization_timeout=120"]
    two = [
        start("train", "finetune", macros | {"MODEL_DIR": f"'{tmp_path}/two'"}, [*extra, f"--process_index={index}"])
        for index in range(2)
    ]
    for process in two:
        output, _ = process.communicate(timeout=280)
        assert process.returncode == 0, output[-3000:]
    expected, found = (checkpoints.load_t5x_checkpoint(str(tmp_path / name)) for name in ("one", "two"))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), found, expected)
    # Each process keeps its own place in the data.
    names = sorted(path.name for path in (tmp_path / "two" / "checkpoint_4" / "dataset").rglob("*.json"))
    assert names == ["train_ds-000-of-002.json", "train_ds-001-of-002.json"]
