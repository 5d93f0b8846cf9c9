"""The items of a pool, and the files that their labels go to.

The ledger holds every label; the files are written from it, and again from it after a kill. The labels stand as JSON
lines with `source` and `prediction`, and with `inputs.inputs_pretokenized`, which is what `t5x.infer` writes and task
variants read.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

from distill_or_annotate.ledger.journal import Row
from distill_or_annotate.preprocess.text import content_hash, one_line


class PoolError(ValueError):
    """A pool that cannot be labelled."""


@dataclasses.dataclass(frozen=True)
class Item:
    """One text to label.

    Attributes:
      key: a hash of its text, so that the same text is the same item in any pool.
      source: the text.
    """

    key: str
    source: str


def items_of(sources: Sequence[str]) -> list[Item]:
    """Returns the distinct items of a pool, in order.

    Args:
      sources: texts.

    Raises:
      PoolError: there is none, or an empty one.
    """
    found: dict[str, Item] = {}
    for number, source in enumerate(sources, start=1):
        if not source.strip():
            raise PoolError(f"--pool: item {number} is empty. Fix: leave it out.")
        key = content_hash([source], 20)
        found.setdefault(key, Item(key, source))
    if not found:
        raise PoolError("--pool: no item to label. Fix: give JSON lines with a field `source`.")
    return list(found.values())


def read_sources(path: pathlib.Path, n_items: int | None = None) -> list[str]:
    """Reads a pool: JSON lines with a `source`, or (`.txt`) one text a line.

    Args:
      path: the file.
      n_items: how many to take; None for all.

    Raises:
      PoolError: a line of another form, or a file that is not UTF-8; the message names it.
      OSError: there is no such file.
    """
    sources: list[str] = []
    try:
        # Some editors begin a file with a byte order mark, which is no part of its first item.
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip() or (n_items is not None and len(sources) >= n_items):
                    continue
                sources.append(line.strip() if path.suffix == ".txt" else _source(line, f"{path}, line {number}"))
    except UnicodeDecodeError as error:
        raise PoolError(f"--pool: {path} is not UTF-8 ({error}). Fix: save it as UTF-8.") from None
    return sources


def _source(line: str, where: str) -> str:
    try:
        row = json.loads(line)
        source = row["source"]
        source.encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PoolError(
            one_line(
                f'{where}: an object with a text `source` is needed, such as {{"source": "Mix well."}} ({error!r}).'
            )
        ) from None
    return source


def label_line(item: Item, row: Mapping[str, Any]) -> str:
    """Returns the line of a labelled item.

    Args:
      item: the item.
      row: the ledger's row that holds its answer.
    """
    line = {"source": item.source, "prediction": row["answer"], "inputs": {"inputs_pretokenized": item.source}}
    if row.get("confidence") is not None:
        line["confidence"] = row["confidence"]
    return json.dumps({**line, "usd": row["usd"]}, ensure_ascii=False) + "\n"


def set_aside_line(item: Item, row: Mapping[str, Any]) -> str:
    """Returns the line of an item that was set aside.

    Args:
      item: the item.
      row: the ledger's row that says why.
    """
    told = {name: row[name] for name in ("reason", "detail", "n_attempts", "answer") if name in row}
    return json.dumps({"source": item.source, **told}, ensure_ascii=False) + "\n"


def check_out(made: Iterable[pathlib.Path], read: Mapping[str, pathlib.Path | None]) -> None:
    """Refuses to write over a file that the same command reads.

    Args:
      made: files that would be written: the labels, and what lies beside them.
      read: option -> the file that it names; None where it was not given.

    Raises:
      PoolError: two of them are one file.
    """
    made = list(made)
    for option, path in read.items():
        for out in made if path else ():
            is_same = out.exists() and path.exists() and out.samefile(path)
            if is_same or out.resolve() == path.resolve():
                raise PoolError(
                    f"--out: {out} is the file of {option} ({path}), and would be written over. Fix: another --out."
                )


def replace_file(path: pathlib.Path, lines: Iterable[str]) -> None:
    """Writes a file in one step, so that a reader never sees half of it.

    Args:
      path: the file.
      lines: its lines, each with its end.
    """
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.writelines(lines)
    os.replace(part, path)


class LabelFile:
    """The file of labels while answers come in: each is appended at once."""

    def __init__(self, path: pathlib.Path, items: Sequence[Item], answers: Mapping[str, Row]):
        """Writes the labels that there are, and leaves the file open.

        Args:
          path: the file.
          items: the items of the pool.
          answers: item -> the ledger's row that holds its answer.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._items = path, items
        self.rewrite(answers)
        self._file: IO[str] = path.open("a", encoding="utf-8")

    def add(self, item: Item, row: Mapping[str, Any]) -> None:
        """Appends a label and hands it to the system.

        Args:
          item: the item.
          row: the ledger's row that holds its answer.
        """
        self._file.write(label_line(item, row))
        self._file.flush()

    def rewrite(self, answers: Mapping[str, Row]) -> None:
        """Writes all labels in the order of the pool.

        Args:
          answers: item -> the ledger's row that holds its answer.
        """
        lines = (label_line(item, answers[item.key]) for item in self._items if item.key in answers)
        replace_file(self._path, lines)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
