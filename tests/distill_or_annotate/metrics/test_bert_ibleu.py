"""BERT-iBLEU: what the reference does in paper mode, novelty beside the source in fair mode, the encoder named."""

import sys
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.metrics import similarity
from distill_or_annotate.metrics.evaluation import Scorer, evaluate

SOURCE = "a storm hit the coast on monday"
OTHER = "the coast was hit by a storm on monday"
ROWS = [
    {"source": SOURCE, "target": SOURCE},
    {"source": "rain has stopped play again", "target": "no more play today , it rains"},
    {"source": "the shop was shut", "target": "the shop was shut"},
]


class Half:
    """Finds every pair half alike, and keeps what it was asked."""

    name = "half"

    def __init__(self):
        self.asked = []

    def f1(self, predictions, references):
        self.asked.append((list(predictions), [list(texts) for texts in references]))
        return np.full(len(predictions), 0.5)


@pytest.fixture
def half():
    made = Half()
    similarity.register("half", lambda: made)
    return made


def _scores(mode, rows, predictions):
    return Scorer("bert_ibleu", mode=mode, similarity="half").scores(rows, predictions)


def test_fair_by_hand(half):
    # No four-gram in common: novelty 1, (4 + 1) / (4 / 0.5 + 1 / 1) = 5/9.
    assert _scores("fair", ROWS[:1], [OTHER]) == {
        "bert_ibleu": pytest.approx(500 / 9), "self_bleu": 0.0, "bert_score": 50.0, "copied": 0.0,
    }  # fmt: skip
    assert _scores("fair", ROWS[:1], [SOURCE])["bert_ibleu"] == 0.0


def test_paper_adds_its_epsilon_to_both_and_compares_with_the_target(half):
    # Novelty 0 of a copied target: 5 / (4 / 0.50001 + 1 / 0.00001).
    copied = _scores("paper", ROWS[1:2], [ROWS[1]["target"]])
    assert copied["bert_ibleu"] == pytest.approx(100 * 5 / (4 / 0.50001 + 1 / 0.00001)) and copied["copied"] == 100.0
    # In fair mode that same prediction is no copy: its source has other words.
    assert _scores("fair", ROWS[1:2], [ROWS[1]["target"]])["self_bleu"] == 0.0


def test_an_empty_prediction_is_like_nothing_in_fair_mode_and_a_sentence_in_paper_mode(half):
    assert _scores("fair", ROWS, [" ", OTHER, ""])["bert_score"] == pytest.approx(50 / 3)
    assert _scores("paper", ROWS, [" ", OTHER, ""])["bert_score"] == 50.0
    assert half.asked[-1][0] == ["no prediction", OTHER, "no prediction"]
    n_asked = len(half.asked)
    assert _scores("fair", ROWS, ["", " ", "\t"])["bert_ibleu"] == 0.0 and len(half.asked) == n_asked


def test_weights_of_words_come_from_all_references_at_once(half):
    row = {"source": "x", "target": "one", "targets": ["one", "two"]}
    _scores("fair", [*ROWS, row], ["", "a", "b", "c"])
    assert half.asked[-1][1] == [*([row["target"]] for row in ROWS), ["one", "two"]]
    _scores("paper", [*ROWS, row], ["", "a", "b", "c"])
    assert half.asked[-1][1] == [[row["target"]] for row in [*ROWS, row]]


def test_the_encoder_is_named_beside_the_score(half):
    result = evaluate(Scorer("bert_ibleu", similarity="half"), ROWS, [OTHER, "play", "closed"])
    assert result["similarity_model"] == "half" and result["metric"] == "bert_ibleu"
    # DOA_SIMILARITY_MODEL, which this folder's tests set, is taken where none is named.
    assert evaluate(Scorer("bert_ibleu"), ROWS, [OTHER, "play", "closed"])["similarity_model"] == "common words"
    assert evaluate(Scorer("token_f1"), ROWS, [OTHER, "play", "closed"])["similarity_model"] is None


def test_an_encoder_loads_once_and_only_when_a_pair_is_scored():
    n_loaded = []
    similarity.register("counted", lambda: n_loaded.append(1) or Half())
    scorer = Scorer("bert_ibleu", similarity="counted")
    assert not n_loaded
    scorer.scores(ROWS, ["a", "b", "c"])
    scorer.scores(ROWS, ["a", "b", "c"])
    assert len(n_loaded) == 1


def test_an_unknown_encoder_is_an_error_with_near_names(tmp_path):
    with pytest.raises(
        similarity.SimilarityError, match=r"'common_wrds' is neither .* Near: common_words\. Fix: --sim"
    ):
        Scorer("bert_ibleu", similarity="common_wrds").scores(ROWS, ["a", "b", "c"])
    made = Half()
    similarity.register_folders(lambda folder: made if folder == tmp_path else None)
    assert similarity.get(str(tmp_path)) is made


def test_the_reference_encoder_asks_for_its_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "bert_score", None)
    with pytest.raises(
        similarity.SimilarityError, match=r"deberta-xlarge-mnli' needs the library bert-score .*Fix: pip"
    ):
        similarity.get(similarity.REFERENCE)


def test_the_reference_encoder_is_called_as_the_reference_calls_it(monkeypatch):
    """The library wants torch and a model of 3 GB: a stand-in with its signatures keeps what it is given."""
    told = {}

    class BERTScorer:
        def __init__(self, model_type=None, num_layers=None, idf=False, rescale_with_baseline=False):
            told["made"] = (model_type, num_layers, idf, rescale_with_baseline)

        def compute_idf(self, sents):
            told["idf"] = sents

        def score(self, cands, refs):
            told["scored"] = (cands, refs)
            return tuple(np.array(values, np.float32) for values in ([0.1, np.nan], [0.3, np.nan], [0.5, np.nan]))

    monkeypatch.setitem(sys.modules, "bert_score", types.SimpleNamespace(BERTScorer=BERTScorer))
    found = similarity.get(similarity.REFERENCE)
    assert found.f1(("a", "b"), [("x", "y"), ("z",)]) == pytest.approx([0.5, 0.0])
    assert told["made"] == ("microsoft/deberta-xlarge-mnli", 40, True, False)
    assert told["idf"] == ["x", "y", "z"] and told["scored"] == (["a", "b"], [["x", "y"], ["z"]])
    assert found.name == "microsoft/deberta-xlarge-mnli layer 40"


TEXTS = st.lists(st.sampled_from(["a", "storm", "hit", "the", "coast", "."]), max_size=7).map(" ".join)


@settings(deadline=None)
@given(st.lists(st.tuples(TEXTS.filter(bool), TEXTS.filter(bool), TEXTS), min_size=2, max_size=5), st.randoms())
def test_scores_are_bounded_and_know_no_order(examples, shuffle):
    for mode in ("fair", "paper"):

        def scores(found, mode=mode):
            rows = [{"source": source, "target": target} for source, target, _ in found]
            return Scorer("bert_ibleu", mode=mode).scores(rows, [guess for _, _, guess in found])

        before = scores(examples)
        assert all(0 <= value <= 100.01 for value in before.values())
        assert scores(shuffle.sample(examples, len(examples))) == pytest.approx(before)
