"""LoRA on real train states and meshes: what is trained, what is not, and what a checkpoint holds."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from distill_or_annotate.interop import parameters
from distill_or_annotate.model import scanned, stacking
from distill_or_annotate.teacher import lora
from t5x import adafactor, models, partitioning, trainer, utils
from t5x.examples.t5 import network

_VOCAB, _BATCH, _LENGTH, _RANK = 64, 8, 8, 2
# One object: it is part of a compiled step's signature.
_OPTIMIZER = adafactor.Adafactor(multiply_by_parameter_scale=False, factored=False)
_DECODER_ATTENTIONS = ("self_attention", "encoder_decoder_attention")
_SAVE_FNS = [lora.merge_on_save, stacking.unstack_on_save]
_RESTORE_FNS = [stacking.stack_on_restore, lora.base_on_restore]


class _OneDevice(partitioning.PjitPartitioner):
    """The reference: the same partitioner over the first device alone."""

    @property
    def mesh(self):
        return Mesh(np.asarray(jax.devices()[:1]).reshape(1, 1), ("data", "model"))


def _one_device():
    return _OneDevice(
        model_parallel_submesh=(1, 1, 1, 1), logical_axis_rules=partitioning.standard_logical_axis_rules()
    )


def _two_by_four():
    rules = partitioning.standard_logical_axis_rules()
    return partitioning.PjitPartitioner(model_parallel_submesh=(1, 4, 1, 1), logical_axis_rules=rules)


def _inner(is_scanned=False, dropout_rate=0.1):
    config = network.T5Config(
        vocab_size=_VOCAB, emb_dim=32, num_heads=4, head_dim=8, mlp_dim=64, num_encoder_layers=2,
        num_decoder_layers=1, mlp_activations=("gelu", "linear"), dropout_rate=dropout_rate,
    )  # fmt: skip
    module = (scanned if is_scanned else network).Transformer(config=config)
    return models.EncoderDecoderModel(module, None, None, adafactor.Adafactor())


def _lora(is_scanned=False, base_dtype=None, dropout_rate=0.1, **arguments):
    return lora.LoraModel(_inner(is_scanned, dropout_rate), _OPTIMIZER, rank=_RANK, base_dtype=base_dtype, **arguments)


def _batch(seed=0):
    source, target = np.random.default_rng(seed).integers(2, _VOCAB, (2, _BATCH, _LENGTH)).astype(np.int32)
    for row in range(_BATCH):
        source[row, 2 + row % 6 :] = target[row, 2 + row % 6 :] = 0
    shifted = np.pad(target, ((0, 0), (1, 0)))[:, :-1]
    names = ("encoder_input_tokens", "decoder_target_tokens", "decoder_input_tokens", "decoder_loss_weights")
    return dict(zip(names, (source, target, shifted, (target > 0).astype(np.int32)), strict=True))


_SHAPES = {name: array.shape for name, array in _batch().items()}


@functools.cache
def _variables(is_scanned=False):
    """Adapters and mutables before training."""
    init = _lora(is_scanned).get_initial_variables
    names = ("params", "base", "lora_scale")
    made = jax.jit(lambda key: {name: init(key, _SHAPES)[name] for name in names})(jax.random.PRNGKey(0))
    made = stacking._plain(jax.device_get(made))
    return made.pop("params"), made


def _grown(adapters, seed=3, size=0.1):
    """Adapters as after some training: no zeros."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: x + size * rng.normal(size=x.shape).astype(np.float32), adapters)


def _initializer(model, partitioner):
    return utils.TrainStateInitializer(
        model.optimizer_def, model.get_initial_variables, _SHAPES, partitioner=partitioner
    )


def _manager(model, partitioner, folder, save_dtype=None):
    return utils.create_orbax_checkpoint_manager(
        save_cfg=utils.SaveCheckpointConfig(dtype=save_dtype),
        train_state=_initializer(model, partitioner).global_train_state_shape,
        partitioner=partitioner,
        model_dir=str(folder),
    )


def _stepper(model, partitioner):
    """A state at step 0, and a function that takes steps from a state on one batch, by the runtime's trainer."""
    initializer = _initializer(model, partitioner)
    state = initializer.from_scratch(jax.random.PRNGKey(0))
    runner = trainer.Trainer(
        model=model,
        train_state=state,
        partitioner=partitioner,
        eval_names=[],
        summary_dir=None,
        train_state_axes=initializer.train_state_axes,
        rng=jax.random.PRNGKey(1),
        learning_rate_fn=lambda step: jnp.float32(0.02),
        num_microbatches=None,
    )
    batch = jax.device_put(_batch(), NamedSharding(partitioner.mesh, partitioner.data_partition_spec))
    with runner:
        runner.compile_train(batch)

    def take(state, n_steps):
        losses = []
        for _ in range(n_steps):
            state, metrics = runner._compiled_train_step(state, batch)
            losses.append(float(jax.device_get(metrics["loss"].compute())))
        return state, losses

    return state, take


@pytest.fixture(scope="module", params=[False, True], ids=["layers", "scanned"])
def run(request, tmp_path_factory):
    """A run of six steps on 2 x 4 devices with a bfloat16 base, saved after three, and what was there on the way."""
    folder = tmp_path_factory.mktemp("run")
    model, partitioner = _lora(request.param, base_dtype="bfloat16"), _two_by_four()
    state, take = _stepper(model, partitioner)
    start = _copied(state.state_dict())
    state, losses = take(state, 3)
    # In bfloat16, in which merged and base kernels differ by rounding alone: the base can't be had from `target`.
    manager = _manager(model, partitioner, folder, save_dtype="bfloat16")
    manager.save(state, _SAVE_FNS)
    manager.close()
    saved = _copied(state.state_dict())
    state, more = take(state, 3)
    return SimpleNamespace(
        is_scanned=request.param, model=model, partitioner=partitioner, folder=folder, take=take,
        start=start, saved=saved, end=state, losses=losses + more,
    )  # fmt: skip


def _copied(tree):
    """On the host; a copy, because on CPUs a plain fetch is a view of a buffer that the next step is given."""
    return jax.tree.map(np.array, jax.device_get(tree))


def _flat(tree):
    return traverse_util.flatten_dict(stacking._plain(tree), sep="/")


def _same(one, other):
    one, other = _flat(jax.device_get(one)), _flat(jax.device_get(other))
    assert one.keys() == other.keys()
    return all(one[n].dtype == other[n].dtype and np.array_equal(one[n], other[n]) for n in one)


def _logits(model, params):
    return np.asarray(jax.jit(model._compute_logits)(jax.device_get(params), _batch()))


@pytest.mark.parametrize("is_scanned", [False, True], ids=["layers", "scanned"])
def test_before_training_the_adapted_model_is_the_model_itself(is_scanned):
    model, (adapters, mutables) = _lora(is_scanned), _variables(is_scanned)
    assert _same(model.merged(adapters, mutables), mutables["base"])
    grown, base = _flat(model.merged(_grown(adapters), mutables)), _flat(mutables["base"])
    changed = {name for name, leaf in grown.items() if not np.array_equal(leaf, base[name])}
    of_encoder = ["layers"] if is_scanned else ["layers_0", "layers_1"]
    of_decoder = of_encoder[:1]
    attentions = [f"encoder/{layer}/attention" for layer in of_encoder]
    attentions += [f"decoder/{layer}/{kind}" for layer in of_decoder for kind in _DECODER_ATTENTIONS]
    assert changed == {f"{attention}/{side}/kernel" for attention in attentions for side in ("query", "value")}


@pytest.mark.parametrize("is_scanned", [False, True], ids=["layers", "scanned"])
def test_gradients_are_those_of_full_fine_tuning_carried_to_the_two_factors(is_scanned):
    model, inner = _lora(is_scanned, alpha=3.0), _inner(is_scanned)
    adapters, mutables = _variables(is_scanned)
    adapters, mutables = _grown(adapters), {**mutables, "lora_scale": {"value": np.float32(3.0 / _RANK)}}
    rng = jax.random.PRNGKey(5)  # with dropout on

    @jax.jit
    def gradients(adapters, mutables):
        to_adapters = jax.grad(lambda p: model.loss_fn(p, _batch(), rng, mutables)[0])(adapters)
        return to_adapters, jax.grad(lambda p: inner.loss_fn(p, _batch(), rng)[0])(model.merged(adapters, mutables))

    grads, full = map(_flat, jax.device_get(gradients(adapters, mutables)))
    parts = _flat(adapters)
    assert grads.keys() == parts.keys()
    for name in {name.rpartition("/")[0] for name in parts}:
        a, b, to_kernel = (np.asarray(x, np.float64) for x in (parts[f"{name}/a"], parts[f"{name}/b"], full[name]))
        expected = {"a": to_kernel @ np.swapaxes(b, -1, -2), "b": np.swapaxes(a, -1, -2) @ to_kernel}
        assert np.abs(to_kernel).max() > 1e-2
        for part, value in expected.items():
            np.testing.assert_allclose(grads[f"{name}/{part}"], 3.0 / _RANK * value, rtol=1e-3, atol=1e-4)


def test_the_gradient_is_the_slope_of_the_loss():
    model, (adapters, mutables) = _lora(), _variables()
    adapters = _grown(adapters)

    @jax.jit
    def loss_and_gradient(adapters):
        return jax.value_and_grad(lambda p: model.loss_fn(p, _batch(), None, mutables)[0])(adapters)

    gradient = loss_and_gradient(adapters)[1]
    norm = np.sqrt(sum(float(jnp.vdot(leaf, leaf)) for leaf in jax.tree.leaves(gradient)))

    def loss(size):
        moved = jax.tree.map(lambda x, g: x + np.float32(size) * (g / norm), adapters, gradient)
        return float(loss_and_gradient(moved)[0])

    # Along the gradient, where the slope is its norm.
    np.testing.assert_allclose((loss(0.002) - loss(-0.002)) / 0.004, norm, rtol=1e-2)


def test_training_lowers_the_loss_and_leaves_the_base_bitwise_alone(run):
    assert run.losses[-1] < 0.9 * run.losses[0]
    for at in (run.saved, run.end.state_dict()):
        assert _same(run.start["flax_mutables"], at["flax_mutables"])
    trained = _flat(jax.device_get(run.end.params))
    assert all(not np.array_equal(leaf, _flat(run.start["target"])[name]) for name, leaf in trained.items())


def test_each_factor_is_split_where_its_kernel_is(run):
    stack, layer = ((None,), "encoder/layers") if run.is_scanned else ((), "encoder/layers_0")
    assert dict(run.partitioner.mesh.shape) == {"data": 2, "model": 4}
    specs = {name: leaf.sharding.spec for name, leaf in _flat(run.end.params).items()}
    assert specs[f"{layer}/attention/query/kernel/b"] == PartitionSpec(*stack, None, "model")
    assert not any(specs[f"{layer}/attention/query/kernel/a"])
    base = _flat(run.end.flax_mutables["base"])
    assert base[f"{layer}/attention/query/kernel"].sharding.spec == PartitionSpec(*stack, None, "model")


def test_one_device_has_the_losses_of_2_by_4(run):
    state, take = _stepper(run.model, _one_device())
    # A few steps: rounding of merged kernels to bfloat16 makes differences of order of summation grow.
    np.testing.assert_allclose(take(state, 3)[1], run.losses[:3], rtol=1e-3)


def test_the_optimizer_holds_nothing_of_the_base_s_size(run):
    n_bytes = lambda tree: sum(leaf.nbytes for leaf in jax.tree.leaves(tree))  # noqa: E731
    # 4 attentions of 2 kernels [32, 32], A and B in float32; the optimizer's one moment is as large as they are.
    assert n_bytes(run.end.params) == 8 * 2 * 32 * _RANK * 4
    unused = len(jax.tree.leaves(run.end.params)) * 3 * 4  # parts that Adafactor does not use, one number each
    assert n_bytes(run.end.param_states) == n_bytes(run.end.params) + unused
    plain = _variables(run.is_scanned)[1]["base"]
    assert n_bytes(run.end.flax_mutables["base"]) == n_bytes(plain) // 2
    assert {leaf.dtype for leaf in jax.tree.leaves(run.end.flax_mutables["base"])} == {jnp.dtype("bfloat16")}
    of_run = {leaf.shape for leaf in jax.tree.leaves((run.end.params, run.end.param_states))}
    assert not {leaf.shape for leaf in jax.tree.leaves(plain)} & of_run


def test_gradients_accumulated_over_slices_are_those_of_the_whole_batch():
    model, (adapters, mutables) = _lora(dropout_rate=0.0), _variables()
    state = SimpleNamespace(params=_grown(adapters), flax_mutables=mutables)

    def gradients(slices):
        rng = jax.random.PRNGKey(0)
        return trainer.accumulate_grads_microbatched(model, state, _batch(), rng, slices, PartitionSpec())[::2]

    (whole, before), (sliced, after) = (jax.jit(functools.partial(gradients, n))() for n in (None, 4))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4), sliced, whole)
    assert _same(before, mutables) and _same(after, mutables)


def test_a_resumed_run_ends_bit_by_bit_as_one_that_was_not_stopped(run):
    other_alpha = _lora(run.is_scanned, base_dtype="bfloat16", alpha=99.0)
    manager = _manager(other_alpha, run.partitioner, run.folder)
    state = manager.restore(step=3, state_transformation_fns=_RESTORE_FNS, is_resuming=True)
    assert _same(state.state_dict(), run.saved), "alpha too is the one that the run began with"
    resumed, losses = run.take(state, 3)
    assert losses == run.losses[3:]
    assert _same(resumed.state_dict(), run.end.state_dict())


def test_a_checkpoint_is_an_ordinary_one_of_the_merged_model(run):
    merged = run.model.merged(run.saved["target"], run.saved["flax_mutables"])
    expected = _logits(run.model._model, merged)
    of_base = _logits(run.model._model, run.saved["flax_mutables"]["base"])
    assert np.abs(expected - of_base).max() > 0.1
    # The plain network with a subtree for each layer, restored without a transformation, on another mesh.
    plain = _inner()
    initializer = utils.TrainStateInitializer(None, plain.get_initial_variables, _SHAPES, partitioner=_one_device())
    restored = initializer.from_checkpoint([utils.RestoreCheckpointConfig(path=str(run.folder), mode="latest")])
    assert not restored.flax_mutables and int(restored.step) == 3
    np.testing.assert_allclose(_logits(plain, restored.params), expected, rtol=1e-3, atol=1e-3)
    on_disk = jax.device_get(stacking._plain(restored.params))
    assert _same(stacking.stack_layers(on_disk) if run.is_scanned else on_disk, merged)


@pytest.mark.parametrize("is_scanned", [False, True], ids=["layers", "scanned"])
def test_any_checkpoint_becomes_the_base_and_all_else_starts_anew(tmp_path, is_scanned):
    params = _variables()[1]["base"]
    parameters.write_checkpoint(params, tmp_path, step=500)
    cfg = utils.RestoreCheckpointConfig(
        path=str(tmp_path), mode="latest", dtype="float32", state_transformation_fns=_RESTORE_FNS,
        fallback_to_scratch=True,
    )  # fmt: skip
    initializer = _initializer(_lora(is_scanned, base_dtype="bfloat16"), _two_by_four())
    state = initializer.from_checkpoint([cfg], init_rng=jax.random.PRNGKey(0))
    wanted = stacking.stack_layers(params) if is_scanned else params
    assert _same(state.flax_mutables["base"], jax.tree.map(lambda x: np.asarray(x, jnp.bfloat16), wanted))
    assert int(state.step) == 0
    assert all(np.any(leaf) == name.endswith("/a") for name, leaf in _flat(jax.device_get(state.params)).items())


def test_decoding_and_scoring_use_the_merged_parameters():
    model, (adapters, mutables) = _lora(), _variables()
    adapters = _grown(adapters)

    @jax.jit
    def adapted(adapters, mutables):
        return (
            model.predict_batch(adapters, _batch(), flax_mutables=mutables),
            model.score_batch(adapters, _batch(), flax_mutables=mutables),
            model.eval_fn(adapters, _batch(), mutables)[0],
        )

    @jax.jit
    def inner(params):
        of = model._model
        return of.predict_batch(params, _batch()), of.score_batch(params, _batch()), of.eval_fn(params, _batch())[0]

    tokens, scores, loss = adapted(adapters, mutables)
    expected, base = inner(model.merged(adapters, mutables)), inner(mutables["base"])
    np.testing.assert_array_equal(tokens, expected[0])
    np.testing.assert_allclose(scores, expected[1], rtol=1e-5)
    np.testing.assert_allclose(loss, expected[2], rtol=1e-5)
    assert not np.allclose(scores, base[1], rtol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rank": 0}, r"lora.LoraModel.rank is 0; it must be above 0"),
        ({"alpha": -1.0}, r"lora.LoraModel.alpha is -1.0"),
        ({"rank": 33}, r"rank is 33; allowed for .*kernel of shape \(32, 32\): 1 to 32"),
        ({"kernels": "query"}, r"'query', which matches no parameter; .* Fix: lora.LoraModel.kernels = '\.\*attention"),
        ({"kernels": ".*scale"}, r"matches .*/scale of shape \(32,\), which is no matrix"),
    ],
    ids=["no rank", "negative alpha", "rank too large", "no match", "no matrix"],
)
def test_what_can_t_be_adapted_is_refused_with_the_fix(arguments, message):
    with pytest.raises(ValueError, match=message):
        init = lora.LoraModel(_inner(), **arguments).get_initial_variables
        jax.eval_shape(lambda: init(jax.random.PRNGKey(0), _SHAPES))


def test_resuming_from_a_checkpoint_without_adapters_is_refused(tmp_path):
    parameters.write_checkpoint(_variables()[1]["base"], tmp_path, step=5)
    with pytest.raises(ValueError, match=r"holds no adapters, so its run had none. Fix: another MODEL_DIR"):
        _manager(_lora(), _one_device(), tmp_path).restore(state_transformation_fns=_RESTORE_FNS, is_resuming=True)


def test_the_transformations_leave_a_model_without_adapters_alone():
    state = {"target": {"x": np.ones(2)}, "state": {"step": np.int32(1)}}
    assert _same(lora.merge_on_save(state, {})[0], state)
    assert _same(lora.base_on_restore(state, state, is_resuming=True), state)
