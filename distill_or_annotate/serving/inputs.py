"""Rows to predict on: JSON lines, CSV, TSV or one text a line, from a file or standard input, with every field kept."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from distill_or_annotate.own_tasks.tables import TableError, missing_column
from distill_or_annotate.preprocess.text import one_line

FORMATS = ("jsonl", "csv", "tsv", "text")
STDIN = "-"
_BY_ENDING = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv",
    ".txt": "text",
}  # fmt: skip


class RowError(ValueError):
    """A row that cannot be used.

    Args:
      where: file and line.
      problem: what is wrong, and how to mend it.
    """

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(one_line(f"{where}: {problem}"))


@dataclasses.dataclass(frozen=True)
class Table:
    """An input that was read once from end to end: its rows are known to be sound.

    Attributes:
      name: the file, or `standard input`.
      form: one of `FORMATS`.
      field: the field that is read by the model.
      sha256: of its bytes.
      n_rows: rows that can be used.
      bad: messages for those that cannot, with file and line; empty unless they are skipped.
    """

    name: str
    form: str
    field: str
    sha256: str
    n_rows: int
    bad: tuple[str, ...]
    _path: Path
    _taken: frozenset[str]

    def rows(self, start: int = 0) -> Iterator[dict[str, Any]]:
        """The usable rows in order, each with all of its fields.

        Args:
          start: how many to pass over.
        """
        number = 0
        with self._path.open("rb") as stream:
            for row in _parsed(stream, self.name, self.form, self.field, self._taken):
                if isinstance(row, RowError):
                    continue
                if number >= start:
                    yield row
                number += 1


@contextlib.contextmanager
def opened(
    source: str,
    field: str = "source",
    form: str | None = None,
    taken: frozenset[str] = frozenset(),
    skip_bad: bool = False,
) -> Iterator[Table]:
    """Reads an input through, before anything is spent on its rows.

    Args:
      source: a file, or `-` for standard input; that and pipes are kept in a temporary file while the block runs.
      field: the field that the model reads.
      form: one of `FORMATS`; None goes by the file's ending, and takes standard input for JSON lines.
      taken: fields that the output adds, which a row must not have.
      skip_bad: leave out rows that cannot be used instead of stopping.

    Yields:
      The table.

    Raises:
      ValueError: naming file, line and field, for a row that cannot be used or a field that is nowhere.
      OSError: there is no such file.
    """
    with contextlib.ExitStack() as stack:
        path, name = Path(source), "standard input" if source == STDIN else source
        form = form or ("jsonl" if source == STDIN else _BY_ENDING.get(path.suffix.lower()))
        if form is None:
            raise TableError(
                f"{source}: files ending in {path.suffix or 'nothing'!r} are not read; allowed: "
                f"{', '.join(_BY_ENDING)}. Fix: say what it holds with --format {', '.join(FORMATS)}."
            )
        if path.is_dir():
            raise TableError(f"{source} is a folder; name the file in it.")
        if source == STDIN or path.is_fifo() or path.is_char_device():
            kept = stack.enter_context(tempfile.NamedTemporaryFile(prefix="doa-predict-"))
            with contextlib.nullcontext(sys.stdin.buffer) if source == STDIN else path.open("rb") as stream:
                shutil.copyfileobj(stream, kept)
            kept.flush()
            path = Path(kept.name)
        yield _checked(path, name, form, field, taken, skip_bad)


def _checked(path: Path, name: str, form: str, field: str, taken: frozenset[str], skip_bad: bool) -> Table:
    n_rows, bad = 0, []
    with path.open("rb") as stream:
        for row in _parsed(stream, name, form, field, taken):
            if not isinstance(row, RowError):
                n_rows += 1
            elif skip_bad:
                bad.append(str(row))
            else:
                raise row
    if bad and not n_rows:
        raise TableError(f"{name} holds no row that can be used; the first: {bad[0]}")
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return Table(name, form, field, sha256, n_rows, tuple(bad), path, taken)


def _parsed(
    stream: IO[bytes], name: str, form: str, field: str, taken: frozenset[str]
) -> Iterator[dict[str, Any] | RowError]:
    lines = _decoded(stream, name)
    if form == "text":
        for _, line in lines:
            if line.strip():
                yield {field: line.rstrip("\r\n")}
    elif form == "jsonl":
        for number, line in lines:
            if line.strip():
                yield _object(line, f"{name}, line {number}", field, taken)
    else:
        yield from _records(lines, name, field, taken, "\t" if form == "tsv" else ",")


def _decoded(stream: IO[bytes], name: str) -> Iterator[tuple[int, str]]:
    for number, raw in enumerate(stream, start=1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise RowError(f"{name}, line {number}", f"it is not UTF-8 ({error}). Fix: save it as UTF-8.") from error
        yield number, line


def _object(line: str, where: str, field: str, taken: frozenset[str]) -> dict[str, Any] | RowError:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        hint = " It is a JSON array: write one object a line." if line.lstrip().startswith("[") else ""
        return RowError(where, f"it is not JSON ({error}).{hint} Fix the row, or --on-bad-row skip.")
    if not isinstance(row, dict):
        return RowError(where, f"it is a {type(row).__name__}, not an object. Fix the row, or --on-bad-row skip.")
    if field not in row:
        return RowError(where, f"no field {field!r}; it has {sorted(row)}. Fix: --field NAME.")
    text = row[field]
    if not isinstance(text, str):
        return RowError(where, f"field {field!r} is {type(text).__name__}, not a text. Fix the row.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return RowError(where, f"field {field!r} holds half of a surrogate pair, which UTF-8 cannot carry.")
    if crossed := sorted(taken & row.keys()):
        return RowError(where, _crossing(crossed[0]))
    return row


def _crossing(name: str) -> str:
    return f"it has a field {name!r} already, which the prediction would replace. Fix: rename it in the input."


def _records(
    lines: Iterator[tuple[int, str]], name: str, field: str, taken: frozenset[str], delimiter: str
) -> Iterator[dict[str, Any] | RowError]:
    reader = csv.reader((line for _, line in lines), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        start = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            # Quotes that do not match: where the next row begins is anyone's guess, so nothing after it is a row.
            raise RowError(
                f"{name}, line {start}", f"no table from here on ({error}). Fix: close or double the quotes there."
            ) from error
        if header is None:
            header = [column.strip() for column in record]
            _check_header(name, header, field, taken)
        elif not record:
            continue
        elif len(record) != len(header):
            problem = f"it has {len(record)} cells, the header {len(header)}. Fix the row, or --on-bad-row skip."
            yield RowError(f"{name}, line {start}", problem)
        else:
            yield dict(zip(header, record, strict=True))
    if header is None:
        raise TableError(f"{name} is empty; a header is needed.")


def _check_header(name: str, header: list[str], field: str, taken: frozenset[str]) -> None:
    if field not in header:
        raise missing_column(name, field, header, "field")
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        raise TableError(f"{name}: {header.count(twice[0])} columns are named {twice[0]!r}. Fix: rename all but one.")
    if crossed := sorted(taken & set(header)):
        raise RowError(f"{name}, line 1", _crossing(crossed[0]))
