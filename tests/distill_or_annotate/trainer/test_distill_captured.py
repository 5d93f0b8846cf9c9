"""The trainer of students of a store: same losses on any mesh and in slices, and what it refuses."""

import dataclasses
import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from distill_or_annotate.capture import collecting, header, writer
from distill_or_annotate.capture.header import Header, StoreError
from distill_or_annotate.model import DistillationObjective, DistillationOptions
from distill_or_annotate.model.placement import compact_axis_rules
from distill_or_annotate.trainer import distill_captured
from t5x import adafactor, models, partitioning, utils
from t5x.examples.t5 import network

_VOCAB, _BATCH, _LENGTH, _WIDTH, _KEPT, _STEPS = 64, 16, 8, 24, 6, 6
_STORE = Header(
    kind="hidden", task="t_u9", split="train", temperature=2.0, k=0, dtype="bfloat16", padding="masked",
    targets_rule="greedy", labels=(), input_tokens=_LENGTH, target_tokens=_LENGTH, counts_start=False, batch_size=8,
    shard_examples=8, vocab_size=_VOCAB, vocabulary={"size": _VOCAB, "sha256": "0"},
    teacher={"checkpoint": "", "step": 0, "fingerprint": "", "sizes": {"emb_dim": _WIDTH}}, logit_scale=0.5,
    counts={"examples": 9, "given": 0, "shards": 2, "bytes": 1, "positions": 1},
)  # fmt: skip
_TOPK = dataclasses.replace(_STORE, kind="topk", k=_KEPT, dtype="float16", logit_scale=1.0)


class _Mesh(partitioning.PjitPartitioner):
    """The same partitioner over as many devices as asked for."""

    shape = (1, 1)

    @property
    def mesh(self):
        return Mesh(np.asarray(jax.devices()[: np.prod(self.shape)]).reshape(self.shape), ("data", "model"))


@functools.cache
def _student() -> models.EncoderDecoderModel:
    config = network.T5Config(
        vocab_size=_VOCAB, emb_dim=16, num_heads=2, head_dim=8, mlp_dim=32, num_encoder_layers=1,
        num_decoder_layers=1, mlp_activations=("gelu", "linear"), dropout_rate=0.0,
    )  # fmt: skip
    return models.EncoderDecoderModel(network.Transformer(config=config), None, None, adafactor.Adafactor())


def _head() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(_WIDTH, _VOCAB)).astype(np.float32)


def _batch(kind: str) -> dict[str, np.ndarray]:
    """Rows of uneven length: a mean over shards in place of one over tokens would show."""
    rng = np.random.default_rng(0)
    source, target = rng.integers(2, _VOCAB, (2, _BATCH, _LENGTH)).astype(np.int32)
    for row in range(_BATCH):
        target[row, 2 + row % (_LENGTH - 2) :] = 0
    found = {
        "encoder_input_tokens": source,
        "decoder_target_tokens": target,
        "decoder_input_tokens": np.pad(target, ((0, 0), (1, 0)))[:, :-1],
        "decoder_loss_weights": (target > 0).astype(np.int32),
    }
    states = jnp.asarray(rng.normal(size=(_BATCH, _LENGTH, _WIDTH)), jnp.bfloat16)
    if kind == "hidden":
        return found | {collecting.HIDDEN: np.asarray(states)}
    logits = (states.astype(jnp.float32) @ _head()).reshape(-1, _VOCAB) * _STORE.logit_scale
    kept = collecting.collector("topk", _KEPT, 2.0, "float16")(None, logits)
    return found | {name: np.asarray(value).reshape(_BATCH, _LENGTH, *value.shape[1:]) for name, value in kept.items()}


def _trainer(folder, tmp_path, shape=(1, 1), start=None, num_microbatches=None):
    """A trainer over `shape` devices; `start` saves making parameters anew."""
    student, partitioner = _student(), _Mesh(num_partitions=1, logical_axis_rules=compact_axis_rules())
    partitioner.shape = shape
    initializer = utils.TrainStateInitializer(
        optimizer_def=student.optimizer_def,
        init_fn=student.get_initial_variables,
        input_shapes=dict.fromkeys(("encoder_input_tokens", "decoder_input_tokens"), (_BATCH, _LENGTH)),
        partitioner=partitioner,
    )
    everywhere = NamedSharding(partitioner.mesh, PartitionSpec())
    return distill_captured.CapturedTrainer(
        model=student,
        train_state=jax.device_put(start, everywhere) if start else initializer.from_scratch(jax.random.PRNGKey(0)),
        partitioner=partitioner,
        eval_names=[],
        summary_dir=str(tmp_path),
        train_state_axes=initializer.train_state_axes,
        rng=jax.random.PRNGKey(1),
        learning_rate_fn=lambda step: jnp.float32(0.03),
        store=folder,
        num_microbatches=num_microbatches,
    )


def _losses(trainer, kind: str) -> list[float]:
    """The losses of some steps on one batch, through the compiled two-argument step."""
    spec = NamedSharding(trainer._partitioner.mesh, trainer._partitioner.data_partition_spec)
    batch = jax.device_put(_batch(kind), spec)
    trainer.compile_train(batch)
    losses = []
    for _ in range(_STEPS):
        trainer.train_state, metrics = trainer._compiled_train_step(trainer.train_state, batch)
        losses.append(float(jax.device_get(metrics["distill/kl_per_token"].compute())))
    return losses


@pytest.fixture(scope="module", params=["hidden", "topk"])
def one_device(request, tmp_path_factory):
    """Folder and kind of a store, its trainer on one device, the state that this began with, and its losses."""
    kind, folder = request.param, tmp_path_factory.mktemp(request.param)
    header.write(folder, _STORE if kind == "hidden" else _TOPK)
    if kind == "hidden":
        with writer.StoreWriter(folder, _STORE) as out:
            out.write_head(_head())
    with _trainer(folder, tmp_path_factory.mktemp("one")) as trainer:
        start = jax.device_get(trainer.train_state)
        yield SimpleNamespace(folder=folder, kind=kind, trainer=trainer, start=start, losses=_losses(trainer, kind))


def test_two_slices_on_a_4_by_2_mesh_have_the_losses_of_one_device(one_device, tmp_path):
    with _trainer(one_device.folder, tmp_path, (4, 2), one_device.start, num_microbatches=2) as trainer:
        found = _losses(trainer, one_device.kind)
        assert {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(trainer.train_state.params)} == {8}
    np.testing.assert_allclose(found, one_device.losses, rtol=1e-4)
    assert found[-1] < 0.8 * found[0], "a student that had not moved would have the same losses whatever its gradients"


def test_the_loss_is_that_of_the_teachers_logits_or_with_a_tail_in_one_bucket_less(one_device):
    states = jnp.asarray(_batch("hidden")[collecting.HIDDEN]).astype(jnp.float32)
    batch = {name: jnp.asarray(array) for name, array in _batch(one_device.kind).items()}
    whole = DistillationObjective(one_device.trainer._model, lambda _: states @ _head() * _STORE.logit_scale)
    metrics = jax.jit(lambda params: whole.loss_fn(params, batch, None)[1])(one_device.start.params)
    expected = float(metrics["distill/kl_per_token"].compute())
    if one_device.kind == "hidden":
        assert one_device.losses[0] == pytest.approx(expected, rel=1e-5)
    else:
        assert 0.5 * expected < one_device.losses[0] < expected


def test_a_batch_of_another_feature_converter_is_refused(one_device):
    trainer = one_device.trainer
    with pytest.raises(StoreError, match="the batch lacks teacher_"):
        distill_captured.teacher_of(trainer._store, trainer.head, {"decoder_target_tokens": jnp.zeros((2, 2))})


@pytest.mark.parametrize(
    ("found", "options", "vocab_size", "message"),
    [
        (_TOPK, {"temperature": 1.0}, _VOCAB, "temperature is 1.0, but this store keeps the 6 best tokens at .* 2"),
        (_STORE, {"padding": "counted"}, _VOCAB, "padding is 'counted', but this store ends with each row's end token"),
        (_STORE, {}, _VOCAB + 2, "vocab_size is 64 for the captured teacher and 66 for the student"),
    ],
)
def test_a_store_of_another_objective_or_student_is_refused(found, options, vocab_size, message):
    with pytest.raises(StoreError, match=message):
        distill_captured.check(found, DistillationOptions(**options), vocab_size)


@pytest.mark.parametrize(("found", "options"), [(_STORE, {"temperature": 1.0}), (_TOPK, {"divergence": "reverse"})])
def test_states_serve_every_temperature_and_every_store_every_divergence(found, options):
    distill_captured.check(found, DistillationOptions(**options), _VOCAB)
