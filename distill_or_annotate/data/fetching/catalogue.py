"""What can be downloaded for a task, and what must be asked for by hand: downloads.toml, checked.

File names come from this catalogue only, never from a server, and hold no folder.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CATALOGUE = Path(__file__).with_name("downloads.toml")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HEXADECIMAL_DIGITS = {"sha256": 64, "md5": 32}


class CatalogueError(ValueError):
    """The catalogue is malformed, or lacks the task that is asked for."""


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """One file that an address gives.

    Attributes:
      name: what it is called in the output folder; no folders in it.
      url: http or https address.
      what: what it holds.
      size_bytes: its size; None where no public record says.
      sha256: SHA-256, 64 hexadecimal digits; None where no public record says.
      md5: MD5, 32 hexadecimal digits; None where no public record says.
      checked_by: the public record that size and hash come from; empty without one.
      optional: whether it is fetched only when asked for by name.
    """

    name: str
    url: str
    what: str
    size_bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None
    checked_by: str = ""
    optional: bool = False

    def __post_init__(self):
        where = f"file {self.name!r} of the catalogue"
        if not _NAME.fullmatch(self.name) or self.name.endswith((".part", ".part.json")):
            raise CatalogueError(
                f"{where}: name may hold letters, digits, '.', '_' and '-', starts with one of the first two, and does "
                "not end in .part. Fix: rename it."
            )
        check_url(self.url, f"{where}: url")
        if self.size_bytes is not None and (not isinstance(self.size_bytes, int) or self.size_bytes < 1):
            raise CatalogueError(f"{where}: size_bytes is {self.size_bytes!r}; a whole number of at least 1 is needed.")
        for field, n_digits in _HEXADECIMAL_DIGITS.items():
            value = getattr(self, field)
            if value is not None and not re.fullmatch(f"[0-9a-f]{{{n_digits}}}", str(value)):
                raise CatalogueError(f"{where}: {field} is {value!r}; {n_digits} hexadecimal digits are needed.")

    @property
    def known(self) -> str:
        """Which of size and hash are known beforehand, for a table."""
        fields = (("size", self.size_bytes), ("sha256", self.sha256), ("md5", self.md5))
        return ", ".join(name for name, value in fields if value) or "nothing yet"


@dataclasses.dataclass(frozen=True)
class ByHand:
    """Something that must be asked for.

    Attributes:
      what: what it is.
      how: how to ask.
      url: where.
    """

    what: str
    how: str
    url: str


@dataclasses.dataclass(frozen=True)
class Downloads:
    """A task's files.

    Attributes:
      task: the task's name.
      title: the data set's name.
      citation: address of the paper to cite.
      licence: the data's licence, or that none is stated.
      files: what can be downloaded.
      by_hand: what must be asked for.
      next: the commands that turn the files into a built data set.
    """

    task: str
    title: str
    citation: str
    licence: str
    files: tuple[RemoteFile, ...]
    by_hand: tuple[ByHand, ...]
    next: str = ""

    def chosen(self, only: list[str]) -> tuple[RemoteFile, ...]:
        """The files to fetch.

        Args:
          only: names; empty for all that are not optional.

        Returns:
          The files, in the catalogue's order.

        Raises:
          CatalogueError: a name that is not among them; near ones are listed.
        """
        names = [file.name for file in self.files]
        for name in only:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=3) or names
                raise CatalogueError(f"--only: {self.task} has no file {name!r}; near: {', '.join(near)}.")
        return tuple(file for file in self.files if (file.name in only if only else not file.optional))


def load(path: Path = CATALOGUE) -> dict[str, Downloads]:
    """Reads a catalogue.

    Args:
      path: a TOML file in the form of downloads.toml.

    Returns:
      Downloads by task.

    Raises:
      CatalogueError: naming the entry and the field.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CatalogueError(f"{path} is not TOML: {error}.") from error
    return {task: _downloads(task, entry) for task, entry in content.items()}


def downloads(task: str, catalogue: Mapping[str, Downloads] | None = None) -> Downloads:
    """The files of one task.

    Args:
      task: a task of the catalogue.
      catalogue: what `load` returned; None loads the shipped one.

    Returns:
      Its files.

    Raises:
      CatalogueError: no such task; near names are listed.
    """
    catalogue = load() if catalogue is None else catalogue
    if task not in catalogue:
        near = difflib.get_close_matches(task, catalogue, n=3)
        listed = f"Near names: {', '.join(near)}" if near else f"Tasks: {', '.join(catalogue)}"
        raise CatalogueError(f"task {task!r} has no downloads. {listed}.")
    return catalogue[task]


def check_url(url: str, field: str) -> None:
    """Refuses an address that is not http or https.

    Args:
      url: the address.
      field: what it is called in the message.

    Raises:
      CatalogueError: another scheme, or no host.
    """
    parts = urlsplit(str(url))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CatalogueError(f"{field} is {url!r}; an http:// or https:// address with a host is needed.")


def _downloads(task: str, entry: Any) -> Downloads:
    try:
        return Downloads(
            task=task,
            files=tuple(RemoteFile(**file) for file in entry.get("files", ())),
            by_hand=tuple(ByHand(**item) for item in entry.get("by_hand", ())),
            **{name: value.strip() for name, value in entry.items() if name not in ("files", "by_hand")},
        )
    except (TypeError, AttributeError) as error:
        raise CatalogueError(f"catalogue entry {task!r}: {error}. Fix: see the shipped downloads.toml.") from error
