"""How annotators mistake one class for another: matrices assumed, written down, or fitted to several labels an item."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

ASSUMED, FITTED = "assumed", "fitted"
MISSING = -1
_MOST_ROUNDS, _SMALLEST_CHANGE = 200, 1e-7
# Added to each count, so that a mistake that was not seen stays possible.
_SMOOTHING = 0.01
# Shares that a user wrote down add up to 1 but for this.
_ROUNDING = 1e-6
# Of fewer votes on a class nothing is fitted.
_LEAST_VOTES = 0.5


class ConfusionError(ValueError):
    """A matrix that is none, or votes that tell nothing."""


@dataclasses.dataclass(frozen=True)
class Confusion:
    """Which label an annotator gives, by the true one.

    Attributes:
      labels: the C classes.
      matrix: [C, C], row by true class, shares of the given ones; each row adds up to 1.
      provenance: `assumed`, or `fitted` to labels that several annotators gave.
      source: where it comes from, for reports.
    """

    labels: tuple[str, ...]
    matrix: np.ndarray
    provenance: str
    source: str

    def __post_init__(self):
        size = len(self.labels)
        if self.provenance not in (ASSUMED, FITTED):
            raise ConfusionError(f"provenance: received {self.provenance!r}; allowed: {ASSUMED}, {FITTED}.")
        if self.matrix.shape != (size, size):
            raise ConfusionError(f"matrix: received {self.matrix.shape}; {size} labels need {(size, size)}.")
        if (self.matrix < 0).any() or not np.allclose(self.matrix.sum(1), 1, atol=1e-6):
            raise ConfusionError("matrix: each row must hold shares of at least 0 that add up to 1.")

    @property
    def accuracy(self) -> float:
        """Mean share of right labels over the classes, 0 to 1."""
        return float(np.diag(self.matrix).mean())


def assumed(labels: Sequence[str], accuracy: float) -> Confusion:
    """Returns a matrix whose mistakes spread evenly over the other classes.

    Args:
      labels: the classes, at least 2.
      accuracy: share of right labels of each class, 0 to 1.
    """
    if not _is_number(accuracy) or len(labels) < 2 or not 0 <= accuracy <= 1:
        raise ConfusionError(f"accuracy {accuracy!r} of {len(labels)} labels: 0 to 1, and two labels, are needed.")
    off = (1 - accuracy) / (len(labels) - 1)
    matrix = np.full((len(labels), len(labels)), off)
    np.fill_diagonal(matrix, accuracy)
    return Confusion(tuple(labels), matrix, ASSUMED, f"accuracy {accuracy:g}, mistakes spread evenly")


def from_shares(labels: Sequence[str], shares: Mapping[str, Mapping[str, float]]) -> Confusion:
    """Returns a matrix that somebody wrote down.

    Args:
      labels: the classes.
      shares: true label -> given label -> share; a row that leaves its own label out has the rest of it right.

    Raises:
      ConfusionError: an unknown label or one that stands there twice, a share that is none, or a row that does not add
        up to 1.
    """
    matrix = np.zeros((len(labels), len(labels)))
    if not isinstance(shares, Mapping):
        raise ConfusionError(f"confusion: received {shares!r}; a table by true label is needed.")
    for number, (true, row) in zip(_places(labels, shares, ""), shares.items(), strict=True):
        if not isinstance(row, Mapping):
            raise ConfusionError(f"confusion: {true} = {row!r}; shares by given label are needed, as in {{NO = 0.1}}.")
        places = _places(labels, row, f" in the row of {true}")
        for place, (given, share) in zip(places, row.items(), strict=True):
            if not _is_number(share) or not 0 <= share < math.inf:
                raise ConfusionError(f"confusion: {true} = {{{given} = {share!r}}}; a share is a number of 0 to 1.")
            matrix[number, place] = share
        left = 1 - matrix[number].sum()
        if left < -_ROUNDING:
            raise ConfusionError(f"confusion: the shares of {true} add up to {1 - left:g}; 1 is the most.")
        if left > _ROUNDING and number in places:
            raise ConfusionError(
                f"confusion: the shares of {true} add up to {1 - left:g}, with that of {labels[number]} itself. Fix: "
                f"shares that add up to 1, or leave {labels[number]} out of its own row for the rest of it."
            )
    matrix[np.diag_indices(len(labels))] += np.maximum(0, 1 - matrix.sum(1))
    return Confusion(tuple(labels), matrix, ASSUMED, "written down by the user")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _places(labels: Sequence[str], named: Iterable[str], of_what: str) -> list[int]:
    """Where names stand among the labels, in any case."""
    index = {label.upper(): i for i, label in enumerate(labels)}
    places: list[int] = []
    for name in named:
        if name.upper() not in index:
            raise ConfusionError(f"confusion: {name!r} is not among the labels {', '.join(labels)}.")
        if index[name.upper()] in places:
            raise ConfusionError(f"confusion: {name!r}{of_what} stands there twice. Fix: write it once.")
        places.append(index[name.upper()])
    return places


def fitted_to_gold(labels: Sequence[str], gold: np.ndarray, votes: np.ndarray) -> Confusion:
    """Fits one matrix for all annotators to what they said of items whose label is known.

    Args:
      labels: the C classes.
      gold: true classes, [n], 0 ... C - 1.
      votes: given classes, [n, k]; -1 where an annotator did not label an item.

    Returns:
      The matrix; `fitted` where most items have two votes or more and each class has an item, else `assumed`: one label
      an item is one person's word, and of a class that nobody saw the others' mean accuracy is taken.
    """
    return _pooled(labels, np.eye(len(labels))[np.asarray(gold)], votes, "items of known label")


def fitted_to_votes(labels: Sequence[str], votes: np.ndarray) -> tuple[Confusion, np.ndarray, np.ndarray]:
    """Fits a matrix for each annotator to votes alone, after Dawid and Skene (1979).

    Expectation maximisation from the majority's labels: the probability of each class of each item, given the matrices;
    then the matrices, given those.

    Args:
      labels: the C classes.
      votes: given classes, [n, k], k at least 2; -1 where an annotator did not label an item.

    Returns:
      The matrix of all annotators together, as `fitted_to_gold` has it; a matrix for each annotator, [k, C, C]; and the
      probability of each class of each item, [n, C].

    Raises:
      ConfusionError: no item has two votes.
    """
    votes = np.asarray(votes)
    there = votes != MISSING
    if votes.ndim != 2 or not (there.sum(1) >= 2).any():
        raise ConfusionError("votes: no item has two; a fit needs several labels of one item.")
    n_classes = len(labels)
    given = _given(votes, n_classes)
    beliefs = given.sum(1) + 1e-9
    beliefs /= beliefs.sum(1, keepdims=True)
    for _ in range(_MOST_ROUNDS):
        matrices = np.einsum("nt,nkg->ktg", beliefs, given) + _SMOOTHING
        matrices /= matrices.sum(2, keepdims=True)
        prior = beliefs.mean(0)
        log_beliefs = np.log(prior + 1e-12) + np.einsum("nkg,ktg->nt", given, np.log(matrices))
        new = np.exp(log_beliefs - log_beliefs.max(1, keepdims=True))
        new /= new.sum(1, keepdims=True)
        change, beliefs = float(np.abs(new - beliefs).max()), new
        if change < _SMALLEST_CHANGE:
            break
    # Counts of all annotators, not the mean of their matrices: one who gave few votes has told little.
    return _pooled(labels, beliefs, votes, "items, by Dawid and Skene"), matrices, beliefs


def _given(votes: np.ndarray, n_classes: int) -> np.ndarray:
    """Votes as [n, k, C]; a missing one is a row of zeros."""
    return np.eye(n_classes + 1)[np.asarray(votes)][..., :n_classes]


def _pooled(labels: Sequence[str], beliefs: np.ndarray, votes: np.ndarray, of_what: str) -> Confusion:
    """One matrix for all annotators, from the probability of each class of each item, [n, C]."""
    counts = np.einsum("nt,nkg->tg", beliefs, _given(votes, len(labels)))
    seen = counts.sum(1) >= _LEAST_VOTES
    matrix = counts + _SMOOTHING
    matrix /= matrix.sum(1, keepdims=True)
    if seen.any() and not seen.all():
        matrix[~seen] = assumed(labels, float(np.diag(matrix)[seen].mean())).matrix[~seen]
    of_each = (np.asarray(votes) != MISSING).sum(1)
    source = f"{int(of_each.sum())} votes of up to {np.asarray(votes).shape[1]} annotators on {len(beliefs)} {of_what}"
    if not seen.all():
        unseen = [label for label, known in zip(labels, seen, strict=True) if not known]
        source += f"; nobody saw {', '.join(unseen)}"
    provenance = FITTED if seen.all() and np.median(of_each) >= 2 else ASSUMED
    return Confusion(tuple(labels), matrix, provenance, source)
