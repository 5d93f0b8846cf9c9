"""Accuracy and F1 of label words. Labels are stripped and compared in upper case.

Fair: an output outside the label words is wrong. Paper: it counts as the first label, which is why untrained models of
the paper score exactly the share of one class.
"""

from collections.abc import Sequence

import numpy as np

from distill_or_annotate.metrics.entities import percent

INVALID = -1


def label_ids(texts: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Maps label words to class numbers.

    Args:
      texts: targets or predictions, [n].
      labels: the label words in class order.
    Returns:
      [n] int64, 0 ... len(labels) - 1, or `INVALID`.
    """
    ids = {label.strip().upper(): i for i, label in enumerate(labels)}
    return np.array([ids.get(text.strip().upper(), INVALID) for text in texts], dtype=np.int64)


def class_counts(
    targets: Sequence[str], predictions: Sequence[str], labels: Sequence[str], mode: str = "fair"
) -> np.ndarray:
    """Counts classes example by example, from which accuracy and each F1 follow.

    Args:
      targets: gold label words, [n].
      predictions: predictions, [n].
      labels: the C label words in class order.
      mode: `fair` (unknown predictions are wrong) or `paper` (they count as class 0).
    Returns:
      [n, 3 C] float64, one-hot thrice: the class where right, the predicted one (zeros when invalid), the gold one.
    Raises:
      ValueError: a target that is no label.
    """
    gold, predicted = label_ids(targets, labels), label_ids(predictions, labels)
    if (gold == INVALID).any():
        unknown = sorted({target for target, i in zip(targets, gold, strict=True) if i == INVALID})[:5]
        raise ValueError(f"target: {unknown} are not among the labels {tuple(labels)}")
    if mode == "paper":
        predicted = np.where(predicted == INVALID, 0, predicted)
    # Row C is all zeros, which is where an invalid prediction (-1) lands.
    one_hot = np.concatenate([np.eye(len(labels)), np.zeros((1, len(labels)))])
    gold_hot, predicted_hot = one_hot[gold], one_hot[predicted]
    return np.concatenate([gold_hot * predicted_hot, predicted_hot, gold_hot], axis=1)


def class_parts(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Turns class counts into scores.

    Args:
      sums: [..., 3 C], summed `class_counts`.
    Returns:
      `accuracy`, `macro_f1` (mean over all C classes; 0 for a class neither predicted nor in the targets), `micro_f1`
      (equal to accuracy unless some predictions are invalid), in percent, [...].
    """
    right, predicted, gold = np.split(sums, 3, axis=-1)
    return {
        "accuracy": percent(right.sum(-1), gold.sum(-1)),
        "macro_f1": percent(2 * right, predicted + gold).mean(-1),
        "micro_f1": percent(2 * right.sum(-1), predicted.sum(-1) + gold.sum(-1)),
    }
