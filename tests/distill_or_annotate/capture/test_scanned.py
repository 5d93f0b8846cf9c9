"""A teacher with scanned layers leaves what the same teacher without them does."""

import jax
import numpy as np
import pytest
import small_teacher

from distill_or_annotate.capture import collecting, decoding, identity, labels
from distill_or_annotate.model import scanned
from distill_or_annotate.model.stacking import stack_layers
from t5x import models

_T = 6


@pytest.fixture(scope="module")
def teachers():
    """The small teacher, and the same with its layers under one scan."""
    model, params = small_teacher.make()
    params = small_teacher.favour_end(params, 3.0)
    same = models.EncoderDecoderModel(scanned.Transformer(model.module.config), None, None, None)
    return (model, params), (same, stack_layers(params))


def _greedy(model, params, inputs, kind):
    collect = collecting.collector(kind, k=8, dtype="float32")
    return decoding.decode(model, params, inputs, n_positions=_T, collect=collect)


def _best_label(model, params, inputs, kind):
    trie = labels.LabelTrie.from_words(("ba", "cd", "cdd", "aa", "db"), lambda word: [ord(c) - 60 for c in word])
    collect = collecting.collector(kind, k=8, dtype="float32")
    params = small_teacher.favour_end(params, 1 / 3)  # as it was: else the shortest label is always the likeliest
    return labels.decode(model, params, inputs, pieces_KxT=trie.pieces_KxT, n_positions=_T, collect=collect)


@pytest.mark.parametrize(("rule", "kind"), [(_greedy, "hidden"), (_greedy, "topk"), (_best_label, "hidden")])
def test_a_scanned_teacher_leaves_the_same(teachers, rule, kind):
    inputs = small_teacher.inputs(8)
    expected, found = (
        jax.device_get(jax.jit(lambda params, inputs, model=model: rule(model, params, inputs, kind))(params, inputs))
        for model, params in teachers
    )
    assert len(np.unique(expected.targets)) > 3, "rows that all say the same would hide a mix-up"
    for name in ("targets", "n_targets", "n_positions", "batch_length"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    np.testing.assert_allclose(found.log_probability, expected.log_probability, atol=1e-4)
    assert found.kept.keys() == expected.kept.keys()
    for name, values in expected.kept.items():
        np.testing.assert_allclose(found.kept[name], values, atol=1e-4, err_msg=name)


def test_its_head_is_the_same(teachers):
    (model, params), (same, stacked) = teachers
    for ours, theirs in zip(
        identity.head(stacked, same.module.config), identity.head(params, model.module.config), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
