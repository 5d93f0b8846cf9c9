"""Loops are multiplied, slices read only what they slice, and collectives send what a ring would."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from distill_or_annotate.forecast import hlo

_LOOP = """HloModule m

%body (p: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %p = (s32[], f32[8,4]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %x = f32[8,4]{1,0} get-tuple-element(%p), index=1
  %r = f32[8,4]{1,0} all-reduce(%x), replica_groups={{0,1,2,3}}, to_apply=%sum
  ROOT %t = (s32[], f32[8,4]{1,0}) tuple(%i, %r)
}

%cond (q: (s32[], f32[8,4])) -> pred[] {
  %q = (s32[], f32[8,4]{1,0}) parameter(0)
  %j = s32[] get-tuple-element(%q), index=0
  %limit = s32[]{:T(128)} constant(24)
  ROOT %less = pred[] compare(%j, %limit), direction=LT
}

ENTRY %main (a: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %a = (s32[], f32[8,4]{1,0}) parameter(0)
  ROOT %w = (s32[], f32[8,4]{1,0}) while(%a), condition=%cond, body=%body
}
"""


def test_a_loops_collectives_count_as_often_as_it_runs():
    moved = hlo.moved(_LOOP, 4)
    assert moved.collectives == {"all-reduce": 24}
    assert moved.payload_bytes == {"all-reduce": 24 * 8 * 4 * 4}
    assert moved.wire_bytes["all-reduce"] == pytest.approx(24 * 128 * 2 * 3 / 4)  # 2 (n - 1) / n of the array
    assert (moved.loops, moved.unknown_loops) == (1, 0)


def test_a_stated_trip_count_wins():
    stated = _LOOP.replace("body=%body", 'body=%body, backend_config={"known_trip_count":{"n":"3"}}')
    assert hlo.moved(stated, 4).collectives == {"all-reduce": 3}


def test_a_loop_without_a_number_counts_once_and_is_named():
    moved = hlo.moved(_LOOP.replace("constant(24)", "custom-call()"), 4)
    assert (moved.collectives, moved.unknown_loops) == ({"all-reduce": 1}, 1)


@pytest.mark.parametrize(
    "groups, size",
    [
        ("replica_groups={{0,1},{2,3}}", 2),
        ("replica_groups=[2,4]<=[8]", 4),
        ("replica_groups=mesh['a'=2,'b'=4] {'b'}", 4),
        ("replica_groups=mesh['a'=2,'b'=4] {'a','b'}", 8),
        ("channel_id=1", 16),
    ],
)
def test_the_devices_of_a_collective_are_read_in_each_form(groups, size):
    assert hlo._group_size(f", {groups}, to_apply=%sum", 16) == size


def test_arrays_in_fast_memory_are_no_memory_traffic():
    assert hlo.shape_bytes("(bf16[4,128]{1,0:T(8,128)(2,1)S(1)}, u32[]{:S(2)}, s8[3]{0})") == 3
    assert hlo.shape_bytes("(bf16[4,128]{1,0:T(8,128)(2,1)S(1)}, u32[2])", in_memory_only=False) == 1024 + 8


@given(st.lists(st.integers(1, 9), max_size=4), st.sampled_from([("f32", 4), ("bf16", 2), ("s8", 1), ("f64", 8)]))
def test_bytes_of_a_shape_are_its_elements_times_their_size(dims, kind):
    name, size = kind
    assert hlo.shape_bytes(f"{name}[{','.join(map(str, dims))}]") == size * np.prod(dims, dtype=int)


def test_text_that_is_no_program_is_refused():
    with pytest.raises(ValueError, match="no ENTRY"):
        hlo.moved("hello", 1)


def _compiled(length):
    weights = jnp.ones((length, 64, 64))

    def layers(x, weights):
        return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, weights)[0]

    return jax.jit(layers).lower(jnp.ones((4, 64)), weights).compile().as_text()


def test_a_scan_reads_each_layers_weights_once():
    few, many = (hlo.moved(_compiled(length), 1) for length in (4, 16))
    a_layer = 64 * 64 * 4
    assert many.loops == 1
    # One read for the product; XLA's copies of a slice may add two more. All weights at each turn would be 16 times.
    assert 12 * a_layer <= many.memory_bytes - few.memory_bytes <= 12 * 4 * a_layer


def test_a_sharded_product_is_reduced_once():
    mesh = Mesh(np.asarray(jax.devices()[:4]), ("model",))
    spec = [NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((None, "model"), ("model", None), ())]
    product = jax.jit(lambda x, w: x @ w, in_shardings=spec[:2], out_shardings=spec[2])
    moved = hlo.moved(product.lower(jnp.ones((8, 16)), jnp.ones((16, 32))).compile().as_text(), 4)
    assert moved.collectives == {"all-reduce": 1}
    assert moved.payload_bytes == {"all-reduce": 8 * 32 * 4}
