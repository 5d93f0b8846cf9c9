"""What a text is given is what the network says of it, whatever else is in the batch."""

import jax
import numpy as np
import pytest

from distill_or_annotate.interop import conversion, logits
from distill_or_annotate.serving import models
from distill_or_annotate.serving.predictor import Predictor, SettingError

_WORDS = ["galate", "some", "tulol", "with", "the", "fully", "dorous", "lurcap", "now", "slowly"]
_IN, _OUT = 32, 6
_LABELS = ("gentle", "fully", "now", "the", "some tulol")


@pytest.fixture(scope="module")
def loaded(hugging_face):
    return models.load(hugging_face)


@pytest.fixture(scope="module")
def greedy(loaded):
    return Predictor(loaded, input_tokens=_IN, output_tokens=_OUT, batch_size=4)


@pytest.fixture(scope="module")
def scoring(loaded):
    return Predictor(loaded, input_tokens=_IN, labels=_LABELS, batch_size=4)


@pytest.fixture(scope="module")
def texts():
    """Of 0 to 14 words, so that two lengths of input occur."""
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(_WORDS, n)) for n in (3, 14, 0, 1, 9, 12, 2)]


def _log_softmax(x):
    x = x.astype(np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


@pytest.fixture(scope="module")
def by_numpy(hugging_face):
    """Log-probabilities [T, V] of the next token after each prefix of a target, by another implementation."""
    stored = conversion.open_model(hugging_face)

    def compute(inputs, targets):
        batch = np.asarray([inputs]), np.asarray([targets])
        return _log_softmax(logits.compute(stored.weights, stored.sizes(), *batch)[0])

    return compute


def test_decoding_takes_the_likeliest_token_each_time_and_adds_up_their_log_probabilities(greedy, texts, by_numpy):
    vocabulary = greedy.loaded.vocabulary
    for text, prediction in list(zip(texts, greedy.predict(texts), strict=True))[:4]:
        inputs, tokens, total = [*vocabulary.encode(text), 1], [], 0.0
        while len(tokens) < _OUT and 1 not in tokens:
            log_probs = by_numpy(inputs, [*tokens, 3])[-1]
            tokens.append(int(log_probs.argmax()))
            total += log_probs[tokens[-1]]
        assert prediction.text == vocabulary.decode(tokens)
        assert prediction.tokens == len(tokens) and prediction.ended == (1 in tokens)
        assert prediction.log_probability == pytest.approx(total, abs=1e-3)
        assert prediction.probability == pytest.approx(np.exp(total), rel=1e-3)


def test_decoding_equals_predict_batch_at_the_full_length(greedy, texts):
    model, vocabulary = greedy.loaded.model, greedy.loaded.vocabulary
    inputs = np.zeros((len(texts), _IN), np.int32)
    for row, text in zip(inputs, texts, strict=True):
        ids = [*vocabulary.encode(text), 1]
        row[: len(ids)] = ids
    batch = {"encoder_input_tokens": inputs, "decoder_input_tokens": np.zeros((len(texts), _OUT), np.int32)}
    outputs = jax.jit(model.predict_batch)(greedy.loaded.params, batch)
    found = [prediction.text for prediction in greedy.predict(texts)]
    assert found == [vocabulary.decode(row) for row in np.asarray(outputs).tolist()]
    assert len(set(found)) > 4


def test_labels_are_scored_by_their_tokens_and_the_end_of_sequence(scoring, texts, by_numpy):
    vocabulary = scoring.loaded.vocabulary
    found = scoring.predict(texts)
    for text, prediction in zip(texts, found, strict=True):
        inputs, expected = [*vocabulary.encode(text), 1], []
        for label in _LABELS:
            target = [*vocabulary.encode(label), 1]
            expected.append(by_numpy(inputs, target)[np.arange(len(target)), target].sum())
        np.testing.assert_allclose(list(prediction.scores.values()), expected, atol=2e-3)
        weights = np.exp(np.array(expected) - max(expected))
        assert prediction.text == _LABELS[int(np.argmax(expected))] and tuple(prediction.scores) == _LABELS
        assert prediction.probability == pytest.approx(weights.max() / weights.sum(), abs=1e-3)
        assert prediction.ended and prediction.log_probability == max(prediction.scores.values())
    assert len({prediction.text for prediction in found}) > 1


def test_a_beam_finds_the_likelier_text_and_says_how_likely_it_is(greedy, texts, by_numpy):
    vocabulary = greedy.loaded.vocabulary
    short = [text for text in texts if len(text.split()) < 4]
    beams = Predictor(greedy.loaded, input_tokens=16, output_tokens=2, beams=4, batch_size=4).predict(short)
    for text, prediction in zip(short, beams, strict=True):
        inputs = [*vocabulary.encode(text), 1]
        first = by_numpy(inputs, [3])[0]
        second = {int(token): by_numpy(inputs, [token, 3])[1] for token in np.argsort(first)[-4:]}
        # What ends within two tokens, if one of the beams does, else the likeliest two.
        ended = {(token, 1): first[token] + after[1] for token, after in second.items()}
        assert prediction.tokens <= 2 and prediction.log_probability <= 0
        if prediction.ended and prediction.tokens == 2:
            token = next(token for token in second if vocabulary.decode([token, 1]) == prediction.text)
            assert prediction.log_probability == pytest.approx(ended[token, 1], abs=1e-3)
        elif not prediction.ended:
            best = max(first[token] + after.max() for token, after in second.items())
            assert prediction.log_probability == pytest.approx(best, abs=1e-3)


@pytest.mark.parametrize("kind", ["greedy", "scoring"])
def test_the_company_in_the_batch_and_its_padding_change_nothing(request, kind, texts):
    together = request.getfixturevalue(kind)
    labels = _LABELS if kind == "scoring" else ()
    alone = Predictor(together.loaded, input_tokens=_IN, output_tokens=_OUT, labels=labels, batch_size=1)
    expected, reordered = together.predict(texts), together.predict(texts[::-1])[::-1]
    for i, text in enumerate(texts):
        for other in (alone.predict([text])[0], reordered[i]):
            assert other.text == expected[i].text
            assert other.log_probability == pytest.approx(expected[i].log_probability, abs=1e-3)


def test_long_inputs_are_cut_and_still_end(loaded):
    predictor = Predictor(loaded, input_tokens=6, labels=_LABELS, prefix="now ", batch_size=2)
    long, short = predictor.predict(["some " * 30, "some"])
    assert (long.truncated, short.truncated) == (True, False)
    ids = loaded.vocabulary.encode("now " + "some " * 30)
    assert predictor._encoded("some " * 30) == ([*ids[:5], 1], True)
    fits = loaded.vocabulary.decode(ids[:5]).removeprefix("now ")
    assert predictor.predict([fits])[0] == models.dataclasses.replace(long, truncated=False)


def test_progress_counts_every_text_once_and_no_text_is_no_work(scoring, texts):
    seen = []
    scoring.predict(texts, seen.append)
    assert seen == [4, 3] and scoring.predict([]) == []


@pytest.mark.parametrize(
    "options, message",
    [
        ({"batch_size": 0}, "batch_size is 0; allowed: 1 and more"),
        ({"input_tokens": -1}, "input_tokens is -1"),
        ({"labels": ("a",)}, "at least two are needed"),
        ({"labels": ("gentle", " ")}, "which is empty"),
        ({"labels": ("gentle", "gentle")}, "are the same tokens"),
        ({"labels": ("gentle", "gentle ")}, "are the same tokens"),
    ],
)
def test_settings_out_of_range_are_named(loaded, options, message):
    with pytest.raises(SettingError, match=message):
        Predictor(loaded, **options)
