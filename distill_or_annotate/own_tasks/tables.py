"""Reads a user's table: CSV, TSV, JSON lines, Parquet, or plain text with one text a line.

What cannot be read for certain is refused with file, line and a fix; nothing is guessed about an encoding.
"""

from __future__ import annotations

import csv
import dataclasses
import difflib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from distill_or_annotate.preprocess.text import one_line

_DELIMITERS = (",", ";", "\t", "|")
FORMATS = {
    ".csv": "CSV", ".tsv": "TSV", ".tab": "TSV", ".jsonl": "JSON lines", ".ndjson": "JSON lines",
    ".json": "JSON lines", ".parquet": "Parquet", ".pq": "Parquet", ".txt": "text",
}  # fmt: skip
# Longer marks first: UTF-32's begins with UTF-16's.
_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_SHOWN = 5


Cell = str | tuple[str, ...]


class TableError(ValueError):
    """A table, or a cell of it, that cannot be used.

    Args:
      message: what is wrong, and how to mend it.
    """

    def __init__(self, message: str):
        super().__init__(one_line(message))


@dataclasses.dataclass(frozen=True)
class BadRow:
    """A row that cannot be used.

    Args:
      line: line of the file, or row of a Parquet file, from 1.
      problem: the field and what is wrong with it.
    """

    line: int
    problem: str


@dataclasses.dataclass(frozen=True)
class Table:
    """The wanted columns of a file.

    Args:
      path: the file.
      form: how it was read, for people.
      cells: line (or row of a Parquet file, from 1) and column -> text, in order; an absent cell is ''. A list of
        texts, as JSON and Parquet have them, is a tuple.
      bad: rows that are no rows of this table.
    """

    path: str
    form: str
    cells: tuple[tuple[int, Mapping[str, Cell]], ...]
    bad: tuple[BadRow, ...] = ()


def read_table(
    path: str | os.PathLike, columns: Sequence[str], encoding: str | None = None, delimiter: str | None = None
) -> Table:
    """Reads some columns of a file, in the form that its name's ending says.

    Args:
      path: a file whose name ends in one of `FORMATS`.
      columns: names of the wanted columns; a text file has one, under whatever name.
      encoding: Python's name of the encoding; None takes UTF-8, or what a byte order mark says.
      delimiter: what separates the cells of a CSV file; None finds out from the header.

    Returns:
      The table; blank lines are passed over.

    Raises:
      TableError: the file cannot be read, or lacks a column; the message says which lines and how to mend it.
      OSError: there is no such file.
    """
    path = Path(path)
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        raise TableError(
            f"{path}: files ending in {path.suffix or 'nothing'!r} are not read; allowed: {', '.join(FORMATS)}. "
            "Fix: rename the file after what it holds, or export it as CSV."
        )
    if path.is_dir():
        raise TableError(f"{path} is a folder; name the file in it.")
    if form == "Parquet":
        return _parquet(path, columns)
    text, encoding = decode(path, encoding)
    if form == "text":
        if len(columns) > 1:
            raise TableError(
                f"{path} is plain text, which has one column, not {', '.join(columns)}. Fix: give a table."
            )
        lines = [(i, {columns[0]: line}) for i, line in enumerate(text.split("\n"), start=1) if line.strip()]
        return _table(path, f"text, {encoding}", lines, [])
    if form == "JSON lines":
        return _json_lines(path, text, columns, encoding)
    return _csv(path, text, columns, delimiter or ("\t" if form == "TSV" else None), f"{form}, {encoding}")


def decode(path: Path, encoding: str | None = None) -> tuple[str, str]:
    """Reads a text file whose encoding is certain.

    Args:
      path: the file.
      encoding: Python's name of it; None takes UTF-8, or what a byte order mark says.

    Returns:
      The text with line ends as `\\n`, and the encoding's name.

    Raises:
      TableError: the bytes are not of this encoding; lines are named.
    """
    data = path.read_bytes()
    if not data.strip():
        raise TableError(f"{path} is empty; a header and at least one row are needed.")
    name = encoding or next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(name)
    except LookupError as error:
        raise TableError(f"encoding: {name!r} is none that Python knows ({error}); such as utf-8, cp1252.") from error
    except UnicodeError as error:
        raise TableError(_undecodable(path, data, name, error)) from error
    if "\0" in text:
        raise TableError(
            f"{path} holds zero bytes, which no text does. Fix: if it is UTF-16, say --encoding utf-16-le; else it is "
            "damaged or no text file."
        )
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n"), name


def _undecodable(path: Path, data: bytes, name: str, error: UnicodeError) -> str:
    if name not in ("utf-8", "utf-8-sig"):
        return f"{path} is not {name} ({error}). Fix: name its encoding with --encoding, or save it as UTF-8."
    bad, foreign = [], 0
    for number, line in enumerate(data.split(b"\n"), start=1):
        try:
            foreign += not line.decode("utf-8").isascii()
        except UnicodeDecodeError:
            bad.append(number)
    lines = ", ".join(map(str, bad[:_SHOWN])) + (" ..." if len(bad) > _SHOWN else "")
    if foreign:
        return (
            f"{path} mixes encodings: {len(bad)} lines are not UTF-8 (lines {lines}), {foreign} others with accents or "
            "signs are. Fix: save those lines as UTF-8; no one encoding reads the file rightly."
        )
    return (
        f"{path} is not UTF-8 (lines {lines}). Fix: name its encoding, such as --encoding cp1252 for an export of "
        "Excel, or save it as UTF-8."
    )


def missing_column(path: object, column: str, header: Sequence[str], option: str = "column") -> TableError:
    """The error for a header that lacks a column, with near names.

    Args:
      path: the file.
      column: the wanted column.
      header: the names that there are.
      option: what asked for it.
    """
    known = {name.casefold(): name for name in reversed(header)}
    near = [known[name] for name in difflib.get_close_matches(column.casefold(), known, n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return TableError(f"{path}: no {option} {column!r} in its header; {hint}It has: {', '.join(map(repr, header))}.")


def _table(path: Path, form: str, cells, bad) -> Table:
    if not cells:
        reason = f"; {len(bad)} lines are malformed, the first (line {bad[0].line}): {bad[0].problem}" if bad else ""
        raise TableError(f"{path} holds no row{reason}. At least one is needed.")
    return Table(str(path), form, tuple(cells), tuple(bad))


def _csv(path: Path, text: str, columns: Sequence[str], delimiter: str | None, form: str) -> Table:
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\n'):
        raise TableError(f"delimiter: received {delimiter!r}; it must be one character, such as ';' or a tab.")
    if delimiter is None:
        headers = {mark: _first(text, mark) for mark in _DELIMITERS}
        # The one under which most wanted columns are there; of equals the one that cuts most.
        delimiter = max(_DELIMITERS, key=lambda mark: (len({*headers[mark]} & {*columns}), len(headers[mark])))
    records = _csv_records(path, text, delimiter)
    _, header = next(records, (0, []))
    header = [name.strip() for name in header]
    for column in columns:
        if column not in header:
            raise missing_column(path, column, header)
        if header.count(column) > 1:
            raise TableError(f"{path}: {header.count(column)} columns are named {column!r}. Fix: rename all but one.")
    places = {column: header.index(column) for column in columns}
    cells, bad = [], []
    for line, record in records:
        if len(record) == len(header):
            cells.append((line, {column: record[place] for column, place in places.items()}))
        else:
            bad.append(BadRow(line, f"it has {len(record)} cells, the header {len(header)}"))
    return _table(path, form + (f", separated by {delimiter!r}" if delimiter != "," else ""), cells, bad)


def _first(text: str, delimiter: str) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])]
    except csv.Error:
        return []


def _csv_records(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise TableError(
                f"{path}, line {line}: no CSV from here on ({error}). Fix: close or double the quotes there, or export "
                "the table as JSON lines."
            ) from error
        if record:
            yield line, record


def _json_lines(path: Path, text: str, columns: Sequence[str], encoding: str) -> Table:
    cells, bad, seen = [], [], {}
    for line, raw in enumerate(text.split("\n"), start=1):
        if not raw.strip():
            continue
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError) as error:
            if not seen and raw.lstrip().startswith("["):
                raise TableError(
                    f"{path} is a JSON array, not JSON lines. Fix: write one object a line "
                    "(jq -c '.[]' FILE > FILE.jsonl)."
                ) from error
            bad.append(BadRow(line, f"it is not JSON ({error})"))
            continue
        if not isinstance(value, dict):
            bad.append(BadRow(line, f"it is a {type(value).__name__}, not an object"))
            continue
        seen.update(dict.fromkeys(value))
        try:
            cells.append((line, {column: _cell(column, value.get(column)) for column in columns}))
        except TableError as error:
            bad.append(BadRow(line, str(error)))
    for column in columns:
        if seen and column not in seen:
            raise missing_column(path, column, list(seen))
    return _table(path, f"JSON lines, {encoding}", cells, bad)


def _parquet(path: Path, columns: Sequence[str]) -> Table:
    import pyarrow.parquet

    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file.")
    try:
        header = pyarrow.parquet.read_schema(path).names
        absent = [column for column in columns if column not in header]
        values = [] if absent else pyarrow.parquet.read_table(path, columns=list(columns)).to_pylist()
    except Exception as error:  # Arrow raises errors of many kinds over a damaged file
        raise TableError(f"{path} cannot be read as Parquet ({type(error).__name__}: {error}).") from error
    if absent:
        raise missing_column(path, absent[0], header)
    cells, bad = [], []
    for number, value in enumerate(values, start=1):
        try:
            cells.append((number, {column: _cell(column, value[column]) for column in columns}))
        except TableError as error:
            bad.append(BadRow(number, str(error)))
    return _table(path, "Parquet", cells, bad)


def _cell(column: str, value: object) -> Cell:
    """A value as text; numbers and truth values as Python writes them, what is not there as ''."""
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return tuple(str(_cell(column, part)) for part in value)
    if value is None or value != value:  # NaN stands for nothing in data frames
        return ""
    if isinstance(value, str):
        if "\0" in value:
            raise TableError(f"field {column!r} holds zero bytes, which no text does")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise TableError(f"field {column!r} holds half of a surrogate pair, which UTF-8 cannot carry") from None
        return value
    if isinstance(value, bool | int | float):
        return str(value)
    raise TableError(f"field {column!r} is a {type(value).__name__}; a text or a number is needed")
