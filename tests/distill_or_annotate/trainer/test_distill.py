"""The distillation trainer on real virtual devices: same losses on any mesh, a teacher never written."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from jax.sharding import Mesh, PartitionSpec

from distill_or_annotate.interop import parameters
from distill_or_annotate.model.placement import compact_axis_rules
from distill_or_annotate.trainer.distill import DistillTrainer
from t5x import adafactor, models, partitioning, utils
from t5x.examples.t5 import network

_VOCAB, _BATCH, _LENGTH, _STEPS = 64, 8, 8, 20


class _OneDevice(partitioning.PjitPartitioner):
    """The reference: the same partitioner over the first device alone."""

    @property
    def mesh(self):
        return Mesh(np.asarray(jax.devices()[:1]).reshape(1, 1), ("data", "model"))


def _model(emb_dim: int, num_heads: int, vocab_size: int = _VOCAB) -> models.EncoderDecoderModel:
    config = network.T5Config(
        vocab_size=vocab_size, emb_dim=emb_dim, num_heads=num_heads, head_dim=8, mlp_dim=2 * emb_dim,
        num_encoder_layers=1, num_decoder_layers=1, mlp_activations=("gelu", "linear"), dropout_rate=0.0,
    )  # fmt: skip
    return models.EncoderDecoderModel(network.Transformer(config=config), None, None, adafactor.Adafactor())


def _batches(seed: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    batches = []
    for _ in range(_STEPS):
        tokens = rng.integers(2, _VOCAB, (2, _BATCH, _LENGTH)).astype(np.int32)
        # Rows of uneven length: a mean over shards instead of a mean over tokens would show.
        for row in range(_BATCH):
            tokens[:, row, 2 + row % (_LENGTH - 2) :] = 0
        source, target = tokens
        shifted = np.pad(target, ((0, 0), (1, 0)))[:, :-1]
        weights = (target > 0).astype(np.int32)
        names = ("encoder_input_tokens", "decoder_target_tokens", "decoder_input_tokens", "decoder_loss_weights")
        batches.append(dict(zip(names, (source, target, shifted, weights), strict=True)))
    return batches


@pytest.fixture(scope="module")
def teacher_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    model = _model(32, 4)
    shapes = {"encoder_input_tokens": (2, _LENGTH), "decoder_input_tokens": (2, _LENGTH)}
    # Scaled up: a teacher that is sure of itself makes the student's steps large enough to compare.
    params = jax.tree.map(lambda x: 1.5 * x, model.get_initial_variables(jax.random.PRNGKey(7), shapes)["params"])
    parameters.write_checkpoint(params.unfreeze() if hasattr(params, "unfreeze") else params, folder)
    return folder


def _trainer(teacher_dir, tmp_path, make_partitioner, student=None, **arguments):
    student = student or _model(16, 2)
    partitioner = make_partitioner(logical_axis_rules=compact_axis_rules())
    initializer = utils.TrainStateInitializer(
        optimizer_def=student.optimizer_def,
        init_fn=student.get_initial_variables,
        input_shapes={name: array.shape for name, array in _batches(0)[0].items()},
        partitioner=partitioner,
    )
    return DistillTrainer(
        model=student,
        train_state=initializer.from_scratch(jax.random.PRNGKey(0)),
        partitioner=partitioner,
        eval_names=[],
        summary_dir=str(tmp_path),
        train_state_axes=initializer.train_state_axes,
        rng=jax.random.PRNGKey(1),
        learning_rate_fn=lambda step: jnp.float32(0.01),
        num_microbatches=None,
        teacher_model=_model(32, 4),
        teacher_restore_cfg=utils.RestoreCheckpointConfig(path=str(teacher_dir), mode="latest"),
        teacher_partitioner=make_partitioner(
            logical_axis_rules=partitioning.standard_logical_axis_rules(),
        ),
        **arguments,
    )


def _one_device(**arguments):
    return _OneDevice(model_parallel_submesh=(1, 1, 1, 1), **arguments)


def _eight_devices(**arguments):
    return partitioning.PjitPartitioner(model_parallel_submesh=(1, 2, 1, 1), **arguments)


def _run(trainer) -> list[float]:
    """Twenty steps through the compiled, two-argument step; their losses."""
    spec = trainer._partitioner.data_partition_spec
    mesh = trainer._partitioner.mesh
    place = lambda batch: jax.device_put(batch, jax.sharding.NamedSharding(mesh, spec))  # noqa: E731
    trainer.compile_train(place(_batches(0)[0]))
    state, losses = trainer.train_state, []
    for batch in _batches(0):
        state, metrics = trainer._compiled_train_step(state, place(batch))
        losses.append(float(jax.device_get(metrics["distill/kl_per_token"].compute())))
    trainer.train_state = state
    return losses


def test_twenty_steps_on_a_4_by_2_mesh_have_the_losses_of_one_device(teacher_dir, tmp_path):
    assert len(jax.devices()) == 8
    with _trainer(teacher_dir, tmp_path / "one", _one_device) as trainer:
        expected = _run(trainer)
    with _trainer(teacher_dir, tmp_path / "eight", _eight_devices) as trainer:
        assert dict(trainer._partitioner.mesh.shape) == {"data": 4, "model": 2}
        losses = _run(trainer)
        specs = {
            name: array.sharding.spec
            for name, array in traverse_util.flatten_dict(trainer.teacher.params.unfreeze(), sep="/").items()
        }
        student_specs = {leaf.sharding.spec for leaf in jax.tree.leaves(trainer.train_state.params)}
        batch = {name: jnp.asarray(array) for name, array in _batches(0)[0].items()}
        logits = jax.jit(trainer.teacher.logits)(trainer.teacher.params, batch)
        constrained = jax.jit(lambda b: trainer.objective(None)._constrain(b))(batch["encoder_input_tokens"])
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    assert losses[-1] < 0.95 * losses[0], "the student learns, so the comparison is not of constants"
    # The teacher is split over `model` ...
    assert specs["encoder/layers_0/attention/query/kernel"] == PartitionSpec(None, "model")
    assert specs["decoder/layers_0/mlp/wo/kernel"] == PartitionSpec("model", None)
    assert specs["token_embedder/embedding"] == PartitionSpec("model", None)
    # ... the student is whole everywhere, and its batch and the logits it sees are spread over both axes.
    assert all(not any(spec) for spec in student_specs)
    for array in (logits, constrained):
        assert array.sharding.spec[0] == ("data", "model")
        assert {shard.data.shape[0] for shard in array.addressable_shards} == {_BATCH // 8}


def test_the_teacher_gets_a_zero_gradient_and_the_student_does_not(teacher_dir, tmp_path):
    with _trainer(teacher_dir, tmp_path, _one_device) as trainer:
        batch = {name: jnp.asarray(array) for name, array in _batches(0)[0].items()}
        trainer.teacher.restore({n: a.shape for n, a in batch.items()}, {n: a.dtype for n, a in batch.items()})

        def loss(student, teacher):
            return trainer.objective(teacher).loss_fn(student, batch, None)[0]

        to_student, to_teacher = jax.grad(loss, argnums=(0, 1))(trainer.train_state.params, trainer.teacher.params)
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(to_teacher)) == 0.0
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(to_student)) > 1e-3


def test_no_state_of_the_student_holds_the_teacher(teacher_dir, tmp_path):
    with _trainer(teacher_dir, tmp_path, _one_device) as trainer:
        _run(trainer)
        held = {np.shape(leaf) for leaf in jax.tree.leaves(trainer.train_state.state_dict())}
        teacher = {leaf.shape for leaf in jax.tree.leaves(trainer.teacher.params)}
        again = parameters.read_checkpoint(teacher_dir)[0]
        unchanged = jax.tree.map(np.array_equal, again, jax.device_get(trainer.teacher.params.unfreeze()))
    # The teacher's width is 32, the student's 16: their kernels have no shape in common.
    kernels = {(32, 32), (32, 64), (_VOCAB, 32)}
    assert kernels <= teacher and not kernels & held
    assert all(jax.tree.leaves(unchanged)), "training left the teacher as it was restored"


def test_two_vocabularies_are_refused_before_anything_is_restored(teacher_dir, tmp_path):
    with pytest.raises(ValueError, match="64 for the teacher and 66 for the student"):
        _trainer(teacher_dir, tmp_path, _one_device, student=_model(16, 2, vocab_size=66))


def test_a_missing_teacher_says_where_it_was_looked_for(tmp_path):
    (tmp_path / "none").mkdir()
    batch = {name: SimpleNamespace(shape=a.shape, dtype=a.dtype) for name, a in _batches(0)[0].items()}
    with (
        _trainer(tmp_path / "none", tmp_path, _one_device) as trainer,
        pytest.raises(ValueError, match=r"no checkpoint of the teacher at .*none"),
    ):
        trainer.compile_train(batch)
