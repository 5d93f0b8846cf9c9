"""How the answers are spread: label words, entity types, or free text."""

import dataclasses
import difflib
import re
from collections import Counter
from collections.abc import Sequence

from distill_or_annotate.metrics.classification import UnknownLabel, unknown_labels
from distill_or_annotate.metrics.entities import is_malformed, parse_entities
from distill_or_annotate.preprocess.rows import Row

CLASS_METRICS = ("accuracy", "macro_f1")
_BRACKETS = re.compile(r"\[([^\[\]\s]*)\]")
_NEAR = 0.5


@dataclasses.dataclass(frozen=True)
class Labels:
    """The answers of a split.

    Args:
      kind: `class`, `entity` or `text`.
      counts: label to rows, or entity type to entities, in the task's order, zeros included; empty for `text`.
      unknown: labels or types that the task does not have, most frequent first.
      n_malformed: entity targets that break the form (words after the last type, or a type without words).
      n_distinct_targets: distinct targets.
      top_share: share of the rows that have the most frequent target, 0 to 1.
      top_target: this target.
      n_target_is_source: rows whose target repeats the source.
    """

    kind: str
    counts: dict[str, int]
    unknown: tuple[UnknownLabel, ...]
    n_malformed: int
    n_distinct_targets: int
    top_share: float
    top_target: str
    n_target_is_source: int


def spread(rows: Sequence[Row], metric: str, labels: Sequence[str]) -> Labels:
    """Counts the answers of a split.

    Args:
      rows: labelled rows, at least one.
      metric: the task's metric, which tells what its targets are.
      labels: the task's label words or entity types; may be empty for free text.
    Returns:
      The counts.
    """
    targets = [row["target"] for row in rows]
    kind = "class" if metric in CLASS_METRICS else "entity" if metric == "entity_f1" else "text"
    counts, unknown, n_malformed = {}, [], 0
    if kind == "class":
        found = Counter(target.strip().upper() for target in targets)
        counts = {label: found[label.strip().upper()] for label in labels}
        unknown = unknown_labels(targets, labels)
    elif kind == "entity":
        types = frozenset(label.upper() for label in labels)
        found = Counter(name for target in targets for _, name in parse_entities(target, types))
        counts = {label: found[label.upper()] for label in labels}
        unknown = unknown_types(targets, labels)
        n_malformed = sum(is_malformed(target, types) for target in targets)
    distinct = Counter(targets)
    top = min(distinct, key=lambda target: (-distinct[target], target))
    return Labels(
        kind=kind,
        counts=counts,
        unknown=tuple(unknown),
        n_malformed=n_malformed,
        n_distinct_targets=len(distinct),
        top_share=distinct[top] / len(rows),
        top_target=top,
        n_target_is_source=sum(row["target"].split() == row["source"].split() for row in rows),
    )


def unknown_types(targets: Sequence[str], types: Sequence[str]) -> list[UnknownLabel]:
    """Lists the words in brackets that look like an entity type and are none.

    A target may quote brackets of its source, so these are hints.

    Args:
      targets: targets of a file, [n].
      types: the task's entity types.
    Returns:
      Each with the number of targets that have it and the nearest type, most frequent first.
    """
    known = {name.upper(): name for name in types}
    n_rows: Counter[str] = Counter()
    for target in targets:
        n_rows.update({word for word in _BRACKETS.findall(target) if word.upper() not in known})
    found = []
    for word, n in sorted(n_rows.items(), key=lambda item: (-item[1], item[0])):
        near = difflib.get_close_matches(word.upper(), known, n=1, cutoff=_NEAR)
        found.append(UnknownLabel(f"[{word}]", n, known[near[0]] if near else None))
    return found
