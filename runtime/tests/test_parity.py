"""Parity with transformers' PyTorch T5 in float32, weights copied over: encoder, logits, loss and greedy tokens.

Needs torch and transformers (`make test-parity`, or pip install '.[parity]'); selected without them it fails and says
so.
"""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5x import decoding, models
from t5x.examples.t5 import network

pytestmark = pytest.mark.parity

VARIANTS = [("gated-gelu", False), ("gated-gelu", True), ("relu", False), ("relu", True)]
ACTIVATIONS = {"gated-gelu": ("gelu", "linear"), "relu": ("relu",)}
VOCAB, WIDTH, HEADS, HEAD_DIM, HIDDEN, LAYERS = 60, 24, 3, 10, 40, 2
LENGTH = 12

ENCODER = np.array([[5, 9, 31, 8, 40, 2, 17, 1], [44, 3, 1, 0, 0, 0, 0, 0], [12, 59, 7, 23, 1, 0, 0, 0]], np.int32)
TARGETS = np.array([[30, 12, 4, 55, 1], [9, 1, 0, 0, 0], [2, 41, 33, 1, 0]], np.int32)
INPUTS = np.pad(TARGETS[:, :-1], ((0, 0), (1, 0)))


def import_torch():
    try:
        import torch
        import transformers
    except ImportError as error:
        pytest.fail(
            f"Parity tests need torch and transformers ({error}). Install them with `pip install '.[parity]'` (or run "
            "`make test-parity`), or leave these tests out with `-m 'not parity'`.",
            pytrace=False,
        )
    return torch, transformers


def torch_model(folder, feed_forward, tied):
    """Returns a seeded transformers T5, truly untied when asked: only a file that holds both matrices gives that."""
    torch, transformers = import_torch()
    from safetensors.torch import save_file

    config = transformers.T5Config(
        vocab_size=VOCAB,
        d_model=WIDTH,
        d_kv=HEAD_DIM,
        d_ff=HIDDEN,
        num_layers=LAYERS,
        num_heads=HEADS,
        feed_forward_proj=feed_forward,
        dropout_rate=0.0,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )
    torch.manual_seed(0)
    model = transformers.T5ForConditionalGeneration(config)
    state = {}
    generator = torch.Generator().manual_seed(1)
    for name, tensor in model.state_dict().items():
        if name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"):
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if "layer_norm" in name:
            state[name] = 1.0 + 0.3 * noise
        elif name == "shared.weight":
            state[name] = 0.3 * noise  # small beside the sublayers, or tied logits would repeat the last token forever
        elif "relative_attention_bias" in name:
            state[name] = noise
        else:
            state[name] = noise * tensor.shape[-1] ** -0.5 * (0.3 if ".q.weight" in name else 1.0)
    if not tied:
        state["lm_head.weight"] = 0.7 * torch.randn((VOCAB, WIDTH), generator=generator)
    model.save_pretrained(folder)
    settings = json.loads((folder / "config.json").read_text())
    settings["tie_word_embeddings"] = tied
    settings.pop("scale_decoder_outputs", None)  # saved from the tied model: it would scale untied logits too
    (folder / "config.json").write_text(json.dumps(settings))
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    model = transformers.T5ForConditionalGeneration.from_pretrained(folder).eval()
    same = torch.equal(model.lm_head.weight, model.shared.weight)
    assert same == tied, "transformers tied (or untied) the logits against the file"
    return model


def copied_parameters(model, feed_forward, tied):
    """Maps transformers' names to the T5X tree; linear weights are transposed."""
    weights = {k: v.numpy() for k, v in model.state_dict().items()}

    def attention(prefix):
        names = {"query": "q", "key": "k", "value": "v", "out": "o"}
        return {ours: {"kernel": weights[f"{prefix}.{theirs}.weight"].T} for ours, theirs in names.items()}

    def norm(name):
        return {"scale": weights[f"{name}.weight"]}

    def mlp(prefix):
        names = ["wi", "wo"] if feed_forward == "relu" else ["wi_0", "wi_1", "wo"]
        return {name: {"kernel": weights[f"{prefix}.DenseReluDense.{name}.weight"].T} for name in names}

    def stack(name):
        bias = weights[f"{name}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"].T
        out = {"relpos_bias": {"rel_embedding": bias}, f"{name}_norm": norm(f"{name}.final_layer_norm")}
        for i in range(LAYERS):
            block = f"{name}.block.{i}.layer"
            if name == "encoder":
                layer = {
                    "pre_attention_layer_norm": norm(f"{block}.0.layer_norm"),
                    "attention": attention(f"{block}.0.SelfAttention"),
                }
            else:
                layer = {
                    "pre_self_attention_layer_norm": norm(f"{block}.0.layer_norm"),
                    "self_attention": attention(f"{block}.0.SelfAttention"),
                    "pre_cross_attention_layer_norm": norm(f"{block}.1.layer_norm"),
                    "encoder_decoder_attention": attention(f"{block}.1.EncDecAttention"),
                }
            last = 1 if name == "encoder" else 2
            out[f"layers_{i}"] = {
                **layer,
                "pre_mlp_layer_norm": norm(f"{block}.{last}.layer_norm"),
                "mlp": mlp(f"{block}.{last}"),
            }
        return out

    params = {
        "token_embedder": {"embedding": weights["shared.weight"]},
        "encoder": stack("encoder"),
        "decoder": stack("decoder"),
    }
    if not tied:
        params["decoder"]["logits_dense"] = {"kernel": weights["lm_head.weight"].T}
    return jax.tree.map(jnp.asarray, params)


@pytest.fixture(scope="module", params=VARIANTS, ids=lambda v: f"{v[0]}-{'tied' if v[1] else 'untied'}")
def pair(request, tmp_path_factory):
    feed_forward, tied = request.param
    theirs = torch_model(tmp_path_factory.mktemp("t5"), feed_forward, tied)
    config = network.T5Config(
        vocab_size=VOCAB,
        emb_dim=WIDTH,
        num_heads=HEADS,
        num_encoder_layers=LAYERS,
        num_decoder_layers=LAYERS,
        head_dim=HEAD_DIM,
        mlp_dim=HIDDEN,
        mlp_activations=ACTIVATIONS[feed_forward],
        dropout_rate=0.0,
        logits_via_embedding=tied,
    )
    vocabulary = SimpleNamespace(eos_id=1)
    ours = models.EncoderDecoderModel(
        network.Transformer(config), vocabulary, vocabulary, None, decode_fn=decoding.temperature_sample
    )
    params = copied_parameters(theirs, feed_forward, tied)
    shapes = {"encoder_input_tokens": ENCODER.shape, "decoder_input_tokens": INPUTS.shape}
    fresh = jax.eval_shape(lambda key: ours.get_initial_variables(key, shapes), jax.random.PRNGKey(0))["params"]
    got, expected = (jax.tree.map(jnp.shape, dict(tree)) for tree in (params, fresh))
    assert got == expected
    return ours, params, theirs


def torch_inputs():
    torch, _ = import_torch()
    labels = torch.tensor(TARGETS.astype(np.int64))
    return {
        "input_ids": torch.tensor(ENCODER.astype(np.int64)),
        "attention_mask": torch.tensor((ENCODER > 0).astype(np.int64)),
        "labels": labels.masked_fill(labels == 0, -100),
        "decoder_input_ids": torch.tensor(INPUTS.astype(np.int64)),
    }


def batch():
    return {
        "encoder_input_tokens": jnp.asarray(ENCODER),
        "decoder_input_tokens": jnp.asarray(INPUTS),
        "decoder_target_tokens": jnp.asarray(TARGETS),
        "decoder_loss_weights": jnp.asarray(TARGETS > 0, jnp.int32),
    }


def test_encoder_outputs_agree_at_real_tokens(pair):
    ours, params, theirs = pair
    torch, _ = import_torch()
    inputs = torch_inputs()
    with torch.no_grad():
        expected = theirs.encoder(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
    module = ours.module
    got = module.apply({"params": params}, jnp.asarray(ENCODER), enable_dropout=False, method=module.encode)
    real = ENCODER > 0
    np.testing.assert_allclose(np.asarray(got)[real], expected.last_hidden_state.numpy()[real], rtol=1e-4, atol=1e-4)


def test_logits_and_loss_agree_at_real_targets(pair):
    ours, params, theirs = pair
    torch, _ = import_torch()
    with torch.no_grad():
        expected = theirs(**torch_inputs())
    logits = jax.jit(ours._compute_logits)(params, batch())
    real = TARGETS > 0
    np.testing.assert_allclose(np.asarray(logits)[real], expected.logits.numpy()[real], rtol=1e-4, atol=1e-4)
    loss, _ = jax.jit(ours.eval_fn)(params, batch())
    assert float(loss) / real.sum() == pytest.approx(float(expected.loss), rel=1e-4)


def test_greedy_tokens_agree(pair):
    ours, params, theirs = pair
    torch, _ = import_torch()
    inputs = torch_inputs()
    with torch.no_grad():
        out = theirs.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            max_new_tokens=LENGTH,
            num_beams=1,
            do_sample=False,
        ).numpy()[:, 1:]
    expected = np.pad(out, ((0, 0), (0, LENGTH - out.shape[1])))
    features = {"encoder_input_tokens": jnp.asarray(ENCODER), "decoder_input_tokens": jnp.zeros((3, LENGTH), jnp.int32)}
    got = jax.jit(ours.predict_batch)(params, features)
    np.testing.assert_array_equal(got, expected)
    assert len(np.unique(expected)) > 1  # not one token over and over


def test_gradients_agree(pair):
    """One matrix from each end of the network: what reaches the embedding went through everything."""
    ours, params, theirs = pair
    theirs.zero_grad()
    theirs(**torch_inputs()).loss.backward()
    count = (TARGETS > 0).sum()
    gradient = jax.jit(jax.grad(lambda p: ours.loss_fn(p, batch(), None)[0] / count))(params)
    named = dict(theirs.named_parameters())
    pairs = {
        "shared.weight": gradient["token_embedder"]["embedding"],
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": gradient["encoder"]["relpos_bias"][
            "rel_embedding"
        ].T,
        "decoder.block.0.layer.0.SelfAttention.q.weight": gradient["decoder"]["layers_0"]["self_attention"]["query"][
            "kernel"
        ].T,
    }
    for name, got in pairs.items():
        expected = named[name].grad.numpy()
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max(), err_msg=name)
