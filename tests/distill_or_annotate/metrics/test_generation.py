"""chrF-iBLEU: which way each part points, and that its pieces are sacrebleu's."""

import math

import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.metrics.evaluation import Scorer, evaluate
from distill_or_annotate.metrics.generation import chrf, ibleu, is_copy, sentence_bleu

FAIR, PAPER = Scorer("chrf_ibleu"), Scorer("chrf_ibleu", mode="paper")
SOURCE = "a storm hit the coast on monday"
PARAPHRASE = "the coast was hit by a storm on monday"
WORDS = st.sampled_from(["a", "storm", "hit", "the", "coast", "Coast", "on", "monday", ".", "ünder"])
TEXTS = st.lists(WORDS, max_size=8).map(" ".join)
EXAMPLES = st.lists(st.tuples(st.lists(TEXTS, min_size=1, max_size=2), TEXTS, TEXTS), min_size=1, max_size=4)


def test_bleu_of_a_sentence_by_hand():
    # Of `a b c d f` against `a b c d e`: 4 of 5 words, 3 of 4 pairs, 2 of 3, 1 of 2; equally long.
    expected = (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4)
    assert sentence_bleu("a b c d f", "a b c d e") == pytest.approx(expected)
    # Shorter by one of five words: all n-grams right, penalty exp(1 - 5/4).
    assert sentence_bleu("a b c d", "a b c d e") == pytest.approx(math.exp(-1 / 4))
    # 13a parts marks from words; unsmoothed, one missing order makes 0.
    assert sentence_bleu("a b c d.", "a b c d .") == pytest.approx(1.0)
    assert sentence_bleu("a c b d", "a b c d") == 0.0


def test_short_copy_is_a_copy_in_fair_mode_only():
    assert sentence_bleu("Good morning", "Good morning") == pytest.approx(1.0)
    assert sentence_bleu("Good morning", "Good morning", effective_order=False) == 0.0
    assert FAIR.scores(["Good morning"], ["Good morning"], ["Good morning"])["chrf_ibleu"] == 0.0
    # The paper's reference adds 1e-5 to both of two whole parts.
    assert PAPER.scores(["Good morning"], ["Good morning"])["chrf_ibleu"] == pytest.approx(100.001)


def test_chrf_by_hand():
    # `ab` against `abc`: letters 2 of 2 and 2 of 3, pairs 1 of 1 and 1 of 2; no longer n-gram in the prediction.
    precision, recall = 1.0, (2 / 3 + 1 / 2) / 2
    assert chrf("ab", ["abc"]) == pytest.approx(5 * precision * recall / (4 * precision + recall))
    assert chrf("ab", ["zz", "abc"]) == chrf("ab", ["abc"])


def test_combination_by_hand():
    # (4 + 1) / (4 / 0.5 + 1 / (1 - 0.75)) = 5 / 12.
    assert ibleu(0.5, 0.75) == pytest.approx(5 / 12)
    assert ibleu(1.0, 1.0) == ibleu(0.0, 0.0) == 0.0
    assert ibleu(1.0, 0.0) == pytest.approx(1.0)


@given(similarity=st.floats(0.01, 0.98), self_bleu=st.floats(0.01, 0.98))
def test_closer_in_meaning_is_better_and_closer_in_wording_worse(similarity, self_bleu):
    score = ibleu(similarity, self_bleu)
    assert ibleu(similarity + 0.01, self_bleu) > score > ibleu(similarity, self_bleu + 0.01)
    assert min(similarity, 1 - self_bleu) - 1e-9 <= score <= max(similarity, 1 - self_bleu) + 1e-9
    # Meaning weighs more: swapping a larger similarity for the smaller novelty lowers the mean.
    better, worse = max(similarity, 1 - self_bleu), min(similarity, 1 - self_bleu)
    assert ibleu(better, 1 - worse) >= ibleu(worse, 1 - better)


def test_copied_source_scores_nothing_and_a_paraphrase_much():
    copied = FAIR.scores([SOURCE], [SOURCE.upper().lower()], [SOURCE])
    assert copied == {
        "chrf_ibleu": 0.0,
        "self_bleu": pytest.approx(100.0),
        "chrf": pytest.approx(100.0),
        "copied": 100.0,
    }
    other = FAIR.scores([SOURCE], [PARAPHRASE], [SOURCE])
    assert other["self_bleu"] == other["copied"] == 0.0
    # Novelty is 1: 5 / (4 / chrF + 1).
    assert other["chrf_ibleu"] == pytest.approx(100 * 5 / (400 / other["chrf"] + 1))
    assert 50 < other["chrf"] < other["chrf_ibleu"] < 100


def test_fair_takes_novelty_from_the_source_and_meaning_from_the_target():
    # The target itself, word for word, is the best answer; the paper's reference sees a copy in it.
    assert FAIR.scores([PARAPHRASE], [PARAPHRASE], [SOURCE])["chrf_ibleu"] == pytest.approx(100.0)
    # 5 / (4 / 1.00001 + 1 / 0.00001)
    assert PAPER.scores([PARAPHRASE], [PARAPHRASE], [SOURCE])["chrf_ibleu"] == pytest.approx(100 * 5 / 100004, rel=1e-3)
    assert PAPER.scores([PARAPHRASE], [PARAPHRASE]) == PAPER.scores([PARAPHRASE], [PARAPHRASE], [SOURCE])


def test_paper_replaces_an_empty_prediction():
    assert PAPER.scores([SOURCE], [" "]) == PAPER.scores([SOURCE], ["no prediction"])
    assert FAIR.scores([SOURCE], [" "], [SOURCE])["chrf_ibleu"] == 0.0


def test_fair_without_sources_is_an_error():
    with pytest.raises(ValueError, match="sources: this metric compares with the source in mode 'fair'"):
        FAIR.scores([SOURCE], [SOURCE])
    with pytest.raises(ValueError, match="received 1 targets and 1 predictions for 2 sources"):
        FAIR.scores([SOURCE], [SOURCE], [SOURCE] * 2)


@settings(deadline=None)
@given(EXAMPLES)
def test_pieces_equal_sacrebleus_own_sentence_functions(examples):
    for accepted, prediction, source in examples:
        expected = sacrebleu.sentence_bleu(prediction, [source], smooth_method="none", use_effective_order=True)
        # sacrebleu rounds a whole copy to 100.00000000000004.
        assert sentence_bleu(prediction, source) == pytest.approx(min(1, expected.score / 100))
        assert chrf(prediction, accepted) == pytest.approx(sacrebleu.sentence_chrf(prediction, accepted).score / 100)


@settings(deadline=None)
@given(EXAMPLES, st.randoms(use_true_random=False))
def test_scores_are_bounded_and_know_no_order(examples, shuffle):
    def scores(rows):
        targets, predictions, sources = map(list, zip(*rows, strict=True))
        return FAIR.scores(targets, predictions, sources)

    before = scores(examples)
    assert all(0 <= value <= 100 for value in before.values())
    assert scores(shuffle.sample(examples, len(examples))) == pytest.approx(before)


@settings(deadline=None)
@given(EXAMPLES, TEXTS)
def test_another_accepted_target_never_lowers_a_score(examples, target):
    targets, predictions, sources = map(list, zip(*examples, strict=True))
    before = FAIR.counts(targets, predictions, sources)
    after = FAIR.counts([[*accepted, target] for accepted in targets], predictions, sources)
    assert (after[:, [0, 2]] >= before[:, [0, 2]] - 1e-12).all() and (after[:, [1, 3]] == before[:, [1, 3]]).all()


def test_known_weakness_words_in_reverse_order_beat_a_paraphrase():
    reversed_words = " ".join(SOURCE.split()[::-1])
    senseless, good = (
        FAIR.scores([SOURCE], [guess], [SOURCE])["chrf_ibleu"]
        for guess in (reversed_words, "on monday a storm struck the shore")
    )
    assert senseless > good > 0


def test_copies_are_told_by_their_words():
    assert is_copy(" A  storm\n", "a STORM") and not is_copy("a storm.", "a storm") and is_copy("", "")


def test_copying_model_is_flagged_by_the_copied_source_floor():
    rows = [{"source": f"{SOURCE} number {i}", "target": f"{SOURCE} number {i}"} for i in range(30)]
    copying = evaluate(FAIR, rows, [row["source"] for row in rows])
    assert copying["score"] == copying["floors"]["copied_source"] == copying["floors"]["empty"] == 0.0
    assert copying["degenerate"]["flagged"] and copying["parts"]["copied"] == 100.0
    assert any("'copied_source'" in reason for reason in copying["degenerate"]["reasons"])
    assert not evaluate(FAIR, rows, [f"{PARAPHRASE} number {i}" for i in range(30)])["degenerate"]["flagged"]
