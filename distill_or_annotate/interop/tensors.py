"""Tensors that are still on disk, read piece by piece, so that a conversion never holds a model.

An axis has a *step*: how many of its entries are read at once at little cost. Where pieces along an axis would each
need the whole tensor, the step is the axis's length.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import ml_dtypes
import numpy as np

PIECE_BYTES = 64 << 20
"""What one piece may hold, in bytes, unless a single row or stored chunk is larger."""

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT32 = np.dtype(np.float32)
DTYPES = {"float32": FLOAT32, "bfloat16": BFLOAT16, "float16": np.dtype(np.float16)}
"""The types in which weights are stored, by name."""


class StoredTensor:
    """A tensor that is read along one axis at a time.

    Args:
      shape: its shape; scalars have none of the methods below.
      dtype: its stored dtype.
      chunk: shape of the parts that can only be read whole.
      read_part: reads entries `start` to `stop` along an axis, given as `(axis, start, stop)`.

    Attributes:
      shape: its shape.
      dtype: its stored dtype.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype,
        chunk: tuple[int, ...],
        read_part: Callable[[int, int, int], np.ndarray],
    ) -> None:
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self._chunk, self._read_part = tuple(chunk), read_part

    @property
    def transposed(self) -> StoredTensor:
        """The same tensor with its axes in reverse order; vectors are themselves."""
        if len(self.shape) < 2:
            return self
        last = len(self.shape) - 1
        return StoredTensor(
            self.shape[::-1],
            self.dtype,
            self._chunk[::-1],
            lambda axis, start, stop: self.read(last - axis, start, stop).T,
        )

    def step(self, axis: int) -> int:
        """Entries along `axis` to read at once: whole chunks, within `PIECE_BYTES` where possible."""
        length = self.shape[axis]
        entry_bytes = self.dtype.itemsize * max(1, math.prod(self.shape) // max(1, length))
        chunk = max(1, min(self._chunk[axis], length))
        wanted = max(1, PIECE_BYTES // max(1, entry_bytes))
        return min(length, max(chunk, wanted // chunk * chunk))

    def read(self, axis: int, start: int, stop: int) -> np.ndarray:
        """Reads one piece.

        Args:
          axis: the axis that is cut.
          start: first entry.
          stop: entry after the last.

        Returns:
          The piece in the stored dtype, whole along the other axes.
        """
        return self._read_part(axis, start, stop)

    def pieces(self, axis: int = 0) -> Iterator[tuple[int, int, np.ndarray]]:
        """Reads all of it, in order along `axis`, as (start, stop, piece)."""
        step = self.step(axis)
        for start in range(0, self.shape[axis], step):
            stop = min(start + step, self.shape[axis])
            yield start, stop, self.read(axis, start, stop)

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """The rows with the given numbers, in float32, found piece by piece."""
        found = np.empty((*numbers.shape, *self.shape[1:]), np.float32)
        for start, stop, piece in self.pieces(0):
            here = (numbers >= start) & (numbers < stop)
            found[here] = piece[numbers[here] - start].astype(np.float32)
        return found

    def whole(self) -> np.ndarray:
        """All of it in float32; for vectors and other small tensors."""
        return np.asarray(self.read(0, 0, self.shape[0])).astype(np.float32)


def in_memory(array: np.ndarray) -> StoredTensor:
    """An array of memory as a stored tensor.

    Args:
      array: with one axis or more.

    Returns:
      The tensor, whose pieces are views.
    """

    def read_part(axis: int, start: int, stop: int) -> np.ndarray:
        return array[(slice(None),) * axis + (slice(start, stop),)]

    return StoredTensor(array.shape, array.dtype, (1,) * array.ndim, read_part)


def cheapest_axis(*tensors: StoredTensor) -> int:
    """The axis along which all of the tensors (of one shape) are read in the smallest pieces."""
    axes = range(len(tensors[0].shape))
    # Part of an axis, not entries: the axes differ in length.
    return min(axes, key=lambda axis: max(t.step(axis) / max(1, t.shape[axis]) for t in tensors))


def largest_difference(first: StoredTensor, second: StoredTensor) -> float:
    """The largest absolute difference of two tensors of one shape, read piece by piece in float32.

    Args:
      first: one tensor.
      second: the other.

    Returns:
      The difference; NaN where either holds NaN.
    """
    axis = cheapest_axis(first, second)
    step = max(first.step(axis), second.step(axis))
    largest = 0.0
    for start in range(0, first.shape[axis], step):
        stop = min(start + step, first.shape[axis])
        parts = [tensor.read(axis, start, stop).astype(np.float32) for tensor in (first, second)]
        largest = np.maximum(largest, np.abs(np.subtract(*parts, out=parts[0]), out=parts[0]).max(initial=0.0))
    return float(largest)
