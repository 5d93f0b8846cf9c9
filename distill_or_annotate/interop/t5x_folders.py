"""T5X checkpoints as stored tensors: read in Orbax's and in the older layout, written in Orbax's."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distill_or_annotate.interop.tensors import FLOAT32, PIECE_BYTES, StoredTensor, cheapest_axis

_CACHE_BYTES = 16 << 20
_MIN_FACTORED = 128
"""Adafactor factors the second moments of matrices whose sides are both this long."""


def find(path: Path) -> Path:
    """The checkpoint at `path`, or the newest one in the model folder at `path`.

    Raises:
      FileNotFoundError: if there is none.
    """
    if re.fullmatch(r"checkpoint_\d+", path.name) and path.is_dir():
        return path
    steps = [p for p in path.glob("checkpoint_*") if re.fullmatch(r"checkpoint_\d+", p.name)]
    if not steps:
        raise FileNotFoundError(f"no checkpoint_<step> in {path}. Fix: give a T5X model folder or checkpoint folder.")
    return max(steps, key=lambda p: int(p.name.split("_")[1]))


def open_checkpoint(path: Path) -> dict[str, StoredTensor]:
    """Opens the parameters of one checkpoint.

    Args:
      path: `.../checkpoint_<step>`.

    Returns:
      Slash-joined name, below `target`, to tensor.

    Raises:
      ValueError: naming the checkpoint and the leaf, when it is damaged or holds no parameters.
    """
    if (path / "checkpoint").is_file():
        from t5x import legacy_checkpoints

        arrays = legacy_checkpoints.open_arrays(str(path))
        found = {
            name.removeprefix("target/"): StoredTensor(array.shape, array.dtype, array.chunk_shape, _slicer(array))
            for name, array in arrays.items()
            if name.startswith("target/")
        }
    else:
        found = _open_orbax(path)
    if not found:
        raise ValueError(f"{path} holds no parameters (nothing under 'target'). Fix: give a T5X checkpoint.")
    return found


def _slicer(array: Any) -> Any:
    def read_part(axis: int, start: int, stop: int) -> np.ndarray:
        return array[(slice(None),) * axis + (slice(start, stop),)]

    return read_part


def _open_orbax(path: Path) -> dict[str, StoredTensor]:
    import tensorstore

    file = path / "state" / "_METADATA"
    try:
        metadata = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path} holds no state/_METADATA: it is no whole T5X checkpoint.") from None
    except ValueError as error:
        raise ValueError(f"{file} is cut short or damaged: {error}") from error
    driver = "zarr3" if metadata.get("use_zarr3") else "zarr"
    # The store's table of contents stays in memory; else each piece would read it again.
    context = tensorstore.Context({"cache_pool": {"total_bytes_limit": _CACHE_BYTES}})
    found = {}
    for entry in metadata["tree_metadata"].values():
        keys = [str(key["key"]) for key in entry["key_metadata"]]
        if keys[0] == "target" and not entry["value_metadata"].get("skip_deserialize"):
            found["/".join(keys[1:])] = _open_array(path, ".".join(keys), driver, context)
    return found


def _open_array(path: Path, name: str, driver: str, context: Any) -> StoredTensor:
    import tensorstore

    try:
        store = tensorstore.open(
            {**_spec(path, name, driver), "fill_missing_data_reads": False, "recheck_cached_data": "open"},
            context=context,
        ).result()
    except ValueError as error:
        raise ValueError(f"checkpoint {path}, leaf {name}: it can't be opened; a file is missing: {error}") from error

    def read_part(axis: int, start: int, stop: int) -> np.ndarray:
        try:
            return store[(slice(None),) * axis + (slice(start, stop),)].read().result()
        except ValueError as error:
            raise ValueError(
                f"checkpoint {path}, leaf {name}: it can't be read, a file is cut short: {error}"
            ) from error

    return StoredTensor(store.shape, store.dtype.numpy_dtype, store.chunk_layout.read_chunk.shape, read_part)


def _spec(path: Path, name: str, driver: str = "zarr") -> dict[str, Any]:
    state = path.absolute() / "state"
    if (state / "manifest.ocdbt").is_file():
        return {"driver": driver, "kvstore": {"driver": "ocdbt", "base": f"file://{state}/", "path": f"{name}/"}}
    return {"driver": driver, "kvstore": {"driver": "file", "path": f"{state}/{name}/"}}


def write_checkpoint(path: Path, contents: Mapping[str, StoredTensor], dtype: np.dtype, advance: Any = None) -> None:
    """Writes one checkpoint, tensor by tensor and piece by piece, at step 0 with a fresh Adafactor state.

    Args:
      path: the folder `checkpoint_0`, which must not exist.
      contents: slash-joined name, below `target`, to tensor.
      dtype: the type of the parameters, of `tensors.DTYPES`.
      advance: called with the number of bytes after each piece; None does nothing.
    """
    import orbax.checkpoint as ocp
    import tensorstore

    # Orbax writes all that is small, and the description of the tree; the parameters then take their places in its
    # store, which it would only write from arrays in memory.
    places = _nested({name: np.zeros(1, np.float32) for name in contents})
    moments = _nested({name: _fresh_moments(tensor.shape) for name, tensor in contents.items()})
    state = {"target": places, "state": {"step": np.int32(0), "param_states": moments}}
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        checkpointer.save(path.absolute(), args=ocp.args.Composite(state=ocp.args.PyTreeSave(state)))
    base = {"driver": "ocdbt", "base": f"file://{path.absolute()}/state/"}
    # Each commit rewrites the store's table of contents, so there are few of them; the disk is waited for once, below.
    context = tensorstore.Context({"file_io_sync": False})
    store = tensorstore.KvStore.open(base, context=context).result()
    store.delete_range(tensorstore.KvStore.KeyRange("target.", "target/")).result()  # "/" follows "."
    pending = _Pending()
    for name, tensor in contents.items():
        axis = cheapest_axis(tensor)
        chunks = list(tensor.shape)
        chunks[axis] = _chunk_length(chunks[axis], tensor.step(axis))
        store = tensorstore.open(
            {
                **_spec(path, f"target.{name.replace('/', '.')}"),
                "metadata": {"chunks": chunks, "compressor": {"id": "zstd", "level": 1}},
            },
            create=True,
            dtype=tensorstore.dtype(dtype.name),
            shape=tensor.shape,
            context=context,
            transaction=pending.transaction,
        ).result()
        for start in range(0, tensor.shape[axis], chunks[axis]):
            stop = min(start + chunks[axis], tensor.shape[axis])
            part = np.ascontiguousarray(tensor.read(axis, start, stop), dtype)
            if pending.make_room(part.nbytes):
                store = store.with_transaction(pending.transaction)
            store[(slice(None),) * axis + (slice(start, stop),)].write(part).result()
            if advance:
                advance(part.nbytes)
    pending.commit()
    for file in (path / "state").rglob("*"):
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())


class _Pending:
    """What has been written and not yet committed: no more than one piece's bytes."""

    def __init__(self) -> None:
        import tensorstore

        self._new = tensorstore.Transaction
        self.transaction, self._bytes = self._new(), 0

    def make_room(self, n_bytes: int) -> bool:
        """Whether a new transaction had to begin."""
        full = self._bytes + n_bytes > PIECE_BYTES
        if full:
            self.commit()
        self._bytes += n_bytes
        return full

    def commit(self) -> None:
        self.transaction.commit_sync()
        self.transaction, self._bytes = self._new(), 0


def _chunk_length(length: int, at_most: int) -> int:
    """The largest divisor of `length` up to `at_most`, so that no chunk is padded; `at_most` where all are small."""
    divisor = next(n for n in range(at_most, 0, -1) if length % n == 0)
    return divisor if 4 * divisor >= at_most else at_most


def _fresh_moments(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Adafactor's state before its first step: zeros, factored for large matrices."""
    none = np.zeros(1, FLOAT32)
    if len(shape) == 2 and min(shape) >= _MIN_FACTORED:
        return {"m": none, "v": none, "v_row": np.zeros(min(shape), FLOAT32), "v_col": np.zeros(max(shape), FLOAT32)}
    return {"m": none, "v": np.zeros(shape, FLOAT32), "v_row": none, "v_col": none}


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *folders, last = name.split("/")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[last] = value
    return tree
