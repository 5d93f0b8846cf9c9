"""Reads back what `doa data build` wrote: `DOA_DATA_DIR/built/<task>/1.0.0`, a TFDS folder.

Its features are `source`, `target` and `targets` (all accepted answers, the target first). Which splits it holds is
read from its dataset_info.json, so that asking needs no TensorFlow.
"""

import json
import os
import pathlib

from distill_or_annotate.preprocess import rows as rows_lib
from distill_or_annotate.preprocess.text import one_line

VERSION = "1.0.0"
SPLITS = ("train", "validation", "test", "unlabeled")
INFO_FILE, PROVENANCE_FILE = "dataset_info.json", "provenance.json"

_ROWS_AT_ONCE = 4096


class BuiltError(ValueError):
    """A built folder that cannot be read.

    Args:
      path: the folder.
      problem: what is wrong with it.
    """

    def __init__(self, path: str | os.PathLike, problem: str):
        super().__init__(
            f"built folder {os.fspath(path)}: {one_line(problem, 500)}. "
            f"Build it again with `doa data build TASK --from FILES... --force`, or remove the folder."
        )
        self.path = os.fspath(path)


def folder(task: str, root: str | os.PathLike | None = None) -> pathlib.Path:
    """Names the folder in which a task's built data stands.

    Args:
      task: the task's name, such as `wlp`.
      root: the folder given to `doa data build --output`; None takes `built` in the data folder.
    Returns:
      The folder, which may not exist.
    Raises:
      DataFolderError: `DOA_DATA_DIR` is unset or names no folder, and no `root` was given.
    """
    root = rows_lib.data_dir() / "built" if root is None else pathlib.Path(root).expanduser()
    return root / task / VERSION


def splits(task: str, root: str | os.PathLike | None = None) -> tuple[str, ...]:
    """Lists the splits that were built.

    Args:
      task: the task's name.
      root: as in `folder`.
    Returns:
      Some of `SPLITS`, in their order; () when the task was not built.
    Raises:
      DataFolderError: as in `folder`.
      BuiltError: a folder is there, and its dataset_info.json cannot be read.
    """
    path = folder(task, root)
    if not path.is_dir():
        return ()
    info = _read_json(path, INFO_FILE)
    try:
        present = {split["name"] for split in info["splits"]}
    except (KeyError, TypeError) as error:
        raise BuiltError(path, f"{INFO_FILE} lists no splits") from error
    return tuple(split for split in SPLITS if split in present)


def provenance(task: str, root: str | os.PathLike | None = None) -> dict | None:
    """Reads where built data came from.

    Args:
      task: the task's name.
      root: as in `folder`.
    Returns:
      The content of provenance.json; None when the task was not built.
    Raises:
      DataFolderError: as in `folder`.
      BuiltError: a folder is there, and its provenance.json cannot be read.
    """
    path = folder(task, root)
    return _read_json(path, PROVENANCE_FILE) if path.is_dir() else None


def read_split(task: str, split: str, root: str | os.PathLike | None = None) -> list[rows_lib.Row]:
    """Reads one split of a built folder.

    Args:
      task: the task's name.
      split: one of `splits(task)`.
      root: as in `folder`.
    Returns:
      The rows in the order in which they were written; `targets` stands only in rows with several accepted answers.
    Raises:
      DataFolderError: as in `folder`; the task was not built, or not this split of it.
      BuiltError: the folder cannot be read.
      ValueError: an unknown split.
    """
    if split not in SPLITS:
        raise ValueError(f"split: {split!r} is not one of {SPLITS}")
    path, present = folder(task, root), splits(task, root)
    if split not in present:
        raise rows_lib.DataFolderError(
            f"split {split!r} of {task!r}: {path} has {', '.join(present) or 'nothing'}. "
            f"Make it with `doa data build {task} --{split} FILES...`."
        )
    import tensorflow_datasets as tfds

    rows: list[rows_lib.Row] = []
    try:
        # One file after another, as written: by default TFDS interleaves the files of a split.
        config = tfds.ReadConfig(interleave_cycle_length=1)
        dataset = tfds.builder_from_directory(path).as_dataset(split=split, shuffle_files=False, read_config=config)
        for batch in dataset.ragged_batch(_ROWS_AT_ONCE):
            columns = (batch["source"].numpy(), batch["target"].numpy(), batch["targets"].to_list())
            rows += [_row(*values) for values in zip(*columns, strict=True)]
    except Exception as error:  # of a damaged folder TFDS, protobuf and TensorFlow complain in many kinds
        raise BuiltError(path, f"split {split!r} cannot be read ({type(error).__name__}: {error})") from error
    return rows


def _row(source: bytes, target: bytes, targets: list[bytes]) -> rows_lib.Row:
    row = {"source": source.decode("utf-8"), "target": target.decode("utf-8")}
    if len(targets) > 1:
        row["targets"] = [answer.decode("utf-8") for answer in targets]
    return row


def _read_json(path: pathlib.Path, name: str) -> dict:
    try:
        value = json.loads((path / name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BuiltError(path, f"{name} cannot be read ({error})") from error
    if not isinstance(value, dict):
        raise BuiltError(path, f"{name} holds no JSON object")
    return value
