"""The best label word: against brute force over the labels, and what two equal labels are told."""

import jax
import numpy as np
import pytest
import small_teacher

from distill_or_annotate.capture import collecting, decoding, labels


def _pieces(word):
    return [ord(letter) - 60 for letter in word]


_WORDS = ("ba", "cd", "cdd", "aa", "db")  # one begins another: only its end token makes it a label of its own


@pytest.fixture(scope="module")
def found():
    model, params = small_teacher.make()
    trie = labels.LabelTrie.from_words(_WORDS, _pieces)
    inputs = small_teacher.inputs(12)
    collect = collecting.collector("hidden", dtype="float32")

    def run(params, inputs):
        return labels.decode(model, params, inputs, pieces_KxT=trie.pieces_KxT, n_positions=6, collect=collect)

    def forced(params, inputs, targets):
        return decoding.decode(model, params, inputs, n_positions=6, collect=collect, forced_BxT=targets)

    captured = jax.device_get(jax.jit(run)(params, inputs))
    forced = jax.jit(forced)
    rows = [np.tile(np.pad(row, (0, 6 - len(row))), (len(inputs), 1)) for row in trie.pieces_KxT]
    return captured, [jax.device_get(forced(params, inputs, row)) for row in rows]


def test_the_label_with_the_largest_sum_wins(found):
    captured, by_label = found
    scores = np.stack([one.log_probability for one in by_label])
    assert len(set(scores.argmax(0))) > 1, "one label wins everywhere; the test would see nothing"
    np.testing.assert_allclose(captured.log_probability, scores.max(0), atol=1e-4)
    for row, best in enumerate(scores.argmax(0)):
        np.testing.assert_array_equal(captured.targets[row], by_label[best].targets[row])


def test_the_winners_states_are_kept(found):
    captured, by_label = found
    for row, best in enumerate(np.stack([one.log_probability for one in by_label]).argmax(0)):
        n = captured.n_positions[row]
        assert n == by_label[best].n_targets[row]
        expected = by_label[best].kept["teacher_hidden"][row, :n]
        np.testing.assert_allclose(captured.kept["teacher_hidden"][row, :n], expected, atol=1e-5)
        assert not captured.kept["teacher_hidden"][row, n:].any()


def test_two_labels_with_the_same_pieces_are_refused():
    with pytest.raises(ValueError, match=r"'ab' and 'AB' have the same pieces \[37, 38, 1\]"):
        labels.LabelTrie.from_words(["ab", "AB"], lambda word: _pieces(word.lower()))


def test_labels_that_cannot_be_targets_are_refused():
    with pytest.raises(ValueError, match="labels is empty"):
        labels.LabelTrie.from_words([], _pieces)
    with pytest.raises(ValueError, match="'' has no pieces"):
        labels.LabelTrie.from_words([""], _pieces)
    with pytest.raises(ValueError, match="'abc' has 4 pieces with its end token, but targets have at most 3"):
        labels.LabelTrie.from_words(["abc"], _pieces, max_pieces=3)
