"""A store written shard by shard: killed anywhere, it goes on at the first shard that is not whole.

    header.json             what the store is; `counts` once it is finished
    head.safetensors        the teacher's head, for kind `hidden`
    part-00007.tfrecord     examples 7 * shard_examples and on, in order
    part-00007.json         its index and checksums: the mark that it is whole

A shard is written under another name, read back, renamed, and then its index is. Host i of n takes the shards whose
number leaves i when divided by n, so that hosts share a folder and need not talk.
"""

from __future__ import annotations

import collections
import dataclasses
import fcntl
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill_or_annotate.capture import frames, header, records
from distill_or_annotate.capture.header import Header, StoreError

HEAD = "head.safetensors"
PATTERN = "part-*.tfrecord"


class StoreWriter:
    """Writes this host's shards of a store.

    Args:
      folder: the store's folder; made when missing.
      store: its header.
      host: number of this host, 0 to `n_hosts` - 1.
      n_hosts: hosts that write the store, each into the same folder.
      writes: False for the further processes of one job over several hosts: they compute along and write nothing. They
        must skip what the writing process skips: give them its `whole_shards()` by `skip`.

    Raises:
      StoreError: the folder holds another store, the host's number is out of range, or another process writes as the
        same host.
    """

    def __init__(self, folder: str | os.PathLike, store: Header, host: int = 0, n_hosts: int = 1, writes: bool = True):
        if not 0 <= host < n_hosts:
            raise StoreError(f"host is {host}; allowed: 0 to {n_hosts - 1} (n_hosts is {n_hosts}).")
        self.folder, self.header, self.host, self.n_hosts = Path(folder), store, host, n_hosts
        self._types, self._writes, self._lock = records.feature_types(store), writes, None
        self._whole: frozenset[int] = frozenset()
        if not writes:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self.folder / f".lock-{host:05d}-of-{n_hosts:05d}")
        if (self.folder / header.FILE).exists():
            found = header.read(self.folder)
            if differing := store.differences(found):
                was, now = found.as_dict(), store.as_dict()
                listed = "; ".join(f"{name} was {was[name]!r}, is {now[name]!r}" for name in differing)
                raise StoreError(
                    f"{self.folder} holds another capture ({listed}). Fix: give another folder, or remove this one."
                )
        else:
            header.write(self.folder, store, host)
        for left in self.folder.glob(f"*.tmp-{host}-*"):  # this host's, which died
            left.unlink(missing_ok=True)

    def close(self) -> None:
        """Frees the folder for another process; idempotent."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def is_mine(self, shard: int) -> bool:
        """Whether this host writes the shard of that number."""
        return shard % self.n_hosts == self.host

    def whole_shards(self) -> list[int]:
        """Numbers of the shards that need no more work, as this process sees the folder."""
        numbers = (int(path.stem.removeprefix("part-")) for path in self.folder.glob("part-?????.json"))
        return sorted(shard for shard in numbers if (self.folder / shard_name(shard)).exists())

    def skip(self, shards: Iterable[int]) -> None:
        """Takes these shards, and no others, for whole: who does not write may not see the folder, or see it late.

        Args:
          shards: their numbers.
        """
        self._whole = frozenset(shards)

    def is_whole(self, shard: int) -> bool:
        """Whether the shard of that number needs no more work."""
        if not self._writes:
            return shard in self._whole
        return (self.folder / _index_name(shard)).exists() and (self.folder / shard_name(shard)).exists()

    def write_head(self, head_ExV: np.ndarray) -> None:
        """Writes the matrix that turns hidden states into logits, once.

        Args:
          head_ExV: `[width, vocab]`, float32 or bfloat16; logits are its product with a state times `logit_scale`.
        """
        from distill_or_annotate.interop import safetensors_files, tensors

        path = self.folder / HEAD
        if not self._writes or path.exists():
            return
        scratch = self.folder / f"{HEAD}.tmp-{self.host}-{os.getpid()}"
        contents = {"head": tensors.in_memory(head_ExV)}
        safetensors_files.write_file(scratch, contents, head_ExV.dtype, {"axes": "embed vocab"})
        scratch.replace(path)

    def write(self, shard: int, captured: Iterable[records.Record]) -> frames.ShardIndex | None:
        """Writes one shard.

        Args:
          shard: its number.
          captured: its records, in the order of their index.

        Returns:
          Its index, which is on disk then, after the shard; None from a process that does not write.

        Raises:
          StoreError: if a record is not the one whose turn it is.
        """
        if not self._writes:
            collections.deque(captured, maxlen=0)
            return None
        import tensorflow as tf

        first = shard * self.header.shard_examples
        scratch = self.folder / f"{shard_name(shard)}.tmp-{self.host}-{os.getpid()}"
        positions = 0
        with tf.io.TFRecordWriter(os.fspath(scratch)) as file:
            for expected, record in enumerate(captured, start=first):
                if record.index != expected:
                    raise StoreError(f"shard {shard}: example {record.index} stands where {expected} belongs.")
                positions += record.positions
                file.write(records.serialize(record, self._types))
        index = frames.index_of(scratch, shard, shard_name(shard), first, positions)
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        # The shard before its index: whoever finds an index finds the whole shard.
        scratch.replace(self.folder / index.file)
        frames.write_index(self.folder / _index_name(shard), index, self.host)
        return index

    def finish(self, n_examples: int, n_given: int = 0) -> bool:
        """Marks the store as whole, if every host's shards are.

        Args:
          n_examples: examples of the whole pool, given ones included.
          n_given: those with a given target.

        Returns:
          Whether the store is whole; else another host is still at work.
        """
        n_shards = -(-n_examples // self.header.shard_examples)
        if not self._writes or not all(self.is_whole(shard) for shard in range(n_shards)):
            return False
        totals = {"examples": n_examples, "given": n_given, "shards": n_shards, "bytes": 0, "positions": 0}
        for shard in range(n_shards):
            index = frames.read_index(self.folder / _index_name(shard))
            totals["bytes"] += index.bytes
            totals["positions"] += index.positions
        header.write(self.folder, dataclasses.replace(self.header, counts=totals), self.host)
        return True


def write_all(
    writer: StoreWriter,
    examples: Iterable[records.Example],
    capture: Callable[[Sequence[records.Example], int], Iterable[records.Record]],
    advance: Callable[[int], None] | None = None,
) -> int:
    """Captures what is missing of a store.

    Args:
      writer: this host's writer.
      examples: the whole pool, in the same order at each call; only one shard of it is held at a time.
      capture: turns the examples of a shard, given with the index of the first, into records in their order.
      advance: called with the number of examples after each shard, skipped ones included.

    Returns:
      Examples of the whole pool.
    """
    total = given = 0
    for shard, chunk in enumerate(chunks(examples, writer.header.shard_examples)):
        if writer.is_mine(shard) and not writer.is_whole(shard):
            writer.write(shard, capture(chunk, total))
        total += len(chunk)
        given += sum(example.targets is not None for example in chunk)
        if advance:
            advance(len(chunk))
    writer.finish(total, given)
    return total


def chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yields lists of `size` of the `items`, the last of them shorter."""
    source = iter(items)
    while chunk := list(itertools.islice(source, size)):
        yield chunk


def shard_name(shard: int) -> str:
    """File name of the shard of that number."""
    return f"part-{shard:05d}.tfrecord"


def _index_name(shard: int) -> str:
    return f"part-{shard:05d}.json"


def _lock(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise StoreError(
            f"{path.parent} is being written by another process of this host's number. Fix: wait for it or stop it, or "
            "give each host its own shard_id."
        ) from None
    return handle


def indices(folder: str | os.PathLike) -> list[frames.ShardIndex]:
    """The indices of a store's whole shards, in order.

    Args:
      folder: the store's folder.

    Returns:
      One for each shard.

    Raises:
      StoreError: for a damaged index.
    """
    return [frames.read_index(path) for path in sorted(Path(folder).glob("part-?????.json"))]


def verify(folder: str | os.PathLike) -> list[str]:
    """Reads a whole store and compares it with its checksums.

    Args:
      folder: the store's folder.

    Returns:
      A line for each thing that is wrong, naming file, record and offsets; empty for a sound and finished store.

    Raises:
      StoreError: if there is no store.
    """
    folder = Path(folder)
    found_header = header.read(folder)
    problems = []
    listed = indices(folder)
    for index in listed:
        problems += frames.damages(folder, index)
    counts = found_header.counts
    if counts is None:
        problems.append(f"{folder}: not finished ({len(listed)} whole shards). Fix: run the capture again; it goes on.")
        return problems
    missing = sorted(set(range(counts["shards"])) - {index.shard for index in listed})
    problems += [f"{folder / shard_name(shard)}: its index is missing." for shard in missing]
    if found_header.kind == "hidden" and not (folder / HEAD).exists():
        problems.append(f"{folder / HEAD}: missing.")
    return problems
