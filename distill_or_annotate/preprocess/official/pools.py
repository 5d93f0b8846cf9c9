"""Unlabeled pools: VitaminC claims, MS MARCO queries, and plain text (ChemSyn's sentences) one a line.

  VitaminC: {"unique_id": "7", "case_id": "7", "claim": "...", "evidence": "...", "label": "SUPPORTS", ...}
  MS MARCO: 121352<TAB>define extreme
  JSON:     {"text": "..."}

A pool row's target is empty. Repeated sources are dropped later, where the pool is put together.
"""

from distill_or_annotate.preprocess.official.questions import question
from distill_or_annotate.preprocess.official.reading import (
    Collector,
    OfficialRow,
    Paths,
    Reading,
    json_objects,
    needed,
    text_lines,
    usable,
)
from distill_or_annotate.preprocess.rows import RowError
from distill_or_annotate.preprocess.text import source_key


def read_vitaminc(paths: Paths, on_bad_row: str = "stop") -> Reading:
    """Reads VitaminC's claims; arguments as in `Collector`, with `paths` the files.

    Returns:
      One row a line of the file; claims repeat.
    Raises:
      RowError: a malformed row, with `on_bad_row='stop'`.
    """
    return _read_field(paths, on_bad_row, "claim")


def read_json_text(paths: Paths, on_bad_row: str = "stop") -> Reading:
    """Reads the field `text` of JSON lines; arguments as in `Collector`, with `paths` the files.

    Returns:
      One row a line of the file.
    Raises:
      RowError: a malformed row, with `on_bad_row='stop'`.
    """
    return _read_field(paths, on_bad_row, "text")


def read_msmarco(paths: Paths, on_bad_row: str = "stop") -> Reading:
    """Reads MS MARCO's queries; arguments as in `Collector`, with `paths` the files.

    Returns:
      One row a query, ended by a question mark as the released questions are.
    Raises:
      RowError: a line without a number, a tab and a query, with `on_bad_row='stop'`.
    """
    collector = Collector(on_bad_row)
    for path in paths:
        for line, text in text_lines(path):
            if not text.strip():
                continue
            try:
                number, tab, query = text.partition("\t")
                if not tab or not number.strip().isdigit():
                    raise RowError(path, line, "query", f"a number, a tab and a query are needed: {text[:60]!r}")
                _add(collector, question(usable(path, line, "query", query)))
            except RowError as error:
                collector.bad(error)
    return collector.reading()


def read_text(paths: Paths, on_bad_row: str = "stop") -> Reading:
    """Reads plain text, a sentence a line; arguments as in `Collector`, with `paths` the files.

    Returns:
      One row a line that is not blank.
    Raises:
      RowError: a line that is not UTF-8, with `on_bad_row='stop'`.
    """
    collector = Collector(on_bad_row)
    for path in paths:
        for line, text in text_lines(path):
            if not text.strip():
                continue
            try:
                _add(collector, usable(path, line, "text", text))
            except RowError as error:
                collector.bad(error)
    return collector.reading()


def _read_field(paths: Paths, on_bad_row: str, field: str) -> Reading:
    collector = Collector(on_bad_row)
    for path in paths:
        for line, row in json_objects(path, collector):
            try:
                _add(collector, usable(path, line, field, needed(path, line, row, field)))
            except RowError as error:
                collector.bad(error)
    return collector.reading()


def _add(collector: Collector, source: str) -> None:
    collector.add(OfficialRow(source, "", source_key(source)))
