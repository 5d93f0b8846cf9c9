"""How long inputs and targets are, and what the task's lengths cut off.

In tokens of the task's vocabulary. Where that cannot be reached, in words between white space, which is said wherever a
number is shown: a word is one token or more, so that the shares cut off are lower bounds then.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from distill_or_annotate.preprocess.rows import Row

UNITS = ("tokens", "words")
_MOST_BINS = 40
_REPORT_EVERY_ROWS = 1000


@dataclasses.dataclass(frozen=True)
class Encoder:
    """What cuts a text into the pieces that are counted.

    Args:
      unit: one of `UNITS`.
      encode: text to pieces, without end of sequence.
      unknown_id: the piece that stands for what the vocabulary lacks; None when there is none.
      reason: why words are counted; None for tokens.
    """

    unit: str
    encode: Callable[[str], Sequence[Any]]
    unknown_id: int | None = None
    reason: str | None = None


@dataclasses.dataclass(frozen=True)
class LengthStats:
    """Lengths of one feature, end of sequence included.

    Args:
      limit: longest that the task keeps whole.
      n_over: rows that are longer.
      share_over: the same as a share of the rows, 0 to 1.
      median: half of the rows are at most this long.
      p95: 95 of 100 are.
      p99: 99 of 100 are.
      longest: the longest.
      bin_starts: first length of each bin of the histogram; the last bin takes all that is longer.
      bin_counts: rows in each bin.
      n_rows_with_unknown: rows with a piece that the vocabulary lacks; None where words are counted.
    """

    limit: int
    n_over: int
    share_over: float
    median: int
    p95: int
    p99: int
    longest: int
    bin_starts: tuple[int, ...]
    bin_counts: tuple[int, ...]
    n_rows_with_unknown: int | None


@dataclasses.dataclass(frozen=True)
class Lengths:
    """Lengths of a split.

    Args:
      unit: one of `UNITS`.
      reason: why words are counted; None for tokens.
      inputs: prefix and source.
      targets: target; None for a split without labels.
    """

    unit: str
    reason: str | None
    inputs: LengthStats
    targets: LengthStats | None


def encoder_of(make_vocabulary: Callable[[], Any]) -> Encoder:
    """Loads a vocabulary, or falls back to words.

    Args:
      make_vocabulary: makes a SeqIO vocabulary.
    Returns:
      An encoder into tokens; into words, with the reason, where the vocabulary cannot be read.
    """
    try:
        vocabulary = make_vocabulary()
        vocabulary.encode("a")
    # The file may be on a disk, a server or a bucket: each fails in its own way, and none of them is the data's fault.
    except Exception as error:
        return Encoder("words", str.split, reason=str(error).strip() or type(error).__name__)
    return Encoder("tokens", vocabulary.encode, getattr(vocabulary, "unk_id", None))


def measure(
    rows: Sequence[Row],
    encoder: Encoder,
    input_tokens: int,
    target_tokens: int,
    prefix: str = "",
    labelled: bool = True,
    advance: Callable[[int], None] = lambda n_rows: None,
) -> Lengths:
    """Measures a split.

    Args:
      rows: its rows, at least one.
      encoder: what cuts texts into pieces.
      input_tokens: the task's input length, end of sequence included; at least 1.
      target_tokens: the task's target length, end of sequence included; at least 1.
      prefix: what the task puts before each source.
      labelled: whether the targets count.
      advance: told how many more rows are done.
    Returns:
      The lengths.
    """
    known: dict[str, tuple[int, bool]] = {}

    def piece_count(text: str) -> tuple[int, bool]:
        # Label words and repeated sentences are encoded once.
        if text not in known:
            pieces = encoder.encode(text)
            known[text] = len(pieces) + 1, encoder.unknown_id is not None and encoder.unknown_id in pieces
        return known[text]

    inputs, targets = [], []
    for done, row in enumerate(rows, start=1):
        inputs.append(piece_count(prefix + row["source"]))
        if labelled:
            targets.append(piece_count(row["target"]))
        if done % _REPORT_EVERY_ROWS == 0:
            advance(_REPORT_EVERY_ROWS)
    advance(len(rows) % _REPORT_EVERY_ROWS)
    has_unknown = encoder.unknown_id is not None
    return Lengths(
        unit=encoder.unit,
        reason=encoder.reason,
        inputs=_stats(inputs, input_tokens, has_unknown),
        targets=_stats(targets, target_tokens, has_unknown) if labelled else None,
    )


def histogram(lengths: Sequence[int], limit: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Counts lengths in bins of equal width, the limit being the end of one.

    Args:
      lengths: lengths, [n], n and each at least 1.
      limit: the task's length.
    Returns:
      The first length of each bin and its count, [bins] each. Empty bins at the end are left out; the last of
      the possible bins takes all that is longer.
    """
    widest = max(limit, int(np.percentile(lengths, 99.5)))
    # Bins end at the limit, so that none holds both kept and cut rows: their width divides it.
    width = next(w for w in range(1, limit + 1) if limit % w == 0 and (widest < _MOST_BINS * w or w == limit))
    n_bins = min(-(-widest // width), _MOST_BINS) + 1
    numbers = np.minimum((np.asarray(lengths) - 1) // width, n_bins - 1)
    counts = np.bincount(numbers)
    return tuple(1 + width * i for i in range(len(counts))), tuple(int(n) for n in counts)


def _stats(measured: Sequence[tuple[int, bool]], limit: int, has_unknown: bool) -> LengthStats:
    lengths = np.array([length for length, _ in measured])
    median, p95, p99 = (int(np.percentile(lengths, q, method="inverted_cdf")) for q in (50, 95, 99))
    starts, counts = histogram(lengths, limit)
    n_over = int((lengths > limit).sum())
    return LengthStats(
        limit=limit,
        n_over=n_over,
        share_over=n_over / len(lengths),
        median=median,
        p95=p95,
        p99=p99,
        longest=int(lengths.max()),
        bin_starts=starts,
        bin_counts=counts,
        n_rows_with_unknown=sum(unknown for _, unknown in measured) if has_unknown else None,
    )
