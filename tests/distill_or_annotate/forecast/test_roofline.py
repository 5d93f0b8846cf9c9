"""The slower of products and memory counts, links are added, and an insane compiler is not believed."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_or_annotate.forecast import devices
from distill_or_annotate.forecast.roofline import ACCELERATOR, Utilisation, seconds

V5P = devices.device("v5p")
ALL = Utilisation(1.0, 1.0, 1.0)
amounts = st.floats(0, 1e18)


def test_by_hand():
    # 459e12 operations are 1 s at the peak, 2 s at half of it; 2765e9 bytes are 1.25 s at 80 %.
    taken = seconds(V5P, flops=459e12, memory_bytes=2765e9)
    assert (taken.value, taken.source, taken.bound) == (pytest.approx(2.0), "roofline", "flops")
    taken = seconds(V5P, flops=459e11, memory_bytes=2765e9)
    assert (taken.value, taken.bound) == (pytest.approx(1.25), "memory")
    taken = seconds(V5P, flops=0, memory_bytes=2765e9, wire_bytes=600e9)
    assert (taken.value, taken.bound) == (pytest.approx(1.25 + 2.0), "links")


@given(amounts, amounts, amounts, amounts)
def test_more_work_never_takes_less(flops, memory_bytes, wire_bytes, more):
    before = seconds(V5P, flops, memory_bytes, wire_bytes).value
    assert before >= seconds(V5P, flops, memory_bytes, wire_bytes, utilisation=ALL).value
    for extra in ((more, 0, 0), (0, more, 0), (0, 0, more)):
        assert seconds(V5P, flops + extra[0], memory_bytes + extra[1], wire_bytes + extra[2]).value >= before


def test_the_compilers_estimate_counts_where_it_can_be_right():
    floor = seconds(V5P, 459e12, 0, utilisation=ALL).value
    assert seconds(V5P, 459e12, 0, compiler_seconds=1.3 * floor).source == "compiler"
    for wrong in (-1090.0, 0.0, 0.5 * floor, 1e4 * floor, float("nan"), None):
        assert seconds(V5P, 459e12, 0, compiler_seconds=wrong).source == "roofline"
    assert seconds(V5P, 459e12, 0, compiler_seconds=1.3 * floor, has_loops=True).source == "roofline"


@pytest.mark.parametrize("share", [0, -0.1, 1.1])
def test_shares_beyond_the_peak_are_refused(share):
    with pytest.raises(ValueError, match=r"utilisation.memory is .*allowed"):
        dataclasses.replace(ACCELERATOR, memory=share)
