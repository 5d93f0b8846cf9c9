"""One captured example, as a `tf.train.Example` that `seqio.TFExampleDataSource` reads.

Fields: `index`, `given`, `positions`, `batch_length` (int64), `log_probability` (float), `inputs` and `targets` (int64
lists, end token included, no padding), `inputs_pretokenized` and `targets_pretokenized` (text), and, by kind of store,
little-endian raw bytes: `teacher_hidden` [positions, E], `teacher_topk_ids` and `teacher_topk_logprobs` [positions, k]
and `teacher_tail_logmass` [positions], or `teacher_logits` [positions, V]. TensorFlow is imported by the functions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from distill_or_annotate.capture import collecting
from distill_or_annotate.capture.header import Header


@dataclasses.dataclass(frozen=True)
class Example:
    """An example to be captured.

    Attributes:
      text: the input as text, prefix included.
      inputs: its ids, end token included.
      targets: ids of a given target, end token included; None where the teacher is to find one.
    """

    text: str
    inputs: np.ndarray
    targets: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Record:
    """A captured example; nothing in it is padded.

    Attributes:
      index: place of the example in the pool, from 0; given ones follow the pool.
      given: whether its target was given.
      text: the input as text.
      inputs: its ids.
      targets: the target's ids, end token included.
      targets_text: the target as text.
      batch_length: decoder inputs of the batch it was decoded in, start token and pads included.
      log_probability: of the target, end token included, at temperature 1.
      kept: feature name to numbers [positions, ...].
    """

    index: int
    given: bool
    text: str
    inputs: np.ndarray
    targets: np.ndarray
    targets_text: str
    batch_length: int
    log_probability: float
    kept: Mapping[str, np.ndarray]

    @property
    def positions(self) -> int:
        """Stored positions."""
        return len(next(iter(self.kept.values())))


def feature_types(header: Header) -> dict[str, np.dtype]:
    """The type of each stored feature.

    Args:
      header: the store's.

    Returns:
      Feature name to little-endian NumPy type.
    """
    number = np.dtype(jnp.dtype(header.dtype))
    types = dict.fromkeys(collecting.FEATURES[header.kind], number)
    if header.kind == "topk":
        types[collecting.TOPK_IDS] = collecting.ids_dtype(header.vocab_size)
    return types


def serialize(record: Record, types: Mapping[str, np.dtype]) -> bytes:
    """The record as a serialized `tf.train.Example`.

    Args:
      record: what to write.
      types: see `feature_types`.

    Returns:
      Bytes, the same for equal records.
    """
    import tensorflow as tf

    def ints(values: Any) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    def text(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    features = {
        "index": ints([record.index]),
        "given": ints([int(record.given)]),
        "positions": ints([record.positions]),
        "batch_length": ints([record.batch_length]),
        "log_probability": tf.train.Feature(float_list=tf.train.FloatList(value=[record.log_probability])),
        "inputs": ints(record.inputs.tolist()),
        "targets": ints(record.targets.tolist()),
        "inputs_pretokenized": text(record.text.encode()),
        "targets_pretokenized": text(record.targets_text.encode()),
    }
    for name, dtype in types.items():
        features[name] = text(np.ascontiguousarray(record.kept[name], dtype).tobytes())
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def parse(serialized: bytes, types: Mapping[str, np.dtype]) -> Record:
    """Reads a record back, for tests, reports and repairs; training reads through SeqIO.

    Args:
      serialized: what `serialize` gave.
      types: see `feature_types`.

    Returns:
      The record.
    """
    import tensorflow as tf

    feature = tf.train.Example.FromString(serialized).features.feature

    def number(name: str) -> int:
        return feature[name].int64_list.value[0]

    positions = number("positions")
    kept = {}
    for name, dtype in types.items():
        flat = np.frombuffer(feature[name].bytes_list.value[0], dtype)
        kept[name] = flat if name == collecting.TAIL_LOGMASS else flat.reshape(positions, -1)
    return Record(
        index=number("index"),
        given=bool(number("given")),
        text=feature["inputs_pretokenized"].bytes_list.value[0].decode(),
        inputs=np.array(feature["inputs"].int64_list.value, np.int32),
        targets=np.array(feature["targets"].int64_list.value, np.int32),
        targets_text=feature["targets_pretokenized"].bytes_list.value[0].decode(),
        batch_length=number("batch_length"),
        log_probability=feature["log_probability"].float_list.value[0],
        kept=kept,
    )
