"""What a reader of an official form hands back, and the parts that readers share.

A row leaves a file in one of three ways: it is used; it is *left out* for a reason that lies in the data set (a tweet
whose text its authors blanked); or it is *skipped* as malformed, which only happens with `on_bad_row='skip'`.
"""

import dataclasses
import difflib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from distill_or_annotate.preprocess.rows import ON_BAD_ROW, RowError

Paths = Sequence[str | os.PathLike]


class OfficialRow(NamedTuple):
    """A row in the released text-to-text form.

    Args:
      source: what the model reads, without the task's prefix.
      target: what it is to write; empty in a pool.
      group: rows of one group (a protocol, a claim, a question) must not be split over train and test.
      targets: all accepted answers, the target first; () where there is one.
    """

    source: str
    target: str
    group: str
    targets: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Reading:
    """What the files of one form held.

    Args:
      rows: the usable rows, in file order.
      skipped: malformed rows; empty unless read with `on_bad_row='skip'`.
      left_out: reason -> number of rows the data set itself makes unusable.
      noted: observation -> number of times it was made on rows that were used.
    """

    rows: tuple[OfficialRow, ...]
    skipped: tuple[RowError, ...]
    left_out: Counter[str]
    noted: Counter[str]


class Collector:
    """Gathers rows, and what became of the others.

    Args:
      on_bad_row: `stop` raises at the first malformed row, `skip` counts it.
    Raises:
      ValueError: an unknown `on_bad_row`.
    """

    def __init__(self, on_bad_row: str = "stop"):
        if on_bad_row not in ON_BAD_ROW:
            raise ValueError(f"on_bad_row: {on_bad_row!r} is not one of {ON_BAD_ROW}")
        self._stop = on_bad_row == "stop"
        self._rows: list[OfficialRow] = []
        self._skipped: list[RowError] = []
        self._left_out: Counter[str] = Counter()
        self._noted: Counter[str] = Counter()

    def add(self, row: OfficialRow) -> None:
        """Takes a usable row."""
        self._rows.append(row)

    def bad(self, error: RowError) -> None:
        """Takes a malformed row: raises it, or counts it."""
        if self._stop:
            raise error
        self._skipped.append(error)

    def leave_out(self, reason: str, n_rows: int = 1) -> None:
        """Counts `n_rows` rows that the data set makes unusable, under `reason`."""
        self._left_out[reason] += n_rows

    def note(self, observation: str, n_times: int = 1) -> None:
        """Counts `observation` on rows that are used, `n_times`."""
        self._noted[observation] += n_times

    def reading(self) -> Reading:
        """Returns everything gathered so far.

        Returns:
          The rows, and what became of the others.
        """
        return Reading(tuple(self._rows), tuple(self._skipped), +self._left_out, +self._noted)


def clean(text: str) -> str:
    """Makes one line of a text: released rows hold single ordinary spaces only.

    Args:
      text: any text.
    Returns:
      The text with each run of white space (line ends, no-break spaces) as one space, none at its ends.
    """
    return " ".join(text.split())


def text_lines(path: str | os.PathLike) -> Iterator[tuple[int, str]]:
    """Reads the lines of a text file; bytes that are not UTF-8 become lone surrogates, which `usable` reports.

    Args:
      path: the file; split at line feeds alone, as text contains U+2028 and its like.
    Yields:
      Line number from 1, and the line without its end.
    """
    with open(path, "rb") as file:
        for number, raw in enumerate(file, start=1):
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            yield number, raw.decode("utf-8", errors="surrogateescape").rstrip("\r\n")


def usable(path: str | os.PathLike, line: int, field: str, value: Any) -> str:
    """Checks a text that a row holds.

    Args:
      path: the file.
      line: line number, from 1.
      field: the field's name.
      value: what the field holds.
    Returns:
      The text, cleaned.
    Raises:
      RowError: it is no string, empty, or not UTF-8.
    """
    if not isinstance(value, str):
        raise RowError(path, line, field, f"a string is needed, received {type(value).__name__}")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise RowError(
            path,
            line,
            "encoding",
            f"field {field!r} holds what UTF-8 cannot carry (stray bytes, half a surrogate pair)",
        )
    if "\0" in value:
        raise RowError(path, line, "encoding", f"field {field!r} holds zero bytes: damaged, or UTF-16")
    if not (text := clean(value)):
        raise RowError(path, line, field, "empty; some text is needed")
    return text


def json_objects(path: str | os.PathLike, collector: Collector) -> Iterator[tuple[int, dict[str, Any]]]:
    """Reads JSON lines.

    Args:
      path: the file.
      collector: told of lines that hold no JSON object.
    Yields:
      Line number from 1, and the object.
    """
    for number, line in text_lines(path):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            collector.bad(RowError(path, number, "json", f"not JSON ({error}): {line.strip()[:60]!r}"))
            continue
        if isinstance(value, dict):
            yield number, value
        else:
            collector.bad(RowError(path, number, "json", f"an object is needed, received {type(value).__name__}"))


def needed(path: str | os.PathLike, line: int, row: dict[str, Any], field: str) -> Any:
    """Looks a field up.

    Args:
      path: the file.
      line: line number, from 1.
      row: the object.
      field: the field's name.
    Returns:
      What the field holds.
    Raises:
      RowError: the row has no such field.
    """
    if field not in row:
        raise RowError(path, line, field, f"missing; the row has {sorted(row)}")
    return row[field]


def known_label(path: str | os.PathLike, line: int, field: str, value: str, labels: Iterable[str]) -> str:
    """Checks a label.

    Args:
      path: the file.
      line: line number, from 1.
      field: the field's name.
      value: the label.
      labels: the labels of the data set.
    Returns:
      The label.
    Raises:
      RowError: an unknown label; the nearest known ones are named.
    """
    labels = tuple(labels)
    if value not in labels:
        by_case = {label.casefold(): label for label in labels}
        near = difflib.get_close_matches(value.casefold(), by_case, n=2, cutoff=0.5)
        hint = f"; did you mean {' or '.join(repr(by_case[name]) for name in near)}?" if near else ""
        raise RowError(path, line, field, f"unknown label {value!r}, not among {', '.join(labels)}{hint}")
    return value
