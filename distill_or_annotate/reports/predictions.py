"""What the models of a run answered, example by example: the ground of paired tests and of scores per class."""

import dataclasses
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from distill_or_annotate.reports.inputs import RunFiles

# Fields of a row that say what it belongs to, the first that stands there.
_CLUSTERS = ("group", "claim_id", "protocol_id", "claim", "protocol")
# Stance examples hold their claim in the source; many share one.
_CLAIM = re.compile(r"claim: (.*?) tweet: ", re.DOTALL)
_TYPE = re.compile(r"\[([^\[\]\s]+)\]")
# Scores of results.jsonl and those counted again here must agree to this many points.
_TOLERANCE = 1e-6


@dataclasses.dataclass(frozen=True)
class Answers:
    """One model's answers on the test examples.

    Attributes:
      run_id: the training stage.
      rows: source, target, prediction and what else the data says of each example.
      scorer: scores them (metrics.evaluation.Scorer).
      counts: per-example counts, [n, k].
    """

    run_id: str
    rows: tuple[Mapping[str, Any], ...]
    scorer: Any
    counts: Any

    @property
    def clusters(self) -> list[str] | None:
        """What each example belongs to (a claim, a protocol), or None where the data has no such ids."""
        return _clusters(self.rows)

    @property
    def cluster_name(self) -> str:
        """What the clusters are, for people."""
        found = next((name for name in _CLUSTERS if name in self.rows[0]), "claim")
        return found.removesuffix("_id")

    @property
    def examples(self) -> list[str]:
        """The sources: models are compared on the same ones only."""
        return [row["source"] for row in self.rows]


class Predictions:
    """The answers that a run's evaluations left, read when they are asked for.

    Args:
      run: the run's files.
    """

    def __init__(self, run: RunFiles):
        self._folders = _evaluations(run.stages)
        self._rows = {run_id: row for row in run.results for run_id in row.get("run_ids") or []}
        self._read: dict[str, Answers | None] = {}

    def of(self, run_id: str) -> Answers | None:
        """Returns a model's answers, or None where they are not at hand or give another score than the one reported.

        Args:
          run_id: its training stage.
        """
        if run_id not in self._read:
            known = run_id in self._folders and run_id in self._rows
            self._read[run_id] = _answers(run_id, self._folders[run_id], self._rows[run_id]) if known else None
        return self._read[run_id]

    def of_all(self, run_ids: Sequence[str]) -> list[Answers] | None:
        """Returns the answers of several models, or None where one's are not at hand or were given on other examples.

        Args:
          run_ids: their training stages.
        """
        found = [self.of(run_id) for run_id in run_ids]
        if not found or any(answers is None for answers in found):
            return None
        return found if all(answers.examples == found[0].examples for answers in found) else None


def _evaluations(stages: pathlib.Path) -> dict[str, pathlib.Path]:
    """Training stage -> folder of its evaluation."""
    found = {}
    for path in sorted(stages.glob("evaluate-*/evaluation.json")):
        subject = json.loads(path.read_text(encoding="utf-8")).get("subject")
        if subject and (path.parent / "predictions.jsonl").is_file():
            found[subject] = path.parent
    return found


def _answers(run_id: str, folder: pathlib.Path, result: Mapping[str, Any]) -> Answers | None:
    facts = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    with (folder / "predictions.jsonl").open(encoding="utf-8") as lines:
        rows = tuple(json.loads(line) for line in lines)
    if not rows:
        return None
    scorer = _scorer(facts, rows)
    if scorer is None:
        return None
    counts = scorer.counts(rows, [row["prediction"] for row in rows])
    if abs(float(scorer.headline(counts.sum(0))) - result["score"]) > _TOLERANCE:
        return None
    return Answers(run_id, rows, scorer, counts)


def _scorer(facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Any:
    """The scorer that gave a headline; labels that the evaluation does not name are those of the targets."""
    from distill_or_annotate.metrics.evaluation import Scorer
    from distill_or_annotate.metrics.kinds import METRICS

    mode = facts.get("mode", "fair")
    kind = next((name for name, metric in METRICS.items() if metric.headline[mode] == facts["metric"]), None)
    # An encoder is not run for a report.
    if kind is None or METRICS[kind].needs_similarity:
        return None
    labels = facts.get("labels")
    if labels is None and METRICS[kind].needs_labels:
        labels = _labels_in(rows, by_word=METRICS[kind].constant_labels)
    try:
        return Scorer(kind, labels=tuple(labels or ()), mode=mode)
    except ValueError:
        return None


def _labels_in(rows: Sequence[Mapping[str, Any]], by_word: bool) -> list[str]:
    if by_word:
        return sorted({row["target"].strip() for row in rows})
    return sorted({kind for row in rows for kind in _TYPE.findall(row["target"])})


def _clusters(rows: Sequence[Mapping[str, Any]]) -> list[str] | None:
    name = next((name for name in _CLUSTERS if all(name in row for row in rows)), None)
    if name is not None:
        return [str(row[name]) for row in rows]
    claims = [_CLAIM.search(row["source"]) for row in rows]
    return [claim.group(1) for claim in claims] if all(claims) else None
