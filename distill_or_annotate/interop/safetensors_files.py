"""Safetensors files read and written piece by piece.

A file is eight bytes that give the length of a JSON header, the header (name to dtype, shape and place), and the
tensors' bytes in C order.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distill_or_annotate.interop import tensors
from distill_or_annotate.interop.tensors import StoredTensor

_DTYPES = {"F32": tensors.FLOAT32, "BF16": tensors.BFLOAT16, "F16": tensors.DTYPES["float16"]}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}
_LARGEST_HEADER_BYTES = 100 << 20


def open_file(path: Path) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """Opens one file; reads its header only.

    Args:
      path: a safetensors file.

    Returns:
      Tensor name to tensor, and the header's metadata.

    Raises:
      ValueError: naming the file and the tensor, when the file is damaged or holds a dtype that no weights have.
      OSError: if the file can't be read.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8).ljust(8, b"\xff"))
        if length > min(size - 8, _LARGEST_HEADER_BYTES):
            raise ValueError(f"{path} is no safetensors file, or cut short ({size} bytes). Fix: fetch it again.")
        try:
            header = json.loads(stream.read(length))
        except ValueError as error:
            raise ValueError(f"{path} is no safetensors file: its header is no JSON ({error}).") from error
    try:
        metadata = header.pop("__metadata__", None) or {}
        return {name: _tensor(path, name, entry, 8 + length, size) for name, entry in header.items()}, metadata
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no safetensors file: its header lacks or mistakes {error}.") from error


def _tensor(path: Path, name: str, entry: Mapping[str, Any], data_start: int, file_bytes: int) -> StoredTensor:
    shape, code, (begin, end) = tuple(entry["shape"]), entry["dtype"], entry["data_offsets"]
    if code not in _DTYPES:
        raise ValueError(f"{path}: tensor {name} is of dtype {code}; allowed for weights: {', '.join(_DTYPES)}.")
    dtype = _DTYPES[code]
    if end - begin != math.prod(shape) * dtype.itemsize or data_start + end > file_bytes or begin < 0:
        raise ValueError(
            f"{path}: tensor {name} of shape {shape} ends at byte {data_start + end} of {file_bytes}; the file is cut "
            "short or damaged. Fix: fetch it again."
        )

    row_bytes = dtype.itemsize * math.prod(shape[1:])

    def read_part(axis: int, start: int, stop: int) -> np.ndarray:
        first, last = (start, stop) if axis == 0 else (0, shape[0])
        with path.open("rb") as stream:
            stream.seek(data_start + begin + first * row_bytes)
            rows = np.fromfile(stream, np.uint8, (last - first) * row_bytes).view(dtype)
        rows = rows.reshape(last - first, *shape[1:])
        return rows if axis == 0 else rows[(slice(None),) * axis + (slice(start, stop),)]

    return StoredTensor(shape, dtype, (1, *shape[1:]), read_part)


def write_file(
    path: Path, contents: Mapping[str, StoredTensor], dtype: np.dtype, metadata: Mapping[str, str], advance: Any = None
) -> None:
    """Writes one file, tensor by tensor and piece by piece.

    Args:
      path: the file; its folder must exist.
      contents: tensor name to tensor.
      dtype: the type of all tensors in the file, of `tensors.DTYPES`.
      metadata: strings for the file's header.
      advance: called with the number of bytes after each piece; None does nothing.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    place = 0
    for name, tensor in sorted(contents.items()):
        end = place + math.prod(tensor.shape) * dtype.itemsize
        header[name] = {"dtype": _CODES[dtype], "shape": list(tensor.shape), "data_offsets": [place, end]}
        place = end
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(encoded)) + encoded)
        for _, tensor in sorted(contents.items()):
            for _, _, piece in tensor.pieces(0):
                np.ascontiguousarray(piece, dtype).tofile(stream)
                if advance:
                    advance(piece.size * dtype.itemsize)
        stream.flush()
        os.fsync(stream.fileno())


def file_hash(path: Path) -> str:
    """SHA-256 of the file at `path`, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
