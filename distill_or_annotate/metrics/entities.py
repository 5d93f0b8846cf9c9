"""Entity F1 for targets of the form `words [Type] words [Type]`, as in WLP.

Fair: micro F1 over the multiset of (entity text, type) of each sentence, so that a spurious entity costs precision.
Paper: what the reference implementation computes; see `paper_pairs` for its three peculiarities.
"""

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

# The 20 types of the reference implementation, in its order.
WLP_TYPES = (
    "Amount", "Reagent", "Device", "Time", "Speed", "Action", "Mention", "Location", "Numerical", "Method",
    "Temperature", "Modifier", "Concentration", "Size", "Generic-Measure", "Seal", "Measure-Type", "Misc", "pH", "Unit",
)  # fmt: skip
PAPER_UNKNOWN_TYPE = "AMOUNT"

Entity = tuple[str, str]


def closing_type(token: str, types: Collection[str]) -> str | None:
    """Reads a token as the end of an entity.

    Args:
      token: a piece of text without white space.
      types: the types in upper case.
    Returns:
      The type in upper case; None when the token is an ordinary word.
    """
    if "[" not in token or "]" not in token:
        return None
    inside = token[1:-1].upper()
    return inside if inside in types else None


def parse_entities(text: str, types: Collection[str]) -> list[Entity]:
    """Reads `words [Type] words [Type]` into entities; words after the last type belong to none.

    Args:
      text: a target or a prediction.
      types: the types in upper case.
    Returns:
      (words joined by single spaces, type in upper case), in order, repeated ones included.
    """
    entities, words = [], []
    for token in text.split():
        kind = closing_type(token, types)
        if kind is None:
            words.append(token)
        else:
            entities.append((" ".join(words), kind))
            words = []
    return entities


def is_malformed(text: str, types: Collection[str]) -> bool:
    """Tells whether a prediction breaks the form; an empty one does not (a sentence without entities).

    Args:
      text: a prediction.
      types: the types in upper case.
    Returns:
      True when words follow the last type, or an entity has no words.
    """
    tokens = text.split()
    if not tokens:
        return False
    return closing_type(tokens[-1], types) is None or any(not words for words, _ in parse_entities(text, types))


def entity_counts(targets: Sequence[str], predictions: Sequence[str], types: Collection[str]) -> np.ndarray:
    """Counts entities sentence by sentence.

    Args:
      targets: gold targets, [n].
      predictions: predictions, [n].
      types: the types, any case.
    Returns:
      [n, 3] float64: entities found, entities predicted, entities in the target.
    """
    upper = frozenset(kind.upper() for kind in types)
    counts = np.zeros((len(targets), 3))
    for i, (target, prediction) in enumerate(zip(targets, predictions, strict=True)):
        gold = Counter(parse_entities(target, upper))
        predicted = Counter(parse_entities(prediction, upper))
        counts[i] = (gold & predicted).total(), predicted.total(), gold.total()
    return counts


def f1_parts(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Turns counts into F1, precision and recall.

    Args:
      sums: [..., 3]: found, predicted, in the target.
    Returns:
      `f1`, `precision`, `recall` in percent, [...]; 0 where there is nothing to divide by, as in conlleval.
    """
    found, predicted, gold = (sums[..., i] for i in range(3))
    return {
        "f1": percent(2 * found, predicted + gold),
        "precision": percent(found, predicted),
        "recall": percent(found, gold),
    }


def percent(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divides, in percent.

    Args:
      part: counts, [...].
      whole: counts, [...].
    Returns:
      100 part / whole; 0 where the whole is 0.
    """
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return 100 * np.divide(part, whole, out=np.zeros(np.broadcast_shapes(part.shape, whole.shape)), where=whole != 0)


def paper_dict(text: str, types: Collection[str]) -> dict[str, str]:
    """Reads a target or prediction the way the reference implementation does.

    Its slice of an entity's tokens is one short, so the last word is lost; a closing token in first place takes all
    tokens of the sentence but the last; of entities with the same text the last one counts.

    Args:
      text: a target or a prediction.
      types: the types in upper case.
    Returns:
      Shortened text to type in upper case.
    """
    tokens = text.split()
    entities, start = {}, 0
    for i, token in enumerate(tokens):
        kind = closing_type(token, types)
        if kind is not None:
            entities[" ".join(tokens[start : i - 1])] = kind
            start = i + 1
    return entities


def paper_pairs(target: str, prediction: str, types: Collection[str]) -> list[tuple[str, str]]:
    """Pairs types as the reference implementation does: spurious entities are not seen.

    Args:
      target: the gold target.
      prediction: the prediction.
      types: the types in upper case.
    Returns:
      For each entity of the target its type and the one predicted for the same text, AMOUNT when there is none.
    """
    predicted = paper_dict(prediction, types)
    return [(kind, predicted.get(text, PAPER_UNKNOWN_TYPE)) for text, kind in paper_dict(target, types).items()]


def paper_counts(targets: Sequence[str], predictions: Sequence[str], types: Collection[str]) -> np.ndarray:
    """Counts the paper's pairs sentence by sentence; micro F1 over them is the share of equal ones.

    Args:
      targets: gold targets, [n].
      predictions: predictions, [n].
      types: the types, any case.
    Returns:
      [n, 2] float64: equal pairs, pairs.
    """
    upper = frozenset(kind.upper() for kind in types)
    counts = np.zeros((len(targets), 2))
    for i, (target, prediction) in enumerate(zip(targets, predictions, strict=True)):
        pairs = paper_pairs(target, prediction, upper)
        counts[i] = sum(gold == predicted for gold, predicted in pairs), len(pairs)
    return counts
