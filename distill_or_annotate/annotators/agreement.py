"""How far labels agree with a gold sample: accuracy, Cohen's kappa, entity F1, calibration."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from distill_or_annotate.annotators.forms import CLASSES, ENTITIES, LabelForm
from distill_or_annotate.metrics.classification import label_ids
from distill_or_annotate.metrics.entities import entity_counts, f1_parts
from distill_or_annotate.preprocess.rows import Row

_BINS = 10


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Labels beside gold ones.

    Attributes:
      n_gold: rows of the gold sample.
      n_compared: those whose source was labelled.
      accuracy: compared rows with the same label, in percent; None where none was compared.
      kappa: Cohen's kappa, -1 to 1, of class labels; None elsewhere, or where both give one class alone.
      entity_f1: micro F1 of entities, in percent; None for other tasks.
      calibration_error: expected calibration error over ten bins, in percent; None without log-probabilities.
      n_with_confidence: compared rows with a confidence.
    """

    n_gold: int
    n_compared: int
    accuracy: float | None
    kappa: float | None
    entity_f1: float | None
    calibration_error: float | None
    n_with_confidence: int

    def sentence(self) -> str:
        """Returns the agreement in words."""
        if not self.n_compared:
            return (
                f"Agreement: none of the {self.n_gold:,} gold rows has a label. Fix: put their sources into the pool, "
                "first, so that they are labelled first."
            )
        parts = [f"accuracy {self.accuracy:.1f}%"]
        parts += [f"Cohen's kappa {self.kappa:.3f}"] if self.kappa is not None else []
        parts += [f"entity F1 {self.entity_f1:.1f}"] if self.entity_f1 is not None else []
        if self.calibration_error is not None:
            parts.append(f"calibration error {self.calibration_error:.1f}% (on {self.n_with_confidence:,})")
        return f"Agreement on {self.n_compared:,} of {self.n_gold:,} gold rows: {', '.join(parts)}."


def agreement(
    form: LabelForm, gold: Sequence[Row], labels: Mapping[str, str], confidences: Mapping[str, float] | None = None
) -> Agreement:
    """Compares labels with gold ones; rows without a label are left out.

    Args:
      form: the task.
      gold: rows with `source`, `target` and, where several are right, `targets`.
      labels: source -> label.
      confidences: source -> probability of its label, 0 to 1.
    """
    rows = [row for row in gold if row["source"] in labels]
    given = [labels[row["source"]] for row in rows]
    right = np.array([_same(row, label) for row, label in zip(rows, given, strict=True)], dtype=bool)
    known = confidences or {}
    told = np.array([row["source"] in known for row in rows], dtype=bool)
    sure = np.array([known[row["source"]] for row in rows if row["source"] in known])
    targets = [row["target"] for row in rows]
    return Agreement(
        n_gold=len(gold),
        n_compared=len(rows),
        accuracy=float(100 * right.mean()) if rows else None,
        kappa=cohens_kappa(targets, given, form.labels) if rows and form.kind == CLASSES else None,
        entity_f1=_entity_f1(targets, given, form.labels) if rows and form.kind == ENTITIES else None,
        calibration_error=calibration_error(sure, right[told]) if len(sure) else None,
        n_with_confidence=len(sure),
    )


def cohens_kappa(first: Sequence[str], second: Sequence[str], labels: Sequence[str]) -> float | None:
    """Returns Cohen's kappa, -1 to 1; None where both annotators give one and the same class throughout.

    Args:
      first: one annotator's label words, [n], n at least 1.
      second: the other's, [n].
      labels: the label words.
    """
    a, b = label_ids(first, labels), label_ids(second, labels)
    # Class -1, an unknown word, is a class of its own.
    shares = [np.bincount(ids + 1, minlength=len(labels) + 1) / len(ids) for ids in (a, b)]
    expected = float(shares[0] @ shares[1])
    return None if expected >= 1 else (float((a == b).mean()) - expected) / (1 - expected)


def calibration_error(confidences: np.ndarray, right: np.ndarray) -> float:
    """Returns the expected calibration error over ten equal bins, in percent.

    Args:
      confidences: probabilities of the labels, [n], 0 to 1, n at least 1.
      right: whether each is right, [n].
    """
    bins = np.minimum((np.asarray(confidences) * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights=np.asarray(confidences) - np.asarray(right, float), minlength=_BINS)
    return float(100 * np.abs(gaps).sum() / len(bins))


def _entity_f1(targets: Sequence[str], given: Sequence[str], types: Sequence[str]) -> float:
    return float(f1_parts(entity_counts(targets, given, types).sum(0))["f1"])


def _same(row: Row, label: str) -> bool:
    answers = row.get("targets") or [row["target"]]
    return " ".join(label.upper().split()) in {" ".join(answer.upper().split()) for answer in answers}
