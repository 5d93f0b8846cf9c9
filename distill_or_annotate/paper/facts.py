"""Reads facts.json, in which every number of the paper stands with its table or section."""

import copy
import difflib
import functools
import json
import pathlib
from typing import Any

_FACTS_PATH = pathlib.Path(__file__).with_name("facts.json")


class UnknownTaskError(ValueError):
    """Raised for a task the paper has no numbers for."""


@functools.cache
def _loaded() -> dict[str, Any]:
    return json.loads(_FACTS_PATH.read_text(encoding="utf-8"))


def facts() -> dict[str, Any]:
    """Returns everything in facts.json, as a copy that the caller may change."""
    return copy.deepcopy(_loaded())


def task_names() -> tuple[str, ...]:
    """Returns the six task names, in the order of Table 1."""
    return tuple(_loaded()["tasks"])


def task(name: str) -> dict[str, Any]:
    """Returns the facts about one task.

    Args:
      name: a task name of the paper, such as `wlp`.

    Returns:
      Field -> {"value", "unit", "source"} and, where the paper disagrees with itself, "note".

    Raises:
      UnknownTaskError: the paper has no such task; the message lists near names.
    """
    known = task_names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise UnknownTaskError(f"task: the paper has no numbers for {name!r}; {hint}allowed: {', '.join(known)}.")
    return copy.deepcopy(_loaded()["tasks"][name])


def row(table: str, task_name: str, n_labels: int) -> dict[str, Any] | None:
    """Returns one block of Table 2 or Table 11, or None where the paper has none.

    Args:
      table: `table2` or `table11`.
      task_name: a task name of the paper.
      n_labels: the initial labels N of the block.
    """
    task(task_name)
    for block in _loaded()[table]["rows"]:
        if block["task"] == task_name and block["n_labels"] == n_labels:
            return copy.deepcopy(block)
    return None
