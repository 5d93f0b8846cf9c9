"""FLOPs counted from the jaxpr: products, loops, branches, shards, against hand counts and XLA's own analysis."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, PartitionSpec

from distill_or_annotate.forecast.flops import FlopCount, count_flops
from distill_or_annotate.model import scanned
from distill_or_annotate.model.stacking import stack_layers
from t5x.examples.t5 import network

SQUARE = jax.ShapeDtypeStruct((8, 8), jnp.float32)
PRODUCT = 2 * 8**3  # operations of one product of SQUAREs


def chain(times):
    return lambda x: functools.reduce(lambda c, _: c @ x, range(times), x)


def looped(times, **options):
    return lambda x: jax.lax.scan(lambda c, _: (c @ x, None), x, length=times, **options)[0]


@given(*[st.integers(1, 4)] * 4)
@settings(max_examples=20, deadline=None)
def test_a_product_takes_two_operations_for_each_triple(batch, rows, inner, columns):
    left, right = np.zeros((batch, rows, inner)), np.zeros((batch, inner, columns))
    assert count_flops(jnp.matmul, left, right).total == 2 * batch * rows * inner * columns
    outer = count_flops(lambda a, b: jnp.einsum("bmk,kn->bmn", a, b), left, right[0])
    assert outer.by_primitive == {"dot_general": 2 * batch * rows * inner * columns}


def test_a_convolution_counts_its_taps():
    image, kernel = np.zeros((2, 6, 10, 10)), np.zeros((4, 3, 3, 5))
    conv = functools.partial(jax.lax.conv_general_dilated, window_strides=(1, 1), padding="VALID")
    grouped = count_flops(lambda a, b: conv(a, b, feature_group_count=2), image, kernel)
    assert grouped.by_primitive == {"conv_general_dilated": 2 * (2 * 4 * 8 * 6) * (3 * 3 * 5)}


@pytest.mark.parametrize(
    "fn",
    [
        looped(5),
        looped(5, unroll=2),
        jax.jit(looped(5)),
        lambda x: jax.lax.fori_loop(0, 5, lambda i, c: c @ x, x),
        lambda x: jax.lax.fori_loop(3, jnp.int32(8), lambda i, c: c @ x, x),
        lambda x: jax.jit(lambda c, n: jax.lax.fori_loop(0, n, lambda i, d: d @ c, c))(x, jnp.int32(5)),
        lambda x: jax.lax.while_loop(lambda s: s[0] < 9, lambda s: (s[0] + 2, s[1] @ x), (0, x))[1],
        lambda x: jax.checkpoint(chain(5))(x),
        lambda x: jax.vmap(lambda row: chain(0)(row) @ x)(x) + chain(4)(x),
    ],
    ids=["scan", "unrolled", "jit", "fori", "fori_array", "fori_argument", "while", "remat", "vmap"],
)
def test_a_body_counts_as_often_as_it_runs(fn):
    assert count_flops(fn, SQUARE).total == count_flops(chain(5), SQUARE).total == 5 * PRODUCT


def until_small(x):
    return jax.lax.while_loop(lambda c: jnp.sum(c @ x) > 1, lambda c: c @ x @ x, x)


def test_a_loop_on_data_counts_its_declared_trips_and_one_more_condition():
    assert count_flops(until_small, SQUARE, while_trip_count=7).total == (7 * 2 + 8) * PRODUCT
    assert count_flops(until_small, SQUARE, while_trip_count={"(until_small)": 0}).total == PRODUCT


def test_loops_are_told_apart_by_their_scope():
    def both(x):
        with jax.named_scope("drafting"):
            x = until_small(x)
        with jax.named_scope("checking"):
            return until_small(x)

    counted = count_flops(jax.jit(both), SQUARE, while_trip_count={"drafting": 1, "checking": 10})
    assert counted.total == (2 + 2 + 20 + 11) * PRODUCT


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (None, r"test_flops\.py.*\(until_small\).*while_trip_count=114"),
        ({}, "Declare them"),
        (-1, "at least 0"),
        ({"until_smell": 2}, "Declare them"),
        ({"until_small": 2, "until_smell": 1}, r"\['until_smell'\], which fit no loop.*until_small"),
    ],
)
def test_a_loop_whose_trips_nobody_knows_is_an_error(declared, message):
    with pytest.raises(ValueError, match=message):
        count_flops(until_small, SQUARE, while_trip_count=declared)


def test_the_costliest_branch_counts():
    def branching(x):
        return jax.lax.cond(x.sum() > 0, chain(3), chain(1), x)

    assert count_flops(branching, SQUARE).total == 3 * PRODUCT


def test_rules_of_ones_own_count_what_runs_in_each_direction():
    @jax.custom_vjp
    def product(x):
        return x @ x

    product.defvjp(lambda x: (x @ x, x), lambda x, g: (g @ x @ x + x @ g,))
    assert count_flops(product, SQUARE).total == PRODUCT
    assert count_flops(jax.grad(lambda x: product(x).sum()), SQUARE).total == 3 * PRODUCT


def test_shards_count_on_every_device():
    mesh = Mesh(np.array(jax.devices()[:8]).reshape(2, 4), ("data", "model"))
    spec = PartitionSpec("data")
    local = jax.shard_map(lambda x: x @ x.T, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
    assert count_flops(local, SQUARE).total == 8 * (2 * 4 * 4 * 8)


def test_what_nobody_uses_counts_nothing_and_what_nobody_sees_is_named():
    assert count_flops(lambda x: (x @ x, x)[1], SQUARE) == FlopCount()
    seen = count_flops(looped_solves, SQUARE)
    assert seen.total == 0 and seen.uncounted == {"triangular_solve": 3}


def looped_solves(x):
    solve = functools.partial(jax.lax.linalg.triangular_solve, left_side=True)
    return jax.lax.scan(lambda c, _: (solve(x, c), None), x, length=3)[0]


SHAPE = network.T5Config(
    vocab_size=96,
    emb_dim=16,
    num_heads=3,
    num_encoder_layers=2,
    num_decoder_layers=3,
    head_dim=8,
    mlp_dim=40,
    mlp_activations=("gelu", "linear"),
    dropout_rate=0.0,
)
BATCH, INPUTS, TARGETS = 4, 12, 5


def t5_forward_by_hand(c, b, n, t):
    """Operations of T5 1.1 on `b` examples of `n` input and `t` target tokens; everything else is elementwise."""
    joined = c.num_heads * c.head_dim
    projection = 2 * c.emb_dim * joined  # one of query, key, value, out; per token
    mlp = 3 * 2 * c.emb_dim * c.mlp_dim  # wi_0, wi_1, wo; per token
    scores = 2 * 2 * joined  # query times key, probabilities times value; per pair of positions
    encoder = n * (4 * projection + mlp) + n * n * scores
    decoder = t * (6 * projection + mlp) + n * 2 * projection + (t * t + t * n) * scores
    logits = t * 2 * c.emb_dim * c.vocab_size
    return b * (c.num_encoder_layers * encoder + c.num_decoder_layers * decoder + logits)


@pytest.fixture(scope="module")
def t5():
    module = network.Transformer(SHAPE)
    tokens = [jax.ShapeDtypeStruct((BATCH, length), jnp.int32) for length in (INPUTS, TARGETS, TARGETS)]
    init = functools.partial(module.init, enable_dropout=False)
    params = jax.eval_shape(init, jax.random.PRNGKey(0), *tokens)["params"]
    return functools.partial(apply, module), params, tokens


def apply(module, params, *tokens):
    return module.apply({"params": params}, *tokens, enable_dropout=False)


def test_t5_takes_what_its_formula_says(t5):
    forward, params, tokens = t5
    assert count_flops(forward, params, *tokens).total == t5_forward_by_hand(SHAPE, BATCH, INPUTS, TARGETS)


def test_the_gradient_takes_twice_the_forward_pass_on_top_of_it(t5):
    forward, params, tokens = t5
    once = count_flops(forward, params, *tokens).total
    both = count_flops(jax.grad(lambda p, *t: forward(p, *t).sum()), params, *tokens).total
    # Three times, but for the logits themselves, which a sum's gradient never asks for.
    logits = BATCH * TARGETS * 2 * SHAPE.emb_dim * SHAPE.vocab_size
    assert both == 3 * once - logits


def test_a_program_without_loops_takes_what_xla_says():
    def mlp(x, first, second):
        return jax.nn.relu(x @ first) @ second

    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((64, 128), (128, 256), (256, 128))]
    analysis = jax.jit(mlp).lower(*shapes).compile().cost_analysis()
    counted = count_flops(mlp, *shapes).total
    assert counted == pytest.approx(analysis["flops"], rel=0.03) and counted == 2 * 2 * 64 * 128 * 256


def gradient_flops(module, params, tokens):
    forward = functools.partial(apply, module)
    return count_flops(jax.grad(lambda p, *t: forward(p, *t).sum()), params, *tokens).total


def test_scanned_layers_take_exactly_what_unrolled_ones_take(t5):
    forward, params, tokens = t5
    stacked = stack_layers(params)
    once = count_flops(functools.partial(apply, scanned.Transformer(SHAPE)), stacked, *tokens)
    assert once == count_flops(forward, params, *tokens)
    assert gradient_flops(scanned.Transformer(SHAPE), stacked, tokens) == gradient_flops(
        network.Transformer(SHAPE), params, tokens
    )


def test_rematerialised_layers_take_at_most_one_more_forward_pass(t5):
    forward, params, tokens = t5
    stacked = stack_layers(params)
    none, dots, full = (
        gradient_flops(scanned.Transformer(SHAPE, remat=remat), stacked, tokens) for remat in ("none", "dots", "full")
    )
    assert none < dots < full < none + count_flops(forward, params, *tokens).total
