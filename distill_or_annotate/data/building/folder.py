"""Writes rows as a TFDS folder that appears whole or not at all.

The records are written here and described by TFDS's own `write_metadata`, which is ten times as fast as its
SequentialWriter; `tfds.builder_from_directory` and `seqio.TfdsDataSource` read the folder.
"""

import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from distill_or_annotate.pipeline.locks import folder_lock
from distill_or_annotate.preprocess import built
from distill_or_annotate.preprocess.rows import Row
from distill_or_annotate.quiet import import_quietly

ROWS_A_FILE = 50_000
_UNFINISHED, _REPLACED = ".unfinished-", ".replaced-"


def write(
    folder: pathlib.Path,
    splits: Mapping[str, Sequence[Row]],
    provenance: Mapping[str, Any],
    on_rows: Callable[[int], None] = lambda n_rows: None,
) -> None:
    """Writes a built folder, replacing the one that stands there.

    Args:
      folder: `<root>/<task>/<version>`, as `built.folder` names it; its parents are made.
      splits: split to its rows, each with at least one row.
      provenance: what provenance.json is to hold; `citation` also goes into TFDS's metadata.
      on_rows: told after each few thousand rows how many were written in all.
    Raises:
      ValueError: an unknown split, or one without rows.
      FolderBusyError: another build is writing there.
      OSError: the folder cannot be written.
    """
    for split, rows in splits.items():
        if split not in built.SPLITS:
            raise ValueError(f"split: {split!r} is not one of {built.SPLITS}")
        if not rows:
            raise ValueError(f"split {split!r} has no rows; at least one is needed")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder_lock(folder.parent):
        # The lock is ours, so what an earlier, killed build left is nobody's.
        for leftover in (*folder.parent.glob(f"{_UNFINISHED}*"), *folder.parent.glob(f"{_REPLACED}*")):
            shutil.rmtree(leftover, ignore_errors=True)
        unfinished = pathlib.Path(tempfile.mkdtemp(dir=folder.parent, prefix=_UNFINISHED))
        try:
            unfinished.chmod(0o755)
            _write_files(unfinished, folder, splits, provenance, on_rows)
            if folder.exists():
                os.rename(folder, folder.parent / f"{_REPLACED}{unfinished.name.removeprefix(_UNFINISHED)}")
            os.rename(unfinished, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
            for replaced in folder.parent.glob(f"{_REPLACED}*"):
                shutil.rmtree(replaced, ignore_errors=True)


def _write_files(unfinished, folder, splits, provenance, on_rows) -> None:
    import_quietly("tensorflow", "tensorflow_datasets")
    import tensorflow_datasets as tfds

    name, suffix = folder.parent.name, "tfrecord"
    template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    infos, n_before = [], 0
    for split in (split for split in built.SPLITS if split in splits):
        rows = splits[split]
        starts = range(0, len(rows), ROWS_A_FILE)
        shards = [rows[start : start + ROWS_A_FILE] for start in starts]
        n_bytes = 0
        for index, shard in enumerate(shards):
            path = unfinished / f"{name}-{split}.{suffix}-{index:05d}-of-{len(shards):05d}"
            n_bytes += _write_file(path, shard, on_rows, n_before)
            n_before += len(shard)
        infos.append(
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=[len(shard) for shard in shards],
                num_bytes=n_bytes,
                filename_template=tfds.core.ShardedFileTemplate(
                    template=template, data_dir=unfinished, dataset_name=name, split=split, filetype_suffix=suffix
                ),
            )
        )
    text = tfds.features.Text()
    tfds.folder_dataset.write_metadata(
        data_dir=unfinished,
        features=tfds.features.FeaturesDict({"source": text, "target": text, "targets": tfds.features.Sequence(text)}),
        split_infos=infos,
        version=folder.name,
        filename_template=template,
        check_data=False,
        description=f"{name}: written by `doa data build`; provenance.json says from what.",
        citation=provenance.get("citation") or None,
    )
    with open(unfinished / built.PROVENANCE_FILE, "w", encoding="utf-8") as file:
        json.dump(provenance, file, indent=1, sort_keys=True, ensure_ascii=False)
        file.write("\n")


def _write_file(path, rows, on_rows, n_before) -> int:
    import tensorflow as tf

    n_bytes = 0
    with tf.io.TFRecordWriter(os.fspath(path)) as writer:
        for number, row in enumerate(rows, start=1):
            record = _serialise(row, tf)
            n_bytes += len(record)
            writer.write(record)
            if number % 2000 == 0 or number == len(rows):
                on_rows(n_before + number)
    return n_bytes


def _serialise(row: Row, tf) -> bytes:
    values = {"source": [row["source"]], "target": [row["target"]], "targets": row.get("targets") or [row["target"]]}
    features = {
        key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[text.encode("utf-8") for text in texts]))
        for key, texts in values.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)
