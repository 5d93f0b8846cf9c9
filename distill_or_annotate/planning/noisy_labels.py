"""Labels of a language model: noisy annotation, whose noise was measured on gold labels.

A label that is right with probability a is worth ((a - 1/K) / (1 - 1/K))^2 labels of people among K classes (a^2
without classes): evenly spread noise of that rate shrinks the signal by the bracket, and the labels needed grow with
its square (Natarajan et al. 2013). Noise that is not even is learnt as if it were true, so no student scores far above
its labels: their score, on the logit scale and shifted by what students may add or lose, is a ceiling.
"""

from __future__ import annotations

import numpy as np

from distill_or_annotate.planning.curves import Purchases, logit

# What a student adds to its labels' score on the logit scale: mean and spread. An assumption.
SHIFT = (0.1, 0.25)
# How sharply the ceiling bends the curve.
BEND = 4.0


def worth(purchases: Purchases, dice: np.ndarray) -> np.ndarray | None:
    """Returns what the labels of purchases are worth in labels of people, [D, C]; None where they all are people's.

    Args:
      purchases: C of them.
      dice: [D, 6], of `posterior.Draws`.
    """
    if not purchases.n_llm_labels.any():
        return None
    chance = purchases.chance[None]
    signal = np.maximum(_right(purchases, dice) - chance, 0) / (1 - chance)
    return np.maximum(purchases.n_labels[None] + signal**2 * purchases.n_llm_labels[None], 1.0)


def capped(log_odds: np.ndarray, purchases: Purchases, dice: np.ndarray) -> np.ndarray:
    """Returns scores on the logit scale under the ceiling of their labels, [D, C].

    Args:
      log_odds: [D, C].
      purchases: C of them.
      dice: [D, 6], of `posterior.Draws`.
    """
    if not purchases.n_llm_labels.any():
        return log_odds
    share = purchases.n_llm_labels / (purchases.n_llm_labels + purchases.n_labels)
    ceiling = logit(100 * (1 - share[None] * (1 - _right(purchases, dice))))
    ceiling = ceiling + SHIFT[0] + SHIFT[1] * dice[:, 5:6]
    bent = -np.logaddexp(-BEND * log_odds, -BEND * ceiling) / BEND
    return np.where(purchases.n_llm_labels[None] > 0, bent, log_odds)


def _right(purchases: Purchases, dice: np.ndarray) -> np.ndarray:
    """The share of a language model's labels that is right, 0 to 1, [D, C]."""
    log_odds = logit(purchases.llm_score)[None] + purchases.llm_stderr[None] * dice[:, 4:5]
    return 1 / (1 + np.exp(-log_odds))
