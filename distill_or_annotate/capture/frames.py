"""TFRecord files read frame by frame without TensorFlow, and their checksums.

A frame is eight bytes that give the length of a record, four of checksum, the record and four of checksum. Beside each
shard lies an index: how long each frame is and its CRC-32, so that a flipped byte is found by file, record and offset.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distill_or_annotate.capture.header import StoreError, replace_text

_AROUND_RECORD_BYTES = 16


@dataclasses.dataclass(frozen=True)
class ShardIndex:
    """What a whole shard holds; its file is the mark that the shard is whole.

    Attributes:
      shard: number of the shard.
      file: name of the shard's file.
      first: index of its first example.
      examples: how many it holds.
      bytes: size of the file.
      sha256: of the file, hexadecimal.
      frame_bytes: length of each frame.
      frame_crc32: CRC-32 of each frame.
      positions: stored positions of all its examples.
    """

    shard: int
    file: str
    first: int
    examples: int
    bytes: int
    sha256: str
    frame_bytes: tuple[int, ...]
    frame_crc32: tuple[int, ...]
    positions: int


def read_frames(path: Path) -> Iterator[bytes]:
    """Yields the frames of a TFRecord file, unchecked.

    Args:
      path: the file.

    Yields:
      Whole frames in order.

    Raises:
      StoreError: if a frame ends after the file does.
    """
    with path.open("rb") as file:
        while head := file.read(8):
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
            offset = file.tell() - len(head)
            room = path.stat().st_size - offset
            if len(head) < 8 or length + _AROUND_RECORD_BYTES > room:
                raise StoreError(f"{path}: the record at byte {offset} is cut short or its length is damaged.")
            yield head + file.read(length + _AROUND_RECORD_BYTES - 8)


def index_of(path: Path, shard: int, name: str, first: int, positions: int) -> ShardIndex:
    """Reads a freshly written shard back and indexes it.

    Args:
      path: the file, under whatever name it has now.
      shard: its number.
      name: the name it will have.
      first: index of its first example.
      positions: stored positions of all its examples.

    Returns:
      Its index.
    """
    digest, lengths, checks = hashlib.sha256(), [], []
    for frame in read_frames(path):
        digest.update(frame)
        lengths.append(len(frame))
        checks.append(zlib.crc32(frame))
    hexadecimal = digest.hexdigest()
    return ShardIndex(
        shard, name, first, len(lengths), sum(lengths), hexadecimal, tuple(lengths), tuple(checks), positions
    )


def write_index(path: Path, index: ShardIndex, host: int = 0) -> None:
    """Writes `index` at `path`, whole or not at all; `host` is the number of the host that writes."""
    replace_text(path, json.dumps(dataclasses.asdict(index)) + "\n", host)


def read_index(path: Path) -> ShardIndex:
    """Reads one shard's index.

    Args:
      path: the index file.

    Returns:
      The index.

    Raises:
      StoreError: if it is damaged.
    """
    try:
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        fields |= {name: tuple(fields[name]) for name in ("frame_bytes", "frame_crc32")}
        index = ShardIndex(**fields)
        if not index.examples == len(index.frame_bytes) == len(index.frame_crc32):
            raise ValueError("its counts disagree")
        return index
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is a damaged index ({error}). Fix: remove it and capture again.") from error


def damages(folder: Path, index: ShardIndex) -> list[str]:
    """Compares a shard with its index, byte for byte.

    Args:
      folder: the store's folder.
      index: the shard's index.

    Returns:
      One line for each damaged record, with file, record and offsets; empty for a sound shard.
    """
    path = folder / index.file
    if not path.exists():
        return [f"{path}: missing ({index.examples} examples from {index.first} on)."]
    found = []
    size = path.stat().st_size
    if size != index.bytes:
        found.append(f"{path}: {size} bytes, but {index.bytes} were written.")
    offset = 0
    # By the index's lengths, not the file's: a damaged length would lead astray from there on.
    with path.open("rb") as file:
        for number, (length, check) in enumerate(zip(index.frame_bytes, index.frame_crc32, strict=True)):
            frame = file.read(length)
            if len(frame) != length or zlib.crc32(frame) != check:
                where = f"example {index.first + number}, bytes {offset} to {offset + length - 1}"
                found.append(f"{path}: record {number} ({where}) is damaged.")
            offset += length
    return found
