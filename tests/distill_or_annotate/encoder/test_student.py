"""What an encoder learns of a store: the teacher among the label words, and nothing that is no label."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_or_annotate.capture import collecting
from distill_or_annotate.encoder import label_words, student

_VOCAB = 12
PIECES = np.array([[3, 5, 1], [3, 6, 1], [4, 1, 0]], np.int32)
_TARGETS = np.array([[3, 6, 1, 0], [4, 1, 0, 0]], np.int32)


def teacher_batch(kind, leak, temperature=2.0, k=6):
    """A T5's logits along two targets, with a share of `leak` on what is no label."""
    labels = jnp.log(jnp.array([[0.2, 0.5, 0.3], [0.1, 0.2, 0.7]]))
    probs = jnp.exp(label_words.token_logits(labels, PIECES, jnp.asarray(_TARGETS), _VOCAB))
    probs = (1 - leak) * probs + leak / _VOCAB
    logits = jnp.log(probs)
    batch = {"decoder_input_tokens": jnp.asarray(np.pad(_TARGETS[:, :-1], ((0, 0), (1, 0))))}
    rows = collecting.collector(kind, k, temperature, "float32")(None, logits.reshape(-1, _VOCAB))
    kept = {name: value.reshape(*_TARGETS.shape, *value.shape[1:]) for name, value in rows.items()}
    store = SimpleNamespace(kind=kind, vocab_size=_VOCAB, temperature=temperature, k=k)
    return store, batch | kept


@pytest.mark.parametrize("leak", [0.0, 0.4])
@pytest.mark.parametrize("kind", ["full", "topk"])
def test_both_kinds_of_store_give_the_teacher_among_its_labels(kind, leak):
    store, batch = teacher_batch(kind, leak)
    found = jax.nn.softmax(student.among_labels(store, PIECES, batch).logits_BxTxV / store.temperature, axis=-1)
    whole = jax.nn.softmax(teacher_batch("full", leak)[1][collecting.LOGITS] / store.temperature, axis=-1)
    for row, position, pieces in ((0, 0, [3, 4]), (0, 1, [5, 6]), (1, 0, [3, 4]), (1, 1, [1])):
        expected = np.asarray(whole)[row, position, pieces]
        assert np.asarray(found)[row, position, pieces] == pytest.approx(expected / expected.sum(), abs=1e-3)


def test_what_is_no_label_gets_nothing_however_sure_the_teacher_is_of_it():
    store, batch = teacher_batch("full", 0.1)
    batch[collecting.LOGITS] = batch[collecting.LOGITS].at[:, :, 9].set(50.0)
    found = jax.nn.softmax(student.among_labels(store, PIECES, batch).logits_BxTxV, axis=-1)
    assert float(found[0, 0, 9]) < 1e-20 and float(found[0, 0, 3] + found[0, 0, 4]) > 0.999
