"""A task for tests: the target is the source reversed. `ByteVocabulary`; read natively, so iterators can be saved."""

import os
import tempfile

import seqio
import tensorflow as tf

SPLIT_ROWS = {"train": 96, "validation": 12, "test": 21}
NAME = "reverse_bytes"


def rows(split: str) -> list[dict[str, str]]:
    """The rows of a split, distinct across splits."""
    start = {"train": 0, "validation": 1000, "test": 2000}[split]
    words = [format((start + i) * 7919 % 46656, "06o")[-5:] for i in range(SPLIT_ROWS[split])]
    return [{"inputs": word, "targets": word[::-1]} for word in words]


def _write_records() -> dict[str, str]:
    folder = os.path.join(tempfile.gettempdir(), f"t5x_synthetic_task_{os.getuid()}_v1")
    os.makedirs(folder, exist_ok=True)
    paths = {}
    for split in SPLIT_ROWS:
        paths[split] = os.path.join(folder, f"{split}.tfrecord")
        if os.path.exists(paths[split]):
            continue
        unique = f"{paths[split]}.{os.getpid()}"
        with tf.io.TFRecordWriter(unique) as writer:
            for row in rows(split):
                feature = {
                    k: tf.train.Feature(bytes_list=tf.train.BytesList(value=[v.encode()])) for k, v in row.items()
                }
                writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
        os.replace(unique, paths[split])
    return paths


def exact(targets, predictions):
    """Share of predictions that equal their target, in percent."""
    return {"exact": 100.0 * sum(t == p for t, p in zip(targets, predictions, strict=True)) / max(len(targets), 1)}


if NAME not in seqio.TaskRegistry.names():
    seqio.TaskRegistry.add(
        NAME,
        source=seqio.TFExampleDataSource(
            _write_records(), {k: tf.io.FixedLenFeature([], tf.string) for k in ("inputs", "targets")}
        ),
        preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
        output_features={k: seqio.Feature(seqio.ByteVocabulary(), add_eos=True) for k in ("inputs", "targets")},
        metric_fns=[exact],
    )
