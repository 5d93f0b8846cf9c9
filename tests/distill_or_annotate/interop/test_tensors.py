"""Pieces make the whole, whichever axis they are cut along."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.interop import tensors


def _stored(array, chunk):
    def read_part(axis, start, stop):
        return array[(slice(None),) * axis + (slice(start, stop),)]

    return tensors.StoredTensor(array.shape, array.dtype, chunk, read_part)


@settings(deadline=None, max_examples=60)
@given(rows=st.integers(1, 40), columns=st.integers(1, 40), chunk=st.integers(1, 50), budget=st.integers(4, 4000))
def test_the_pieces_of_either_axis_join_to_the_whole(rows, columns, chunk, budget):
    array = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)
    tensor = _stored(array, (chunk, columns))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensors, "PIECE_BYTES", budget)
        for axis in (0, 1):
            pieces = list(tensor.pieces(axis))
            np.testing.assert_array_equal(np.concatenate([piece for _, _, piece in pieces], axis), array)
            turned = np.concatenate([piece for _, _, piece in tensor.transposed.pieces(axis)], axis)
            np.testing.assert_array_equal(turned, array.T)
        heights = {stop - start for start, stop, _ in list(tensor.pieces(0))[:-1]}
        assert all(height % chunk == 0 for height in heights), "no stored chunk is read twice"
        assert tensor.step(1) == columns, "a piece of columns would need every chunk of the row"


def test_pieces_keep_to_the_budget_where_chunks_allow_it(monkeypatch):
    monkeypatch.setattr(tensors, "PIECE_BYTES", 400)
    array = np.zeros((100, 10), np.float32)
    assert _stored(array, (1, 10)).step(0) == 10
    assert _stored(array, (4, 10)).step(0) == 8
    assert _stored(array, (64, 10)).step(0) == 64
    assert tensors.cheapest_axis(_stored(array, (1, 10))) == 0
    assert tensors.cheapest_axis(_stored(array.T, (10, 1))) == 1


def test_rows_are_found_wherever_they_are(monkeypatch):
    monkeypatch.setattr(tensors, "PIECE_BYTES", 80)
    array = np.random.default_rng(0).standard_normal((31, 5)).astype(np.float32)
    wanted = np.array([[30, 0, 7], [7, 29, 1]])
    np.testing.assert_array_equal(tensors.in_memory(array).rows(wanted), array[wanted])


def test_the_largest_difference_is_found_and_nan_is_not_lost():
    one = np.zeros((7, 3), np.float32)
    other = one.copy()
    other[5, 2] = -0.25
    assert tensors.largest_difference(tensors.in_memory(one), tensors.in_memory(other)) == 0.25
    other[0, 0] = np.nan
    assert np.isnan(tensors.largest_difference(tensors.in_memory(one), tensors.in_memory(other)))
