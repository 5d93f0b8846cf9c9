"""Rows in Python as a SeqIO data source whose iterators can be saved, restored and sharded.

A source that calls back into Python cannot be checkpointed by tf.data ("PyFunc is stateful"). So each split is written
once, as a TFRecord of tf.Example named after its content, and read natively from then on.
"""

import hashlib
import os
import pathlib
import tempfile
from collections.abc import Callable, Sequence

import seqio
import tensorflow as tf

from distill_or_annotate.preprocess.rows import FIELDS, Row

CACHE_DIR_VARIABLE = "DOA_CACHE_DIR"
_FORMAT = "doa-rows-1"


def cache_dir() -> pathlib.Path:
    """Returns the folder for files that can be made again.

    Returns:
      What `DOA_CACHE_DIR` names, by default ~/.cache/distill_or_annotate; it need not exist yet.
    """
    return pathlib.Path(os.environ.get(CACHE_DIR_VARIABLE) or "~/.cache/distill_or_annotate").expanduser()


class RowsDataSource(seqio.DataSource):
    """Rows, materialised on first use and read natively.

    Any number of hosts may share a cache folder or have one each: the files are named by content and appear whole. One
    file a split keeps the order of the rows; SeqIO shards it over hosts by example.

    Args:
      rows_fn: split to its rows, each with `source` and `target`.
      splits: the splits, or a function that finds them out when asked.
      several_answers: whether examples carry `answers`, all accepted targets; of a row without `targets`, its target.
    """

    def __init__(
        self,
        rows_fn: Callable[[str], Sequence[Row]],
        splits: Sequence[str] | Callable[[], Sequence[str]],
        several_answers: bool = False,
    ):
        self._rows_fn = rows_fn
        self._parse = _parse_with_answers if several_answers else _parse
        self._find_splits = splits if callable(splits) else lambda: splits
        # The last list of rows and its file, by split: an identical list need not be hashed again.
        self._written: dict[str, tuple[Sequence[Row], pathlib.Path]] = {}
        super().__init__(splits=())

    @property
    def splits(self) -> tuple[str, ...]:
        """Returns the splits that exist now."""
        return tuple(self._find_splits())

    @property
    def supports_arbitrary_sharding(self) -> bool:
        """Returns False: beyond the one file, SeqIO shards by example."""
        return False

    def num_input_examples(self, split: str) -> int:
        """Counts the rows of a split.

        Args:
          split: one of `splits`.
        Returns:
          The number of rows.
        """
        return len(self._rows(split))

    def list_shards(self, split: str) -> list[str]:
        """Lists the files of a split, writing them if needed.

        Args:
          split: one of `splits`.
        Returns:
          One path.
        """
        rows = self._rows(split)
        known_rows, path = self._written.get(split, (None, None))
        if rows is not known_rows or not path.is_relative_to(cache_dir()) or not path.exists():
            path = materialise(rows)
            self._written[split] = (rows, path)
        return [os.fspath(path)]

    def get_dataset(
        self,
        split: str = "train",
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        *,
        sequence_length=None,
        use_cached: bool = False,
        num_epochs: int | None = 1,
    ) -> tf.data.Dataset:
        """Returns the rows of a split, in order (SeqIO's task shuffles examples after preprocessing).

        Args:
          split: one of `splits`.
          shuffle: unused, there being one file.
          seed: unused.
          shard_info: index and number of shards of this host, or None for all rows.
          sequence_length: unused.
          use_cached: unused.
          num_epochs: unused.
        Returns:
          A dataset of `{'source': string, 'target': string}`, with `'answers': string [answers]` if asked for.
        """
        del shuffle, seed, sequence_length, use_cached, num_epochs
        dataset = tf.data.TFRecordDataset(self.list_shards(split))
        if shard_info:
            dataset = dataset.shard(shard_info.num_shards, shard_info.index)
        return dataset.map(self._parse, num_parallel_calls=tf.data.AUTOTUNE)

    def _rows(self, split: str) -> Sequence[Row]:
        splits = self.splits
        if splits and split not in splits:
            raise ValueError(f"split: {split!r} is not one of {splits}")
        # Where there is no data at all, the reader says which files are missing.
        rows = self._rows_fn(split)
        if not rows:
            raise ValueError(f"split {split!r} has no rows; at least one is needed")
        return rows


def materialise(rows: Sequence[Row]) -> pathlib.Path:
    """Writes rows to the cache folder, unless the same rows are there already.

    Args:
      rows: rows with `source` and `target`, and `targets` where there are several.
    Returns:
      The TFRecord file; its name is a hash of its content.
    """
    records = [_serialise(row) for row in rows]
    digest = hashlib.sha256(_FORMAT.encode())
    for record in records:
        digest.update(len(record).to_bytes(8, "big") + record)
    folder = cache_dir() / "rows"
    path = folder / f"{digest.hexdigest()[:32]}.tfrecord"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    # Renaming is atomic: a reader sees a whole file or none, and of two writers either may win: their bytes are equal.
    handle, unfinished = tempfile.mkstemp(dir=folder, prefix=".unfinished-", suffix=".tfrecord")
    os.close(handle)
    try:
        with tf.io.TFRecordWriter(unfinished) as writer:
            for record in records:
                writer.write(record)
        os.replace(unfinished, path)
    except BaseException:
        pathlib.Path(unfinished).unlink(missing_ok=True)
        raise
    return path


def _serialise(row: Row) -> bytes:
    # `targets` only where it stands in the row: other rows keep the bytes, and so the file names, that they had.
    values = {field: [row[field]] for field in FIELDS} | ({"targets": row["targets"]} if "targets" in row else {})
    features = {
        field: tf.train.Feature(bytes_list=tf.train.BytesList(value=[text.encode("utf-8") for text in texts]))
        for field, texts in values.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def _parse(record: tf.Tensor) -> dict[str, tf.Tensor]:
    return tf.io.parse_single_example(record, {field: tf.io.FixedLenFeature([], tf.string) for field in FIELDS})


def _parse_with_answers(record: tf.Tensor) -> dict[str, tf.Tensor]:
    row = _parse(record)
    targets = tf.io.parse_single_example(record, {"targets": tf.io.VarLenFeature(tf.string)})["targets"].values
    return row | {"answers": tf.cond(tf.size(targets) > 0, lambda: targets, lambda: row["target"][tf.newaxis])}
