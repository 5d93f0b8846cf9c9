"""An append-only file of JSON lines: locked, synced to disk per append, readable after a write was cut short.

A write that dies half-way leaves a torn last line. The next append ends that line and adds a `repair` row, so that the
file is only ever appended to; a reader accepts broken lines at the end or right before a repair row, and nowhere else.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

Row = dict[str, Any]


class JournalError(ValueError):
    """Raised for a journal whose middle is broken: no crash of ours leaves that."""


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a journal holds.

    Attributes:
      rows: its rows in order, repair rows left out.
      torn: one sentence per line that a crash cut short.
    """

    rows: list[Row]
    torn: list[str]


def read_journal(path: pathlib.Path) -> Contents:
    """Reads a journal; a missing file is an empty one.

    Args:
      path: the file.

    Raises:
      JournalError: a broken line stands before an intact one that is no repair.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Contents([], [])
    rows: list[Row] = []
    torn: list[str] = []
    broken: list[tuple[int, int]] = []
    lines = data.split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        row = _parse(line)
        if row is None:
            broken.append((number, len(line)))
            continue
        is_repair = row.get("status") == "repair"
        if broken and not is_repair:
            raise JournalError(
                f"{path}:{broken[0][0]}: not a JSON object, and not the end of an interrupted write. "
                "The file was changed by hand or by another program; restore the line, or delete it knowingly."
            )
        torn += [f"{path.name}:{n}: {size} bytes of an interrupted write, not counted" for n, size in broken]
        broken = []
        if not is_repair:
            rows.append(row)
    torn += [f"{path.name}:{n}: {size} bytes of an interrupted write, not counted" for n, size in broken]
    return Contents(rows, torn)


class Journal:
    """Appends to one file under a lock that other processes and threads respect."""

    def __init__(self, path: pathlib.Path):
        """Makes a journal.

        Args:
          path: the file; it and its folder are made on the first append.
        """
        self.path = path

    @contextlib.contextmanager
    def transaction(self) -> Iterator["Transaction"]:
        """Holds the lock from reading to appending, so that a decision rests on what is really there."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # A lock file of its own: whoever waits must not hold a handle on a ledger that was replaced meanwhile.
        handle = os.open(self.path.with_name(f".{self.path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield Transaction(self.path)
        finally:
            os.close(handle)


class Transaction:
    """Reads and appends while the lock is held."""

    def __init__(self, path: pathlib.Path):
        self._path = path
        self.contents = read_journal(path)

    @property
    def rows(self) -> list[Row]:
        """The rows as they stand, those of this transaction included."""
        return self.contents.rows

    def append(self, rows: Sequence[Row]) -> None:
        """Writes rows in order, each synced to disk before the next.

        Args:
          rows: JSON-ready dicts; not-a-number is refused.
        """
        for row in rows:
            line = json.dumps(row, allow_nan=False, ensure_ascii=False).encode()
            is_new = not self._path.exists()
            # To the end even where a thread of an interrupted process still writes.
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                end = os.lseek(handle, 0, os.SEEK_END)
                _write_all(handle, _mend(handle, end) + line + b"\n")
                os.fsync(handle)
            finally:
                os.close(handle)
            if is_new:
                _sync_folder(self._path.parent)
            self.contents.rows.append(row)


def _parse(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _mend(handle: int, end: int) -> bytes:
    """Returns what must precede the next row: nothing, a line end, or a line end and a repair row."""
    if end == 0 or os.pread(handle, 1, end - 1) == b"\n":
        return b""
    tail = os.pread(handle, end, 0).rsplit(b"\n", 1)[-1]
    if _parse(tail) is not None:
        return b"\n"
    return b"\n" + json.dumps({"status": "repair", "torn_bytes": len(tail)}).encode() + b"\n"


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


def _sync_folder(folder: pathlib.Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
