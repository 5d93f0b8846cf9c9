"""Sources that stand in two splits, word for word or nearly."""

import dataclasses
import itertools
import re
import unicodedata
from collections.abc import Mapping, Sequence

from distill_or_annotate.data.checking.counts import answer_of
from distill_or_annotate.data.checking.privacy import masked
from distill_or_annotate.preprocess.rows import Row
from distill_or_annotate.preprocess.text import source_key

N_EXAMPLES = 3
_EXAMPLE_CHARACTERS = 90
# A handle or a link says who spoke and where, not what.
_NOT_WORDS = re.compile(r"https?://\S+|\bhttpurl\b|(?<!\w)@\w+|[^\w\s]|_")


@dataclasses.dataclass(frozen=True)
class SourceIndex:
    """The distinct sources of a split.

    Args:
      sources: `source_key` to the source as first written.
      answers: `source_key` to the distinct targets of its rows.
      near: `near_key` to the `source_key`s that have it.
    """

    sources: Mapping[str, str]
    answers: Mapping[str, frozenset[str]]
    near: Mapping[str, frozenset[str]]

    def n_near_duplicates(self) -> int:
        """Returns how many distinct sources are near-duplicates of an earlier one."""
        return len(self.sources) - len(self.near)


@dataclasses.dataclass(frozen=True)
class Overlap:
    """What two splits share.

    Args:
      first: a split.
      second: another.
      n_sources: distinct sources in both, by `source_key`.
      n_same_answer: of these, those with a target in common.
      n_near: distinct sources of `first` that are not in `second`, but a near-duplicate of one there.
      n_near_of_second: the same the other way round.
      first_share: `n_sources` over the distinct sources of `first`, 0 to 1.
      second_share: the same for `second`.
      same_rows: whether all sources and targets are the same.
      examples: up to `N_EXAMPLES` of the sources, personal data masked.
    """

    first: str
    second: str
    n_sources: int
    n_same_answer: int
    n_near: int
    n_near_of_second: int
    first_share: float
    second_share: float
    same_rows: bool
    examples: tuple[str, ...]


def near_key(source: str) -> str:
    """Returns the key under which two sources are near-duplicates.

    Args:
      source: a row's source.
    Returns:
      Its words in one case and one Unicode form, without punctuation, handles and links; for a source without any
      words its `source_key`.
    """
    text = unicodedata.normalize("NFKC", source).casefold()
    return " ".join(_NOT_WORDS.sub(" ", text).split()) or source_key(source)


def index(rows: Sequence[Row]) -> SourceIndex:
    """Indexes the sources of a split.

    Args:
      rows: its rows.
    Returns:
      The index.
    """
    sources: dict[str, str] = {}
    answers: dict[str, set[str]] = {}
    for row in rows:
        key = source_key(row["source"])
        sources.setdefault(key, row["source"])
        answers.setdefault(key, set()).add(answer_of(row))
    near: dict[str, set[str]] = {}
    for key, source in sources.items():
        near.setdefault(near_key(source), set()).add(key)
    return SourceIndex(sources, _frozen(answers), _frozen(near))


def overlap(first: str, first_index: SourceIndex, second: str, second_index: SourceIndex) -> Overlap:
    """Compares two splits.

    Args:
      first: a split's name.
      first_index: its sources.
      second: another split's name.
      second_index: its sources.
    Returns:
      What they share. With the splits exchanged the numbers are the same, exchanged.
    """
    shared = sorted(first_index.sources.keys() & second_index.sources.keys())
    common_near = first_index.near.keys() & second_index.near.keys()
    near, near_of_second = (
        sum(source not in other.sources for key in common_near for source in one.near[key])
        for one, other in ((first_index, second_index), (second_index, first_index))
    )
    return Overlap(
        first=first,
        second=second,
        n_sources=len(shared),
        n_same_answer=sum(bool(first_index.answers[key] & second_index.answers[key]) for key in shared),
        n_near=near,
        n_near_of_second=near_of_second,
        first_share=len(shared) / max(1, len(first_index.sources)),
        second_share=len(shared) / max(1, len(second_index.sources)),
        same_rows=first_index.answers == second_index.answers,
        examples=tuple(_example(first_index.sources[key]) for key in shared[:N_EXAMPLES]),
    )


def overlaps(indices: Mapping[str, SourceIndex]) -> list[Overlap]:
    """Compares each split with each later one.

    Args:
      indices: split to its sources.
    Returns:
      One `Overlap` a pair, in the order of the splits.
    """
    return [overlap(a, indices[a], b, indices[b]) for a, b in itertools.combinations(indices, 2)]


def _frozen(sets: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    return {key: frozenset(values) for key, values in sets.items()}


def _example(source: str) -> str:
    text = masked(" ".join(source.split()))
    return text if len(text) <= _EXAMPLE_CHARACTERS else text[: _EXAMPLE_CHARACTERS - 3] + "..."
