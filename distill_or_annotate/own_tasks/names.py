"""A task's name and folder: Python, gin and SeqIO must all be able to say them, and nobody else may have them."""

from __future__ import annotations

import difflib
import keyword
import re
from pathlib import Path

from distill_or_annotate.own_tasks.tables import TableError

_NAME = re.compile(r"[a-z][a-z0-9_]*")
# Endings by which variants, modes and the files beside a task are named.
_TAKEN_ENDING = re.compile(r".*(_n\d+_s\d+|_u\d+|_pseudo_.*|_pretrain\w*|_paper|_study|_prices)")
_PUBLISHED = ("wlp", "stanceosaurus", "fever", "multipit_id", "multipit_gen", "natural_questions")
RESERVED = frozenset([*_PUBLISHED, *(f"{name}_paper" for name in _PUBLISHED), "wlp_mini", "mini", "mini_cls"])


def check_name(name: str) -> None:
    """Refuses a name that cannot be a task's.

    Args:
      name: the task's name.

    Raises:
      TableError: its letters, its ending, or that there is a task of this name already.
    """
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise TableError(
            f"name: received {name!r}; it must be lower-case letters, digits and underscores, a letter first, and no "
            "word of Python, since it becomes a module."
        )
    if name in RESERVED:
        raise TableError(f"name: a task {name!r} comes with us. Fix: another name, such as my_{name}.")
    if match := _TAKEN_ENDING.fullmatch(name):
        raise TableError(f"name: {name!r} ends in {match[1]!r}, as variants of tasks and their files do; another name.")


def place(output: str) -> tuple[Path, str]:
    """Finds the folder that commands are run from and the task folder as seen from there.

    Args:
      output: a folder, such as `my_tasks`; it need not exist.

    Returns:
      The working directory and the path below it, or, for a folder elsewhere, its parent and its name.

    Raises:
      TableError: it is no folder, is the working directory itself, or a part of it is no Python name.
    """
    path, here = Path(output).expanduser().absolute(), Path.cwd()
    inside = path.is_relative_to(here)
    root, folder = (here, path.relative_to(here)) if inside else (path.parent, Path(path.name))
    bad = [part for part in folder.parts if not part.isidentifier() or keyword.iskeyword(part)]
    if bad or not folder.parts:
        raise TableError(
            f"output: received {output!r}; each folder below {root} becomes a Python package, so "
            f"{f'{bad[0]!r} cannot be one' if bad else 'name one'}. Fix: --output my_tasks"
        )
    if path.exists() and not path.is_dir():
        raise TableError(f"output: {output!r} is a file. Fix: name a folder.")
    return root, folder.as_posix()


def check_free(folder: Path, name: str) -> None:
    """Refuses to write over a task.

    Args:
      folder: the folder of tasks.
      name: the task's name.

    Raises:
      TableError: a file of it is there; near names are listed.
    """
    taken = [path for path in (folder / f"{name}.py", folder / f"{name}.gin", folder / name) if path.exists()]
    if taken:
        others = sorted(path.stem for path in folder.glob("*.py"))
        near = [other for other in difflib.get_close_matches(name, others, n=3) if other != name]
        beside = f" (beside it: {', '.join(near)})" if near else ""
        raise TableError(
            f"name: {taken[0]} is there already{beside}. Fix: another name, or remove {folder / name}* first; nothing "
            "of yours is written over."
        )
