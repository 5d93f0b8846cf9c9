"""Released labels as annotators: what k of them would give for an item, what that costs, who settles a dispute.

Each draw depends on the seed, the annotator and the item's text alone: the labels of a larger pool begin with those of
a smaller one, and a fifth annotator changes nothing of what the first four said.
"""

import dataclasses
import hashlib
import math
import re
from collections import Counter
from collections.abc import Sequence

from distill_or_annotate.annotators.confusion import Confusion
from distill_or_annotate.ledger.cap import check_max_usd
from distill_or_annotate.metrics.entities import is_malformed, parse_entities
from distill_or_annotate.preprocess.rows import Row

MAJORITY, ADJUDICATOR = "majority", "adjudicator"
# What looks like a type; a source may hold such words too.
_LABEL_LIKE = re.compile(r"\[[^\[\]\s]+\]")


class SimulationError(ValueError):
    """Annotators that cannot be."""


@dataclasses.dataclass(frozen=True)
class SpanNoise:
    """What an annotator of entities does wrong, beside mistaking one type for another.

    Attributes:
      missed: share of entities that are overlooked, 0 to 1.
      shifted: share of entities of several words that lose one at an end, 0 to 1.
    """

    missed: float = 0.0
    shifted: float = 0.0


@dataclasses.dataclass(frozen=True)
class Annotators:
    """A group of annotators.

    Attributes:
      confusion: of label words, or of entity types; the same for each.
      usd_per_judgement: dollars for one annotator's label of one item.
      n_annotators: how many label each item, at least 1.
      adjudication: `majority` (the first's label where none has more votes), or `adjudicator`, who labels what is
        disputed.
      adjudicator: confusion of the adjudicator; None takes one that is always right.
      adjudicator_usd: dollars for a judgement of the adjudicator.
      spans: noise of entities.
      batch_size: items that are bought together, at least 1; a batch is paid whole.
      seed: of all draws.
    """

    confusion: Confusion
    usd_per_judgement: float
    n_annotators: int = 1
    adjudication: str = MAJORITY
    adjudicator: Confusion | None = None
    adjudicator_usd: float = 0.0
    spans: SpanNoise = SpanNoise()
    batch_size: int = 1
    seed: int = 0

    def __post_init__(self):
        for field, least in (("n_annotators", 1), ("batch_size", 1), ("seed", -math.inf)):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                at_least = "" if math.isinf(least) else ", at least 1"
                raise SimulationError(f"{field}: received {value!r}; it must be a whole number{at_least}.")
        for field in ("usd_per_judgement", "adjudicator_usd"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise SimulationError(
                    f"{field}: received {value!r}; it must be a finite number of dollars, at least 0."
                )
        if self.adjudication not in (MAJORITY, ADJUDICATOR):
            raise SimulationError(f"adjudication: received {self.adjudication!r}; allowed: {MAJORITY}, {ADJUDICATOR}.")
        if not (0 <= self.spans.missed <= 1 and 0 <= self.spans.shifted <= 1):
            raise SimulationError(f"spans: received {self.spans}; shares of 0 to 1 are needed.")

    @property
    def provenance(self) -> str:
        """`assumed`, unless every matrix in use was fitted to several labels an item."""
        used = [self.confusion, *([self.adjudicator] if self.adjudicator else [])]
        # The noise of spans is always a guess.
        guessed = self.spans != SpanNoise() or (self.adjudication == ADJUDICATOR and self.adjudicator is None)
        return "assumed" if guessed or any(matrix.provenance == "assumed" for matrix in used) else "fitted"


@dataclasses.dataclass(frozen=True)
class Simulated:
    """What annotators gave.

    Attributes:
      labels: the label of each item that was bought, [m].
      votes: what each annotator gave, [m, k].
      n_disputed: items on which they did not agree.
      usd: dollars of all judgements.
      provenance: `assumed` or `fitted`.
    """

    labels: tuple[str, ...]
    votes: tuple[tuple[str, ...], ...]
    n_disputed: int
    usd: float
    provenance: str


def simulate(rows: Sequence[Row], annotators: Annotators, *, entities: bool, max_usd: float | None = None) -> Simulated:
    """Has a group of annotators label rows whose true label is known.

    Args:
      rows: rows with `source` and `target`.
      annotators: the group.
      entities: whether targets are `words [Type] words [Type]`, and not label words.
      max_usd: whole batches are bought as long as their dollars stay within it; None buys all.

    Raises:
      SimulationError: a target that the confusion matrix does not know.
      LedgerError: `max_usd` is no finite number of dollars of at least 0.
    """
    max_usd = check_max_usd(max_usd)
    labels: list[str] = []
    votes: list[tuple[str, ...]] = []
    usd, n_disputed = 0.0, 0
    for start in range(0, len(rows), annotators.batch_size):
        batch = rows[start : start + annotators.batch_size]
        said = [[_vote(row, annotators, who, entities) for who in range(annotators.n_annotators)] for row in batch]
        given = [tuple(map(_written, each)) for each in said]
        disputed = [len(set(each)) > 1 for each in given]
        batch_usd = len(batch) * annotators.n_annotators * annotators.usd_per_judgement
        if annotators.adjudication == ADJUDICATOR:
            batch_usd += sum(disputed) * annotators.adjudicator_usd
        if max_usd is not None and usd + batch_usd > max_usd + 1e-9:
            break
        usd, n_disputed = usd + batch_usd, n_disputed + sum(disputed)
        votes += given
        for row, each, is_disputed in zip(batch, said, disputed, strict=True):
            is_judged = is_disputed and annotators.adjudication == ADJUDICATOR
            labels.append(_judgement(row, annotators, entities) if is_judged else _majority(each, entities))
    return Simulated(tuple(labels), tuple(votes), n_disputed, usd, annotators.provenance)


# A label word, or the entities of a sentence: place among the true ones, words, type.
_Said = str | list[tuple[int, str, str]]


def _vote(row: Row, annotators: Annotators, who: int, entities: bool) -> _Said:
    name = f"{annotators.seed}:{who}:{row['source']}"
    if entities:
        return _spans(row, annotators.confusion, annotators.spans, name)
    return _confused(row["target"], annotators.confusion, name)


def _judgement(row: Row, annotators: Annotators, entities: bool) -> str:
    if annotators.adjudicator is None:
        return row["target"]
    name = f"{annotators.seed}:adjudicator:{row['source']}"
    if entities:
        return _written(_spans(row, annotators.adjudicator, SpanNoise(), name))
    return _confused(row["target"], annotators.adjudicator, name)


def _written(said: _Said) -> str:
    return said if isinstance(said, str) else " ".join(f"{words} [{kind}]" for _, words, kind in said)


def _confused(label: str, confusion: Confusion, name: str) -> str:
    index = {known.upper(): i for i, known in enumerate(confusion.labels)}
    if label.strip().upper() not in index:
        raise SimulationError(
            f"target: {label[:60]!r} is not among the labels {', '.join(confusion.labels)} of the confusion matrix."
        )
    shares, draw = confusion.matrix[index[label.strip().upper()]], _draw(f"{name}:label")
    for known, share in zip(confusion.labels, shares, strict=True):
        if draw < share:
            return known
        draw -= share
    return confusion.labels[int(shares.argmax())]  # the rounding of shares that add up to 1


def _entities(row: Row, confusion: Confusion) -> list[tuple[str, str]]:
    types, target = {label.upper() for label in confusion.labels}, row["target"]
    of_source = set(row["source"].split())
    named = [found for found in _LABEL_LIKE.findall(target) if found not in of_source]
    if unknown := [found for found in named if found[1:-1].upper() not in types]:
        raise SimulationError(
            f"target: the type {unknown[0][:60]} of {target[:60]!r} is not among {', '.join(confusion.labels)}."
        )
    if is_malformed(target, types):
        raise SimulationError(f"target: {target[:60]!r} is not of the form `words [Type] words [Type]`.")
    return parse_entities(target, types)


def _spans(row: Row, confusion: Confusion, noise: SpanNoise, name: str) -> list[tuple[int, str, str]]:
    given = []
    for position, (text, kind) in enumerate(_entities(row, confusion)):
        here = f"{name}:{position}"
        if _draw(f"{here}:missed") < noise.missed:
            continue
        words = text.split()
        if len(words) > 1 and _draw(f"{here}:shifted") < noise.shifted:
            words = words[1:] if _draw(f"{here}:end") < 0.5 else words[:-1]
        given.append((position, " ".join(words), _confused(kind, confusion, here)))
    return given


def _majority(said: Sequence[_Said], entities: bool) -> str:
    if not entities:
        # Of equally frequent ones the first annotator's: Counter keeps the order in which it met them.
        return Counter(said).most_common(1)[0][0]
    # An entity stands where more than half of the annotators have it, words and type alike.
    counts = Counter(entity for each in said for entity in each)
    return _written(sorted(entity for entity, count in counts.items() if 2 * count > len(said)))


def _draw(name: str) -> float:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") / 2**64
