"""A store as a SeqIO task, and the feature converter that brings its distributions into the batch.

A batch of such a task has, beside the usual features, `teacher_hidden` [B, T, E] bfloat16; or `teacher_topk_ids` and
`teacher_topk_logprobs` [B, T, k] with `teacher_tail_logmass` [B, T]; or `teacher_logits` [B, T, V]; each padded with 0
where there is no position. A store of padding `counted` adds `decoder_counted_positions` [B, 1].

Records are read by `seqio.TFExampleDataSource`, so the iterator can be checkpointed and shards over hosts. SeqIO and
TensorFlow are imported inside the functions.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from distill_or_annotate.capture import collecting, header, identity, records, writer
from distill_or_annotate.capture.header import Header, StoreError

COUNTED_POSITIONS = "decoder_counted_positions"
# What a shuffle buffer may hold: shards are few, so that shuffling files alone mixes little.
_SHUFFLE_BYTES = 256 * 2**20


def captured(
    task: str,
    store: str | os.PathLike,
    vocabulary: Any,
    n_unlabeled: int | None = None,
    min_log_probability: float | None = None,
    gold: str | None = None,
) -> str:
    """Registers a store as a task with the one split `train`; bound in gin to `MIXTURE_OR_TASK_NAME`.

    Evaluate on the base task: `infer_eval/utils.DatasetConfig.mixture_or_task_name = %TASK`.

    Args:
      task: the base task, which begins the name.
      store: the store's folder; it must be finished.
      vocabulary: the base task's SeqIO vocabulary, which must be the store's.
      n_unlabeled: U, so many of the pool's first examples, at least 1; None takes all. Given ones (gold labels) are
        read in either case.
      min_log_probability: leave out what the teacher was less sure of: smallest log-probability of a whole target, at
        most 0; None leaves nothing out. Given targets stay.
      gold: the task whose gold labels the store must hold as given targets; None asks for none in particular.

    Returns:
      `{task}_pseudo_u{U}_{hash}`; the hash is of the store's checksums and of what is read of it.

    Raises:
      StoreError: no finished store, another vocabulary, or fewer examples than asked for.
    """
    import seqio
    import tensorflow as tf

    found = finished(store)
    ours = identity.vocabulary(vocabulary)
    if ours != dict(found.vocabulary):
        raise StoreError(
            f"{store} was captured with a vocabulary of {found.vocabulary['size']} pieces "
            f"({found.vocabulary['sha256'][:12]}), the task's has {ours['size']} ({ours['sha256'][:12]}): their ids "
            "mean other tokens. Fix: capture with a teacher of this vocabulary."
        )
    if gold is not None and gold != found.given_task:
        raise StoreError(
            f"gold is {gold!r}, but {store} was captured with GIVEN_TASK = {found.given_task or None!r}: the teacher "
            f"has not seen those targets. Fix: capture with GIVEN_TASK = {gold!r}, or ask for no gold labels."
        )
    indices = writer.indices(store)
    examples = found.counts["examples"]
    pool = examples - found.counts["given"]
    if n_unlabeled is not None and not 1 <= n_unlabeled <= pool:
        raise StoreError(
            f"n_unlabeled is {n_unlabeled}, but {store} holds {pool} examples of the pool. Capture more (N_UNLABELED), "
            "or ask for fewer."
        )
    content = [[index.sha256 for index in indices], n_unlabeled, min_log_probability]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:10]
    name = f"{task}_pseudo_u{pool if n_unlabeled is None else n_unlabeled}_{digest}"
    if name in seqio.TaskRegistry.names():
        return name

    ids = seqio.Feature(vocabulary=vocabulary, add_eos=True)
    features: dict[str, Any] = {"inputs": ids, "targets": ids}
    for feature, (rank, dtype) in _batch_types(found).items():
        features[feature] = seqio.ContinuousFeature(rank=rank, dtype=tf.dtypes.as_dtype(dtype))
    per_example = found.counts["bytes"] / max(1, examples)
    seqio.TaskRegistry.add(
        name,
        source=seqio.TFExampleDataSource(
            {"train": [os.fspath(Path(store) / index.file) for index in indices]}, _description(found)
        ),
        preprocessors=[
            functools.partial(_chosen, n_unlabeled=n_unlabeled, min_log_probability=min_log_probability),
            functools.partial(_decoded, store=found),
        ],
        output_features=features,
        metric_fns=[],
        shuffle_buffer_size=int(max(1000, min(examples, _SHUFFLE_BYTES / per_example))),
    )
    return name


def finished(store: str | os.PathLike) -> Header:
    """The header of a finished store.

    Args:
      store: its folder.

    Returns:
      Its header.

    Raises:
      StoreError: if there is none, or it is not finished.
    """
    found = header.read(Path(store))
    if found.counts is None:
        raise StoreError(f"{store} is not finished. Fix: run the capture again; it goes on where it stopped.")
    return found


def _batch_types(store: Header) -> dict[str, tuple[int, Any]]:
    """Rank and type of each feature of the teacher in an example."""
    types = {
        name: (1 if name == collecting.TAIL_LOGMASS else 2, "int32" if name == collecting.TOPK_IDS else dtype.name)
        for name, dtype in records.feature_types(store).items()
    }
    return types | ({COUNTED_POSITIONS: (1, "int32")} if store.padding == "counted" else {})


def _description(store: Header) -> dict[str, Any]:
    import tensorflow as tf

    number = tf.io.FixedLenFeature([], tf.int64)
    ids = tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True)
    text = tf.io.FixedLenFeature([], tf.string)
    described = {"inputs": ids, "targets": ids, "inputs_pretokenized": text, "targets_pretokenized": text}
    described |= dict.fromkeys(("index", "given", "positions", "batch_length"), number)
    described["log_probability"] = tf.io.FixedLenFeature([], tf.float32)
    return described | dict.fromkeys(records.feature_types(store), text)


def _chosen(dataset: Any, n_unlabeled: int | None, min_log_probability: float | None) -> Any:
    def keep(example: dict[str, Any]) -> Any:
        import tensorflow as tf

        wanted = tf.constant(True)
        if n_unlabeled is not None:
            wanted &= example["index"] < n_unlabeled
        if min_log_probability is not None:
            wanted &= example["log_probability"] >= min_log_probability
        return wanted | (example["given"] == 1)

    return dataset if n_unlabeled is None and min_log_probability is None else dataset.filter(keep)


def _decoded(dataset: Any, store: Header) -> Any:
    """Raw bytes as arrays of known width, so that they can be padded and batched."""
    import tensorflow as tf

    types = records.feature_types(store)
    width = {"topk": store.k, "full": store.vocab_size, "hidden": store.teacher["sizes"].get("emb_dim")}[store.kind]

    def example(raw: dict[str, Any]) -> dict[str, Any]:
        kept = {name: raw[name] for name in ("inputs_pretokenized", "targets_pretokenized")}
        kept |= {name: tf.cast(raw[name], tf.int32) for name in ("inputs", "targets")}
        for name, dtype in types.items():
            # TensorFlow reads neither raw bfloat16 nor raw uint32: read as integers, and ids are below 2^31.
            flat = tf.io.decode_raw(raw[name], tf.uint16 if dtype.itemsize == 2 else tf.int32)
            value = tf.cast(flat, tf.int32) if dtype.kind == "u" else tf.bitcast(flat, tf.dtypes.as_dtype(dtype.name))
            kept[name] = value if name == collecting.TAIL_LOGMASS else tf.reshape(value, [-1, width])
        if store.padding == "counted":
            kept[COUNTED_POSITIONS] = tf.cast(raw["batch_length"], tf.int32)[None]
        return kept

    return dataset.map(example, num_parallel_calls=tf.data.AUTOTUNE)


@functools.cache
def feature_converter() -> type:
    """The feature converter of a student that trains on a store; also reads tasks without a teacher's features.

    Bound in gin: `models.EncoderDecoderModel.feature_converter_cls = @reading.feature_converter()`.

    Returns:
      A subclass of `seqio.EncDecFeatureConverter`.
    """
    import seqio
    import tensorflow as tf

    stored = [name for names in collecting.FEATURES.values() for name in names]
    spec = seqio.FeatureConverter.FeatureSpec

    class CapturedFeatureConverter(seqio.EncDecFeatureConverter):
        """`seqio.EncDecFeatureConverter` that also pads what a store knows of the teacher, position by position."""

        def __call__(self, ds: Any, task_feature_lengths: Any) -> Any:
            """Converts `ds` to model features, given the `task_feature_lengths` of inputs and targets."""
            teachers = {name: ds.element_spec[name] for name in (*stored, COUNTED_POSITIONS) if name in ds.element_spec}
            if teachers and self.pack:
                raise StoreError("A captured store can't be packed. Fix: train/utils.DatasetConfig.pack = False.")
            self.MODEL_FEATURES = seqio.EncDecFeatureConverter.MODEL_FEATURES | {
                name: spec(dtype=found.dtype, rank=len(found.shape)) for name, found in teachers.items()
            }
            return super().__call__(ds, task_feature_lengths)

        def _teacher_lengths(self, targets: int) -> dict[str, int]:
            names = set(self.MODEL_FEATURES) - set(seqio.EncDecFeatureConverter.MODEL_FEATURES)
            return {name: 1 if name == COUNTED_POSITIONS else targets for name in names}

        def _convert_features(self, ds: Any, task_feature_lengths: Any) -> Any:
            lengths = self._teacher_lengths(task_feature_lengths["targets"])
            if not lengths:
                return super()._convert_features(ds, task_feature_lengths)
            ds = seqio.utils.trim_and_pad_dataset(ds, {**task_feature_lengths, **lengths})

            def convert(example: dict[str, Any]) -> dict[str, Any]:
                return {**self._convert_example(example), **{name: example[name] for name in lengths}}

            return ds.map(convert, num_parallel_calls=tf.data.AUTOTUNE)

        def get_model_feature_lengths(self, task_feature_lengths: Any) -> Any:
            """Lengths of the model's features, given the `task_feature_lengths` of inputs and targets."""
            lengths = super().get_model_feature_lengths(task_feature_lengths)
            return {**lengths, **self._teacher_lengths(task_feature_lengths["targets"])}

    return CapturedFeatureConverter
