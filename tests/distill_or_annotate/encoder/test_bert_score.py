"""BERTScore against a plain computation of its definition, and laws that any such score has."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from distill_or_annotate.encoder import bert_score, config, folders, network
from distill_or_annotate.encoder.wordpiece import WordPiece

_REFERENCES = [["rain stopped play", "no more play today"], ["it rains now ."], ["play today"], ["now now now"]]
_PREDICTIONS = ["no play today", "it rains", "", "zebra"]


@pytest.fixture(scope="module")
def scorer(tiny):
    return bert_score.load(tiny)


def plainly(folder, layer, predictions, references):
    """Loops over pairs and tokens, one text a forward pass."""
    sizes = config.read(folder)
    params, _ = folders.read_params(folder, sizes)
    pieces = WordPiece(folder)

    def states(text):
        ids = pieces.ids(text, 48)
        hidden = np.asarray(
            network.Encoder(sizes).apply({"params": params["encoder"]}, jnp.asarray(ids[None]))[layer][0]
        )
        return ids.tolist(), hidden

    flat = [text for answers in references for text in answers]
    held = [set(pieces.ids(text, 48).tolist()) for text in flat]

    def weight(token):
        return math.log((len(flat) + 1) / (sum(token in one for one in held) + 1))

    def one_way(texts, others):
        (ids, hidden), (_, other) = texts, others
        best = [
            max(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for b in other) for a in hidden
        ]  # fmt: skip
        total = sum(weight(token) for token in ids)
        return sum(weight(token) * value for token, value in zip(ids, best, strict=True)) / total if total else math.nan

    def f1(prediction, reference):
        sides = states(prediction), states(reference)
        if min(len(ids) for ids, _ in sides) <= 2:
            return 0.0
        precision, recall = one_way(*sides), one_way(*sides[::-1])
        value = 2 * precision * recall / (precision + recall)
        return 0.0 if math.isnan(value) else value

    return [
        max(f1(prediction, answer) for answer in answers)
        for prediction, answers in zip(predictions, references, strict=True)
    ]


def test_it_is_what_its_definition_says(tiny, scorer):
    expected = plainly(tiny, 2, _PREDICTIONS, _REFERENCES)
    assert scorer.f1(_PREDICTIONS, _REFERENCES) == pytest.approx(expected, abs=1e-5)
    assert len({round(value, 3) for value in expected}) >= 3  # or little would have been compared


def test_the_layer_is_a_choice_that_stands_in_the_name(tiny):
    first = bert_score.load(tiny, layer=1)
    assert first.name == "tiny-bert_L1_idf"
    assert first.f1(_PREDICTIONS, _REFERENCES) == pytest.approx(plainly(tiny, 1, _PREDICTIONS, _REFERENCES), abs=1e-5)
    with pytest.raises(config.EncoderError, match="layer is 3; this encoder has 1 to 2"):
        bert_score.load(tiny, layer=3)


def test_a_text_is_its_own_best_match_and_an_empty_one_scores_nothing(scorer):
    texts = ["rain stopped play", "no more play", ""]
    assert scorer.f1(texts, [[text] for text in texts]) == pytest.approx([1, 1, 0], abs=1e-5)


def test_of_several_references_the_best_counts(scorer):
    both = scorer.f1(["play today"], [["rain stopped now", "play today ."]])
    assert both[0] == pytest.approx(plainly_max(scorer), abs=1e-6)


def plainly_max(scorer):
    # The weights come from all references, so the two are scored beside each other.
    return max(scorer.f1(["play today"] * 2, [["rain stopped now"], ["play today ."]]))


def test_the_order_of_pairs_and_who_shares_a_batch_change_nothing(scorer, monkeypatch):
    backwards = scorer.f1(_PREDICTIONS[::-1], _REFERENCES[::-1])[::-1]
    monkeypatch.setattr(bert_score, "_CHUNK_PAIRS", 1)
    assert scorer.f1(_PREDICTIONS, _REFERENCES) == pytest.approx(backwards, abs=1e-5)


def test_missing_references_are_refused(scorer):
    with pytest.raises(ValueError, match="2 predictions and 1 lists"):
        scorer.f1(["a", "b"], [["a"]])
    for bad in ([], "a"):
        with pytest.raises(ValueError, match="at least one reference"):
            scorer.f1(["a"], [bad])


def test_minilm_puts_a_paraphrase_above_another_topic(minilm):
    scorer = bert_score.load()
    references = [["Rain has stopped play at the cricket ground."]] * 3
    found = scorer.f1(
        ["The cricket match was halted by rain.", "Stocks fell sharply on Monday.", references[0][0]], references
    )
    assert scorer.name == "all-MiniLM-L6-v2_L5_idf"
    assert found[1] < found[0] < found[2] or found.max() == 0  # one reference for all: every idf of it is 0
