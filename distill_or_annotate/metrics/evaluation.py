"""One way to score a task: for the SeqIO task while it trains, for the pipeline and for `doa evaluate` afterwards."""

import difflib
from collections.abc import Mapping, Sequence

import numpy as np

from distill_or_annotate.metrics import bootstrap, degenerate, floors
from distill_or_annotate.metrics import similarity as similarities
from distill_or_annotate.metrics.kinds import METRICS, Batch, Row

MODES = ("fair", "paper")

Target = str | Sequence[str] | Row


def accepted(row: Row) -> list[str]:
    """Returns the answers that count as right for a row.

    Args:
      row: a row with `target` and optionally `targets`.
    Returns:
      The target, then the other accepted answers.
    """
    return list(dict.fromkeys([row["target"], *row.get("targets", ())]))


def _answers(target: Target) -> tuple[str, ...]:
    if isinstance(target, Mapping):
        target = accepted(target)
    answers = (target,) if isinstance(target, str) else tuple(target) if isinstance(target, Sequence) else ()
    if not answers or not all(isinstance(answer, str) for answer in answers):
        raise ValueError(f"targets: a string or a list of at least one string is needed, received {target!r}")
    return answers


class Scorer:
    """A metric with its labels and mode.

    Args:
      metric: a key of `METRICS`.
      labels: entity types or label words; may be empty for metrics of free text, which have none.
      mode: `fair` or `paper`.
      similarity: for `bert_ibleu` the name of what compares meanings, see `similarity.py`; None takes the one that
        DOA_SIMILARITY_MODEL names, else `similarity.DEFAULT`. It is loaded when the first pair is scored.
    Raises:
      ValueError: an unknown metric or mode, or no labels for a metric that needs them.
    """

    def __init__(self, metric: str, labels: Sequence[str] = (), mode: str = "fair", similarity: str | None = None):
        if metric not in METRICS:
            near = difflib.get_close_matches(metric, METRICS, n=3)
            raise ValueError(
                f"metric: {metric!r} is not one of {sorted(METRICS)}" + (f"; near: {near}" if near else "")
            )
        if mode not in MODES:
            raise ValueError(f"mode: {mode!r} is not one of {MODES}")
        if not labels and METRICS[metric].needs_labels:
            raise ValueError(f"labels: metric {metric!r} needs the entity types or label words, received none")
        self._metric = METRICS[metric]
        self.labels, self.mode = tuple(labels), mode
        self.metric = self._metric.headline[mode]
        self.needs_sources = mode in self._metric.needs_sources
        self._similarity = similarity

    @property
    def takes_one_target(self) -> bool:
        """Whether an example may have one accepted answer only."""
        return self._metric.needs_labels

    def label_words(self) -> tuple[str, ...]:
        """Returns the words that each target must be one of.

        Returns:
          The labels of a classification; empty for entities and free text.
        """
        return self.labels if self._metric.constant_labels else ()

    def similarity(self) -> similarities.Similarity | None:
        """Loads what compares meanings.

        Returns:
          It; None for a metric that needs none.
        Raises:
          SimilarityError: it is not registered, or what it needs is not installed.
        """
        return similarities.get(self._similarity or similarities.chosen()) if self._metric.needs_similarity else None

    def counts(
        self, targets: Sequence[Target], predictions: Sequence[str], sources: Sequence[str] | None = None
    ) -> np.ndarray:
        """Counts example by example.

        Args:
          targets: gold targets, [n], each a string, the list of all accepted ones with the target proper first, or a
            row with `source`, `target` and optionally `targets`.
          predictions: predictions, [n].
          sources: sources, [n], of targets that are no rows; needed where `needs_sources`.
        Returns:
          [n, k] float64; scores are functions of its sum over examples.
        Raises:
          ValueError: lengths differ, a target that is no string or an empty list, no sources where they are needed.
          SimilarityError: see `similarity`.
        """
        if len(targets) != len(predictions) or (sources is not None and len(sources) != len(targets)):
            also = "" if sources is None else f" for {len(sources)} sources"
            raise ValueError(
                f"received {len(targets)} targets and {len(predictions)} predictions{also}; numbers must be equal"
            )
        answers = [_answers(target) for target in targets]
        if sources is None and targets and all(isinstance(target, Mapping) for target in targets):
            sources = [target["source"] for target in targets]
        return self._metric.counts(Batch(answers, predictions, sources, self.labels, self.mode, self.similarity()))

    def headline(self, sums: np.ndarray) -> np.ndarray:
        """Returns the score of summed counts.

        Args:
          sums: [..., k].
        Returns:
          Percent, [...].
        """
        return self._metric.parts(sums, self.mode)[self.metric]

    def scores(
        self, targets: Sequence[Target], predictions: Sequence[str], sources: Sequence[str] | None = None
    ) -> dict[str, float]:
        """Scores predictions.

        Args:
          targets: gold targets, [n], n at least 1, as in `counts`.
          predictions: predictions, [n].
          sources: sources, [n], of targets that are no rows; needed where `needs_sources`.
        Returns:
          All parts in percent, the one named `metric` among them.
        """
        return self.parts(self.counts(targets, predictions, sources).sum(0))

    def parts(self, sums: np.ndarray) -> dict[str, float]:
        """Returns all parts of summed counts.

        Args:
          sums: [k].
        Returns:
          Name to percent.
        """
        return {name: float(value) for name, value in self._metric.parts(sums, self.mode).items()}

    def invalid_share(self, predictions: Sequence[str]) -> float:
        """Returns the share of predictions outside the task's form.

        Args:
          predictions: predictions, [n], n at least 1.
        Returns:
          0 to 1.
        """
        upper = frozenset(label.strip().upper() for label in self.labels)
        return sum(self._metric.invalid(text, upper) for text in predictions) / len(predictions)

    def floors(self, rows: Sequence[Row], train_rows: Sequence[Row] | None) -> dict[str, list[str]]:
        """Returns the predictions of each floor.

        Args:
          rows: evaluation rows.
          train_rows: the labels that the model had; None leaves the cheap learner out.
        Returns:
          Name to predictions, [n] each.
        """
        systems = floors.trivial_floors(rows, train_rows, self.label_words())
        if train_rows:
            systems |= {name: learn(rows, train_rows, self.labels) for name, learn in self._metric.learners.items()}
        return systems


def evaluate(
    scorer: Scorer,
    rows: Sequence[Row],
    predictions: Sequence[str],
    train_rows: Sequence[Row] | None = None,
    seed: int = 0,
    n_resamples: int = bootstrap.N_RESAMPLES,
) -> dict[str, object]:
    """Scores a model and holds it against the floors.

    Args:
      scorer: the task's scorer.
      rows: evaluation rows with `source`, `target` and optionally `targets` (all accepted answers), [n], n at least 1.
      predictions: the model's predictions, [n], in the same order.
      train_rows: the labels that the model had, for the floors; None when unknown.
      seed: seed of the bootstrap.
      n_resamples: resamples of the bootstrap.
    Returns:
      `score` (percent), `metric`, `mode`, `stderr`, `n_examples`, `floors` (name to percent), `degenerate` (see
      `degenerate.judge`), `parts` (name to percent), `similarity_model` (name of the encoder, None for a metric that
      needs none). Plain values, ready for JSON.
    Raises:
      ValueError: no rows, or another number of predictions.
    """
    if not rows:
        raise ValueError("rows: received none; a score needs at least one example")
    counts = scorer.counts(rows, predictions)
    parts = scorer.parts(counts.sum(0))
    score = parts[scorer.metric]
    floor_counts = {name: scorer.counts(rows, answers) for name, answers in scorer.floors(rows, train_rows).items()}
    floor_scores = {name: float(scorer.headline(each.sum(0))) for name, each in floor_counts.items()}

    def score_systems(sums: np.ndarray) -> np.ndarray:
        return scorer.headline(sums.reshape(len(sums), 1 + len(floor_counts), -1))

    # All systems side by side, [n, systems * k], so that one draw of examples serves them all.
    side_by_side = np.concatenate([counts, *floor_counts.values()], axis=1)
    resampled = bootstrap.resampled_scores(side_by_side, score_systems, seed, n_resamples)
    errors = np.std(resampled, axis=0, ddof=1)
    paired_errors = np.std(resampled[:, :1] - resampled[:, 1:], axis=0, ddof=1)
    distances = [
        degenerate.FloorDistance(name, floor, score - floor, float(error))
        for (name, floor), error in zip(floor_scores.items(), paired_errors, strict=True)
    ]
    return {
        "score": score,
        "metric": scorer.metric,
        "mode": scorer.mode,
        "stderr": float(errors[0]),
        "n_examples": len(rows),
        "floors": floor_scores,
        "degenerate": degenerate.judge(predictions, scorer.invalid_share(predictions), distances),
        "parts": parts,
        "similarity_model": used.name if (used := scorer.similarity()) else None,
    }
