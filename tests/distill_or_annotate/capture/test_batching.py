"""Batches of like length, and few programs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_or_annotate.capture import batching
from distill_or_annotate.capture.records import Example


@given(st.integers(1, 600), st.integers(1, 6))
def test_few_lengths_cover_every_input(longest, programs):
    lengths = batching.input_lengths(longest, programs)
    assert lengths[-1] == longest and len(lengths) <= programs
    assert list(lengths) == sorted(set(lengths)) and all(length % 8 == 0 for length in lengths[:-1])


@given(st.lists(st.integers(1, 40), min_size=1, max_size=50), st.integers(1, 8), st.booleans())
def test_every_example_is_in_one_batch(lengths, batch_size, by_length):
    examples = [Example("", np.ones(length, np.int32)) for length in lengths]
    found = batching.batches(examples, batch_size, by_length)
    places = np.concatenate(found)
    assert sorted(places) == list(range(len(lengths)))
    if by_length:
        assert [lengths[place] for place in places] == sorted(lengths)
    else:
        assert list(places) == list(range(len(lengths)))


def test_missing_rows_repeat_the_last_so_that_no_batch_gets_longer():
    table = batching.padded([np.array([3, 4]), np.array([5, 6, 7, 8])], 3, 4)
    np.testing.assert_array_equal(table, [[3, 4, 0], [5, 6, 7], [5, 6, 7], [5, 6, 7]])


@pytest.mark.parametrize(("longest", "expected"), [(20, (8, 16, 20)), (128, (32, 64, 96, 128)), (6, (6,))])
def test_lengths_of_known_tasks(longest, expected):
    assert batching.input_lengths(longest) == expected
