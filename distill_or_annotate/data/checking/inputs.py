"""What `doa data check` looks at: a task's expectations, and its rows by split from the task itself or from files."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Sequence

from distill_or_annotate.preprocess import rows as rows_lib
from distill_or_annotate.preprocess.rows import Row
from distill_or_annotate.tasks.spec import SPLITS, TaskSpec

_SPLIT_WORDS = {"train": "train", "dev": "validation", "valid": "validation", "validation": "validation"}
_SPLIT_WORDS |= {"test": "test", "unlabeled": "unlabeled", "unlabelled": "unlabeled"}


class CheckInputError(ValueError):
    """Input that cannot be checked; the message says what to give instead."""


@dataclasses.dataclass(frozen=True)
class SplitRows:
    """The rows of one split.

    Args:
      name: one of `SPLITS`.
      rows: its rows, at least one.
      origin: where they came from, for the reader.
      n_skipped: malformed rows left out.
    """

    name: str
    rows: Sequence[Row]
    origin: str
    n_skipped: int = 0


def find_spec(name: str) -> TaskSpec:
    """Looks a task up; importing the registry takes some seconds.

    Args:
      name: a registered task.
    Returns:
      Its description.
    Raises:
      CheckInputError: no such task; near names are listed.
    """
    from distill_or_annotate.tasks import registry

    try:
        return registry.get(name)
    except registry.UnknownTask as error:
        raise CheckInputError(str(error)) from error


def from_task(spec: TaskSpec) -> list[SplitRows]:
    """Reads the splits that a task has here.

    Args:
      spec: the task.
    Returns:
      Its splits, in the order of `SPLITS`.
    Raises:
      CheckInputError: the task has no data here.
      OSError: the data folder is missing.
    """
    present = [split for split in SPLITS if split in spec.available_splits()]
    if not present:
        raise CheckInputError(
            f"task {spec.name!r} has no data here. Put its released files into ${rows_lib.DATA_DIR_VARIABLE}, make "
            f"them with `doa data build {spec.name} --from FILES...`, or name files: "
            f"`doa data check {spec.name} --from FILES...`."
        )
    return [SplitRows(split, spec.rows(split), f"task {spec.name}") for split in present]


def from_files(names: Sequence[str], on_bad_row: str = "stop") -> list[SplitRows]:
    """Reads files in the released form.

    Args:
      names: files, each as `FILE`, its split being told by its name (`fever_dev_all.json`), or as `SPLIT=FILE`.
      on_bad_row: `stop` or `skip`.
    Returns:
      The splits, in the order of `SPLITS`; several files of one split stand together.
    Raises:
      CheckInputError: a file's split is unknown.
      RowError: a malformed row with `on_bad_row='stop'`, or a file without a usable row.
      OSError: a file cannot be read.
    """
    parts: dict[str, list[rows_lib.RowFile]] = {}
    for name in names:
        split, path = split_of(name)
        parts.setdefault(split, []).append(rows_lib.read_rows(path, on_bad_row))
    return [
        SplitRows(
            split,
            [row for file in parts[split] for row in file.rows],
            ", ".join(pathlib.Path(file.path).name for file in parts[split]),
            sum(len(file.skipped) for file in parts[split]),
        )
        for split in SPLITS
        if split in parts
    ]


def split_of(name: str) -> tuple[str, str]:
    """Tells the split of a file.

    Args:
      name: `FILE` or `SPLIT=FILE`.
    Returns:
      Split and path.
    Raises:
      CheckInputError: `SPLIT` is no split, or the file's name does not tell one.
    """
    word, equals, path = name.partition("=")
    if equals and not os.path.exists(name):
        if word not in _SPLIT_WORDS:
            raise CheckInputError(f"--from {name!r}: {word!r} is not one of {', '.join(SPLITS)}")
        return _SPLIT_WORDS[word], path
    found = [word for word in re.split(r"[^a-z]+", pathlib.Path(name).name.lower()) if word in _SPLIT_WORDS]
    if not found:
        raise CheckInputError(
            f"--from {name!r}: its name does not tell the split. Write SPLIT=FILE, such as train={name}; splits are "
            f"{', '.join(SPLITS)}."
        )
    return _SPLIT_WORDS[found[0]], name


def paper_name(task: str) -> str | None:
    """Names the paper's task whose sizes a task's splits should have.

    Args:
      task: a task's name.
    Returns:
      One of the six, for it and its variants `_paper` and `_pooled`; None for any other.
    """
    from distill_or_annotate.paper.facts import task_names

    name = task.removesuffix("_paper").removesuffix("_pooled")
    return name if name in task_names() else None
