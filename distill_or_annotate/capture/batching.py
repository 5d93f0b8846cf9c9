"""Batches of examples of like length, and the few input lengths that a program is compiled for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distill_or_annotate.capture.records import Example


def input_lengths(longest: int, programs: int = 4) -> tuple[int, ...]:
    """Input lengths that batches are padded to, each of which is one compiled program.

    Args:
      longest: longest input in tokens, at least 1.
      programs: at most so many lengths, at least 1.

    Returns:
      Ascending lengths, multiples of 8 but for the last, which is `longest`.
    """
    step = max(8, -(-longest // (8 * programs)) * 8)
    return (*range(step, longest, step), longest)


def batches(examples: Sequence[Example], batch_size: int, by_length: bool) -> list[np.ndarray]:
    """Which examples are decoded together.

    Args:
      examples: those of one shard.
      batch_size: examples a batch, at least 1.
      by_length: sort them by the length of the input, so that little is padded and a batch ends early; else they stay
        in order, as the paper's reference has them: the pads it counts depend on a batch's neighbours.

    Returns:
      Places in `examples`, batch by batch; the last batch may be smaller.
    """
    lengths = np.array([len(example.inputs) for example in examples])
    # Stable, so that equal lengths stay in order and the same pool gives the same batches.
    order = np.argsort(lengths, kind="stable") if by_length else np.arange(len(examples))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def padded(rows: Sequence[np.ndarray], length: int, n_rows: int) -> np.ndarray:
    """Ids as a table.

    Args:
      rows: ids of each example, at least one; longer ones are cut.
      length: columns.
      n_rows: rows; those that are missing repeat the last, so that they make no batch longer than it is.

    Returns:
      int32 [n_rows, length], padded with 0.
    """
    table = np.zeros((n_rows, length), np.int32)
    for row, ids in enumerate(rows):
        table[row, : min(len(ids), length)] = ids[:length]
    table[len(rows) :] = table[len(rows) - 1]
    return table
