"""How good a paraphrase is: close to the target in meaning, far from the source in wording.

BERT-iBLEU, the paper's metric, is the harmonic mean, meaning weighing `BETA` times as much, of BERTScore and of
1 - self-BLEU. BERTScore needs an encoder, which is injected: see `similarity.py`.

`chrf_ibleu` puts chrF (character n-grams) in the place of BERTScore. It is a stand-in under a name of its own, for
machines without an encoder: chrF rewards the same letters rather than the same meaning. Over the 2,459 paraphrase
pairs of MultiPIT's expert training file the first sentence's words in reverse order score 63.0, people's own
paraphrases 48.2. Use it to see that a run works, never to choose between systems.
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np

Similar = Callable[[Sequence[str], Sequence[Sequence[str]]], np.ndarray]

BETA = 4.0
PAPER_EPSILON = 1e-5
PAPER_EMPTY = "no prediction"


def sentence_bleu(prediction: str, reference: str, effective_order: bool = True) -> float:
    """Compares a prediction with one sentence by 4-gram BLEU, unsmoothed, with 13a tokenisation, as sacrebleu does.

    Args:
      prediction: a prediction.
      reference: the sentence to compare with, for self-BLEU the source.
      effective_order: for a prediction of fewer than four tokens take the n-grams that it has; otherwise its BLEU is 0,
        a copy's too.
    Returns:
      0 to 1.
    """
    return min(1.0, _bleu(effective_order).corpus_score([prediction], [[reference]]).score / 100)


def chrf(prediction: str, references: Sequence[str]) -> float:
    """Compares a prediction with the accepted targets by chrF, as sacrebleu does (character 6-grams, beta 2).

    Args:
      prediction: a prediction.
      references: accepted targets, at least one; the best counts.
    Returns:
      0 to 1.
    """
    return min(1.0, _chrf().sentence_score(prediction, list(references)).score / 100)


def ibleu(similarity: float, self_bleu: float, beta: float = BETA, epsilon: float = 0.0) -> float:
    """Combines closeness in meaning with distance in wording, as in BERT-iBLEU.

    Args:
      similarity: closeness to the target, 0 to 1.
      self_bleu: BLEU to the source, 0 to 1.
      beta: weight of similarity to the 1 of wording, above 0.
      epsilon: added to both, at least 0; the reference implementation adds 1e-5.
    Returns:
      The weighted harmonic mean of similarity and 1 - self_bleu, 0 to 1 (+ epsilon); 0 when either is 0.
    """
    similarity, novelty = similarity + epsilon, 1 - self_bleu + epsilon
    if similarity <= 0 or novelty <= 0:
        return 0.0
    return (beta + 1) / (beta / similarity + 1 / novelty)


def ibleu_counts(
    answers: Sequence[Sequence[str]],
    predictions: Sequence[str],
    sources: Sequence[str] | None,
    similarity: Similar,
    mode: str = "fair",
) -> np.ndarray:
    """Scores paraphrases one by one.

    Args:
      answers: accepted targets of each source, [n], each at least one.
      predictions: predictions, [n].
      sources: the sentences to paraphrase, [n]; `paper` does without.
      similarity: (predictions, accepted targets of each) to closeness in meaning, [n], 0 to 1, the best target's.
      mode: `fair` (self-BLEU to the source; an empty prediction is like nothing) or `paper`: the target stands for the
        source too, an empty prediction becomes `PAPER_EMPTY`, `PAPER_EPSILON` is added, sentences under four tokens
        have BLEU 0.
    Returns:
      [n, 5] float64: iBLEU, self-BLEU, similarity, whether the source is copied (0 or 1), each 0 to 1; and 1.
    Raises:
      ValueError: no sources in `fair` mode.
    """
    paper = mode == "paper"
    if paper:
        answers = [accepted[:1] for accepted in answers]
        sources = [accepted[0] for accepted in answers]
        predictions = [prediction if prediction.strip() else PAPER_EMPTY for prediction in predictions]
    elif sources is None:
        raise ValueError("sources: this metric compares with the source in mode 'fair', received none")
    counts = np.ones((len(answers), 5))
    # In one call, since weights of words are taken from all references; without one where there is nothing to compare.
    blank = np.array([not prediction.strip() for prediction in predictions], dtype=bool)
    counts[:, 2] = 0.0 if blank.all() else np.where(blank, 0.0, similarity(predictions, answers))
    for i, (prediction, source) in enumerate(zip(predictions, sources, strict=True)):
        self_bleu = sentence_bleu(prediction, source, effective_order=not paper)
        counts[i, 0] = ibleu(counts[i, 2], self_bleu, epsilon=PAPER_EPSILON if paper else 0.0)
        counts[i, 1], counts[i, 3] = self_bleu, is_copy(prediction, source)
    return counts


def chrfs(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """Compares predictions with their accepted targets by `chrf`.

    Args:
      predictions: predictions, [n].
      references: accepted targets of each, [n].
    Returns:
      [n] float64, 0 to 1.
    """
    return np.array([chrf(prediction, texts) for prediction, texts in zip(predictions, references, strict=True)])


def is_copy(prediction: str, source: str) -> bool:
    """Tells whether a prediction repeats its source.

    Args:
      prediction: a prediction.
      source: its source.
    Returns:
      True when the words are the same, whatever their case and the white space between.
    """
    return prediction.casefold().split() == source.casefold().split()


def ibleu_parts(sums: np.ndarray, score: str, similarity: str) -> dict[str, np.ndarray]:
    """Turns summed scores into means.

    Args:
      sums: [..., 5], summed `ibleu_counts`.
      score: name of the metric.
      similarity: name of what it compares meanings with.
    Returns:
      The two that were named (higher is better), `self_bleu` and `copied` (lower is better), in percent, [...].
    """
    names = (score, "self_bleu", similarity, "copied")
    return {name: 100 * sums[..., i] / sums[..., 4] for i, name in enumerate(names)}


# sacrebleu is imported when first needed: most tasks are scored without it.
@functools.cache
def _bleu(effective_order: bool):
    from sacrebleu.metrics import BLEU

    return BLEU(smooth_method="none", effective_order=effective_order)


@functools.cache
def _chrf():
    from sacrebleu.metrics import CHRF

    return CHRF()
