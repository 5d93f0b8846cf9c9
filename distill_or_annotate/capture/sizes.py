"""How many bytes a store takes."""

from __future__ import annotations

_ID_BYTES = {True: 2, False: 4}
# A record's own fields: text twice over, ids as varints, names, frame. Measured on short inputs; small beside the rest.
_AROUND_RECORD_BYTES = 400
_NUMBER_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}
# A shard is what a kill loses, and what is held in memory: large enough to read fast, small enough to hold.
_SHARD_BYTES = 256 * 2**20
_LARGEST_SHARD = 4096


def bytes_per_position(kind: str, width: int, vocab_size: int, k: int = 32, dtype: str | None = None) -> int:
    """Bytes that one target position takes.

    Args:
      kind: `hidden`, `topk` or `full`.
      width: E, the teacher's model width.
      vocab_size: V, rows of the teacher's embedding.
      k: tokens that `topk` keeps.
      dtype: float type of the numbers; None takes the kind's.

    Returns:
      Bytes, above 0.
    """
    number = _NUMBER_BYTES[dtype or {"hidden": "bfloat16", "topk": "float16", "full": "float32"}[kind]]
    if kind == "hidden":
        return number * width
    if kind == "full":
        return number * vocab_size
    return k * (_ID_BYTES[vocab_size <= 1 << 16] + number) + number


def shard_examples(bytes_per_example: float, batch_size: int) -> int:
    """Examples of a shard.

    Args:
      bytes_per_example: at most; of the stored distribution.
      batch_size: examples decoded together.

    Returns:
      A multiple of `batch_size`, for shards of about 256 MiB and at most 4,096 examples (but at least one batch).
    """
    wanted = min(_LARGEST_SHARD, int(_SHARD_BYTES / (bytes_per_example + _AROUND_RECORD_BYTES)))
    return max(1, wanted // batch_size) * batch_size
