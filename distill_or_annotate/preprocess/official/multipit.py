"""MultiPIT: CSV files with a header `sentence1,sentence2,label` (crowd, expert) or `sentence1,sentence2` (automatic).

  sentence1,sentence2,label
  The cat sat down .,A cat took a seat .,1

Identification: source `sentence1: A sentence2: B`, target YES or NO. Generation: of each pair that is a paraphrase
(label 1, and every automatic pair) source A and target B. Sentences are tokenised in the files as they are in
released rows. The crowd file was not at hand: it is read by the three columns named above, others are passed over.
"""

import csv
import difflib
import os
import pathlib
from collections.abc import Iterator

from distill_or_annotate.preprocess.official.reading import Collector, OfficialRow, Paths, Reading, usable
from distill_or_annotate.preprocess.rows import RowError
from distill_or_annotate.preprocess.text import source_key

LABEL_WORDS = {"0": "NO", "1": "YES", "no": "NO", "yes": "YES"}
NOT_A_PARAPHRASE = "pair that is no paraphrase"

_PAIR = ("sentence1", "sentence2")


def pair(first: str, second: str) -> str:
    """Writes two sentences as the released source does.

    Args:
      first: the first sentence.
      second: the second.
    Returns:
      `sentence1: FIRST sentence2: SECOND`.
    """
    return f"sentence1: {first} sentence2: {second}"


def read_identification(paths: Paths, on_bad_row: str = "stop") -> Reading:
    """Reads labelled pairs; arguments as in `Collector`, with `paths` the files.

    Returns:
      One row a pair, grouped by first sentence.
    Raises:
      RowError: a malformed row or an unknown label, with `on_bad_row='stop'`.
    """
    collector = Collector(on_bad_row)
    for first, second, label in _labelled(paths, collector):
        collector.add(OfficialRow(pair(first, second), label, source_key(first)))
    return collector.reading()


def read_generation(paths: Paths, on_bad_row: str = "stop") -> Reading:
    """Reads the paraphrases among labelled pairs; arguments as in `Collector`, with `paths` the files.

    Returns:
      One row a paraphrase, grouped by first sentence; other pairs are left out.
    Raises:
      RowError: a malformed row or an unknown label, with `on_bad_row='stop'`.
    """
    collector = Collector(on_bad_row)
    for first, second, label in _labelled(paths, collector):
        if label == "YES":
            collector.add(OfficialRow(first, second, source_key(first)))
        else:
            collector.leave_out(NOT_A_PARAPHRASE)
    return collector.reading()


def read_automatic(paths: Paths, on_bad_row: str = "stop") -> Reading:
    """Reads automatic pairs, all of them paraphrases; arguments as in `Collector`, with `paths` the files.

    Returns:
      One row a pair, grouped by first sentence.
    Raises:
      RowError: a malformed row, with `on_bad_row='stop'`.
    """
    collector = Collector(on_bad_row)
    for _, _, (first, second) in _cells(paths, collector, _PAIR):
        collector.add(OfficialRow(first, second, source_key(first)))
    return collector.reading()


def read_pair_pool(paths: Paths, on_bad_row: str = "stop") -> Reading:
    """Reads pairs without their labels; arguments as in `Collector`, with `paths` the files.

    Returns:
      One row a pair, its target empty.
    Raises:
      RowError: a malformed row, with `on_bad_row='stop'`.
    """
    collector = Collector(on_bad_row)
    for _, _, (first, second) in _cells(paths, collector, _PAIR):
        collector.add(OfficialRow(pair(first, second), "", source_key(first)))
    return collector.reading()


def read_sentence_pool(paths: Paths, on_bad_row: str = "stop") -> Reading:
    """Reads first sentences; arguments as in `Collector`, with `paths` the files.

    Returns:
      One row a line of the file, its target empty; first sentences repeat.
    Raises:
      RowError: a malformed row, with `on_bad_row='stop'`.
    """
    collector = Collector(on_bad_row)
    for _, _, (first,) in _cells(paths, collector, _PAIR[:1]):
        collector.add(OfficialRow(first, "", source_key(first)))
    return collector.reading()


def _labelled(paths: Paths, collector: Collector) -> Iterator[tuple[str, str, str]]:
    for path, line, (first, second, label) in _cells(paths, collector, (*_PAIR, "label")):
        if (word := LABEL_WORDS.get(label.casefold().removesuffix(".0"))) is None:
            collector.bad(RowError(path, line, "label", f"unknown label {label!r}, not among 0, 1, NO, YES"))
        else:
            yield first, second, word


def _cells(paths: Paths, collector: Collector, columns: tuple[str, ...]):
    for path in paths:
        yield from _file_cells(path, collector, columns)


def _file_cells(path: str | os.PathLike, collector: Collector, columns: tuple[str, ...]):
    text = pathlib.Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="surrogateescape")
    reader = csv.reader(_physical_lines(text), strict=True)
    header: list[str] | None = None
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            collector.bad(RowError(path, reader.line_num, "csv", f"not CSV ({error})"))
            continue
        line = reader.line_num
        if not cells:
            continue
        if header is None:
            header = [name.strip() for name in cells]
            missing = [name for name in columns if name not in header]
            if missing:
                near = {name: difflib.get_close_matches(name, header, n=2, cutoff=0.5) for name in missing}
                hints = [f"{name!r} (near: {', '.join(found) or 'none'})" for name, found in near.items()]
                raise RowError(path, line, "header", f"no column {' nor '.join(hints)}; the header has {header}")
            places = [header.index(name) for name in columns]
            continue
        try:
            if len(cells) != len(header):
                raise RowError(path, line, "csv", f"{len(header)} cells are needed, received {len(cells)}")
            values = tuple(usable(path, line, n, cells[place]) for n, place in zip(columns, places, strict=True))
        except RowError as error:
            collector.bad(error)
        else:
            yield path, line, values


def _physical_lines(text: str) -> Iterator[str]:
    # Not str.splitlines: tweets hold U+2028 and its like, which end no line of a CSV file.
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end
