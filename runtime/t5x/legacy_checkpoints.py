"""Reading checkpoints in T5X's older format: a msgpack file `checkpoint` beside one Zarr folder for each large array.

The file holds `{"version": 3, "optimizer": state dict}`, whose leaves are arrays or TensorStore specs with paths
relative to the checkpoint. The published T5 1.1 and FLAN-T5 checkpoints are of this kind.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import tensorstore as ts
from flax import serialization

from t5x import checkpoint_utils, state_utils

_OLDEST_VERSION = 2


def is_legacy(checkpoint_dir: str) -> bool:
    """Whether the folder at `checkpoint_dir` holds a checkpoint of the older format."""
    kinds = checkpoint_utils.CheckpointTypes
    return checkpoint_utils.detect_checkpoint_type(checkpoint_dir) is kinds.T5X


def _index(checkpoint_dir: str) -> dict[str, Any]:
    """The state dict with specs and inline arrays as leaves, by slash-joined name."""
    file = os.path.join(checkpoint_dir, "checkpoint")
    try:
        with open(file, "rb") as stream:
            root = serialization.msgpack_restore(stream.read())
    except OSError:
        raise
    except Exception as error:  # msgpack has many kinds of errors, none of which names the file
        raise ValueError(f"{file} can't be read; it is cut short or no T5X checkpoint: {error}") from error
    version = root.get("version", 0) if isinstance(root, Mapping) else 0
    if version < _OLDEST_VERSION or not isinstance(root.get("optimizer"), Mapping):
        raise ValueError(
            f"{file} is of format version {version}; versions from {_OLDEST_VERSION} on are read. Save it again with "
            "the T5X that wrote it, or convert its parameters from their Hugging Face folder with `doa convert`."
        )
    return state_utils.flatten_state_dict(root["optimizer"])


class LegacyArray:
    """One array of a checkpoint, not yet read.

    Attributes:
      name: slash-joined name of the leaf.
      shape: its shape.
      dtype: its dtype; bfloat16 also where version 2 stored the bits as uint16.
    """

    def __init__(self, checkpoint_dir: str, name: str, value: Any) -> None:
        self.name, self._folder, self._value = name, checkpoint_dir, value
        self._inline = not state_utils.tensorstore_leaf(name, value)
        self._stored = np.asarray(value) if self._inline else self._open()
        self._bits = not self._inline and self._stored.dtype == ts.uint16
        self.shape = tuple(self._stored.shape)
        plain = self._stored.dtype if self._inline else self._stored.dtype.numpy_dtype
        self.dtype = np.dtype("bfloat16") if self._bits else plain
        stated = () if self._inline else tuple(value["metadata"].get("shape", self.shape))
        if not self._inline and stated != self.shape:
            raise ValueError(f"{self._where()}: the index says shape {stated}, the array has {self.shape}.")

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        """Shape of the pieces in which it is stored."""
        return self.shape if self._inline else tuple(self._stored.chunk_layout.read_chunk.shape)

    def _where(self) -> str:
        return f"Checkpoint {self._folder}, leaf {self.name}"

    def _open(self) -> Any:
        kvstore = self._value["kvstore"]
        # Writers with an old TensorStore left the path at the top level.
        path = kvstore.get("path") or self._value.get("path", "")
        folder = os.path.join(os.path.abspath(self._folder), os.path.basename(path.rstrip("/")))
        # A missing chunk would otherwise be read as zeros.
        spec = {"driver": "zarr", "fill_missing_data_reads": False, "kvstore": {"driver": "file", "path": folder + "/"}}
        try:
            return ts.open(spec, open=True, read=True).result()
        except ValueError as error:
            raise ValueError(f"{self._where()}: no array in {folder}; copy the whole checkpoint: {error}") from error

    def __getitem__(self, index: Any) -> np.ndarray:
        """Reads the part that `index` (slices) selects, in the stored dtype."""
        if self._inline:
            return self._stored[index]
        try:
            part = self._stored[index].read().result()
        except ValueError as error:
            raise ValueError(f"{self._where()} can't be read; a file is missing or cut short: {error}") from error
        return part.view(self.dtype) if self._bits else part


def open_arrays(checkpoint_dir: str) -> dict[str, LegacyArray]:
    """Opens every leaf of a checkpoint without reading it.

    Args:
      checkpoint_dir: path of one checkpoint.

    Returns:
      Slash-joined name (`target/...`, `state/...`) to array.

    Raises:
      ValueError: naming file and leaf, when the checkpoint is damaged or too old.
    """
    return {name: LegacyArray(checkpoint_dir, name, value) for name, value in _index(checkpoint_dir).items()}


def read_arrays(checkpoint_dir: str, restore_args: Mapping[str, Any]) -> dict[str, Any]:
    """Reads leaves, straight into their shards where a sharding is given.

    Args:
      checkpoint_dir: path of one checkpoint.
      restore_args: leaf name to Orbax's `RestoreArgs` or `ArrayRestoreArgs`, of which dtype and sharding are read.

    Returns:
      Leaf name to array: of JAX with a sharding, of NumPy without.

    Raises:
      ValueError: naming file and leaf, when one can't be read.
    """
    index, result = _index(checkpoint_dir), {}
    for name, args in restore_args.items():
        array = LegacyArray(checkpoint_dir, name, index[name])
        dtype, sharding = args.dtype or array.dtype, getattr(args, "sharding", None)
        if sharding is None:
            result[name] = array[...].astype(dtype)
            continue

        def part(position: Any, array: LegacyArray = array, dtype: Any = dtype) -> np.ndarray:
            return array[position].astype(dtype)

        result[name] = jax.make_array_from_callback(array.shape, sharding, part)
    return result
