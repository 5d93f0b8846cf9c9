"""Token F1 and exact match of short answers, as SQuAD v1.1 scores them.

Fair: the best over all accepted answers. Paper: against the one target.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def normalise(text: str) -> str:
    """Normalises an answer as SQuAD v1.1 does.

    Args:
      text: an answer.
    Returns:
      Lower case, without ASCII punctuation (then) without the words a, an, the, words joined by single spaces.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def answer_f1(answer: str, prediction: str) -> float:
    """Scores one prediction against one answer by their common words.

    Args:
      answer: an accepted answer.
      prediction: a prediction.
    Returns:
      F1 over the multisets of normalised words, 0 to 1; 0 without a common word, even when both normalise to nothing.
    """
    gold, predicted = Counter(normalise(answer).split()), Counter(normalise(prediction).split())
    return 2 * (gold & predicted).total() / max(1, gold.total() + predicted.total())


def answer_counts(answers: Sequence[Sequence[str]], predictions: Sequence[str], mode: str = "fair") -> np.ndarray:
    """Scores predictions one by one.

    Args:
      answers: the accepted answers of each question, [n], each at least one.
      predictions: predictions, [n].
      mode: `fair` (the best over the accepted answers) or `paper` (the first answer alone).
    Returns:
      [n, 3] float64: token F1 and exact match, 0 to 1, and 1. F1 and match each take their own best answer.
    """
    counts = np.ones((len(answers), 3))
    for i, (accepted, prediction) in enumerate(zip(answers, predictions, strict=True)):
        accepted = accepted[:1] if mode == "paper" else accepted
        predicted = normalise(prediction)
        counts[i, 0] = max(answer_f1(answer, prediction) for answer in accepted)
        # As in v1.1 two texts that both normalise to nothing match exactly, although their F1 is 0.
        counts[i, 1] = any(normalise(answer) == predicted for answer in accepted)
    return counts


def answer_parts(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Turns summed scores into means.

    Args:
      sums: [..., 3], summed `answer_counts`.
    Returns:
      `token_f1` and `exact_match` in percent, [...].
    """
    return {
        "token_f1": 100 * sums[..., 0] / sums[..., 2],
        "exact_match": 100 * sums[..., 1] / sums[..., 2],
    }
