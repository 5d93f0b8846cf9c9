"""The T5 network: parameter tree, masks seen through gradients, tied logits, dtypes, dropout, decoding."""

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5x.examples.t5 import network

KEY = jax.random.PRNGKey(0)
SIZES = {
    "vocab_size": 50,
    "emb_dim": 8,
    "num_heads": 4,
    "num_encoder_layers": 2,
    "num_decoder_layers": 2,
    "head_dim": 3,
    "mlp_dim": 16,
}
ENCODER = jnp.array([[3, 4, 5, 0], [7, 8, 9, 10]])
TARGETS = jnp.array([[13, 14, 15, 16, 1], [19, 18, 1, 0, 0]])
INPUTS = jnp.pad(TARGETS[:, :-1], ((0, 0), (1, 0)))


def build(**overrides):
    config = network.T5Config(**{**SIZES, "mlp_activations": ("gelu", "linear"), "dropout_rate": 0.0, **overrides})
    module = network.Transformer(config)
    variables = jax.jit(lambda key: module.init(key, ENCODER, INPUTS, TARGETS, enable_dropout=False))(KEY)
    return module, variables


@pytest.fixture(scope="module")
def model():
    module, variables = build()
    return module, variables["params"]


def expected_tree(config):
    """Paths, shapes and logical axes of every parameter, as the interface lists them."""
    e, hd, m = config.emb_dim, config.num_heads * config.head_dim, config.mlp_dim
    tree = {"token_embedder/embedding": ((config.vocab_size, e), ("vocab", "embed"))}
    if not config.logits_via_embedding:
        tree["decoder/logits_dense/kernel"] = ((e, config.vocab_size), ("embed", "vocab"))
    wi = ["wi"] if len(config.mlp_activations) == 1 else [f"wi_{i}" for i in range(len(config.mlp_activations))]
    stacks = {
        "encoder": (config.num_encoder_layers, {"attention": "pre_attention_layer_norm"}),
        "decoder": (
            config.num_decoder_layers,
            {
                "self_attention": "pre_self_attention_layer_norm",
                "encoder_decoder_attention": "pre_cross_attention_layer_norm",
            },
        ),
    }
    for stack, (depth, attentions) in stacks.items():
        tree[f"{stack}/relpos_bias/rel_embedding"] = ((config.num_heads, 32), ("heads", "relpos_buckets"))
        tree[f"{stack}/{stack}_norm/scale"] = ((e,), ("embed",))
        for i in range(depth):
            layer = f"{stack}/layers_{i}"
            tree[f"{layer}/pre_mlp_layer_norm/scale"] = ((e,), ("embed",))
            for attention, norm in attentions.items():
                tree[f"{layer}/{norm}/scale"] = ((e,), ("embed",))
                for name in ("query", "key", "value"):
                    tree[f"{layer}/{attention}/{name}/kernel"] = ((e, hd), ("embed", "joined_kv"))
                tree[f"{layer}/{attention}/out/kernel"] = ((hd, e), ("joined_kv", "embed"))
            for name in wi:
                tree[f"{layer}/mlp/{name}/kernel"] = ((e, m), ("embed", "mlp"))
            tree[f"{layer}/mlp/wo/kernel"] = ((m, e), ("mlp", "embed"))
    return tree


@pytest.mark.parametrize(
    "overrides",
    [{}, {"mlp_activations": ("relu",), "logits_via_embedding": True}, {"dtype": "bfloat16", "num_encoder_layers": 1}],
)
def test_parameter_tree_shapes_and_logical_axes(overrides):
    config = network.T5Config(**{**SIZES, "mlp_activations": ("gelu", "linear"), **overrides})
    module = network.Transformer(config)
    out = jax.eval_shape(lambda k: module.init(k, ENCODER, INPUTS, TARGETS, enable_dropout=False), KEY)
    params = flax.traverse_util.flatten_dict(out["params"], sep="/")
    axes = flax.traverse_util.flatten_dict(out["params_axes"], sep="/")
    got = {k: (v.shape, tuple(axes[f"{k}_axes"].names)) for k, v in params.items()}
    assert got == expected_tree(config)
    assert len(axes) == len(params)
    assert {v.dtype for v in params.values()} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("size", "count"),
    [((512, 6, 8, 64, 1024), 76_961_152), ((768, 12, 12, 64, 2048), 247_577_856), ((8, 4, 2, 3, 16), 518_240)],
)
def test_parameter_counts_of_t5_1_1(size, count):
    emb, heads, depth, head, mlp = size
    config = network.T5Config(32128, "bfloat16", emb, heads, depth, depth, head, mlp, ("gelu", "linear"))
    init = network.Transformer(config).init
    out = jax.eval_shape(lambda k: init(k, ENCODER, INPUTS, TARGETS, enable_dropout=False), KEY)
    assert sum(x.size for x in jax.tree.leaves(out["params"])) == count


def test_initial_values_follow_the_documented_scales():
    _, variables = build(emb_dim=64, num_heads=2, head_dim=16, mlp_dim=64, vocab_size=500)
    params = variables["params"]
    assert float(jnp.std(params["token_embedder"]["embedding"])) == pytest.approx(1.0, rel=0.02)
    assert float(jnp.std(params["decoder"]["logits_dense"]["kernel"])) == pytest.approx(1 / 8, rel=0.03)
    query = params["decoder"]["layers_1"]["encoder_decoder_attention"]["query"]["kernel"]
    assert float(jnp.std(query)) == pytest.approx(1 / 8 / 4, rel=0.06)
    np.testing.assert_array_equal(params["encoder"]["encoder_norm"]["scale"], 1.0)


def embedded_jacobian(module, params, fn):
    """Gradient norm [positions of output, positions of input] through the embedded tokens of one example."""
    table = params["token_embedder"]["embedding"]

    def with_offsets(offsets):
        # Each position gets its own row of the table, so that a gradient can be told apart by position.
        count = offsets.shape[0]
        new = {**params, "token_embedder": {"embedding": jnp.concatenate([table[: 50 - count], offsets])}}
        return fn(new)

    return jnp.linalg.norm(jax.jit(jax.jacrev(with_offsets))(table[-6:]), axis=-1)


def test_decoder_sees_the_past_and_itself_never_the_future(model):
    module, params = model
    encoder = jnp.array([[3, 4]])
    tokens = jnp.array([[44, 45, 46, 47, 48, 49]])

    def fn(p):
        out = module.apply({"params": p}, encoder, tokens, jnp.ones_like(tokens), enable_dropout=False)
        return jnp.sum(out[0] * jnp.arange(50.0)[None, :], axis=-1)

    seen = np.asarray(embedded_jacobian(module, params, fn)) > 1e-6
    np.testing.assert_array_equal(seen, np.tril(np.ones((6, 6), bool)))


def test_encoder_sees_real_tokens_in_both_directions_and_no_padding(model):
    module, params = model
    tokens = jnp.array([[44, 45, 46, 47, 0, 0]])

    def fn(p):
        out = module.apply({"params": p}, tokens, enable_dropout=False, method=module.encode)
        return jnp.sum(out[0] * jnp.arange(8.0)[None, :], axis=-1)

    seen = np.asarray(embedded_jacobian(module, params, fn)) > 1e-6
    np.testing.assert_array_equal(seen[:4, :4], True)
    padded = jnp.concatenate([tokens[:, :4], jnp.zeros((1, 9), jnp.int32)], axis=1)
    long = apply(model, padded, method=module.encode)[:, :4]
    short = apply(model, tokens[:, :4], method=module.encode)
    np.testing.assert_allclose(long, short, rtol=1e-5, atol=1e-5)


def apply(model, *args, method=None, **kwargs):
    """Applies without dropout, in one compiled program: op by op, each would be compiled by itself."""
    module, params = model
    arrays = {k: kwargs.pop(k) for k in list(kwargs) if k.endswith(("_ids", "_positions"))}
    fn = jax.jit(
        lambda p, args, arrays: module.apply(
            {"params": p}, *args, enable_dropout=False, method=method, **arrays, **kwargs
        )
    )
    return fn(params, args, arrays)


def test_encoder_padding_does_not_reach_the_logits(model):
    more = jnp.pad(ENCODER[:1], ((0, 0), (0, 5)))
    a = apply(model, ENCODER[:1, :3], INPUTS[:1], TARGETS[:1])
    b = apply(model, more, INPUTS[:1], TARGETS[:1])
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    changed = apply(model, ENCODER[:1].at[0, 0].set(30), INPUTS[:1], TARGETS[:1])
    assert float(jnp.max(jnp.abs(changed - a))) > 1e-2


def test_packing_two_examples_equals_running_them_apart(model):
    encoder = jnp.array([[3, 4, 5, 7, 8, 9, 10, 0]])
    inputs, targets = jnp.array([[0, 13, 14, 0, 19, 18, 0]]), jnp.array([[13, 14, 1, 19, 18, 1, 0]])
    packed = apply(
        model,
        encoder,
        inputs,
        targets,
        encoder_segment_ids=jnp.array([[1, 1, 1, 2, 2, 2, 2, 0]]),
        decoder_segment_ids=jnp.array([[1, 1, 1, 2, 2, 2, 0]]),
        encoder_positions=jnp.array([[0, 1, 2, 0, 1, 2, 3, 0]]),
        decoder_positions=jnp.array([[0, 1, 2, 0, 1, 2, 0]]),
    )
    one = apply(model, encoder[:, :3], inputs[:, :3], targets[:, :3])
    two = apply(model, encoder[:, 3:7], inputs[:, 3:6], targets[:, 3:6])
    np.testing.assert_allclose(packed[:, :3], one, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(packed[:, 3:6], two, rtol=1e-4, atol=1e-5)


def test_logits_are_the_head_of_the_hidden_states(model):
    module, _ = model
    encoded = apply(model, ENCODER, method=module.encode)
    hidden = apply(model, encoded, ENCODER, INPUTS, TARGETS, method=module.decode_hidden)
    assert hidden.shape == (2, 5, 8)
    logits = module.apply({"params": model[1]}, hidden, method=module.head)
    np.testing.assert_allclose(logits, apply(model, ENCODER, INPUTS, TARGETS), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(logits, hidden @ model[1]["decoder"]["logits_dense"]["kernel"], rtol=1e-5, atol=1e-5)


def test_tied_logits_use_the_embedding_over_the_root_of_the_width():
    module, variables = build(logits_via_embedding=True)
    params = variables["params"]
    assert "logits_dense" not in params["decoder"]
    hidden = jax.random.normal(KEY, (2, 3, 8))
    logits = module.apply({"params": params}, hidden, method=module.head)
    np.testing.assert_allclose(logits, hidden @ params["token_embedder"]["embedding"].T / 8**0.5, rtol=1e-5, atol=1e-5)


def test_bfloat16_computes_hidden_states_in_bfloat16_and_logits_in_float32(model):
    module = network.Transformer(model[0].config.replace(dtype="bfloat16"))
    encoded = apply((module, model[1]), ENCODER, method=module.encode)
    assert encoded.dtype == jnp.bfloat16
    low = apply((module, model[1]), ENCODER, INPUTS, TARGETS)
    exact = apply(model, ENCODER, INPUTS, TARGETS)
    assert low.dtype == exact.dtype == jnp.float32
    difference = np.asarray(jnp.abs(low - exact))
    assert 0 < difference.max() < 0.1 * float(jnp.max(jnp.abs(exact)))


def dropped(rate=0.5):
    module, variables = build(dropout_rate=rate, num_encoder_layers=0, num_decoder_layers=1, emb_dim=64)
    return module, {"params": variables["params"]}


def test_dropout_repeats_with_its_key_and_scales_to_the_same_mean():
    module, params = dropped()

    def encode(seed):
        return module.apply(params, ENCODER, rngs={"dropout": jax.random.PRNGKey(seed)}, method=module.encode)

    np.testing.assert_array_equal(encode(1), encode(1))
    assert not np.array_equal(encode(1), encode(2))


def test_encoder_output_dropout_is_per_element_and_input_dropout_is_not():
    module, params = dropped()
    out = module.apply(params, jnp.full((1, 6), 7), rngs={"dropout": KEY}, method=module.encode)[0] == 0
    always = jnp.all(out, axis=0)  # dropped at the input: the same features at all positions
    assert 0.25 < float(jnp.mean(always)) < 0.75
    rest = out[:, ~np.asarray(always)]
    assert 0.3 < float(jnp.mean(rest)) < 0.7 and not bool(jnp.all(rest[0] == rest[1]))


def test_no_dropout_means_no_key_is_needed(model):
    module, params = model
    on = jax.jit(lambda p: module.apply({"params": p}, ENCODER, INPUTS, TARGETS, enable_dropout=True))(params)
    np.testing.assert_array_equal(on, apply(model, ENCODER, INPUTS, TARGETS))


def steps(model, cache, encoded):
    module, params = model
    step = jax.jit(
        lambda cache, token: module.apply(
            {"params": params, "cache": cache},
            encoded,
            ENCODER,
            token,
            token,
            enable_dropout=False,
            decode=True,
            max_decode_length=5,
            mutable=["cache"],
            method=module.decode,
        )
    )
    logits = []
    for i in range(5):
        out, variables = step(cache, INPUTS[:, i : i + 1])
        cache = variables["cache"]
        logits.append(out)
    return jnp.concatenate(logits, axis=1)


@pytest.mark.parametrize("kept", [True, False])
def test_decoding_step_by_step_equals_teacher_forcing(model, kept):
    module, params = model
    encoded = apply(model, ENCODER, method=module.encode)
    if kept:
        _, variables = module.apply(
            {"params": params}, encoded, ENCODER, INPUTS, mutable=["cache"], method=module.init_cache
        )
        encoded = jnp.full_like(encoded, jnp.nan)  # never looked at again
    else:
        # T5X's own way: a cache from a call on ones must not freeze cross-attention on those ones.
        ones = jnp.ones_like(INPUTS)
        _, variables = apply(model, jnp.ones_like(ENCODER), ones, ones, decode=True, mutable=["cache"])
    leaves = {k[-1] for k in flax.traverse_util.flatten_dict(variables["cache"])}
    expected = {"cached_key", "cached_value", "cache_index"}
    assert leaves == (expected | {"kept_key", "kept_value"} if kept else expected)
    got = steps(model, variables["cache"], encoded)
    teacher = apply(model, ENCODER, INPUTS, TARGETS)
    real = np.asarray(TARGETS) > 0
    np.testing.assert_allclose(np.asarray(got)[real], np.asarray(teacher)[real], rtol=1e-4, atol=1e-5)


def test_decoding_takes_no_segments(model):
    module, _ = model
    encoded = apply(model, ENCODER, method=module.encode)
    with pytest.raises(ValueError, match="takes no segment ids"):
        apply(
            model,
            encoded,
            ENCODER,
            INPUTS,
            TARGETS,
            decode=True,
            decoder_segment_ids=INPUTS,
            mutable=["cache"],
            method=module.decode,
        )
