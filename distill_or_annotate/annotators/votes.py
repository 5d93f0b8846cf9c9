"""The labels that several annotators gave the same items, and the confusion matrix that is fitted to them."""

import json
import pathlib
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from distill_or_annotate.annotators import confusion as confusion_module
from distill_or_annotate.annotators.confusion import Confusion
from distill_or_annotate.annotators.forms import CLASSES, ENTITIES, NOTHING, LabelForm, Rejected
from distill_or_annotate.annotators.simulated import SimulationError
from distill_or_annotate.metrics.entities import parse_entities

# A source and what each annotator gave, None where one gave nothing.
_Voted = tuple[str, list[str | None]]


def fitted(path: pathlib.Path, form: LabelForm, gold: Mapping[str, str]) -> Confusion:
    """Fits a matrix to votes: with the true labels where `gold` has them all, else by Dawid and Skene.

    Of a task of entities each true entity is an item, and a vote on it the type that an annotator gave to the same
    words; one that was left out or cut otherwise is no vote.

    Args:
      path: JSON lines with `source` and a list of `votes`, null for an annotator who gave none.
      form: the task, of classes or entities.
      gold: source -> true label, as far as known.

    Returns:
      The matrix, one for all annotators.

    Raises:
      SimulationError: a line without source and votes, a vote or true label that is none of the task's, or entities
        whose truth is not known.
    """
    rows = _read(path, form)
    truth = {source: gold[source] for source, _ in rows if source in gold}
    if form.kind == ENTITIES:
        if unknown := [source for source, _ in rows if source not in truth]:
            raise SimulationError(
                f"{path}: {len(unknown):,} of {len(rows):,} sources have no true label, first {unknown[0][:60]!r}. "
                "Fix: a pool that holds them; mistakes in the types of entities can be fitted to true ones alone."
            )
        return confusion_module.fitted_to_gold(form.labels, *_entities(path, form, rows, truth))
    index = {label: number for number, label in enumerate(form.labels)}
    given = [[confusion_module.MISSING if vote is None else index[vote] for vote in votes] for _, votes in rows]
    table = _table(given)
    if all(source in truth for source, _ in rows):
        true = [index[_label(path, form, source, truth[source])] for source, _ in rows]
        return confusion_module.fitted_to_gold(form.labels, np.array(true), table)
    return confusion_module.fitted_to_votes(form.labels, table)[0]


def _read(path: pathlib.Path, form: LabelForm) -> list[_Voted]:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            source, votes = row["source"], row["votes"]
            if not isinstance(source, str) or not isinstance(votes, list):
                raise TypeError("source must be a text and votes a list")
        except (ValueError, KeyError, TypeError) as error:
            raise SimulationError(
                f"{path}, line {number}: source and a list of votes are needed ({error!r})."
            ) from None
        where = f"{path}, line {number}"
        rows.append((source, [None if vote is None else _label(where, form, source, vote) for vote in votes]))
    if not any(vote is not None for _, votes in rows for vote in votes):
        raise SimulationError(f"{path}: no votes. Fix: write JSON lines with source and votes.")
    return rows


def _label(where: object, form: LabelForm, source: str, text: object) -> str:
    """A label in the task's spelling."""
    try:
        return form.read(NOTHING if form.kind == ENTITIES and text == "" else str(text), source)
    except Rejected as error:
        allowed = ", ".join(form.labels) if form.kind == CLASSES else "words [Type] words [Type]"
        said = f"{str(text)[:60]!r} for {source[:60]!r}"
        raise SimulationError(f"{where}: {said}: {error}. Allowed: {allowed}.") from None


def _entities(
    path: pathlib.Path, form: LabelForm, rows: Sequence[_Voted], truth: Mapping[str, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Types of the true entities [n], and those that annotators gave the same words [n, k]."""
    index = {label.upper(): number for number, label in enumerate(form.labels)}
    true, given = [], []
    for source, votes in rows:
        entities = parse_entities(_label(path, form, source, truth[source]), index)
        said = [None if vote is None else parse_entities(vote, index) for vote in votes]
        seen = Counter()
        for words, kind in entities:
            true.append(index[kind])
            # Words that stand there twice are matched in their order.
            given.append([_nth(each or (), words, seen[words], index) for each in said])
            seen[words] += 1
    if not true:
        raise SimulationError(f"{path}: its sources hold no entity. Fix: votes on sentences that do.")
    return np.array(true), _table(given)


def _nth(entities: Sequence[tuple[str, str]], words: str, place: int, index: Mapping[str, int]) -> int:
    kinds = [index[kind] for text, kind in entities if text == words]
    return kinds[place] if place < len(kinds) else confusion_module.MISSING


def _table(rows: Sequence[Sequence[int]]) -> np.ndarray:
    """Votes [n, k], with as many annotators as the item that has most."""
    table = np.full((len(rows), max(map(len, rows))), confusion_module.MISSING)
    for row, each in zip(table, rows, strict=True):
        row[: len(each)] = each
    return table
