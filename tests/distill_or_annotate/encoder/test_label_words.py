"""A classifier's probabilities, said piece by piece: along a label word they multiply to the label's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.encoder import label_words

_VOCAB = 12


@st.composite
def labels_and_logits(draw):
    word = st.lists(st.integers(2, _VOCAB - 1), min_size=1, max_size=3).map(tuple)
    count = draw(st.sampled_from((2, 5)))  # each size is compiled anew
    words = draw(st.lists(word, min_size=count, max_size=count, unique=True))
    table = np.zeros((len(words), 4), np.int32)
    for row, pieces in zip(table, words, strict=True):
        row[: len(pieces) + 1] = (*pieces, 1)
    logits = draw(st.lists(st.floats(-8, 8), min_size=len(words), max_size=len(words)))
    return table, np.array(logits, np.float32)


@settings(max_examples=25, deadline=None)
@given(labels_and_logits())
def test_the_pieces_of_each_label_multiply_to_its_probability(drawn):
    pieces, logits = drawn
    n_labels = len(pieces)
    targets = jnp.asarray(np.pad(pieces, ((0, 0), (0, 2))))  # a batch of each label as target, longer than any of them
    found = label_words.token_logits(jnp.tile(logits, (n_labels, 1)), pieces, targets, _VOCAB)
    log_probs = jax.nn.log_softmax(found, axis=-1)
    chosen = np.take_along_axis(np.asarray(log_probs), np.asarray(targets)[..., None], axis=-1)[..., 0]
    summed = np.where(np.asarray(targets) > 0, chosen, 0).sum(1)
    assert np.allclose(summed, np.asarray(jax.nn.log_softmax(jnp.asarray(logits))), atol=1e-4)


PIECES = np.array([[3, 5, 1], [3, 6, 1], [4, 1, 0]], np.int32)  # two labels begin alike


def test_labels_that_begin_alike_share_their_first_piece():
    logits = jnp.log(jnp.array([[0.5, 0.2, 0.3]]))
    found = np.exp(label_words.token_logits(logits, PIECES, jnp.asarray([[3, 5, 1]]), _VOCAB)[0])
    assert found[0, [3, 4]] == pytest.approx([0.7, 0.3], abs=1e-5)
    assert found[1, [5, 6]] == pytest.approx([5 / 7, 2 / 7], abs=1e-5)
    assert found[2, 1] == pytest.approx(1.0) and found.sum(-1) == pytest.approx([1, 1, 1], abs=1e-4)


def test_the_gradient_of_the_cross_entropy_is_that_of_a_softmax_over_labels():
    targets = jnp.asarray([[3, 6, 1]])

    def loss(logits):
        log_probs = jax.nn.log_softmax(label_words.token_logits(logits, PIECES, targets, _VOCAB), axis=-1)
        return -jnp.sum(jnp.take_along_axis(log_probs, targets[..., None], axis=-1))

    logits = jnp.array([[0.3, -1.0, 2.0]])
    expected = jax.nn.softmax(logits) - jnp.array([[0.0, 1.0, 0.0]])
    assert np.allclose(jax.grad(loss)(logits), expected, atol=1e-5)


def test_a_target_that_is_no_label_teaches_nothing():
    targets = jnp.asarray([[9, 9, 1], [3, 9, 1]])

    def loss(logits):
        log_probs = jax.nn.log_softmax(label_words.token_logits(logits, PIECES, targets, _VOCAB), axis=-1)
        return -jnp.sum(jnp.take_along_axis(log_probs, targets[..., None], axis=-1)[0])

    value, gradient = jax.value_and_grad(loss)(jnp.array([[0.3, -1.0, 2.0], [0.0, 0.0, 0.0]]))
    assert np.isfinite(value) and np.allclose(gradient, 0, atol=1e-5)


def test_where_labels_go_on_is_allowed_and_elsewhere_only_after_what_no_label_has():
    found = np.asarray(label_words.allowed(PIECES, jnp.asarray([[3, 5, 1], [9, 9, 1]]), _VOCAB))
    assert [np.flatnonzero(row).tolist() for row in found[0]] == [[3, 4], [5, 6], [1]]
    assert found[1, 0].sum() == 2 and found[1, 1].all()
