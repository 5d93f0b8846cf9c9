"""Accuracy and F1 of label words. Labels are stripped and compared in upper case.

Fair: an output outside the label words is wrong. Paper: it counts as the first label, which is why untrained models of
the paper score exactly the share of one class.
"""

import dataclasses
import difflib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from distill_or_annotate.metrics.entities import percent

INVALID = -1
# Unknown labels that an error names.
_SHOWN = 5
# Characters of one that it quotes.
_LONGEST = 60
# Least resemblance, 0 to 1, of a label that is offered in place of an unknown one.
_NEAR = 0.5


@dataclasses.dataclass(frozen=True)
class UnknownLabel:
    """A target that is no label word.

    Args:
      text: the target, stripped, in the spelling met first.
      n_rows: how many rows have it.
      nearest: the label word that resembles it most; None when none does.
    """

    text: str
    n_rows: int
    nearest: str | None

    def __str__(self) -> str:
        rows = "1 row" if self.n_rows == 1 else f"{self.n_rows:,} rows"
        text = self.text if len(self.text) <= _LONGEST else f"{self.text[:_LONGEST]}..."
        return f"{text!r} ({rows}{f', nearest {self.nearest!r}' if self.nearest else ''})"


class UnknownLabels(ValueError):
    """Targets that are not among the label words.

    Args:
      unknown: what `unknown_labels` found, at least one.
      labels: the label words.
      where: the file or split that has them; may be empty.
    """

    def __init__(self, unknown: Sequence[UnknownLabel], labels: Sequence[str], where: str = ""):
        place = f"{where}: " if where else ""
        more = f" and {len(unknown) - _SHOWN:,} more" if len(unknown) > _SHOWN else ""
        super().__init__(
            f"{place}target: {', '.join(map(str, unknown[:_SHOWN]))}{more} not among the labels {tuple(labels)}. "
            "Fix the rows, or add the label."
        )
        self.unknown = tuple(unknown)


def unknown_labels(targets: Sequence[str], labels: Sequence[str]) -> list[UnknownLabel]:
    """Lists the targets that are no label words; case and surrounding white space do not count.

    Args:
      targets: targets of a file, [n].
      labels: the label words.
    Returns:
      Each with its number of rows and the nearest label, most frequent first; empty when all targets are labels.
    """
    known = {label.strip().upper(): label for label in labels}
    counts: Counter[str] = Counter()
    spelling: dict[str, str] = {}
    for target in targets:
        text = target.strip()
        if text.upper() not in known:
            counts[text.upper()] += 1
            spelling.setdefault(text.upper(), text)
    found = []
    for upper, n_rows in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        near = difflib.get_close_matches(upper, known, n=1, cutoff=_NEAR)
        found.append(UnknownLabel(spelling[upper], n_rows, known[near[0]] if near else None))
    return found


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
      UnknownLabels: a target that is no label.
    """
    gold, predicted = label_ids(targets, labels), label_ids(predictions, labels)
    if (gold == INVALID).any():
        raise UnknownLabels(unknown_labels(targets, labels), labels)
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
