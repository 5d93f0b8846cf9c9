"""Models: loss and metrics, prediction against teacher forcing, prompts, scores, import weight."""

import functools
import subprocess
import sys
from types import SimpleNamespace

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5x import decoding, losses, models, train_state, trainer
from t5x.examples.t5 import network

KEY = jax.random.PRNGKey(0)
VOCABULARY = SimpleNamespace(eos_id=1)
CONFIG = network.T5Config(
    vocab_size=20,
    emb_dim=8,
    num_heads=2,
    num_encoder_layers=1,
    num_decoder_layers=1,
    head_dim=4,
    mlp_dim=16,
    mlp_activations=("gelu", "linear"),
    dropout_rate=0.1,
)
TARGETS = jnp.array([[13, 14, 15, 16, 1], [19, 18, 1, 0, 0], [7, 1, 0, 0, 0], [5, 6, 1, 0, 0]])
BATCH = {
    "encoder_input_tokens": jnp.array([[3, 4, 5, 0], [7, 8, 9, 10], [2, 0, 0, 0], [11, 12, 0, 0]]),
    "decoder_input_tokens": jnp.pad(TARGETS[:, :-1], ((0, 0), (1, 0))),
    "decoder_target_tokens": TARGETS,
    "decoder_loss_weights": (TARGETS > 0).astype(jnp.int32),
}


def build(**kwargs):
    return models.EncoderDecoderModel(network.Transformer(CONFIG), VOCABULARY, VOCABULARY, None, **kwargs)


# Compiled once: op by op, each operation would be compiled by itself.
LOGITS = jax.jit(lambda p, b: build()._compute_logits(p, b))
SCORES = jax.jit(lambda p, b: build().score_batch(p, b))


def sharpen(params):
    """Untrained logits are nearly flat; a larger head gives argmaxes that rounding cannot flip."""
    params = flax.core.unfreeze(params)
    params["decoder"]["logits_dense"]["kernel"] *= 5.0
    return params


@pytest.fixture(scope="module")
def params():
    shapes = {k: v.shape for k, v in BATCH.items()}
    variables = jax.jit(lambda key: build().get_initial_variables(key, shapes))(KEY)
    assert set(variables) == {"params", "params_axes"}
    return sharpen(variables["params"])


def teacher_forced_argmax(params, encoder, length):
    """Decodes greedily without a cache, by running the whole model once for each token."""
    tokens = np.zeros((encoder.shape[0], length + 1), np.int32)
    ended = np.zeros(encoder.shape[0], bool)
    score = np.zeros(encoder.shape[0])
    for i in range(length):
        batch = {
            "encoder_input_tokens": encoder,
            "decoder_input_tokens": tokens[:, :-1],
            "decoder_target_tokens": np.ones((encoder.shape[0], length), np.int32),
        }
        log_probs = np.asarray(jax.nn.log_softmax(LOGITS(params, batch)[:, i]))
        best = log_probs.argmax(-1)
        tokens[:, i + 1] = np.where(ended, 0, best)
        score += np.where(ended, 0.0, log_probs.max(-1))
        ended |= best == 1
    return tokens[:, 1:], score


def test_greedy_decoding_with_the_cache_equals_teacher_forced_argmax(params):
    model = build(decode_fn=decoding.temperature_sample)
    predict = jax.jit(lambda p, b: model.predict_batch_with_aux(p, b, decoder_params={"temperature": 0.0}))
    out, aux = predict(params, BATCH)
    expected, score = teacher_forced_argmax(params, BATCH["encoder_input_tokens"], 5)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_allclose(aux["scores"], score, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(jax.jit(model.predict_batch)(params, BATCH), expected)


@pytest.mark.parametrize("beams", [1, 3])
def test_beam_search_with_shared_cross_attention_equals_one_without_any_cache(params, beams):
    """Every returned sequence carries the score that teacher forcing gives it: caches and beams never got mixed up."""
    model = build()
    predict = jax.jit(lambda p, b: model.predict_batch_with_aux(p, b, num_decodes=beams, return_all_decodes=True))
    out, aux = predict(params, BATCH)
    assert out.shape == (4, beams, 5) and aux["scores"].shape == (4, beams)
    for k in range(beams):
        targets = out[:, k]
        batch = {
            "encoder_input_tokens": BATCH["encoder_input_tokens"],
            "decoder_input_tokens": jnp.pad(targets[:, :-1], ((0, 0), (1, 0))),
            "decoder_target_tokens": targets,
            "decoder_loss_weights": targets > 0,
        }
        lengths = jnp.sum(targets > 0, axis=1)
        ended = jnp.any(targets == 1, axis=1)
        penalty = jnp.where(ended, decoding.brevity_penalty(0.6, lengths), 1.0)
        expected = SCORES(params, batch) / penalty
        empty = aux["scores"][:, k] < -1e6
        assert not (empty & (lengths > 0)).any() and (k < beams - 1 or not empty.any())
        np.testing.assert_allclose(jnp.where(empty, expected, aux["scores"][:, k]), expected, rtol=1e-4)
    best, best_aux = jax.jit(lambda p, b: model.predict_batch_with_aux(p, b, num_decodes=beams))(params, BATCH)
    np.testing.assert_array_equal(best, out[:, -1])
    np.testing.assert_allclose(best_aux["scores"], aux["scores"][:, -1], rtol=1e-5)


@pytest.mark.parametrize("decode_fn", [decoding.temperature_sample, decoding.beam_search])
def test_prompts_are_forced_without_their_end_tokens(params, decode_fn):
    model = build(decode_fn=decode_fn)
    prompt = jnp.array([[0, 13, 14, 0, 0], [0, 19, 1, 0, 0], [0, 0, 0, 0, 0], [0, 5, 0, 0, 0]])
    predict = jax.jit(lambda p, b: model.predict_batch_with_aux(p, b, prompt_with_targets=True)[0])
    out = predict(params, {**BATCH, "decoder_input_tokens": prompt})
    assert out[0, :2].tolist() == [13, 14] and int(out[1, 0]) == 19 and int(out[3, 0]) == 5
    assert int(out[1, 1]) != 0  # its end token was no prompt: generation goes on from there
    free = jax.jit(lambda p, b: model.predict_batch_with_aux(p, b)[0])(params, BATCH)
    np.testing.assert_array_equal(out[2], free[2])


def test_decoding_stops_after_the_end_token(params):
    model = build(decode_fn=decoding.temperature_sample)
    lift = {"logit_callback_fn": lambda logits, state: logits.at[:, 1].add(jnp.where(state.step == 1, 1e6, -1e6))}
    out = jax.jit(lambda p, b: model.predict_batch_with_aux(p, b, decoder_params=lift)[0])(params, BATCH)
    assert (out[:, 0] != 1).all()
    np.testing.assert_array_equal(out[:, 1:], [[1, 0, 0, 0]] * 4)


def test_decoder_defaults_and_keys_reach_the_decode_function(params):
    seen = {}

    def decode_fn(**kwargs):
        seen.update(kwargs)
        rows = kwargs["inputs"].shape
        return jnp.zeros((rows[0], kwargs["num_decodes"], rows[1]), jnp.int32), jnp.zeros(
            (rows[0], kwargs["num_decodes"])
        )

    model = build(
        decode_fn=decode_fn, default_decoder_params=models.DecoderParams(return_all_decodes=True, num_decodes=2)
    )
    out, aux = model.predict_batch_with_aux(params, BATCH, rng=KEY, decoder_params={"alpha": 0.1})
    assert out.shape == (4, 2, 5) and aux["scores"].shape == (4, 2)
    assert (seen["eos_id"], seen["num_decodes"], seen["cache_offset"], seen["alpha"]) == (1, 2, 0, 0.1)
    assert seen["decode_rng"] is KEY
    with pytest.raises(ValueError, match="pass one of them"):
        model.predict_batch_with_aux(params, BATCH, rng=KEY, decoder_params={"decode_rng": KEY})


@pytest.mark.parametrize("z_loss", [0.0, 0.01])
def test_loss_is_the_sum_over_real_tokens(params, z_loss):
    model = build(z_loss=z_loss)
    loss, metrics = jax.jit(model.eval_fn)(params, BATCH)
    logits = LOGITS(params, BATCH)
    log_z = jax.nn.logsumexp(logits, axis=-1)
    picked = jnp.take_along_axis(logits, TARGETS[..., None], axis=-1)[..., 0]
    real = TARGETS > 0
    expected = jnp.sum(jnp.where(real, log_z - picked + z_loss * log_z**2, 0.0))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    value = {k: float(m.compute()) for k, m in metrics.items() if not k.startswith("timing/")}
    assert value["loss"] == pytest.approx(float(expected), rel=1e-5)
    assert value["loss_per_nonpadding_target_token"] == pytest.approx(float(expected) / 13, rel=1e-5)
    assert value["loss_per_all_target_tokens"] == pytest.approx(float(expected) / 20, rel=1e-5)
    right = jnp.sum((jnp.argmax(logits, -1) == TARGETS) & real)
    assert value["accuracy"] == pytest.approx(float(right) / 13)
    assert value["cross_ent_loss"] + value["z_loss"] == pytest.approx(value["loss"], rel=1e-5)
    assert value["non_padding_fraction/loss_weights"] == pytest.approx(13 / 20)
    assert value["non_padding_fraction/encoder_input_tokens"] == pytest.approx(10 / 16)
    assert value["non_padding_fraction/overall"] == pytest.approx(23 / 36)
    assert value["effective_batch_size/decoder_target_tokens"] == 4


def test_metric_names_are_the_documented_ones(params):
    packed = {**BATCH, "encoder_segment_ids": (BATCH["encoder_input_tokens"] > 0).astype(jnp.int32)}
    packed["decoder_segment_ids"] = jnp.array([[1, 1, 2, 2, 2], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0], [1, 2, 3, 0, 0]])
    _, metrics = jax.eval_shape(build().loss_fn, params, packed, KEY)
    timing = "seqs_per_second steps_per_second seconds seqs seqs_per_second_per_core target_tokens_per_second"
    timing = [f"timing/{n}" for n in [*timing.split(), "target_tokens_per_second_per_core"]]
    per_token = "accuracy loss loss_per_nonpadding_target_token loss_per_all_target_tokens z_loss cross_ent_loss"
    per_token = [*per_token.split(), "z_loss_per_all_target_tokens", "cross_ent_loss_per_all_target_tokens"]
    fractions = [f"non_padding_fraction/{n}" for n in ("loss_weights", "encoder", "decoder", "overall")]
    sizes = ["effective_batch_size/encoder", "effective_batch_size/decoder"]
    assert set(metrics) == {*timing, *per_token, *fractions, *sizes}
    assert int(models.count_packed_examples(packed["decoder_segment_ids"])) == 7


def test_dropout_is_on_only_with_a_key(params):
    model = build()
    loss = jax.jit(lambda p, key: model.loss_fn(p, BATCH, key)[0])
    quiet = jax.jit(model.eval_fn)(params, BATCH)[0]
    assert float(loss(params, KEY)) != float(loss(params, jax.random.PRNGKey(1)))
    assert float(loss(params, KEY)) != float(quiet)


def test_microbatches_add_up_to_the_whole_batch(params):
    model = build(z_loss=1e-3, label_smoothing=0.1)
    grad = jax.jit(jax.value_and_grad(lambda p, b: model.loss_fn(p, b, None)[0]))
    whole = grad(params, BATCH)
    halves = [grad(params, {k: v[i : i + 2] for k, v in BATCH.items()}) for i in (0, 2)]
    added = jax.tree.map(jnp.add, *halves)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), whole, added)


def test_per_token_factor_divides_the_loss(params):
    plain, per_token, per_place = (
        float(jax.jit(build(loss_normalizing_factor=factor).eval_fn)(params, BATCH)[0])
        for factor in (None, "NUM_REAL_TARGET_TOKENS", losses.SpecialLossNormalizingFactor.NUM_TOTAL_TARGET_TOKENS)
    )
    assert per_token * 13 == pytest.approx(plain, rel=1e-5)
    assert per_place * 20 == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize("factor", ["NUM_REAL_TARGET_TOKENS", "AVERAGE_PER_SEQUENCE", 7.0])
def test_a_normalized_loss_has_the_same_gradient_in_slices(params, factor):
    network_without_dropout = network.Transformer(CONFIG.replace(dropout_rate=0.0))
    vocabularies = (VOCABULARY, VOCABULARY)
    model = models.EncoderDecoderModel(network_without_dropout, *vocabularies, None, loss_normalizing_factor=factor)
    state = train_state.InferenceState.create({"params": params})

    @functools.partial(jax.jit, static_argnums=0)
    def gradients(slices):
        return trainer.accumulate_grads_microbatched(model, state, BATCH, KEY, slices)[0]

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), gradients(1), gradients(2))


def test_scores_are_weighted_log_likelihoods_without_smoothing_or_z_loss(params):
    model = build(z_loss=0.1, label_smoothing=0.1)
    log_probs = jax.nn.log_softmax(LOGITS(params, BATCH))
    picked = jnp.take_along_axis(log_probs, TARGETS[..., None], axis=-1)[..., 0]
    score = jax.jit(model.score_batch, static_argnums=2)
    scores, intermediates = score(params, BATCH, True)
    np.testing.assert_allclose(scores, jnp.sum(picked * (TARGETS > 0), axis=1), rtol=1e-5)
    np.testing.assert_allclose(SCORES(params, BATCH), scores, rtol=1e-6)
    (token_scores,) = intermediates["decoder"]["token_scores"]
    np.testing.assert_allclose(token_scores, picked * (TARGETS > 0), rtol=1e-5, atol=1e-6)
    assert intermediates["decoder"]["target_tokens"][0].shape == (4, 5)


def test_logits_need_only_the_three_token_arrays(params):
    batch = {k: BATCH[k] for k in ("encoder_input_tokens", "decoder_input_tokens", "decoder_target_tokens")}
    assert jax.eval_shape(build()._compute_logits, params, batch).shape == (4, 5, 20)


def test_feature_converter_is_lazy_and_can_be_replaced():
    class Own:
        pass

    assert build(feature_converter_cls=Own).FEATURE_CONVERTER_CLS is Own
    code = (
        "import sys, t5x.models as m, t5x.examples.t5.network; "
        "heavy = {'seqio', 'tensorflow'} & set(sys.modules); "
        "assert not heavy, heavy; assert m.EncoderDecoderModel.loss_fn"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    import seqio

    assert models.EncoderDecoderModel.FEATURE_CONVERTER_CLS is seqio.EncDecFeatureConverter
    assert build().FEATURE_CONVERTER_CLS is seqio.EncDecFeatureConverter


def test_the_import_check_would_notice_tensorflow():
    code = "import sys; sys.modules['tensorflow'] = sys; assert not {'tensorflow'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 1


def test_decoder_only_models_are_refused_with_a_reason():
    with pytest.raises(NotImplementedError, match="use EncoderDecoderModel"):
        models.DecoderOnlyModel(None, None, None)


def test_prefixes_are_removed_row_by_row():
    out = models.remove_prefix(jnp.array([[1, 2, 3, 4], [5, 6, 7, 0]]), jnp.array([2, 0]))
    np.testing.assert_array_equal(out, [[3, 4, 0, 0], [5, 6, 7, 0]])


def test_vocabularies_are_returned():
    model = build()
    assert models.get_input_vocabulary(model) is models.get_output_vocabulary(model) is VOCABULARY
