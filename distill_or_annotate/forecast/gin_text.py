"""Gin files as text: where one lies, what it includes, and the few settings that are read without running it."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import distill_or_annotate

_INCLUDE = re.compile(r"""^include\s+['"]([^'"]+)['"]""", re.MULTILINE)


def find(name: str) -> Path | None:
    """The file of this name in the working directory or among the packaged ones; None where there is none.

    Args:
      name: such as `gin/mesh/v5p-8.gin`.
    """
    package = Path(distill_or_annotate.__file__).parent
    home = package if (package / "gin").is_dir() else package.parent
    return next((path for folder in (Path("."), home) if (path := folder / name).is_file()), None)


def text(name: str) -> str:
    """A gin file's text.

    Args:
      name: as `find` takes it.

    Returns:
      The text.

    Raises:
      FileNotFoundError: there is no such file.
    """
    path = find(name)
    if path is None:
        raise FileNotFoundError(f"no gin file {name!r}. Fix: give its path, or one below gin/ of the installation.")
    return path.read_text(encoding="utf-8")


def with_includes(name: str) -> Iterator[str]:
    """Texts of a file and of the files of ours that it includes.

    Args:
      name: as `find` takes it.

    Yields:
      Texts without comments, each file once. Files that lie beside the t5x package are known by name alone.

    Raises:
      FileNotFoundError: the first file does not exist.
    """
    pending, seen = [name], set()
    text(name)
    while pending:
        included = pending.pop(0)
        if included in seen or find(included) is None:
            continue
        seen.add(included)
        own = "\n".join(line for raw in text(included).splitlines() if (line := raw.split("#")[0].rstrip()))
        yield own
        pending += _INCLUDE.findall(own)


def digest(name: str) -> str:
    """SHA-256 of a file with all it includes; comments and layout may change without changing it.

    Args:
      name: as `find` takes it.

    Returns:
      Hexadecimal.

    Raises:
      FileNotFoundError: there is no such file.
    """
    return hashlib.sha256(repr(list(with_includes(name))).encode()).hexdigest()


def literals(name: str, owner: str) -> dict[str, Any]:
    """Settings of one block of a file whose values are literals.

    Args:
      name: as `find` takes it.
      owner: whose settings, such as `scenarios.Scenario` or `partitioning.PjitPartitioner`; no scope.

    Returns:
      Field to value, of lines `OWNER.field = literal` and of an indented block `OWNER:`.

    Raises:
      FileNotFoundError: there is no such file.
    """
    found: dict[str, Any] = {}
    for own in with_includes(name):
        block = ""
        for line in own.splitlines():
            if not line.startswith(" "):
                block = line[:-1] if line.endswith(":") else ""
            setting = re.match(r"\s*(?:([\w./]+)\.)?(\w+)\s*=\s*(.+)$", line)
            if setting and (setting.group(1) or block) == owner:
                try:
                    value = ast.literal_eval(setting.group(3))
                except (SyntaxError, ValueError):
                    continue  # a reference, or the first of several lines
                found.setdefault(setting.group(2), value)
    return found
