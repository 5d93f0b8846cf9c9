"""Parameter trees as safetensors files and as T5X checkpoints in Orbax's layout.

A tensor's name is its path in the T5X tree (docs of `runtime/`, the parameter table), joined with `/`, for example
`encoder/layers_0/attention/query/kernel`.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from safetensors import safe_open
from safetensors.flax import save_file

from distill_or_annotate.interop.safetensors_files import file_hash  # noqa: F401  (a public name of this module)

_DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def write_safetensors(params: Mapping[str, Any], path: Path, dtype: str, metadata: Mapping[str, str]) -> None:
    """Write a parameter tree to one file, whole or not at all.

    Args:
      params: nested dict of arrays.
      path: the file; replaced when it exists, its folder made when it does not.
      dtype: `float32` or `bfloat16`.
      metadata: strings stored in the file's header.

    Raises:
      ValueError: if the dtype is another one.
    """
    if dtype not in _DTYPES:
        raise ValueError(f"dtype is {dtype!r}; allowed: {', '.join(sorted(_DTYPES))}.")
    flat = traverse_util.flatten_dict(dict(params), sep="/")
    tensors = {name: jnp.asarray(value, _DTYPES[dtype]) for name, value in sorted(flat.items())}
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    save_file(tensors, scratch, metadata=dict(metadata))
    scratch.replace(path)


def read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a parameter tree, in float32.

    Args:
      path: a file that `write_safetensors` wrote.

    Returns:
      The nested dict of float32 arrays and the header's metadata.

    Raises:
      FileNotFoundError: if there is no such file.
    """
    if not path.exists():
        raise FileNotFoundError(f"no weights at {path}. Fix: `make pretrain-mini` writes the mini models' weights.")
    with safe_open(path, framework="flax") as handle:
        flat = {name: np.asarray(handle.get_tensor(name), np.float32) for name in handle.keys()}  # noqa: SIM118
        metadata = dict(handle.metadata() or {})
    return traverse_util.unflatten_dict(flat, sep="/"), metadata


def write_checkpoint(params: Mapping[str, Any], folder: Path, step: int = 0) -> Path:
    """Write parameters as the T5X checkpoint `folder/checkpoint_<step>`: target and step, no optimizer state.

    Args:
      params: nested dict of arrays.
      folder: the model folder.
      step: the step that training is said to have reached.

    Returns:
      The checkpoint's path; one that is already there is left as it is.
    """
    import orbax.checkpoint as ocp

    path = folder.absolute() / f"checkpoint_{step}"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    state = {"target": dict(params), "state": {"step": np.int32(step), "param_states": {}}}
    # Orbax writes beside its target and renames, so a folder of that name is always whole; two processes that write
    # at once must not meet in one scratch folder.
    scratch = folder.absolute() / f"writing-{os.getpid()}" / f"checkpoint_{step}"
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        checkpointer.save(scratch, args=ocp.args.Composite(state=ocp.args.PyTreeSave(state)))
    try:
        scratch.rename(path)
    except OSError:
        if not path.exists():
            raise
    shutil.rmtree(scratch.parent, ignore_errors=True)
    return path


def read_checkpoint(path: Path) -> tuple[dict[str, Any], int]:
    """Read the parameters of a T5X checkpoint in Orbax's layout, without a model.

    Args:
      path: `.../checkpoint_<step>`, or a folder of such, of which the newest is read.

    Returns:
      The nested dict of arrays, as stored, and the step.

    Raises:
      FileNotFoundError: if there is none.
    """
    import orbax.checkpoint as ocp

    if not re.fullmatch(r"checkpoint_\d+", path.name):
        steps = [
            int(p.name.split("_")[1]) for p in path.glob("checkpoint_*") if re.fullmatch(r"checkpoint_\d+", p.name)
        ]
        if not steps:
            raise FileNotFoundError(
                f"no checkpoint_<step> in {path}. Fix: give a T5X model folder or checkpoint folder."
            )
        path = path / f"checkpoint_{max(steps)}"
    folder = path.absolute() / "state"
    with ocp.PyTreeCheckpointer() as checkpointer:
        tree = checkpointer.metadata(folder).item_metadata.tree
        # As numpy arrays: the devices that wrote the checkpoint need not be here.
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        state = checkpointer.restore(folder, args=ocp.args.PyTreeRestore(restore_args=as_numpy))
    return state["target"], int(state["state"]["step"])
