"""Which file goes to which split, in which form: what was said, else what names and contents tell."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence

from distill_or_annotate.preprocess.built import SPLITS
from distill_or_annotate.preprocess.official import forms

# Only so far up: a checkout may well stand in a folder called `test`.
_FOLDERS_UP = 3
_WORDS = {
    "train": "train", "training": "train", "dev": "validation", "val": "validation", "valid": "validation",
    "validation": "validation", "test": "test", "unlabeled": "unlabeled", "unlabelled": "unlabeled",
}  # fmt: skip
_FOLDER = re.compile(rf"({'|'.join(sorted(_WORDS, key=len, reverse=True))})(?:[_-]?(?:data|set|split))?")
_IN_NAME = re.compile(rf"(?:^|[^a-z])({'|'.join(sorted(_WORDS, key=len, reverse=True))})(?:[^a-z]|$)")


class PlanError(ValueError):
    """Files from which no plan can be made."""


@dataclasses.dataclass(frozen=True)
class Planned:
    """What becomes of one file.

    Args:
      path: the file.
      split: where its rows go; None when they are to be split by a seeded hash.
      form: its form.
      role: `labelled` or `pool`.
    """

    path: pathlib.Path
    split: str | None
    form: forms.Form
    role: str


def plan(
    task: str,
    files: Sequence[str | os.PathLike],
    by_split: Mapping[str, Sequence[str | os.PathLike]],
    form: str | None = None,
    pool_form: str | None = None,
    ignore_names: bool = False,
) -> list[Planned]:
    """Decides split, form and role of each file.

    Args:
      task: one of the six tasks.
      files: files and folders whose split their names may tell.
      by_split: split -> files and folders that go there.
      form: name of the form of the labelled files; None recognises each by its content.
      pool_form: the same for the files of the unlabeled pool.
      ignore_names: split `files` by hash, whatever their names say.
    Returns:
      The files in the order given.
    Raises:
      PlanError: no file, a missing one, or one given twice; unsplit files beside files of a labelled split.
      FormError: an unknown task or form, or a file that no form fits.
    """
    forms.of_task(task)
    planned = [_planned(task, path, None, form, pool_form, ignore_names) for path in expand(files)]
    for split, given in by_split.items():
        planned += [_planned(task, path, split, form, pool_form, False) for path in expand(given)]
    if not planned:
        raise PlanError("no files: give them with --from, or with --train, --validation, --test, --unlabeled")
    seen: dict[pathlib.Path, Planned] = {}
    for one in planned:
        if (key := one.path.resolve()) in seen:
            raise PlanError(f"{one.path} is given twice; each file goes to one split")
        seen[key] = one
    unsplit = [one.path.name for one in planned if one.split is None]
    fixed = sorted({one.split for one in planned} & {"train", "validation", "test"})
    if unsplit and fixed:
        raise PlanError(
            f"{len(unsplit)} of the files say no split in their names ({', '.join(unsplit[:3])}) while others are "
            f"{', '.join(fixed)}. Give all of them with --train, --validation and --test, or have all of --from split "
            "with --split 80/10/10."
        )
    return planned


def expand(paths: Iterable[str | os.PathLike]) -> list[pathlib.Path]:
    """Lists files, those of folders included.

    Args:
      paths: files and folders.
    Returns:
      Files, in the order given, a folder's by path, without hidden files and .ann files whose .txt is there too.
    Raises:
      PlanError: a path that does not exist, or a folder without files.
    """
    files: list[pathlib.Path] = []
    for path in map(pathlib.Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
            if not inside:
                raise PlanError(f"{path} is a folder without files")
            files += inside
        elif path.is_file():
            files.append(path)
        else:
            raise PlanError(f"{path} does not exist. Fix the path; `doa data fetch TASK` says where files come from.")
    return [file for file in files if file.suffix != ".ann" or not file.with_suffix(".txt").is_file()]


def split_in_name(path: str | os.PathLike, folders_first: bool = False) -> str | None:
    """Finds the split that a file's name tells, or the name of a folder close above it.

    Args:
      path: the file, as it was given.
      folders_first: ask the folders first: where files are named after what they hold, `pcr_test.json` may be a claim.
    Returns:
      One of train, validation, test, unlabeled; None where nothing tells.
    """
    path = pathlib.Path(path)
    found = _IN_NAME.search(path.name.lower())
    by_name = _WORDS[found[1]] if found else None
    folders = [_FOLDER.fullmatch(part.lower()) for part in path.parts[:-1]][::-1][:_FOLDERS_UP]
    by_folder = next((_WORDS[folder[1]] for folder in folders if folder), None)
    return by_folder or by_name if folders_first else by_name or by_folder


def _planned(task, path, split, form_name, pool_form_name, ignore_names) -> Planned:
    if split is not None and split not in SPLITS:
        raise PlanError(f"split: {split!r} is not one of {SPLITS}")
    role = None if split is None else ("pool" if split == "unlabeled" else "labelled")
    if split is None:
        told = split_in_name(path, folders_first=task == "stanceosaurus")
        if told == "unlabeled":
            split, role = "unlabeled", "pool"
        elif form_name is None and (form := forms.detect(task, path)).is_pool:
            # VitaminC's training file is a pool here, whatever its name says.
            return Planned(path, "unlabeled", form, "pool")
        else:
            split, role = None if ignore_names else told, "labelled"
    name = pool_form_name if role == "pool" else form_name
    form = forms.named(task, name, role) if name else forms.detect(task, path, role)
    return Planned(path, split, form, role)
