"""Wet Lab Protocols as brat standoff: protocol_7.txt, one sentence a line, with protocol_7.ann beside it.

  T1<TAB>Action 0 3<TAB>Mix
  E1<TAB>Action:T1 Acts-on:T2       (events and relations are passed over)

With single ordinary spaces this gives the released rows exactly. Entities stand in the order of their first character;
of entities that overlap all are kept, the longer first; the pieces of a discontinuous one are joined by a space.
"""

import itertools
import os
import pathlib
from typing import NamedTuple

from distill_or_annotate.preprocess.official import wlp_text
from distill_or_annotate.preprocess.official.labels import LABELS
from distill_or_annotate.preprocess.official.reading import (
    Collector,
    OfficialRow,
    Paths,
    Reading,
    clean,
    known_label,
    text_lines,
    usable,
)
from distill_or_annotate.preprocess.rows import RowError


class _Entity(NamedTuple):
    start: int
    minus_end: int
    words: str
    kind: str


def read(paths: Paths, on_bad_row: str = "stop") -> Reading:
    """Reads protocols; arguments as in `Collector`, with `paths` the .txt files, the .ann file beside each.

    Returns:
      One row a line, grouped by protocol; a malformed annotation takes its sentence with it, one that cannot be placed
      the protocol.
    Raises:
      RowError: a malformed annotation or a missing .ann file, with `on_bad_row='stop'`.
    """
    collector = Collector(on_bad_row)
    for path in map(pathlib.Path, paths):
        try:
            _add_protocol(collector, path)
        except RowError as error:
            collector.bad(error)
    return collector.reading()


def annotations(path: str | os.PathLike) -> pathlib.Path:
    """Names the annotations of a protocol's text file."""
    return pathlib.Path(path).with_suffix(".ann")


def _add_protocol(collector: Collector, path: pathlib.Path) -> None:
    beside = annotations(path)
    if not beside.is_file():
        raise RowError(path, 0, "annotations", f"no {beside.name} beside it")
    # Offsets count characters of the file as it is: no line end may be translated.
    text = path.read_bytes().decode("utf-8", errors="surrogateescape")
    entities, spoilt = [], []
    for number, line in text_lines(beside):
        if not line.startswith("T"):
            continue
        pieces, kind, words = _placed(beside, number, line, len(text))
        place = (pieces[0][0], pieces[-1][1])
        try:
            known_label(beside, number, "type", kind, LABELS["wlp"])
            found = " ".join(text[start:end] for start, end in pieces)
            if clean(found) != clean(words):
                raise RowError(beside, number, "text", f"{words!r} does not stand at {place}, but {clean(found)!r}")
        except RowError as error:
            collector.bad(error)
            spoilt.append(place)
            continue
        collector.note("discontinuous entity: its pieces joined", len(pieces) > 1)
        entities.append(_Entity(place[0], -place[1], found, kind))
    _add_sentences(collector, path, text, sorted(entities), spoilt)


def _placed(path, number, line, n_characters) -> tuple[list[tuple[int, int]], str, str]:
    _, middle, *words = line.split("\t", 2)[:3] if line.count("\t") >= 2 else (None, "")
    kind, _, offsets = middle.partition(" ")
    try:
        pieces = [(int(piece.split()[0]), int(piece.split()[1])) for piece in offsets.split(";")]
    except (ValueError, IndexError):
        pieces = []
    if not pieces or not words:
        raise RowError(path, number, "offsets", f"ID, `TYPE START END` and text are needed, received {line[:60]!r}")
    flat = [offset for piece in pieces for offset in piece]
    if flat != sorted(flat) or flat[0] < 0 or flat[-1] > n_characters:
        raise RowError(path, number, "offsets", f"{offsets!r} does not fit a text of {n_characters} characters")
    return pieces, kind, words[0]


def _add_sentences(collector, path, text, entities, spoilt) -> None:
    start, number = 0, 0
    for line in text.split("\n"):
        end, number = start + len(line), number + 1
        here = [entity for entity in entities if start <= entity.start < end]
        whole = [entity for entity in here if -entity.minus_end <= end]
        is_spoilt = any(first < end and last > start for first, last in spoilt)
        start = end + 1
        if not clean(line) or is_spoilt:
            continue
        collector.note("entity beyond the end of its line: left out of the target", len(here) - len(whole))
        n_overlaps = sum(b.start < -a.minus_end for a, b in itertools.pairwise(whole))
        collector.note("overlapping entities: all kept, the longer first", n_overlaps)
        try:
            source = usable(path, number, "text", line)
        except RowError as error:
            collector.bad(error)
            continue
        target = wlp_text.target((entity.words, entity.kind) for entity in whole)
        collector.add(OfficialRow(source, target, path.stem))
