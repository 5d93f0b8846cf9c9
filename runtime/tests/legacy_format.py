"""Writes checkpoints in T5X's older format, from its description in the interface document, for tests to read."""

import numpy as np
import tensorstore as ts
from flax import serialization, traverse_util


def write(folder, state_dict, version=3, inline=(), bits_as_uint16=False, old_path=False, chunk=8):
    """Writes `state_dict` as one checkpoint.

    Args:
      folder: `.../checkpoint_<step>`.
      state_dict: nested dict with `target` and `state`.
      version: format version stated in the index; None states none.
      inline: names of leaves stored in the index, besides scalars and arrays of one element.
      bits_as_uint16: store bfloat16 as version 2 did.
      old_path: put the path where writers with an old TensorStore put it.
      chunk: longest side of a chunk.
    """
    folder.mkdir(parents=True)
    index = {}
    for key, leaf in traverse_util.flatten_dict(state_dict).items():
        array, name = np.asarray(leaf), ".".join(key)
        if array.size == 1 or "/".join(key) in inline:
            index[key] = array
            continue
        if bits_as_uint16 and array.dtype.name == "bfloat16":
            array = array.view(np.uint16)
        dtype = array.dtype.name
        chunks = [min(chunk, side) for side in array.shape]
        metadata = {"shape": list(array.shape), "chunks": chunks, "compressor": {"id": "gzip", "level": 1}}
        store = ts.open(
            {"driver": "zarr", "kvstore": {"driver": "file", "path": f"{folder}/{name}/"}, "metadata": metadata},
            create=True,
            dtype=ts.dtype(dtype),
        ).result()
        store.write(array).result()
        # What the index says of chunks and compressor is not to be trusted.
        spec = {"driver": "zarr", "dtype": dtype, "metadata": {**metadata, "chunks": [1] * array.ndim}}
        where = {"path": f"{name}/"}
        index[key] = (
            {**spec, "kvstore": {"driver": "gfile"}, **where}
            if old_path
            else {**spec, "kvstore": {"driver": "gfile", **where}}
        )
    root = {"optimizer": traverse_util.unflatten_dict(index)} | ({} if version is None else {"version": version})
    (folder / "checkpoint").write_bytes(serialization.msgpack_serialize(root))
