"""What can be had without learning to read: answers that a model has to beat before it is worth comparing."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from distill_or_annotate.metrics.lookup import LookupTagger

Row = dict[str, Any]


def trivial_floors(
    rows: Sequence[Row], train_rows: Sequence[Row] | None, labels: Sequence[str]
) -> dict[str, list[str]]:
    """Returns the predictions of systems that learn nothing but the most frequent answer.

    Args:
      rows: evaluation rows.
      train_rows: the labels bought; None takes the most frequent answer from the evaluation rows.
      labels: label words for each of which there is a constant system; empty for tasks of free text.
    Returns:
      Name of the floor to its predictions, [n] each: `empty`, `copied_source`, `constant` (the most frequent target,
      or accepted answer) and `constant:LABEL`.
    """
    answers = Counter(answer for row in (train_rows or rows) for answer in {row["target"], *row.get("targets", ())})
    # Of equally frequent answers the smallest, so that the floor does not depend on the order of the rows.
    majority = min(answers, key=lambda answer: (-answers[answer], answer))
    floors = {
        "empty": [""] * len(rows),
        "copied_source": [row["source"] for row in rows],
        "constant": [majority] * len(rows),
    }
    floors |= {f"constant:{label}": [label] * len(rows) for label in labels}
    return floors


def lookup_floor(rows: Sequence[Row], train_rows: Sequence[Row], types: Sequence[str]) -> list[str]:
    """Returns the predictions of a lookup tagger trained on the labels that the model had.

    Args:
      rows: evaluation rows.
      train_rows: the labels bought.
      types: the entity types.
    Returns:
      Predictions, [n].
    """
    tagger = LookupTagger([row["source"] for row in train_rows], [row["target"] for row in train_rows], types)
    return [tagger.tag(row["source"]) for row in rows]
