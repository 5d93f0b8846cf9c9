"""Layers: numbers against independent NumPy, masks, dropout masks, initial scales, the cache."""

import math

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5x.examples.t5 import layers

KEY = jax.random.PRNGKey(0)


def reference_bucket(relative_position, bidirectional, buckets=32, max_distance=128):
    """T5's bucket of one distance, in plain Python."""
    n, offset = -relative_position, 0
    if bidirectional:
        buckets //= 2
        if n < 0:
            offset, n = buckets, -n
    n = max(n, 0)
    exact = buckets // 2
    if n < exact:
        return offset + n
    far = exact + int(math.log(n / exact) / math.log(max_distance / exact) * (buckets - exact) + 1e-6)
    return offset + min(far, buckets - 1)


def bucket(relative_position, **kwargs):
    return np.asarray(layers.RelativePositionBiases._relative_position_bucket(jnp.asarray(relative_position), **kwargs))


def test_decoder_buckets_at_the_documented_distances():
    expected = [0, 10, 17, 20, 23, 24, 26, 27, 28, 29, 30, 30, 31, 31]
    assert bucket(-np.arange(0, 140, 10), bidirectional=False).tolist() == expected


@pytest.mark.parametrize("bidirectional", [True, False])
def test_buckets_agree_with_plain_python_over_all_distances(bidirectional):
    distances = np.arange(-200, 201)
    expected = [reference_bucket(int(d), bidirectional) for d in distances]
    assert bucket(distances, bidirectional=bidirectional).tolist() == expected


def test_future_and_past_share_no_bucket_in_the_encoder():
    past, future = bucket(-np.arange(1, 150)), bucket(np.arange(1, 150))
    assert past.max() < 16 <= future.min()


@pytest.mark.parametrize(("qlen", "klen"), [(5, 5), (3, 7), (7, 3), (1, 4)])
def test_relative_bias_holds_the_table_entry_of_each_distance(qlen, klen):
    module = layers.RelativePositionBiases(num_buckets=32, max_distance=128, num_heads=3)
    variables = module.init(KEY, qlen, klen)
    table = np.asarray(variables["params"]["rel_embedding"])
    bias = np.asarray(module.apply({"params": variables["params"]}, qlen, klen, False))
    assert bias.shape == (1, 3, qlen, klen)
    for q in range(qlen):
        for k in range(klen):
            np.testing.assert_array_equal(bias[0, :, q, k], table[:, reference_bucket(k - q, False)])


def test_one_row_of_the_relative_bias_equals_that_row_of_the_whole():
    module = layers.RelativePositionBiases(num_buckets=32, max_distance=128, num_heads=2)
    params = {"params": module.init(KEY, 4, 4)["params"]}
    whole = module.apply(params, 40, 40, False)
    row = module.apply(params, 40, 40, False, jnp.int32(37))
    np.testing.assert_array_equal(row, whole[:, :, 37:38])


def test_relative_bias_gradient_counts_the_uses_of_each_bucket():
    module = layers.RelativePositionBiases(num_buckets=32, max_distance=128, num_heads=1)
    params = module.init(KEY, 6, 6)["params"]
    gradient = jax.grad(lambda p: jnp.sum(module.apply({"params": p}, 6, 6, False)))(params)["rel_embedding"]
    # Distance 0 and everything in the future share bucket 0: 6 + 15 pairs; distance d is used 6 - d times.
    expected = np.zeros((1, 32))
    expected[0, :6] = [21, 5, 4, 3, 2, 1]
    np.testing.assert_allclose(gradient, expected)


def numpy_attention(q, k, v, bias):
    logits = np.einsum("bqhd,bkhd->bhqk", q, k) + bias
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return np.einsum("bhqk,bkhd->bqhd", weights / weights.sum(-1, keepdims=True), v)


def qkv(batch=2, q=3, k=4, heads=2, depth=5):
    rng = np.random.default_rng(0)
    shapes = [(batch, q, heads, depth), (batch, k, heads, depth), (batch, k, heads, depth), (batch, heads, q, k)]
    return [rng.normal(size=s).astype(np.float32) for s in shapes]


def test_attention_matches_numpy_and_does_not_scale_by_depth():
    q, k, v, bias = qkv()
    out = layers.dot_product_attention(q, k, v, bias=bias, deterministic=True)
    np.testing.assert_allclose(out, numpy_attention(q, k, v, bias), rtol=1e-5, atol=1e-6)


def test_bfloat16_attention_takes_its_softmax_in_float32():
    q, k, v, _ = (jnp.asarray(x, jnp.bfloat16) for x in qkv())
    # An offset of 512 on every logit leaves bfloat16 steps of 4 between logits: a bfloat16 softmax would be lost.
    bias = jnp.full((2, 2, 3, 4), 512.0, jnp.float32)
    plain = layers.dot_product_attention(q, k, v, deterministic=True, dtype=jnp.bfloat16)
    shifted = layers.dot_product_attention(q, k, v, bias=bias, deterministic=True, dtype=jnp.bfloat16)
    assert plain.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(plain, np.float32), np.asarray(shifted, np.float32), atol=2e-2)


def test_attention_dropout_drops_whole_keys_for_all_queries():
    identity = np.broadcast_to(np.eye(20, dtype=np.float32)[None, :, None, :], (1, 20, 2, 20))
    q, k = np.zeros((1, 50, 2, 20), np.float32), np.zeros((1, 20, 2, 20), np.float32)
    weights = layers.dot_product_attention(q, k, identity, dropout_rng=KEY, dropout_rate=0.5)
    np.testing.assert_array_equal(weights, np.broadcast_to(weights[:, :1], weights.shape))
    np.testing.assert_allclose(np.unique(weights), [0.0, 0.1], rtol=1e-5)


def test_attention_names_the_shapes_that_disagree():
    q, k, v, _ = qkv()
    with pytest.raises(ValueError, match=r"query \(2, 3, 2, 5\), key \(2, 4, 2, 5\) and value \(2, 3, 2, 5\)"):
        layers.dot_product_attention(q, k, v[:, :3])


@pytest.mark.parametrize("axis", [-1, (1, 2), (-2, -1)])
def test_dense_stores_a_two_dimensional_kernel(axis):
    x = jax.random.normal(KEY, (2, 3, 4))
    module = layers.DenseGeneral(features=(5, 6), axis=axis, kernel_axes=("a", "b"))
    variables = module.init(KEY, x)
    kernel = variables["params"]["kernel"]
    rows = 4 if axis == -1 else 12
    assert kernel.shape == (rows, 30)
    assert variables["params_axes"]["kernel_axes"].names == ("a", "b")
    flat = x.reshape(-1, rows) @ kernel
    out = module.apply({"params": variables["params"]}, x)
    np.testing.assert_allclose(out.reshape(-1, 30), flat, rtol=1e-5, atol=1e-6)


def test_initial_scales_follow_the_documented_initialisers():
    x = jnp.ones((1, 2, 512))
    attention = layers.MultiHeadDotProductAttention(num_heads=8, head_dim=64)
    params = jax.jit(attention.init)(KEY, x, x)["params"]
    std = {k: float(jnp.std(v["kernel"])) for k, v in params.items()}
    assert std["key"] == pytest.approx(512**-0.5, rel=0.02)
    assert std["out"] == pytest.approx(512**-0.5, rel=0.02)
    assert std["query"] == pytest.approx(512**-0.5 / 8, rel=0.02)  # divided by sqrt(64)
    mlp = layers.MlpBlock(intermediate_dim=256, activations=("gelu", "linear")).init(KEY, x, deterministic=True)[
        "params"
    ]
    assert set(mlp) == {"wi_0", "wi_1", "wo"}
    assert float(jnp.std(mlp["wo"]["kernel"])) == pytest.approx(256**-0.5, rel=0.02)
    # Truncated at two standard deviations of the untruncated normal, whose scale is raised by 1 / 0.8796 to make up.
    assert float(jnp.max(jnp.abs(mlp["wo"]["kernel"]))) < 2.01 * 256**-0.5 / 0.87
    bias = layers.RelativePositionBiases(num_buckets=32, max_distance=128, num_heads=16).init(KEY, 2, 2)["params"]
    assert float(jnp.max(jnp.abs(bias["rel_embedding"]))) <= math.sqrt(3 / 24)  # uniform, fan_avg = (16 + 32) / 2


def test_gated_mlp_multiplies_tanh_gelu_with_a_linear_map():
    x = jax.random.normal(KEY, (2, 3, 4))
    module = layers.MlpBlock(intermediate_dim=8, activations=("gelu", "linear"))
    params = module.init(KEY, x, deterministic=True)["params"]
    h0, h1 = (np.asarray(x @ params[f"wi_{i}"]["kernel"], np.float64) for i in (0, 1))
    gelu = 0.5 * h0 * (1 + np.tanh(math.sqrt(2 / math.pi) * (h0 + 0.044715 * h0**3)))
    out = module.apply({"params": params}, x, deterministic=True)
    np.testing.assert_allclose(out, (gelu * h1) @ np.asarray(params["wo"]["kernel"]), rtol=1e-4, atol=1e-5)


def test_unknown_activation_is_named():
    with pytest.raises(ValueError, match="'gelo' is unknown"):
        layers.MlpBlock(intermediate_dim=8, activations=("gelo",)).init(KEY, jnp.ones((1, 2, 4)))


def test_mlp_dropout_mask_is_shared_along_the_length():
    module = layers.MlpBlock(intermediate_dim=64, activations=("linear",), intermediate_dropout_rate=0.5)
    x = jnp.ones((2, 5, 4))
    params = module.init(KEY, x, deterministic=True)["params"]
    out = module.apply({"params": params}, x, rngs={"dropout": KEY})
    np.testing.assert_allclose(out, jnp.broadcast_to(out[:, :1], out.shape), rtol=1e-5)
    assert not np.allclose(out[0], out[1])


def test_gathered_and_one_hot_embeddings_are_the_same_function():
    tokens = jnp.array([[1, 4, 4, 0]])
    gather = layers.Embed(num_embeddings=6, features=3)
    one_hot = layers.Embed(num_embeddings=6, features=3, one_hot=True)
    params = gather.init(KEY, tokens)["params"]
    grads = []
    for module in (gather, one_hot):
        out, vjp = jax.vjp(lambda p, m=module: m.apply({"params": p}, tokens), params)
        np.testing.assert_allclose(out[0, 1], params["embedding"][4], rtol=1e-6)
        grads.append(vjp(jnp.ones_like(out))[0]["embedding"])
    np.testing.assert_allclose(grads[0], grads[1])
    np.testing.assert_allclose(grads[0][:, 0], [1, 1, 0, 0, 2, 0])


def test_embedding_refuses_floats_and_marks_unknown_ids():
    module = layers.Embed(num_embeddings=6, features=3)
    params = {"params": module.init(KEY, jnp.array([1]))["params"]}
    with pytest.raises(ValueError, match="must be integers, got dtype float32"):
        module.apply(params, jnp.ones((1, 2)))
    assert np.isnan(module.apply(params, jnp.array([[6]]))).all()


def test_attend_is_the_transposed_table():
    module = layers.Embed(num_embeddings=6, features=3, attend_dtype=jnp.float32, dtype=jnp.bfloat16)
    params = module.init(KEY, jnp.array([1]))["params"]
    query = jax.random.normal(KEY, (2, 4, 3))
    out = module.apply({"params": params}, query, method=module.attend)
    assert out.dtype == jnp.float32
    np.testing.assert_allclose(out, query @ params["embedding"].T, rtol=1e-5, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.5, 100.0), st.integers(0, 2**31 - 1))
def test_norm_keeps_direction_has_unit_mean_square_and_ignores_scale(factor, seed):
    x = np.random.default_rng(seed).normal(size=(3, 16)).astype(np.float32)
    module = layers.LayerNorm()
    params = {"params": {"scale": jnp.ones(16)}}
    y = np.asarray(module.apply(params, x))
    np.testing.assert_allclose(np.mean(y**2, -1), 1.0, rtol=1e-4)
    np.testing.assert_allclose(y, x / np.sqrt(np.mean(x**2, -1, keepdims=True)), rtol=1e-4)
    np.testing.assert_allclose(module.apply(params, x * np.float32(factor)), y, rtol=1e-3, atol=1e-3)


def test_norm_statistics_are_float32_under_bfloat16():
    x = jnp.full((1, 4096), 3.0, jnp.bfloat16)  # a bfloat16 sum of 4,096 nines would stop growing at 2,048
    out = layers.LayerNorm(dtype=jnp.bfloat16).apply({"params": {"scale": jnp.ones(4096)}}, x)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(out, np.float32), 1.0)


def test_decoder_mask_by_hand():
    targets = jnp.array([[7, 8, 9, 0]])
    segments = jnp.array([[1, 1, 2, 0]])
    mask = layers.make_decoder_mask(targets, jnp.float32, decoder_segment_ids=segments)
    np.testing.assert_array_equal(mask[0, 0], [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]])


def test_decoder_mask_lets_a_prefix_see_itself_both_ways():
    prefix = jnp.array([[1, 1, 0, 0]])
    mask = layers.make_decoder_mask(jnp.array([[7, 8, 9, 4]]), jnp.float32, decoder_causal_attention=prefix)
    np.testing.assert_array_equal(mask[0, 0], [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]])


def test_masks_and_biases_combine():
    a, b = jnp.array([[1.0, 1.0, 0.0]]), jnp.array([[1.0, 0.0, 0.0]])
    np.testing.assert_array_equal(layers.combine_masks(a, None, b), [[1, 0, 0]])
    np.testing.assert_array_equal(layers.combine_biases(a, None, b), [[2, 1, 0]])
    assert layers.combine_masks(None) is None and layers.combine_biases(None, None) is None
    with pytest.raises(ValueError, match="one rank"):
        layers.combine_masks(a, b[0])
    assert layers.make_attention_mask(a, b, extra_batch_dims=1).shape == (1, 1, 1, 3, 3)
    assert layers.make_causal_mask(a, extra_batch_dims=2).shape == (1, 1, 1, 1, 3, 3)


def test_decoding_one_token_at_a_time_equals_causal_attention():
    x = jax.random.normal(KEY, (2, 5, 8))
    module = layers.MultiHeadDotProductAttention(num_heads=2, head_dim=4)
    bias = jax.random.normal(jax.random.PRNGKey(1), (1, 2, 5, 5))
    variables = module.init(KEY, x, x, bias=bias, decode=True)
    cache = variables["cache"]
    assert {k: v.shape for k, v in cache.items()} == {
        "cached_key": (2, 2, 4, 5),
        "cached_value": (2, 2, 4, 5),
        "cache_index": (),
    }
    params = variables["params"]
    causal = layers.make_causal_mask(jnp.ones((2, 5)))
    expected = module.apply({"params": params}, x, x, causal, bias, deterministic=True)
    step = jax.jit(
        lambda cache, x: module.apply(
            {"params": params, "cache": cache}, x, x, None, bias, decode=True, deterministic=True, mutable=["cache"]
        )
    )
    for i in range(5):
        out, variables = step(cache, x[:, i : i + 1])
        cache = variables["cache"]
        np.testing.assert_allclose(out[:, 0], expected[:, i], rtol=1e-5, atol=1e-5)
    assert int(cache["cache_index"]) == 5


def test_a_decoding_step_takes_one_token():
    x = jnp.ones((2, 5, 8))
    module = layers.MultiHeadDotProductAttention(num_heads=2, head_dim=4)
    variables = module.init(KEY, x, x, decode=True)
    with pytest.raises(ValueError, match=r"one query of shape \(2, 1, 2, 4\), got \(2, 2, 2, 4\)"):
        module.apply(variables, x[:, :2], x[:, :2], decode=True, mutable=["cache"])


@pytest.mark.parametrize("beams", [1, 3])
def test_kept_keys_serve_all_beams_of_an_example(beams):
    q = jax.random.normal(KEY, (2 * beams, 1, 8))
    kv = jax.random.normal(jax.random.PRNGKey(1), (2, 5, 8))
    mask = jnp.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])[:, None, None, :]
    module = layers.MultiHeadDotProductAttention(num_heads=2, head_dim=4)
    params = module.init(KEY, q, jnp.repeat(kv, beams, 0))["params"]
    _, kept = module.apply({"params": params}, kv[:, :1], kv, mask, keep_kv=True, mutable=["cache"])
    mask = jnp.repeat(mask, beams, 0)
    expected = module.apply({"params": params}, q, jnp.repeat(kv, beams, 0), mask, deterministic=True)
    out = module.apply({"params": params, **kept}, q, jnp.full_like(kv, jnp.nan), mask, deterministic=True)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_dropout_needs_a_key_only_when_it_is_on(rate):
    x = jax.random.normal(KEY, (2, 3, 8))
    module = layers.MultiHeadDotProductAttention(num_heads=2, head_dim=4, dropout_rate=rate)
    variables = {"params": module.init(KEY, x, x, deterministic=True)["params"]}
    quiet = module.apply(variables, x, x, deterministic=True)
    if rate == 0.0:
        np.testing.assert_array_equal(module.apply(variables, x, x), quiet)
    else:
        with pytest.raises(flax.errors.InvalidRngError):
            module.apply(variables, x, x)
