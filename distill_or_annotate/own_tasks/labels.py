"""The labels of a user's task: which metric they call for, one spelling each, and those that training lacks."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence

from distill_or_annotate.metrics.classification import UnknownLabel, unknown_labels
from distill_or_annotate.own_tasks.tables import TableError
from distill_or_annotate.preprocess.rows import Row

METRICS = ("accuracy", "macro_f1", "entity_f1", "token_f1", "bert_ibleu", "chrf_ibleu")
CLASS_METRICS = ("accuracy", "macro_f1")
# Above this many different labels, or this share of different ones, they are taken for free text.
_MOST_CLASSES, _MOST_DISTINCT = 50, 0.2
_TYPE = re.compile(r"\[([^\[\]\s]+)\]")
_SHOWN = 5


def check_metric(metric: str | None) -> None:
    """Refuses a metric that there is not.

    Args:
      metric: a metric's name; None leaves the choice to `choose_metric`.

    Raises:
      TableError: naming near ones.
    """
    if metric is None or metric in METRICS:
        return
    near = difflib.get_close_matches(metric, METRICS, n=2)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise TableError(f"metric: received {metric!r}; {hint}allowed: {', '.join(METRICS)}.")


def choose_metric(targets: Sequence[str]) -> str:
    """Returns the metric that labels of this kind call for.

    Args:
      targets: the labels, at least one.

    Returns:
      entity_f1 where most hold a `[Type]`, accuracy where they repeat, else token_f1.
    """
    if sum(bool(_TYPE.search(target)) for target in targets) > len(targets) / 2:
        return "entity_f1"
    n_distinct = len({target.casefold() for target in targets})
    return "accuracy" if n_distinct <= max(2, min(_MOST_CLASSES, _MOST_DISTINCT * len(targets))) else "token_f1"


def entity_types(rows: Sequence[Row]) -> list[str]:
    """Returns the entity types of all targets, in order, repeated ones included.

    A word in brackets that the source has too, such as `[6.2]`, is a word of the text.

    Args:
      rows: rows with `source` and `target`.
    """
    return [kind for row in rows for kind in _TYPE.findall(row["target"]) if f"[{kind}]" not in row["source"].split()]


def label_words(metric: str, rows: Sequence[Row]) -> tuple[str, ...]:
    """Returns the labels that a metric must know, most frequent first, equally frequent ones in alphabetical order.

    Args:
      metric: one of `METRICS`.
      rows: the training rows.

    Returns:
      Label words or entity types, one spelling each; () for metrics of free text.

    Raises:
      TableError: entities are asked for and there are none, or there is but one class.
    """
    targets = [row["target"] for row in rows]
    if metric in CLASS_METRICS:
        found = targets
    elif metric == "entity_f1":
        found = entity_types(rows)
        if not found:
            raise TableError(
                "metric: 'entity_f1' needs labels of the form `words [Type] words [Type]`, and no label holds one; "
                f"the first is {targets[0]!r}. Fix: write them so, or name another --metric."
            )
    else:
        return ()
    spellings: dict[str, Counter[str]] = {}
    for label in found:
        spellings.setdefault(label.upper(), Counter())[label] += 1
    # Metrics compare in upper case, so of several spellings the most frequent one stands for all.
    words = {min(each, key=lambda word: (-each[word], word)): each.total() for each in spellings.values()}
    if metric in CLASS_METRICS and len(words) == 1:
        raise TableError(f"labels: all {len(targets)} training rows have the label {targets[0]!r}; two are needed.")
    return tuple(sorted(words, key=lambda word: (-words[word], word)))


def check_several(metric: str, rows: Sequence[Row]) -> None:
    """Refuses lists of answers where a metric takes one.

    Args:
      metric: one of `METRICS`.
      rows: all labelled rows.

    Raises:
      TableError: naming the first such row.
    """
    found = [row for row in rows if "targets" in row]
    if found and metric != "token_f1":
        raise TableError(
            f"labels: {len(found)} rows have lists of several, such as {found[0]['targets'][:3]}, and the metric "
            f"{metric!r} takes one. Fix: --metric token_f1, or one label a row."
        )


def one_spelling(rows: Sequence[Row], labels: Sequence[str]) -> tuple[list[Row], int]:
    """Writes each label as it stands among the label words.

    Args:
      rows: rows with `source` and `target`.
      labels: the label words.

    Returns:
      The rows, and how many were spelt otherwise.
    """
    spelling = {label.upper(): label for label in labels}
    made = [{**row, "target": spelling.get(row["target"].upper(), row["target"])} for row in rows]
    return made, sum(row["target"] != other["target"] for row, other in zip(rows, made, strict=True))


def unknown(metric: str, rows: Sequence[Row], labels: Sequence[str]) -> list[UnknownLabel]:
    """Lists the labels of evaluation rows that training lacks, each with the nearest.

    Args:
      metric: one of `METRICS`.
      rows: rows with `source` and `target`.
      labels: what `label_words` found in the training rows.

    Returns:
      Most frequent first; empty for metrics of free text.
    """
    if not labels:
        return []
    return unknown_labels(entity_types(rows) if metric == "entity_f1" else [row["target"] for row in rows], labels)


def check_known(split: str, path: object, metric: str, rows: Sequence[Row], labels: Sequence[str]) -> None:
    """Refuses evaluation rows with labels that no training row has.

    Args:
      split: the split's name.
      path: its file.
      metric: one of `METRICS`.
      rows: its rows.
      labels: the labels of the training rows.

    Raises:
      TableError: naming each with the nearest known one.
    """
    found = unknown(metric, rows, labels)
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise TableError(
            f"{path} ({split}): labels that no training row has: {', '.join(map(str, found[:_SHOWN]))}{more}. "
            f"Training has: {', '.join(map(repr, labels[:20]))}. Fix: mend them, or add training rows with them."
        )
