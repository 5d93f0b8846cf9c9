"""The objective's options: what counts, what it is divided by, and that slices of a batch train as the whole of it."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_or_annotate.losses import TeacherHidden, kl_divergence, top_k
from distill_or_annotate.model import DistillationObjective, DistillationOptions
from t5x import adafactor, losses, models, train_state, trainer
from t5x.examples.t5 import layers, network

_VOCAB, _BATCH, _LENGTH = 37, 8, 7


class _Small(nn.Module):
    """A network of T5X's contract that compiles in no time: a masked mean of embeddings before a dense layer."""

    width: int

    @nn.compact
    def __call__(self, encoder_input_tokens, decoder_input_tokens, decoder_target_tokens, **_):
        def embedded(tokens):
            return layers.Embed(_VOCAB, self.width, embedding_init=nn.initializers.normal(1.0))(tokens)

        x = embedded(decoder_input_tokens)
        mask = layers.make_decoder_mask(decoder_target_tokens, jnp.float32)[:, 0]
        x = x + mask @ x + embedded(encoder_input_tokens).mean(axis=1, keepdims=True)
        return layers.DenseGeneral(_VOCAB, kernel_axes=("embed", "vocab"))(jnp.tanh(x))


def _transformer(emb_dim):
    config = network.T5Config(
        vocab_size=_VOCAB, emb_dim=emb_dim, num_heads=2, head_dim=8, mlp_dim=2 * emb_dim, num_encoder_layers=1,
        num_decoder_layers=1, mlp_activations=("gelu", "linear"), dropout_rate=0.0,
    )  # fmt: skip
    return network.Transformer(config=config)


@functools.cache
def _model(width=16, factor=None, make=_Small):
    return models.EncoderDecoderModel(make(width), None, None, adafactor.Adafactor(), loss_normalizing_factor=factor)


@functools.cache
def _params(width=16, seed=0, make=_Small):
    shapes = {"encoder_input_tokens": (2, _LENGTH), "decoder_input_tokens": (2, _LENGTH)}
    return jax.jit(lambda key: _model(width, make=make).get_initial_variables(key, shapes))(jax.random.PRNGKey(seed))


def _batch(seed=0, lengths=(2, 3, 4, 5, 6, 2, 3, 4), total=_LENGTH):
    tokens = np.random.default_rng(seed).integers(2, _VOCAB, (2, len(lengths), _LENGTH)).astype(np.int32)
    for row, length in enumerate(lengths):
        tokens[1, row, length - 1] = 1
        tokens[1, row, length:] = 0
    source, target = (np.pad(x, ((0, 0), (0, total - _LENGTH))) for x in tokens)
    return {
        "encoder_input_tokens": source,
        "decoder_target_tokens": target,
        "decoder_input_tokens": np.pad(target, ((0, 0), (1, 0)))[:, :-1],
        "decoder_loss_weights": (target > 0).astype(np.int32),
    }


def _teacher(batch, make=_Small):
    return jax.jit(_model(24, make=make)._compute_logits)(_params(24, 7, make)["params"], batch)


def _objective(factor=None, teacher=_teacher, make=_Small, **options):
    return DistillationObjective(_model(16, factor, make), teacher, DistillationOptions(**options))


def _loss(batch, factor=None, teacher=None, make=_Small, **options):
    objective = _objective(factor, teacher or functools.partial(_teacher, make=make), make, **options)
    loss, metrics = jax.jit(lambda *a: objective.loss_fn(*a, None))(_params(make=make)["params"], batch)
    return float(loss), {name: m for name, m in metrics.items() if name.startswith("distill/")}


def _student(batch, make=_Small):
    return jax.jit(_model(make=make)._compute_logits)(_params(make=make)["params"], batch)


def _causal_logits(batch, make=_Small):
    """Both models' logits as the paper's reference has them: no mask in the decoder but the causal one."""
    ones = {**batch, "decoder_target_tokens": np.ones_like(batch["decoder_target_tokens"])}
    return _student(ones, make), _teacher(ones, make)


def test_the_default_is_the_sum_of_kl_over_real_tokens():
    batch = _batch()
    logits = _student(batch)
    expected = kl_divergence(logits, _teacher(batch), batch["decoder_loss_weights"], 2.0)
    loss, metrics = _loss(batch)
    assert loss == pytest.approx(float(expected), rel=1e-6) and loss > 1
    assert float(metrics["distill/kl_per_token"].compute()) == pytest.approx(loss / 29)
    assert "distill/kl_per_position" not in metrics


@pytest.mark.parametrize(("kind", "name"), [("reverse", "reverse_kl"), ("jsd(0.5)", "jsd")])
def test_a_divergence_is_reported_under_its_own_name(kind, name):
    loss, metrics = _loss(_batch(), divergence=kind)
    assert float(metrics[f"distill/{name}_per_token"].compute()) == pytest.approx(loss / 29)
    assert "distill/kl_per_token" not in metrics
    assert loss != pytest.approx(_loss(_batch())[0], rel=1e-3)


@pytest.mark.parametrize("factor", [None, "NUM_REAL_TARGET_TOKENS"])
def test_alpha_is_the_share_of_the_cross_entropy(factor):
    batch = _batch()
    kl, labels, mixed = (_loss(batch, factor, alpha=alpha)[0] for alpha in (0.0, 1.0, 0.3))
    logits = _student(batch)
    expected, _, tokens = losses.compute_weighted_cross_entropy(
        logits, batch["decoder_target_tokens"], batch["decoder_loss_weights"]
    )
    assert labels == pytest.approx(float(expected / (tokens if factor else 1)), rel=1e-5)
    assert mixed == pytest.approx(0.7 * kl + 0.3 * labels, rel=1e-5)
    params = _params()["params"]
    grads = [
        jax.jit(jax.grad(lambda p, a=alpha: _objective(factor, alpha=a).loss_fn(p, batch, None)[0]))(params)
        for alpha in (0.0, 1.0, 0.3)
    ]
    for zero, one, part in zip(*map(jax.tree.leaves, grads), strict=True):
        np.testing.assert_allclose(part, 0.7 * zero + 0.3 * one, atol=2e-5)


@pytest.mark.parametrize("make", [_Small, _transformer])
def test_counted_is_the_mean_over_start_tokens_end_and_pads_under_a_causal_mask(make):
    batch = {**_batch(), "decoder_counted_positions": np.full(_BATCH, 7, np.int32)}
    student, teacher = _causal_logits(batch, make)
    expected = float(kl_divergence(student, teacher, jnp.full((_BATCH, 7), 1 / (7 * _BATCH))))
    loss, metrics = _loss(batch, make=make, padding="counted", normalize_by="positions")
    assert loss == pytest.approx(expected, rel=1e-5)
    assert float(metrics["distill/kl_per_position"].compute()) == pytest.approx(expected, rel=1e-5)
    at_tokens = float(kl_divergence(student, teacher, batch["decoder_loss_weights"])) / 29
    assert float(metrics["distill/kl_per_token"].compute()) == pytest.approx(at_tokens, rel=1e-5)
    # The pads have a share, and the mask one too: neither is the masked loss in another guise.
    assert abs(loss - at_tokens) > 1e-3
    assert abs(loss - _loss(batch, make=make, normalize_by="positions")[0]) > 1e-3


def test_rows_count_the_positions_of_the_batch_in_which_they_were_generated():
    counts = np.asarray([3, 4, 7, 7, 7, 4, 4, 0], np.int32)
    batch = _batch()
    student, teacher = _causal_logits(batch)
    weights = (np.arange(_LENGTH)[None] < counts[:, None]).astype(np.float32)
    expected = float(kl_divergence(student, teacher, weights)) / 36
    for shape in ((_BATCH,), (_BATCH, 1)):
        found = _loss(
            {**batch, "decoder_counted_positions": counts.reshape(shape)}, padding="counted", normalize_by="positions"
        )
        assert found[0] == pytest.approx(expected, rel=1e-5)


def test_recorded_counts_make_the_loss_the_same_however_long_the_feature_is():
    losses_by_length = [
        _loss({**_batch(total=total), "decoder_counted_positions": np.full(_BATCH, 7, np.int32)},
              make=_transformer, padding="counted", normalize_by="positions")[0]
        for total in (7, 12)
    ]  # fmt: skip
    assert losses_by_length[1] == pytest.approx(losses_by_length[0], rel=1e-4)


def test_without_recorded_counts_the_whole_padded_length_counts_in_rows_with_a_target():
    batch = _batch()
    for array in batch.values():
        array[-1] = 0
    student, teacher = _causal_logits(batch)
    expected = float(kl_divergence(student[:-1], teacher[:-1], jnp.ones((_BATCH - 1, _LENGTH))))
    assert _loss(batch, padding="counted")[0] == pytest.approx(expected, rel=1e-5)
    assert _loss(batch, padding="counted", normalize_by="examples")[0] == pytest.approx(expected / 7, rel=1e-5)


@pytest.mark.parametrize(("padding", "positions"), [("masked", 29), ("counted", 56)])
def test_normalizers_divide_the_same_sum(padding, positions):
    batch = _batch()
    total = _loss(batch, padding=padding)[0]
    for name, divisor in (("tokens", 29), ("positions", positions), ("examples", _BATCH)):
        # A normaliser of the objective replaces the student's own.
        found = _loss(batch, "AVERAGE_PER_SEQUENCE", padding=padding, normalize_by=name)[0]
        assert found == pytest.approx(total / divisor, rel=1e-5)
    assert _loss(batch, 100.0, padding=padding)[0] == pytest.approx(total / 100, rel=1e-5)


def test_packed_segments_are_examples_and_cannot_be_counted():
    batch = _batch()
    segments = np.where(batch["decoder_target_tokens"] > 0, 1 + (np.arange(_LENGTH) > 1), 0).astype(np.int32)
    batch = {**batch, "decoder_segment_ids": segments, "encoder_segment_ids": np.ones_like(segments)}
    total = _loss(batch)[0]
    n_segments = sum(len(set(row) - {0}) for row in segments)
    assert _loss(batch, normalize_by="examples")[0] == pytest.approx(total / n_segments, rel=1e-5) and n_segments > 8
    with pytest.raises(ValueError, match=r"'counted', but the batch is packed.*pack = False"):
        _loss(batch, padding="counted")


@pytest.mark.parametrize(
    ("factor", "options"),
    [
        (None, {}),
        ("NUM_REAL_TARGET_TOKENS", {"alpha": 0.4}),
        ("AVERAGE_PER_SEQUENCE", {}),
        (None, {"normalize_by": "tokens", "divergence": "jsd(0.5)"}),
        (None, {"normalize_by": "positions", "padding": "counted"}),
        (None, {"normalize_by": "examples", "padding": "counted", "divergence": "reverse"}),
    ],
)
def test_one_and_four_microbatches_take_one_trajectory(factor, options):
    counts = np.asarray([3, 4, 7, 7, 7, 4, 4, 5], np.int32)
    batches = [{**_batch(seed), "decoder_counted_positions": counts} for seed in range(4)]
    model, objective = _model(factor=factor), _objective(factor, **options)
    found = []
    for slices in (1, 4):

        @jax.jit
        def step(state, batch, slices=slices):
            rate, key = jnp.float32(0.03), jax.random.PRNGKey(0)
            return trainer.train_with_lr(state, batch, rate, key, objective, slices)

        state = train_state.FlaxOptimTrainState.create(model.optimizer_def, _params())
        trace = []
        for batch in batches:
            state, metrics = step(state, batch)
            trace.append([float(metrics[f"distill/{n}"].compute()) for n in ("agreement", "cross_entropy_per_token")])
        found.append((trace, state.params))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-4)
    assert found[0][0][0] != found[0][0][-1]
    for one, four in zip(*(jax.tree.leaves(params) for _, params in found), strict=True):
        np.testing.assert_allclose(four, one, rtol=2e-3, atol=2e-4)


def test_a_teacher_from_a_store_takes_the_place_of_its_logits():
    """Hidden states with the head give the live teacher's loss; the k likeliest tokens at most that."""
    batch, module = _batch(), _model(24, make=_transformer).module
    variables = {"params": _params(24, 7, _transformer)["params"]}
    names = [batch[f"{name}_tokens"] for name in ("encoder_input", "decoder_input", "decoder_target")]

    @jax.jit
    def states():
        encoded = module.apply(variables, names[0], enable_dropout=False, method=module.encode)
        return module.apply(variables, encoded, *names, enable_dropout=False, method=module.decode_hidden)

    hidden = states()
    kernel = variables["params"]["decoder"]["logits_dense"]["kernel"]
    live_teacher = functools.partial(_teacher, make=_transformer)
    live, metrics = _loss(batch, teacher=live_teacher)
    stored, stored_metrics = _loss(batch, teacher=lambda _: TeacherHidden(hidden, kernel))
    assert stored == pytest.approx(live, rel=1e-5)
    assert {n: float(m.compute()) for n, m in stored_metrics.items()} == pytest.approx(
        {n: float(m.compute()) for n, m in metrics.items()}, rel=1e-4
    )
    bounds = [_loss(batch, teacher=lambda _, k=k: top_k(live_teacher(batch), k, 2.0))[0] for k in (2, 20, _VOCAB)]
    assert bounds[0] < bounds[1] < bounds[2] == pytest.approx(live, rel=1e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"padding": "count"}, r"padding is 'count'; allowed: 'masked', 'counted'. Did you mean 'counted'\?"),
        ({"normalize_by": "token"}, r"normalize_by is 'token'; allowed: .* Did you mean 'tokens'\?"),
        ({"alpha": 1.5}, "alpha is 1.5; allowed: 0"),
        ({"temperature": 0}, "temperature is 0; it must be above 0"),
        ({"divergence": "jds(0.5)"}, r"Did you mean 'jsd'\?"),
    ],
)
def test_options_are_refused_when_they_are_made(options, said):
    with pytest.raises(ValueError, match=said):
        DistillationOptions(**options)
