"""One way to score a task: for the SeqIO task while it trains, for the pipeline and for `doa evaluate` afterwards."""

import dataclasses
import difflib
from collections.abc import Callable, Sequence

import numpy as np

from distill_or_annotate.metrics import bootstrap, classification, degenerate, entities, floors

Row = dict[str, str]
MODES = ("fair", "paper")


@dataclasses.dataclass(frozen=True)
class Metric:
    """How one kind of task is scored. All parts are in percent, higher is better.

    Args:
      headline: the part that is the score, by mode.
      counts: (targets, predictions, labels, mode) to per-example counts [n, k].
      parts: (summed counts [..., k], mode) to parts [...].
      invalid: (prediction, labels in upper case) to whether it is outside the task's form.
      constant_labels: whether each label by itself is an answer, so that it makes a floor.
      learner: (rows, train rows, labels) to predictions of a cheap learner, by name; None where there is none.
    """

    headline: dict[str, str]
    counts: Callable[[Sequence[str], Sequence[str], Sequence[str], str], np.ndarray]
    parts: Callable[[np.ndarray, str], dict[str, np.ndarray]]
    invalid: Callable[[str, frozenset[str]], bool]
    constant_labels: bool
    learner: tuple[str, Callable[[Sequence[Row], Sequence[Row], Sequence[str]], list[str]]] | None = None


def _entity_counts(targets, predictions, labels, mode):
    count = entities.paper_counts if mode == "paper" else entities.entity_counts
    return count(targets, predictions, labels)


def _entity_parts(sums, mode):
    if mode == "paper":
        return {"entity_f1": entities.percent(sums[..., 0], sums[..., 1])}
    parts = entities.f1_parts(sums)
    return {"entity_f1": parts["f1"], "entity_precision": parts["precision"], "entity_recall": parts["recall"]}


def _class_metric(fair: str, paper: str) -> Metric:
    return Metric(
        headline={"fair": fair, "paper": paper},
        counts=classification.class_counts,
        parts=lambda sums, mode: classification.class_parts(sums),
        invalid=lambda text, labels: text.strip().upper() not in labels,
        constant_labels=True,
    )


METRICS = {
    "entity_f1": Metric(
        headline={"fair": "entity_f1", "paper": "entity_f1"},
        counts=_entity_counts,
        parts=_entity_parts,
        invalid=entities.is_malformed,
        constant_labels=False,
        learner=("lookup", floors.lookup_floor),
    ),
    "accuracy": _class_metric("accuracy", "accuracy"),
    # The paper reports micro F1 for stance (its Table 9 shows both).
    "macro_f1": _class_metric("macro_f1", "micro_f1"),
}


class Scorer:
    """A metric with its labels and mode.

    Args:
      metric: a key of `METRICS`.
      labels: entity types or label words, at least one.
      mode: `fair` or `paper`.
    Raises:
      ValueError: an unknown metric or mode, or no labels.
    """

    def __init__(self, metric: str, labels: Sequence[str], mode: str = "fair"):
        if metric not in METRICS:
            near = difflib.get_close_matches(metric, METRICS, n=3)
            raise ValueError(
                f"metric: {metric!r} is not one of {sorted(METRICS)}" + (f"; near: {near}" if near else "")
            )
        if mode not in MODES:
            raise ValueError(f"mode: {mode!r} is not one of {MODES}")
        if not labels:
            raise ValueError(f"labels: metric {metric!r} needs the entity types or label words, received none")
        self._metric = METRICS[metric]
        self.labels, self.mode = tuple(labels), mode
        self.metric = self._metric.headline[mode]

    def counts(self, targets: Sequence[str], predictions: Sequence[str]) -> np.ndarray:
        """Counts example by example.

        Args:
          targets: gold targets, [n].
          predictions: predictions, [n].
        Returns:
          [n, k] float64; scores are functions of its sum over examples.
        Raises:
          ValueError: lengths differ.
        """
        if len(targets) != len(predictions):
            raise ValueError(
                f"received {len(targets)} targets and {len(predictions)} predictions; numbers must be equal"
            )
        return self._metric.counts(targets, predictions, self.labels, self.mode)

    def headline(self, sums: np.ndarray) -> np.ndarray:
        """Returns the score of summed counts.

        Args:
          sums: [..., k].
        Returns:
          Percent, [...].
        """
        return self._metric.parts(sums, self.mode)[self.metric]

    def scores(self, targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
        """Scores predictions.

        Args:
          targets: gold targets, [n], n at least 1.
          predictions: predictions, [n].
        Returns:
          All parts in percent, the one named `metric` among them.
        """
        sums = self.counts(targets, predictions).sum(0)
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
        systems = floors.trivial_floors(rows, train_rows, self.labels if self._metric.constant_labels else ())
        if self._metric.learner and train_rows:
            name, predict = self._metric.learner
            systems[name] = predict(rows, train_rows, self.labels)
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
      rows: evaluation rows with `source` and `target`, [n], n at least 1.
      predictions: the model's predictions, [n], in the same order.
      train_rows: the labels that the model had, for the floors; None when unknown.
      seed: seed of the bootstrap.
      n_resamples: resamples of the bootstrap.
    Returns:
      `score` (percent), `metric`, `mode`, `stderr`, `n_examples`, `floors` (name to percent), `degenerate` (see
      `degenerate.judge`), `parts` (name to percent). Plain values, ready for JSON.
    Raises:
      ValueError: no rows, or another number of predictions.
    """
    if not rows:
        raise ValueError("rows: received none; a score needs at least one example")
    targets = [row["target"] for row in rows]
    counts = scorer.counts(targets, predictions)
    parts = scorer.scores(targets, predictions)
    score = parts[scorer.metric]
    floor_counts = {name: scorer.counts(targets, answers) for name, answers in scorer.floors(rows, train_rows).items()}
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
    }
