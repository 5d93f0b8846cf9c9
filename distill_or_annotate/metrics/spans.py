"""Span F1 in conlleval's manner for targets of the form `words [Type] words [Type]`.

Such a target names its entities but not their places. They are found by aligning the entities from left to right in the
source; then a predicted entity is right when the target has one of the same type in the same place. An entity that does
not stand in the source has no place: it is never right, and counts all the same.
"""

from collections.abc import Collection, Sequence

import numpy as np

from distill_or_annotate.metrics.entities import Entity, parse_entities

# First and last character (exclusive), counted without white space; None for an entity that does not stand there.
Place = tuple[int, int] | None


def align(source: str, entities: Sequence[Entity]) -> list[Place]:
    """Finds the places of entities, one after the other, none of them overlapping.

    White space does not count, case does. Each entity takes the first place after the one before it where it stands as
    whole words (a change from letters to digits parts words too), else the first place after the one before it, else
    the first place anywhere that no other has taken.

    Args:
      source: the sentence.
      entities: (text, type) in the order of the target.
    Returns:
      The place of each, in the same order.
    """
    text, edges = _squeezed(source)
    taken = bytearray(len(text))
    places: list[Place] = []
    after = 0
    for words, _ in entities:
        word = "".join(words.split())
        start = _find(text, word, after, taken, edges)
        start = _find(text, word, after, taken) if start < 0 else start
        start = _find(text, word, 0, taken) if start < 0 else start
        if start < 0:
            places.append(None)
            continue
        end = start + len(word)
        taken[start:end] = b"\1" * len(word)
        after = max(after, end)
        places.append((start, end))
    return places


def span_counts(
    sources: Sequence[str], targets: Sequence[str], predictions: Sequence[str], types: Collection[str]
) -> np.ndarray:
    """Counts entities in their places, sentence by sentence.

    Args:
      sources: sources, [n].
      targets: gold targets, [n].
      predictions: predictions, [n].
      types: the types, any case.
    Returns:
      [n, 3] float64: spans found, entities predicted, entities in the target.
    """
    upper = frozenset(kind.upper() for kind in types)
    counts = np.zeros((len(targets), 3))
    for i, (source, target, prediction) in enumerate(zip(sources, targets, predictions, strict=True)):
        (gold, n_gold), (predicted, n_predicted) = (_spans(source, text, upper) for text in (target, prediction))
        counts[i] = len(gold & predicted), n_predicted, n_gold
    return counts


def _spans(source: str, text: str, types: Collection[str]) -> tuple[set[tuple[int, int, str]], int]:
    entities = parse_entities(text, types)
    places = align(source, entities)
    spans = {(*place, kind) for place, (_, kind) in zip(places, entities, strict=True) if place is not None}
    return spans, len(entities)


def _squeezed(source: str) -> tuple[str, frozenset[int]]:
    """The source without white space, and the positions in it where a word begins or ends."""
    characters: list[str] = []
    edges = [0]
    before = ""
    for character in source:
        if not character.isspace():
            if _kind(before) != _kind(character) or _kind(character) == "mark":
                edges.append(len(characters))
            characters.append(character)
        before = character
        if _kind(character) in ("mark", "space"):
            edges.append(len(characters))
    return "".join(characters), frozenset([*edges, len(characters)])


def _kind(character: str) -> str:
    if not character or character.isspace():
        return "space"
    return "letter" if character.isalpha() else "digit" if character.isdecimal() else "mark"


def _find(text: str, word: str, start: int, taken: bytearray, edges: frozenset[int] | None = None) -> int:
    """The first free place of a word from `start` on, of whole words where `edges` are given; -1 for none."""
    found = text.find(word, start) if word else -1
    while found >= 0:
        end = found + len(word)
        if not any(taken[found:end]) and (edges is None or (found in edges and end in edges)):
            return found
        found = text.find(word, found + 1)
    return -1
