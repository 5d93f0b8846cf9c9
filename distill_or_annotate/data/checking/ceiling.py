"""The agreement ceiling: the best score open to a system that gives each source one answer.

Where a source has rows with different targets, no system can be right on all of them. The oracle sees all rows of a
split and answers each distinct source x (by `source_key`) with one of the targets T(x) that its rows have:

    ceiling = max over a, a(x) in T(x), of score(sum over rows (x, t) of counts(t, a(x)))

with the counts and score of the task's own metric. It is 100 when no source has several targets. Of a source with more
than `MOST_CANDIDATES` different targets only the most frequent ones are tried.
"""

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from distill_or_annotate.data.checking.counts import answer_of
from distill_or_annotate.metrics.evaluation import Scorer, accepted
from distill_or_annotate.preprocess.rows import Row
from distill_or_annotate.preprocess.text import source_key

# Metrics of one right answer. Of paraphrases many are right, so that differing targets are no disagreement.
METRICS = ("entity_f1", "accuracy", "macro_f1", "token_f1")
MOST_CANDIDATES = 50
_CLASS_METRICS = ("accuracy", "macro_f1")
_MOST_SWEEPS = 100


@dataclasses.dataclass(frozen=True)
class Ceiling:
    """What an oracle of one answer a source would score.

    Args:
      score: percent; None where it has no meaning.
      metric: the part of the metric that is the score.
      reason: why there is no score; None when there is one.
    """

    score: float | None
    metric: str
    reason: str | None = None

    def display(self) -> str:
        """Returns the score, rounded down so that less than 100 never reads 100; `-` where there is none."""
        return "-" if self.score is None else f"{math.floor(100 * self.score + 1e-6) / 100:.2f}"


def ceiling(rows: Sequence[Row], metric: str, labels: Sequence[str], mode: str = "fair") -> Ceiling:
    """Computes the agreement ceiling of a split.

    Args:
      rows: labelled rows, at least one.
      metric: the task's metric.
      labels: the task's entity types or label words. Classes without a row do not count.
      mode: `fair` or `paper`, for the metric.
    Returns:
      The ceiling. It is exact for entity F1, accuracy, micro F1 and token F1; for macro F1 no change of a single
      source's answer can raise it.
    """
    if metric not in METRICS:
        return Ceiling(None, metric, f"{metric} compares with one of many right answers")
    if metric in _CLASS_METRICS:
        labels = sorted({row["target"].strip().upper() for row in rows})
    scorer = Scorer(metric, labels, mode)
    several, alone = _groups(rows)
    if not several:
        return Ceiling(100.0, scorer.metric)
    tables = [_candidate_counts(group, scorer) for group in several]
    total = np.zeros(tables[0].shape[1])
    if alone:
        total += scorer.counts([accepted(row) for row in alone], [row["target"] for row in alone]).sum(0)
    return Ceiling(_best(tables, total, scorer), scorer.metric)


def _groups(rows: Sequence[Row]) -> tuple[list[list[Row]], list[Row]]:
    """Rows by source where their targets differ, and all other rows."""
    by_source: dict[str, list[Row]] = {}
    for row in rows:
        by_source.setdefault(source_key(row["source"]), []).append(row)
    several, alone = [], []
    for group in by_source.values():
        if len({answer_of(row) for row in group}) > 1:
            several.append(group)
        else:
            alone += group
    return several, alone


def _candidate_counts(group: Sequence[Row], scorer: Scorer) -> np.ndarray:
    """[candidates, k]: summed counts over the rows of one source, were all answered with the candidate."""
    gold = Counter(tuple(accepted(row)) for row in group)
    answers = Counter(row["target"] for row in group)
    candidates = [answer for answer, _ in answers.most_common(MOST_CANDIDATES)]
    targets = [list(each) for _ in candidates for each in gold]
    predictions = [candidate for candidate in candidates for _ in gold]
    counts = scorer.counts(targets, predictions).reshape(len(candidates), len(gold), -1)
    return np.einsum("cgk,g->ck", counts, np.array(list(gold.values()), float))


def _best(tables: Sequence[np.ndarray], fixed: np.ndarray, scorer: Scorer) -> float:
    # For a ratio of sums (n / d), a change of one source helps exactly when dn - ratio * dd > 0. So changes that help
    # alone help together, and where none helps alone the choice is the best of all (Dinkelbach 1967).
    starts = np.cumsum([0, *(len(table) for table in tables)])
    flat = np.concatenate(tables)
    owner = np.repeat(np.arange(len(tables)), np.diff(starts))
    chosen = starts[:-1].copy()
    score = float(scorer.headline(fixed + flat[chosen].sum(0)))
    for _ in range(_MOST_SWEEPS):
        total = fixed + flat[chosen].sum(0)
        changed = scorer.headline(total - flat[chosen][owner] + flat)
        best = np.array([start + changed[start:stop].argmax() for start, stop in itertools.pairwise(starts)])
        better = np.where(changed[best] > score + 1e-12, best, chosen)
        new_score = float(scorer.headline(fixed + flat[better].sum(0)))
        if new_score <= score + 1e-12:
            break
        chosen, score = better, new_score
    return score
