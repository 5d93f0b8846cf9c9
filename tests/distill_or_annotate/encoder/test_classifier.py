"""An encoder as a T5X model: its loss is the softmax cross-entropy over label words, its predictions are their ids."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_encoder

from distill_or_annotate.encoder import classifier, config, network
from distill_or_annotate.encoder.wordpiece import WordPiece
from distill_or_annotate.model import DistillationObjective, DistillationOptions

LABELS = ("NO", "YES", "YES SO")
_IDS = {"NO": [5], "YES": [6, 7], "YES SO": [6, 8]}
_VOCAB = 16
VOCABULARY = SimpleNamespace(eos_id=1, encode=_IDS.get)


def make(tiny, **options):
    sizes = classifier.classifier_config(config.read(tiny), len(LABELS), _VOCAB, **options)
    model = classifier.EncoderClassifier(
        network.Classifier(sizes), LABELS, WordPiece(tiny), VOCABULARY, loss_normalizing_factor=3
    )
    shapes = {"encoder_input_tokens": (3, 6), "decoder_input_tokens": (3, 5)}
    return model, model.get_initial_variables(jax.random.PRNGKey(0), shapes)["params"]


def batch_of(*labels):
    targets = np.zeros((len(labels), 5), np.int32)
    for row, label in zip(targets, labels, strict=True):
        row[: len(_IDS[label]) + 1] = [*_IDS[label], 1]
    tokens = np.array([[2, 4, 5, 3, 0, 0], [2, 7, 8, 9, 10, 3], [2, 3, 0, 0, 0, 0]], np.int32)[: len(labels)]
    return {
        "encoder_input_tokens": jnp.asarray(tokens),
        "decoder_target_tokens": jnp.asarray(targets),
        "decoder_input_tokens": jnp.asarray(np.pad(targets[:, :-1], ((0, 0), (1, 0)))),
        "decoder_loss_weights": jnp.asarray(targets > 0, jnp.int32),
    }


@pytest.mark.parametrize("head", ["mean", "pooler", "distilbert"])
def test_the_loss_is_the_mean_cross_entropy_over_labels(tiny, head):
    model, params = make(tiny, head=head)
    batch = batch_of("YES", "NO", "YES SO")
    loss, _ = model.loss_fn(params, batch, None)
    log_probs = jax.nn.log_softmax(model.label_logits(params, batch))
    expected = -np.asarray(log_probs)[np.arange(3), [1, 0, 2]]
    assert float(loss) == pytest.approx(expected.mean(), rel=1e-4)
    assert np.asarray(model.score_batch(params, batch)) == pytest.approx(-expected, rel=1e-4)


def test_predictions_are_the_ids_of_the_likeliest_label(tiny):
    model, params = make(tiny)
    batch = batch_of("YES", "NO", "YES SO")
    found, aux = model.predict_batch_with_aux(params, batch)
    best = np.asarray(model.label_logits(params, batch)).argmax(1)
    expected = [[*_IDS[LABELS[k]], 1] for k in best]
    assert [row[row > 0].tolist() for row in np.asarray(found)] == expected and found.shape == (3, 5)
    assert np.exp(aux["label_log_probabilities"]).sum(1) == pytest.approx(np.ones(3), rel=1e-5)
    assert np.array_equal(model.predict_batch(params, batch), found)


def test_dropout_acts_only_with_a_key(tiny):
    model, params = make(tiny, dropout_rate=0.5)
    batch = batch_of("YES", "NO", "YES SO")
    losses = {
        float(model.loss_fn(params, batch, key)[0]) for key in (None, None, *jax.random.split(jax.random.PRNGKey(1)))
    }
    assert len(losses) == 3


def test_it_learns_three_examples_by_heart(tiny):
    import optax

    model, params = make(tiny, head="mean")
    batch, optimizer = batch_of("YES", "NO", "YES SO"), optax.adam(0.01)

    @jax.jit
    def step(params, state):
        loss, gradient = jax.value_and_grad(lambda p: model.loss_fn(p, batch, None)[0])(params)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state, loss

    state, losses = optimizer.init(params), []
    for _ in range(60):
        params, state, loss = step(params, state)
        losses.append(float(loss))
    assert losses[-1] < 0.1 < losses[0]
    assert np.array_equal(model.predict_batch(params, batch), batch["decoder_target_tokens"])


def test_an_encoder_distilled_from_its_own_probabilities_has_nothing_to_learn(tiny):
    model, params = make(tiny)
    batch = batch_of("YES", "NO", "YES SO")

    def teacher(batch):
        return model._compute_logits(params, batch)

    options = DistillationOptions(temperature=2.0)

    def loss(p):
        return DistillationObjective(model, teacher, options).loss_fn(p, batch, None)[0]

    value, gradient = jax.value_and_grad(loss)(params)
    assert float(value) == pytest.approx(0, abs=1e-5)
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient)) < 1e-5
    other = jax.tree.map(lambda leaf: leaf + 0.1, params)
    assert float(loss(other)) > 1e-4


def test_what_does_not_fit_is_refused(tiny):
    sizes = classifier.classifier_config(config.read(tiny), 2, _VOCAB)
    with pytest.raises(config.EncoderError, match="3 are given for a network of 2"):
        classifier.EncoderClassifier(network.Classifier(sizes), LABELS, WordPiece(tiny), VOCABULARY)
    model, _ = make(tiny)
    with pytest.raises(config.EncoderError, match="inputs'] is 512, but this encoder has 48 positions"):
        model.get_initial_variables(jax.random.PRNGKey(0), {"encoder_input_tokens": (8, 512)})
    with pytest.raises(config.EncoderError, match=r"head is 'pooled'.*Did you mean 'pooler'"):
        classifier.classifier_config(config.read(tiny), 2, _VOCAB, head="pooled")


def test_a_vocabulary_that_is_too_small_for_the_label_words_is_refused(tiny):
    sizes = classifier.classifier_config(config.read(tiny), 3, vocab_size=8)
    model = classifier.EncoderClassifier(network.Classifier(sizes), LABELS, WordPiece(tiny), VOCABULARY)
    with pytest.raises(config.EncoderError, match="VOCAB_SIZE is 8, but the label words reach piece 8"):
        _ = model.pieces_KxT


def test_distilberts_classifier_takes_its_own_head(tmp_path):
    folder = tiny_encoder.write(tmp_path, kind="distilbert")
    sizes = classifier.classifier_config(config.read(folder), 2, _VOCAB)
    assert (sizes.head, sizes.head_dropout_rate, sizes.n_segments) == ("distilbert", 0.2, 0)
