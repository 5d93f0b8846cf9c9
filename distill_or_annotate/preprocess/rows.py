"""Rows in the released form: JSON lines that hold a string `source` and a string `target`.

Where several answers are right, `targets` lists them all, the target first.

A row that cannot be used stops the reading with file, line and field, since a silently shorter training set changes
what every later dollar is said to buy. `on_bad_row='skip'` goes on and hands back what it left out.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any, NotRequired, TypedDict

from distill_or_annotate.preprocess.text import one_line


class Row(TypedDict):
    """A source, its target and, only where there are several, all accepted targets."""

    source: str
    target: str
    targets: NotRequired[list[str]]


DATA_DIR_VARIABLE = "DOA_DATA_DIR"
FIELDS = ("source", "target")
ON_BAD_ROW = ("stop", "skip")

# Task: how its released files' names begin.
RELEASED_PREFIXES = {
    "wlp": "wlp",
    "stanceosaurus": "stanceosaurus",
    "fever": "fever",
    "multipit_id": "multipit_id",
    "multipit_gen": "multipit",
    "natural_questions": "nq",
}
# The released files say `dev` where SeqIO says `validation`.
_RELEASED_SPLIT = {"train": "train", "validation": "dev", "test": "test", "unlabeled": "unlabeled"}


class RowError(ValueError):
    """A row that cannot be used.

    Args:
      path: file that holds the row.
      line: line number, from 1; 0 when the file as a whole is meant.
      field: what is wrong with: a field's name, `encoding`, `json` or `rows`.
      problem: what was received and what is allowed.
    """

    def __init__(self, path: str | os.PathLike, line: int, field: str, problem: str):
        super().__init__(
            f"{os.fspath(path)}, line {line}, field '{field}': {one_line(problem)}. "
            "Fix the row, or leave such rows out, counted, with --on-bad-row skip (in Python on_bad_row='skip')."
        )
        self.path, self.line, self.field = os.fspath(path), line, field


class DataFolderError(FileNotFoundError):
    """The data folder, or a file that should be in it, is not there."""


@dataclasses.dataclass(frozen=True)
class RowFile:
    """What a file held.

    Args:
      path: the file.
      rows: the usable rows, in file order, with the fields `source`, `target` and, where there are several, `targets`.
      skipped: the rows left out; empty unless read with `on_bad_row='skip'`.
    """

    path: str
    rows: tuple[Row, ...]
    skipped: tuple[RowError, ...]


def data_dir() -> pathlib.Path:
    """Returns the folder that `DOA_DATA_DIR` names.

    Returns:
      The folder; it exists.
    Raises:
      DataFolderError: the variable is unset or names no folder.
    """
    value = os.environ.get(DATA_DIR_VARIABLE, "")
    fix = f"Set it to the folder with the released files (wlp_train_all.json, ...): export {DATA_DIR_VARIABLE}=/path"
    if not value:
        raise DataFolderError(f"{DATA_DIR_VARIABLE} is not set. {fix}")
    folder = pathlib.Path(value).expanduser()
    if not folder.is_dir():
        raise DataFolderError(f"{DATA_DIR_VARIABLE}={value!r} is not a folder. {fix}")
    return folder


def find_files(folder: pathlib.Path, prefix: str, split: str) -> list[pathlib.Path]:
    """Lists the files of one split, named as released: `<prefix>_<split>_all*.json`.

    Args:
      folder: folder to look in.
      prefix: the data set's prefix, such as `wlp`.
      split: `train`, `validation`, `test` or `unlabeled`; `validation` is called `dev` in file names.
    Returns:
      The files, sorted by name; empty when there is none.
    Raises:
      ValueError: an unknown split.
    """
    if split not in _RELEASED_SPLIT:
        raise ValueError(f"split: {split!r} is not one of {sorted(_RELEASED_SPLIT)}")
    return sorted(folder.glob(f"{prefix}_{_RELEASED_SPLIT[split]}_all*.json"))


def read_split(prefix: str, split: str, on_bad_row: str = "stop") -> list[Row]:
    """Reads one split of a data set from the data folder.

    Args:
      prefix: the data set's prefix, such as `wlp`.
      split: `train`, `validation`, `test` or `unlabeled`.
      on_bad_row: `stop` or `skip`.
    Returns:
      The rows of all files of the split, in the order of the files' names.
    Raises:
      DataFolderError: no data folder, or no file of this split in it.
      RowError: a malformed row, with `on_bad_row='stop'`.
    """
    folder = data_dir()
    files = find_files(folder, prefix, split)
    if not files:
        here = ", ".join(sorted(p.name for p in folder.glob("*.json"))) or "no .json file"
        raise DataFolderError(
            f"split {split!r} of {prefix!r}: {folder} has {here}, but no {prefix}_{_RELEASED_SPLIT[split]}_all*.json. "
            f"Put the released file there, or point {DATA_DIR_VARIABLE} at the folder that has it."
        )
    return [row for file in files for row in read_rows(file, on_bad_row).rows]


def read_rows(path: str | os.PathLike, on_bad_row: str = "stop") -> RowFile:
    """Reads one file of JSON lines.

    Fields other than `source`, `target` and `targets` are dropped; blank lines are passed over. An empty target is a
    row (in WLP a sentence without entities), an empty source is not. `targets` may be absent; where it is there, it
    lists all accepted answers, the target first.

    Args:
      path: the file, in UTF-8.
      on_bad_row: `stop` raises at the first malformed row; `skip` leaves malformed rows out and returns them.
    Returns:
      The rows, and what was skipped.
    Raises:
      RowError: a malformed row with `on_bad_row='stop'`; a file without any usable row.
      ValueError: an unknown `on_bad_row`.
    """
    if on_bad_row not in ON_BAD_ROW:
        raise ValueError(f"on_bad_row: {on_bad_row!r} is not one of {ON_BAD_ROW}")
    rows, skipped = [], []
    for line, raw in _lines(path):
        try:
            rows.append(_parse(path, line, raw))
        except RowError as error:
            if on_bad_row == "stop":
                raise
            skipped.append(error)
    if not rows:
        raise RowError(path, 0, "rows", f"no usable row ({len(skipped)} skipped); at least one is needed")
    return RowFile(os.fspath(path), tuple(rows), tuple(skipped))


def _lines(path: str | os.PathLike) -> Iterator[tuple[int, bytes]]:
    # Bytes, split at \n alone: text contains U+2028 and its like, at which str.splitlines would tear a row apart.
    with open(path, "rb") as file:
        for number, raw in enumerate(file, start=1):
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            if raw.strip():
                yield number, raw


def _parse(path: str | os.PathLike, line: int, raw: bytes) -> Row:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RowError(
            path, line, "encoding", f"byte {raw[error.start]:#04x} at column {error.start + 1} is not UTF-8"
        ) from error
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RowError(path, line, "json", f"not JSON ({error}): {_excerpt(text)}") from error
    if not isinstance(value, dict):
        raise RowError(path, line, "json", f"a JSON object is needed, received {type(value).__name__}")
    for field in FIELDS:
        if field not in value:
            raise RowError(path, line, field, f"missing; the row has {sorted(value)}")
        _check_text(path, line, field, value[field])
    if not value["source"].strip():
        raise RowError(path, line, "source", "empty; the model would have nothing to read")
    row: Row = {"source": value["source"], "target": value["target"]}
    if "targets" in value:
        answers = _answers(path, line, value)
        if len(answers) > 1:
            row["targets"] = answers
    return row


def _answers(path: str | os.PathLike, line: int, value: dict[str, Any]) -> list[str]:
    answers = value["targets"]
    if not isinstance(answers, list):
        raise RowError(path, line, "targets", f"a list of strings is needed, received {type(answers).__name__}")
    for answer in answers:
        _check_text(path, line, "targets", answer)
    if not answers or answers[0] != value["target"]:
        first = repr(answers[0]) if answers else "nothing"
        raise RowError(path, line, "targets", f"starts with {first}; its first must be the target, {value['target']!r}")
    if len(answers) > 1 and not all(answer.strip() for answer in answers):
        raise RowError(path, line, "targets", "one of several accepted answers is empty")
    return list(dict.fromkeys(answers))


def _check_text(path: str | os.PathLike, line: int, field: str, text: Any) -> None:
    if not isinstance(text, str):
        raise RowError(path, line, field, f"a string is needed, received {type(text).__name__}")
    if "\0" in text:
        raise RowError(path, line, field, "holds zero bytes, which no text does")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RowError(path, line, field, "holds half of a surrogate pair, which UTF-8 cannot carry") from error


def _excerpt(text: str, n_characters: int = 60) -> str:
    text = text.strip()
    return repr(text if len(text) <= n_characters else text[:n_characters] + "...")
