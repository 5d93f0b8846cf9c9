"""What the beginning of a file tells about its form: each test says why a file cannot be of a form, or None."""

import dataclasses
import difflib
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

from distill_or_annotate.preprocess.official import wlp_brat, wlp_conll
from distill_or_annotate.preprocess.text import one_line

_SAMPLE_BYTES, _LINE_BYTES = 1 << 16, 1 << 22
_MAGIC = {
    b"\x1f\x8b": ("compressed (gzip)", "unpack it: gunzip FILE"),
    b"PK\x03\x04": ("an archive (zip)", "unpack it: python -m zipfile -e FILE FOLDER"),
    b"PAR1": ("Parquet", "official forms are text; for tables of your own there is `doa task add`"),
    b"\xff\xfe": ("in UTF-16", "convert it: iconv -f UTF-16 -t UTF-8"),
    b"\xfe\xff": ("in UTF-16", "convert it: iconv -f UTF-16 -t UTF-8"),
}


class NotPlainError(ValueError):
    """A file that is no text in UTF-8.

    Args:
      message: what it is, and how to mend it.
    """

    def __init__(self, message: str):
        super().__init__(one_line(message, 500))


@dataclasses.dataclass(frozen=True)
class Head:
    """The beginning of a file.

    Args:
      path: the file.
      lines: the first lines that are not blank.
      first: the JSON object on the first line; None where there is none.
    """

    path: pathlib.Path
    lines: tuple[str, ...]
    first: dict[str, Any] | None


def head(path: str | os.PathLike) -> Head:
    """Reads the beginning of a file.

    Args:
      path: the file.
    Returns:
      Its first lines, a last one that was cut short excepted.
    Raises:
      OSError: the file cannot be read.
      NotPlainError: it is compressed, binary or in UTF-16.
    """
    with open(path, "rb") as file:
        sample = file.read(_SAMPLE_BYTES)
        if len(sample) == _SAMPLE_BYTES:
            # The first line whole, however long: a row of KILT carries all its passages.
            sample = sample + file.readline(_LINE_BYTES) if b"\n" not in sample else sample[: sample.rindex(b"\n")]
    for magic, (what, fix) in _MAGIC.items():
        if sample.startswith(magic):
            raise NotPlainError(f"{os.fspath(path)} is {what}; {fix}")
    text = sample.decode("utf-8", errors="replace").removeprefix("\ufeff")
    lines = tuple(line for line in text.split("\n") if line.strip())
    try:
        first = json.loads(lines[0]) if lines else None
    except (ValueError, RecursionError):
        first = None
    return Head(pathlib.Path(path), lines, first if isinstance(first, dict) else None)


def fields(*names: str, without: tuple[str, ...] = ()) -> Callable[[Head], str | None]:
    """Makes the test for JSON lines.

    Args:
      *names: fields that the first row needs.
      without: fields that it must not have.
    Returns:
      A function from a file's beginning to why it cannot be of the form; None when it can.
    """

    def why_not(head: Head) -> str | None:
        if head.first is None:
            return "its first line is no JSON object"
        missing = [name for name in names if name not in head.first]
        if missing:
            return f"its first row lacks {', '.join(missing)} (it has {', '.join(sorted(head.first)) or 'nothing'})"
        present = [name for name in without if name in head.first]
        return f"its first row has {', '.join(present)}" if present else None

    return why_not


def columns(*names: str, without: tuple[str, ...] = ()) -> Callable[[Head], str | None]:
    """Makes the test for CSV files.

    Args:
      *names: columns that the header needs.
      without: columns that it must not have.
    Returns:
      A function from a file's beginning to why it cannot be of the form; None when it can.
    """

    def why_not(head: Head) -> str | None:
        header = [name.strip().strip('"') for name in head.lines[0].lstrip("\ufeff").split(",")] if head.lines else []
        missing = [name for name in names if name not in header]
        if missing:
            near = [match for name in missing for match in difflib.get_close_matches(name, header, n=1)]
            return f"its first line names no column {', '.join(missing)}{f' (near: {near})' if near else ''}"
        present = [name for name in without if name in header]
        return f"it has a column {', '.join(present)}" if present else None

    return why_not


def not_conll(head: Head) -> str | None:
    """Returns why the file beginning with `head` is no CoNLL; None when it is."""
    for line in head.lines:
        parts = line.split()
        if len(parts) != 2 or not wlp_conll.TAG.fullmatch(parts[1]):
            return f"not each line is a token and a BIO tag ({line[:40]!r})"
    return None if head.lines else "it is empty"


def not_brat(head: Head) -> str | None:
    """Returns why the file beginning with `head` is no brat text; None when it is."""
    if head.path.suffix != ".txt":
        return "it is no .txt file"
    beside = wlp_brat.annotations(head.path)
    return None if beside.is_file() else f"no {beside.name} stands beside it"


def not_threads(head: Head) -> str | None:
    """Returns why the file beginning with `head` holds no threads; None when it does."""
    if not head.lines or not head.lines[0].lstrip("\ufeff [").startswith("{") or "[" not in head.lines[0][:8]:
        return "it does not begin as a JSON array of objects"
    return None if '"root_tweet"' in "".join(head.lines) else "it names no root_tweet"


def not_msmarco(head: Head) -> str | None:
    """Returns why the file beginning with `head` holds no queries; None when it does."""
    for line in head.lines:
        number, tab, _ = line.partition("\t")
        if not tab or not number.strip("\ufeff ").isdigit():
            return f"not each line is a number, a tab and a query ({line[:40]!r})"
    return None if head.lines else "it is empty"


def not_text(head: Head) -> str | None:
    """Returns why the file beginning with `head` is no plain text; None when it is."""
    if head.first is not None or (head.lines and head.lines[0].lstrip("\ufeff ")[:1] in ("[", "{")):
        return "it looks like JSON"
    if head.path.suffix not in (".txt", ".text", ""):
        return f"it ends in {head.path.suffix}, not .txt"
    return None if head.lines else "it is empty"
