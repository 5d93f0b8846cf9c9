"""Lengths count the end of sequence, and words are never passed off as tokens."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_or_annotate.data.checking.lengths import Encoder, encoder_of, histogram, measure
from distill_or_annotate.preprocess.lengths import count_truncations

LETTERS = Encoder("tokens", lambda text: [ord(letter) for letter in text], unknown_id=ord("~"))
ROWS = [{"source": "abc", "target": "ab"}, {"source": "ab~def", "target": ""}, {"source": "a", "target": "abcdefgh"}]


def test_lengths_agree_with_the_count_that_training_prints():
    found = measure(ROWS, LETTERS, 4, 3, prefix="x ")
    expected = count_truncations(ROWS, list, 4, 3, prefix="x ")
    assert (found.inputs.n_over, found.inputs.longest) == (expected.n_sources_truncated, expected.longest_source_tokens)
    assert (found.targets.n_over, found.targets.longest) == (
        expected.n_targets_truncated,
        expected.longest_target_tokens,
    )
    assert found.inputs.share_over == pytest.approx(2 / 3) and found.inputs.median == 6
    assert (found.inputs.n_rows_with_unknown, found.targets.n_rows_with_unknown) == (1, 0)


def test_progress_adds_up_and_unlabeled_rows_have_no_targets():
    told = []
    found = measure(ROWS * 700, LETTERS, 4, 3, labelled=False, advance=told.append)
    assert sum(told) == 2100 and len(told) > 2 and found.targets is None


def test_an_unreadable_vocabulary_gives_words_and_says_why():
    def missing():
        raise FileNotFoundError("no such file: vocab.model")

    encoder = encoder_of(missing)
    assert (encoder.unit, encoder.reason) == ("words", "no such file: vocab.model")
    found = measure([{"source": "two words", "target": "one"}], encoder, 4, 4)
    assert (found.unit, found.reason, found.inputs.longest) == ("words", encoder.reason, 3)
    assert found.inputs.n_rows_with_unknown is None


def test_a_vocabulary_that_fails_on_first_use_is_unreadable():
    class Lazy:
        def encode(self, text):
            raise OSError("bucket out of reach")

    assert encoder_of(Lazy).reason == "bucket out of reach"


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=60), st.integers(1, 512))
def test_every_length_is_in_its_bin(lengths, limit):
    starts, counts = histogram(lengths, limit)
    assert sum(counts) == len(lengths) and len(starts) == len(counts) and starts[0] == 1
    assert len(set(np.diff(starts))) <= 1
    for start, end, count in zip(starts, starts[1:], counts, strict=False):
        assert count == sum(start <= length < end for length in lengths)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=60), st.sampled_from([8, 32, 64, 128]))
def test_no_bin_holds_both_kept_and_cut_rows(lengths, limit):
    starts, counts = histogram(lengths, limit)
    assert sum(count for start, count in zip(starts, counts, strict=True) if start > limit) == sum(
        length > limit for length in lengths
    )
