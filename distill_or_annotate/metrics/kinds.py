"""The kinds of metric by name: how each counts, what its parts are, which floors go with it."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from distill_or_annotate.metrics import classification, entities, floors, generation, question_answering, spans
from distill_or_annotate.metrics.similarity import Similarity

Row = dict[str, Any]
Learner = Callable[[Sequence[Row], Sequence[Row], Sequence[str]], list[str]]


@dataclasses.dataclass(frozen=True)
class Batch:
    """What is scored together.

    Args:
      answers: accepted answers of each example, [n], each at least one, the target first.
      predictions: predictions, [n].
      sources: sources, [n]; None when unknown.
      labels: entity types or label words.
      mode: `fair` or `paper`.
      similarity: what compares texts by their meaning, for metrics that need it.
    """

    answers: Sequence[tuple[str, ...]]
    predictions: Sequence[str]
    sources: Sequence[str] | None
    labels: Sequence[str]
    mode: str
    similarity: Similarity | None = None

    def targets(self) -> list[str]:
        """Returns the target of each example, for metrics that know one right answer.

        Returns:
          [n].
        Raises:
          ValueError: an example has several.
        """
        for answers in self.answers:
            if len(answers) != 1:
                raise ValueError(
                    f"targets: received {len(answers)} accepted answers {list(answers[:3])} for one example; this "
                    "metric takes one target. Give one, or use the metric 'token_f1'."
                )
        return [answer for (answer,) in self.answers]


@dataclasses.dataclass(frozen=True)
class Metric:
    """How one kind of task is scored. Parts are in percent; higher is better unless named in `lower_is_better`.

    Args:
      headline: the part that is the score, by mode.
      counts: a batch to per-example counts [n, k].
      parts: (summed counts [..., k], mode) to parts [...].
      invalid: (prediction, labels in upper case) to whether it is outside the task's form.
      needs_sources: modes in which it cannot score without the sources.
      needs_similarity: whether it compares meanings, by what `similarity.py` offers.
      needs_labels: whether it cannot score without entity types or label words.
      constant_labels: whether each label by itself is an answer, so that it makes a floor.
      learners: name of a cheap learner to (rows, train rows, labels) to its predictions.
      lower_is_better: parts of which less is better.
    """

    headline: dict[str, str]
    counts: Callable[[Batch], np.ndarray]
    parts: Callable[[np.ndarray, str], dict[str, np.ndarray]]
    invalid: Callable[[str, frozenset[str]], bool]
    needs_sources: frozenset[str] = frozenset()
    needs_similarity: bool = False
    needs_labels: bool = True
    constant_labels: bool = False
    learners: Mapping[str, Learner] = dataclasses.field(default_factory=dict)
    lower_is_better: frozenset[str] = frozenset()


def _entity_counts(batch: Batch) -> np.ndarray:
    targets = batch.targets()
    if batch.mode == "paper":
        return entities.paper_counts(targets, batch.predictions, batch.labels)
    counts = entities.entity_counts(targets, batch.predictions, batch.labels)
    if batch.sources is None:
        return counts
    placed = spans.span_counts(batch.sources, targets, batch.predictions, batch.labels)
    return np.concatenate([counts, placed], axis=1)


def _entity_parts(sums: np.ndarray, mode: str) -> dict[str, np.ndarray]:
    if mode == "paper":
        return {"entity_f1": entities.percent(sums[..., 0], sums[..., 1])}
    parts = {f"entity_{name}": value for name, value in entities.f1_parts(sums[..., :3]).items()}
    if sums.shape[-1] > 3:
        # Places are known where the sources are.
        parts |= {f"span_{name}": value for name, value in entities.f1_parts(sums[..., 3:]).items()}
    return parts


def _ibleu_metric(name: str, similarity: str, similar: Callable[[Batch], generation.Similar]) -> Metric:
    return Metric(
        headline={"fair": name, "paper": name},
        counts=lambda b: generation.ibleu_counts(b.answers, b.predictions, b.sources, similar(b), b.mode),
        parts=lambda sums, mode: generation.ibleu_parts(sums, name, similarity),
        invalid=_is_empty,
        needs_sources=frozenset({"fair"}),
        needs_similarity=name == "bert_ibleu",
        needs_labels=False,
        lower_is_better=frozenset({"self_bleu", "copied"}),
    )


def _class_metric(fair: str, paper: str) -> Metric:
    # Macro F1 asks for rare classes, which a learner of all rows alike hardly answers with.
    balanced = functools.partial(floors.tfidf_floor, class_weight="balanced")
    return Metric(
        headline={"fair": fair, "paper": paper},
        counts=lambda b: classification.class_counts(b.targets(), b.predictions, b.labels, b.mode),
        parts=lambda sums, mode: classification.class_parts(sums),
        invalid=lambda text, labels: text.strip().upper() not in labels,
        constant_labels=True,
        learners={"tfidf_logistic": floors.tfidf_floor} | ({"tfidf_balanced": balanced} if fair == "macro_f1" else {}),
    )


def _is_empty(text: str, labels: frozenset[str]) -> bool:
    return not text.strip()


METRICS = {
    "entity_f1": Metric(
        headline={"fair": "entity_f1", "paper": "entity_f1"},
        counts=_entity_counts,
        parts=_entity_parts,
        invalid=entities.is_malformed,
        learners={"lookup": floors.lookup_floor},
    ),
    "accuracy": _class_metric("accuracy", "accuracy"),
    # The paper reports micro F1 for stance (its Table 9 shows both).
    "macro_f1": _class_metric("macro_f1", "micro_f1"),
    "token_f1": Metric(
        headline={"fair": "token_f1", "paper": "token_f1"},
        counts=lambda b: question_answering.answer_counts(b.answers, b.predictions, b.mode),
        parts=lambda sums, mode: question_answering.answer_parts(sums),
        invalid=_is_empty,
        needs_labels=False,
    ),
    "bert_ibleu": _ibleu_metric("bert_ibleu", "bert_score", lambda b: b.similarity.f1),
    "chrf_ibleu": _ibleu_metric("chrf_ibleu", "chrf", lambda b: generation.chrfs),
}
