"""Checkpoint folders: their names, their kind, pinning and removal. Needs no JAX."""

import difflib
import enum
import os
import re
import shutil

PINNED_FILENAME = "PINNED"
_PREFIX = "checkpoint_"
_STEP_FOLDER = re.compile(r"^checkpoint_(\d+)$")
_UNFINISHED = re.compile(r"^checkpoint_\d+\.(orbax-checkpoint-tmp|tmp)")
_ORBAX_MARKER = "_CHECKPOINT_METADATA"


class CheckpointTypes(enum.Enum):
    """Formats that a checkpoint folder may have."""

    ORBAX = "ORBAX"
    T5X = "T5X"
    T5X_TF = "T5X_TF"


def require_mounted(path: str, field: str) -> None:
    """Refuses addresses of object stores, which would otherwise become odd local folders.

    Args:
      path: a path that a user gave.
      field: name of what the user set.

    Raises:
      ValueError: when the path has a scheme such as `gs://`.
    """
    if "://" in os.fspath(path):
        raise ValueError(
            f"{field} is {path!r}; this runtime writes and reads local or mounted folders only. Mount the bucket (for "
            "example with gcsfuse) and give the folder, or use upstream T5X."
        )


def get_checkpoint_prefix() -> str:
    """Prefix of checkpoint folder names."""
    return _PREFIX


def get_checkpoint_dir(checkpoints_dir: str, step: int) -> str:
    """Path of the checkpoint of a step.

    Args:
      checkpoints_dir: folder of checkpoints.
      step: step number, >= 0.

    Returns:
      `checkpoints_dir/checkpoint_<step>`.
    """
    return os.path.join(os.fspath(checkpoints_dir), f"{_PREFIX}{step}")


def get_step_from_checkpoint_dir(checkpoint_dir: str) -> tuple[str, int]:
    """Splits a checkpoint's path into its parent and its step.

    Args:
      checkpoint_dir: path that ends in `checkpoint_<step>`.

    Returns:
      The parent folder and the step.

    Raises:
      ValueError: when the path does not end so.
    """
    parent, name = os.path.split(os.fspath(checkpoint_dir).rstrip("/"))
    match = _STEP_FOLDER.match(name)
    if not match:
        raise ValueError(f"Checkpoint path {checkpoint_dir!r} does not end in 'checkpoint_<step>'.")
    return parent, int(match[1])


def is_complete(checkpoint_dir: str) -> bool:
    """Whether a folder holds a checkpoint that was written to its end.

    Args:
      checkpoint_dir: path of one checkpoint.

    Returns:
      False also for folders that are something else.
    """
    path = os.fspath(checkpoint_dir)
    if os.path.isfile(os.path.join(path, "checkpoint")):
        return True
    # Orbax gives the folder its name last, so the name with this file in it means a whole checkpoint.
    return os.path.isfile(os.path.join(path, _ORBAX_MARKER))


def all_steps(checkpoints_dir: str) -> list[int]:
    """Steps of the complete checkpoints in a folder.

    Args:
      checkpoints_dir: folder of checkpoints; may not exist.

    Returns:
      Ascending steps.
    """
    path = os.fspath(checkpoints_dir)
    if not os.path.isdir(path):
        return []
    steps = [int(match[1]) for name in os.listdir(path) if (match := _STEP_FOLDER.match(name))]
    return sorted(step for step in steps if is_complete(get_checkpoint_dir(path, step)))


def latest_step(checkpoints_dir: str) -> int | None:
    """The newest complete step in a folder, or None.

    Args:
      checkpoints_dir: folder of checkpoints; may not exist.

    Returns:
      The largest step.
    """
    return max(all_steps(checkpoints_dir), default=None)


def find_checkpoint(path: str, step: int | None = None) -> str:
    """Finds one checkpoint, given itself or its parent.

    Args:
      path: a checkpoint folder, or a folder of checkpoints.
      step: wanted step; None takes the newest.

    Returns:
      Path of the checkpoint folder.

    Raises:
      ValueError: when there is none; the message names what lies there.
    """
    require_mounted(path, "The checkpoint's path")
    path = os.fspath(path).rstrip("/")
    if step is None and _STEP_FOLDER.match(os.path.basename(path)):
        if is_complete(path):
            return path
        parent = os.path.dirname(path) or "."
        siblings = [get_checkpoint_dir(parent, s) for s in all_steps(parent)]
        near = difflib.get_close_matches(path, siblings, n=3, cutoff=0.0)
        state = "is no complete checkpoint (no _CHECKPOINT_METADATA)" if os.path.isdir(path) else "does not exist"
        raise ValueError(f"Checkpoint {path} {state}. Complete ones beside it: {', '.join(near) or 'none'}.")
    steps = all_steps(path)
    if step is None and steps:
        return get_checkpoint_dir(path, steps[-1])
    if step in steps:
        return get_checkpoint_dir(path, step)
    wanted = "any step" if step is None else f"step {step}"
    raise ValueError(f"No checkpoint of {wanted} in {path}; complete steps there: {steps or 'none'}.")


def detect_checkpoint_type(checkpoint_path: str, expected: CheckpointTypes | None = None) -> CheckpointTypes:
    """Tells the format of a checkpoint from its files.

    Args:
      checkpoint_path: a checkpoint folder, or the file `checkpoint` in it.
      expected: format the caller counts on.

    Returns:
      The format found.

    Raises:
      ValueError: when it is not the expected one, or the folder holds no checkpoint.
    """
    path = os.fspath(checkpoint_path).rstrip("/")
    folder = os.path.dirname(path) if os.path.isfile(path) else path
    file = os.path.join(folder, "checkpoint")
    if any(os.path.isfile(os.path.join(folder, *part)) for part in ((_ORBAX_MARKER,), ("_METADATA",))):
        found = CheckpointTypes.ORBAX
    elif os.path.isfile(file):
        with open(file, "rb") as stream:
            found = CheckpointTypes.T5X_TF if stream.read(21) == b"model_checkpoint_path" else CheckpointTypes.T5X
    else:
        names = sorted(os.listdir(folder))[:8] if os.path.isdir(folder) else "nothing (no such folder)"
        raise ValueError(f"{folder} holds no checkpoint; found {names}.")
    if expected is not None and found is not expected:
        raise ValueError(f"{folder} holds a {found.value} checkpoint where {expected.value} was expected.")
    return found


def pinned_checkpoint_filepath(checkpoint_dir: str) -> str:
    """Path of the marker that protects a checkpoint from removal."""
    return os.path.join(os.fspath(checkpoint_dir), PINNED_FILENAME)


def is_pinned_checkpoint(checkpoint_dir: str) -> bool:
    """Whether a checkpoint is protected from removal."""
    return os.path.exists(pinned_checkpoint_filepath(checkpoint_dir))


def pin_checkpoint(checkpoint_dir: str, txt: str = "1") -> None:
    """Protects a checkpoint from removal.

    Args:
      checkpoint_dir: the checkpoint folder.
      txt: text written to the marker.
    """
    with open(pinned_checkpoint_filepath(checkpoint_dir), "w", encoding="utf-8") as file:
        file.write(txt)


def unpin_checkpoint(checkpoint_dir: str) -> None:
    """Takes the protection from a checkpoint; does nothing when there is none.

    Args:
      checkpoint_dir: the checkpoint folder.
    """
    if is_pinned_checkpoint(checkpoint_dir):
        os.remove(pinned_checkpoint_filepath(checkpoint_dir))


def remove_checkpoint_dir(checkpoint_dir: str) -> None:
    """Removes a checkpoint unless it is pinned.

    Args:
      checkpoint_dir: the checkpoint folder.
    """
    path = os.fspath(checkpoint_dir).rstrip("/")
    if is_pinned_checkpoint(path):
        return
    # Renamed first: a removal that is killed half way must not leave a folder that looks like a checkpoint.
    doomed = f"{path}.removing"
    if os.path.isdir(path):
        shutil.rmtree(doomed, ignore_errors=True)
        os.replace(path, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def remove_dataset_checkpoint(checkpoint_dir: str, train_ds_prefix: str = "train_ds") -> None:
    """Removes the data iterator's state from a checkpoint unless it is pinned; counts of batches stay.

    Args:
      checkpoint_dir: the checkpoint folder.
      train_ds_prefix: prefix of the state's files.
    """
    if is_pinned_checkpoint(checkpoint_dir):
        return
    for folder, _, names in os.walk(checkpoint_dir):
        for name in names:
            if name.startswith(f"{train_ds_prefix}-") and not name.endswith(".json"):
                os.remove(os.path.join(folder, name))


def remove_unfinished(checkpoints_dir: str) -> list[str]:
    """Removes what a killed process left half written or half removed.

    Args:
      checkpoints_dir: folder of checkpoints; may not exist. No other process may be writing there.

    Returns:
      Names of the removed folders.
    """
    path = os.fspath(checkpoints_dir)
    if not os.path.isdir(path):
        return []
    names = [n for n in os.listdir(path) if _UNFINISHED.match(n) or re.match(r"^checkpoint_\d+\.removing$", n)]
    for name in names:
        shutil.rmtree(os.path.join(path, name), ignore_errors=True)
    return sorted(names)
