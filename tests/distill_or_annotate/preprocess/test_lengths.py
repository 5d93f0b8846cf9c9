"""Truncations are counted with the end of the sequence."""

import pytest

from distill_or_annotate.preprocess.lengths import count_truncations

ROWS = [{"source": "abc", "target": "ab"}, {"source": "abcdef", "target": ""}, {"source": "a", "target": "abcdefgh"}]


def test_a_sequence_fits_when_its_end_fits():
    counted = count_truncations(ROWS, list, input_tokens=4, target_tokens=3)
    # Sources take 3+1, 6+1 and 1+1 tokens, targets 2+1, 0+1 and 8+1.
    assert (counted.n_rows, counted.n_sources_truncated, counted.n_targets_truncated) == (3, 1, 1)
    assert (counted.longest_source_tokens, counted.longest_target_tokens) == (7, 9)
    assert "1 sources truncated (33.3%, longest 7)" in counted.summary()


def test_prefix_counts():
    assert count_truncations(ROWS, list, 4, 9, prefix="x ").n_sources_truncated == 2


def test_no_rows_and_bad_lengths():
    assert count_truncations([], list, 4, 4).summary() == "no rows"
    with pytest.raises(ValueError, match="target_tokens: 0 is below 1"):
        count_truncations(ROWS, list, 4, 0)
