"""The scanned network is the unscanned one: logits, gradients, training, decoding, on one device and on eight."""

import functools
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from distill_or_annotate.model import scanned
from distill_or_annotate.model.stacking import stack_layers, unstack_layers
from t5x import adafactor, decoding, losses, models, optimizers, partitioning, train_state, utils
from t5x.examples.t5 import network

VOCAB, BATCH = 48, 8
CONFIG = network.T5Config(
    vocab_size=VOCAB,
    emb_dim=16,
    num_heads=4,
    num_encoder_layers=1,
    num_decoder_layers=2,
    head_dim=4,
    mlp_dim=32,
    mlp_activations=("gelu", "linear"),
    dropout_rate=0.0,
)
NETWORKS = {"unscanned": network.Transformer(CONFIG), "scanned": scanned.Transformer(CONFIG)}
OPTIMIZERS = {
    "adafactor": lambda: adafactor.Adafactor(
        beta1=0.9, min_dim_size_to_factor=8, logical_factor_rules=adafactor.standard_logical_factor_rules()
    ),
    # The usual eps of 1e-8 would make a whole step of the rounding in a gradient near zero.
    "adamw": lambda: optimizers.chain([optax.clip_by_global_norm(1.0), optax.adamw(1e-2, eps=1e-4)]),
}
MESHES = {"one device": (1, 1), "2x4": (8, 4)}


def batch(seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.integers(2, VOCAB, (BATCH, 5))
    targets[::3, 3:] = 0
    inputs = rng.integers(2, VOCAB, (BATCH, 6))
    inputs[1::2, 4:] = 0
    found = {
        "encoder_input_tokens": inputs,
        "decoder_target_tokens": targets,
        "decoder_input_tokens": np.pad(targets[:, :-1], ((0, 0), (1, 0))),
        "decoder_loss_weights": targets > 0,
    }
    return {name: x.astype(np.int32) for name, x in found.items()}


SHAPES = {name: x.shape for name, x in batch().items()}


def build(kind, optimizer=None, module=None, **kwargs):
    vocabulary = SimpleNamespace(eos_id=1)
    optimizer = OPTIMIZERS[optimizer]() if optimizer else None
    return models.EncoderDecoderModel(module or NETWORKS[kind], vocabulary, vocabulary, optimizer, **kwargs)


@pytest.fixture(scope="module")
def params():
    variables = jax.jit(lambda key: build("unscanned").get_initial_variables(key, SHAPES))(jax.random.PRNGKey(0))
    unscanned = dict(variables["params"].unfreeze())
    # Untrained logits are nearly flat; a larger head gives argmaxes that rounding cannot flip.
    unscanned["decoder"]["logits_dense"]["kernel"] *= 5.0
    return {"unscanned": unscanned, "scanned": stack_layers(unscanned)}


def assert_close(found, expected, **tolerance):
    jax.tree.map(functools.partial(np.testing.assert_allclose, **tolerance), found, expected)


@functools.cache
def value_and_grad(kind, remat="none"):
    model = build(kind, module=scanned.Transformer(CONFIG, remat=remat) if kind == "scanned" else None)

    def loss(params, batch):
        logits = model._compute_logits(params, batch)
        return losses.compute_weighted_cross_entropy(logits, batch["decoder_target_tokens"])[0], logits

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


@pytest.mark.parametrize("remat", ["none", "full", "dots"])
def test_logits_and_gradients_are_those_of_the_unscanned_network(params, remat):
    (_, logits), grads = value_and_grad("unscanned")(params["unscanned"], batch())
    (_, scanned_logits), scanned_grads = value_and_grad("scanned", remat)(params["scanned"], batch())
    np.testing.assert_allclose(scanned_logits, logits, rtol=1e-5, atol=1e-5)
    assert_close(unstack_layers(scanned_grads), grads, rtol=1e-3, atol=1e-5)
    assert min(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(grads)) > 1e-3


def partitioner(mesh):
    devices, model_size = MESHES[mesh]
    found = partitioning.PjitPartitioner(num_partitions=model_size)
    found.mesh = partitioning.Mesh(np.array(jax.devices()[:devices]).reshape(-1, model_size), ("data", "model"))
    return found


def trained(kind, optimizer, mesh, params, steps=3):
    """The state after some steps from the same parameters, unstacked, as NumPy arrays."""
    model, placing = build(kind, optimizer), partitioner(mesh)
    initializer = utils.TrainStateInitializer(model.optimizer_def, model.get_initial_variables, SHAPES, placing)
    axes = initializer.train_state_axes
    start = jax.jit(lambda p: train_state.FlaxOptimTrainState.create(model.optimizer_def, {**variables(kind), **p}))
    state = placing.move_params_to_devices(start({"params": params[kind]}), axes)

    def step(state, one):
        grads = jax.grad(lambda p: model.loss_fn(p, one, None)[0])(state.params)
        return state.apply_gradient(grads, learning_rate=0.02)

    step = placing.partition(step, (axes, PartitionSpec("data")), axes)
    for seed in range(steps):
        # Waited for: eight devices on few cores deadlock when steps pile up.
        state = jax.block_until_ready(step(state, batch(seed)))
    return jax.tree.map(np.asarray, unstack_layers(state.state_dict())), state


@functools.cache
def variables(kind):
    return jax.eval_shape(lambda key: build(kind).get_initial_variables(key, SHAPES), jax.random.PRNGKey(0))


@pytest.fixture(scope="module")
def trajectory(params):
    return functools.cache(lambda kind, optimizer, mesh: trained(kind, optimizer, mesh, params))


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_follows_the_trajectory_of_the_unscanned_network(trajectory, optimizer, mesh):
    expected, _ = trajectory("unscanned", optimizer, "one device")
    found, state = trajectory("scanned", optimizer, mesh)
    assert_close(found, expected, rtol=2e-3, atol=2e-5)
    kernel = state.params["decoder"]["layers"]["mlp"]["wo"]["kernel"]
    devices, model_size = MESHES[mesh]
    assert kernel.shape == (2, 32, 16) and kernel.sharding.num_devices == devices
    assert kernel.sharding.shard_shape(kernel.shape) == (2, 32 // model_size, 16)  # a part of every layer
    if optimizer == "adafactor":
        assert state.param_states["decoder"]["layers"]["mlp"]["wo"]["kernel"].v_row.shape == (2, 16)


DECODERS = {
    "greedy": (decoding.temperature_sample, {"decoder_params": {"temperature": 0.0}}),
    "beams": (decoding.beam_search, {"num_decodes": 3, "return_all_decodes": True}),
}


@pytest.fixture(scope="module")
def decoded(params):
    @functools.cache
    def run(kind, decoder, mesh):
        decode_fn, options = DECODERS[decoder]
        predict = functools.partial(build(kind, decode_fn=decode_fn).predict_batch_with_aux, **options)
        placed = partitioner(mesh).partition(predict, (None, PartitionSpec("data")), None)
        return jax.tree.map(np.asarray, placed(params[kind], batch()))

    return run


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("decoder", DECODERS)
def test_decoding_gives_the_tokens_of_the_unscanned_network(decoded, decoder, mesh):
    expected, expected_aux = decoded("unscanned", decoder, "one device")
    found, found_aux = decoded("scanned", decoder, mesh)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(found_aux["scores"], expected_aux["scores"], rtol=1e-4)
    assert len(np.unique(found)) > 5


def test_the_cache_has_an_axis_for_the_layers(params):
    tokens, module = batch()["encoder_input_tokens"], NETWORKS["scanned"]
    encoded = jnp.ones((BATCH, 6, CONFIG.emb_dim))
    bound = functools.partial(module.apply, method=module.init_cache, mutable=["cache"])
    cache = jax.eval_shape(bound, {"params": params["scanned"]}, encoded, tokens, tokens[:, :5])[1]["cache"]["decoder"]
    assert cache["layers"]["encoder_decoder_attention"]["kept_key"].shape == (2, BATCH, 4, 4, 6)
    assert cache["layers"]["self_attention"]["cached_value"].shape == (2, BATCH, 4, 4, 5)
    assert cache["layers"]["self_attention"]["cache_index"].shape == (2,)


class Masks(nn.Module):
    """Dropout alone, its masks (values 0 or 2) as the digits of one number in base 4."""

    remat: str = "none"

    def setup(self):
        self.drop = nn.Dropout(0.5)

    def __call__(self):
        body = lambda drop, x: 4 * x + drop(jnp.ones(64), deterministic=False)  # noqa: E731
        return scanned._scan(body, self.drop, jnp.zeros(64), 3, self.remat)


@pytest.mark.parametrize("remat", ["none", "full"])
def test_every_layer_drops_by_a_mask_of_its_own(remat):
    numbers = np.asarray(Masks(remat).apply({}, rngs={"dropout": jax.random.PRNGKey(0)})).astype(int)
    masks = {tuple(numbers // 4**layer % 4) for layer in range(3)}
    assert len(masks) == 3 and all(set(mask) == {0, 2} for mask in masks)


def test_rematerialisation_keeps_less_for_the_backward_pass():
    deep, tokens = CONFIG.replace(num_encoder_layers=6), jax.ShapeDtypeStruct((4, 32), jnp.int32)

    def temporary_bytes(remat):
        module = scanned.Transformer(deep, remat=remat)
        loss = lambda p, t: module.apply(p, t, enable_dropout=False, method=module.encode).sum()  # noqa: E731
        init = functools.partial(module.init, enable_dropout=False)
        weights = {"params": jax.eval_shape(init, jax.random.PRNGKey(0), *[tokens] * 3)["params"]}
        return jax.jit(jax.grad(loss)).lower(weights, tokens).compile().memory_analysis().temp_size_in_bytes

    none, dots, full = map(temporary_bytes, ("none", "dots", "full"))
    assert full < dots < none and full < none / 3


@pytest.mark.parametrize(("given", "meant"), [("ful", "full"), ("dot", "dots"), (None, "none")])
def test_an_unknown_rematerialisation_is_refused(given, meant):
    with pytest.raises(ValueError, match=f"remat is {given!r}; allowed: 'none', 'full', 'dots'.* = '{meant}'"):
        scanned.Transformer(CONFIG, remat=given).init(jax.random.PRNGKey(0), *[np.ones((1, 2), np.int32)] * 3)
