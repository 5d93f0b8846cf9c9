"""One pass of the teacher over a pool, from configuration to a finished store; the work behind `gin/runs/capture.gin`.

That file binds `infer.output_dir = @capturing.capture()`. So `python -m t5x.infer` captures while it reads its
arguments; the predictions that it was asked for are among what a capture writes, and it finds them complete.

Order of work, and why it must be so:
  1. The parameters are read first: their fingerprint is part of the header.
  2. The header is compared before the first batch: a folder that holds another capture is refused before more is spent.
  3. Whole shards are skipped while the pool is read, so that a killed pass goes on where it stopped.
  4. The predictions are made of the shards, and marked as complete last.
Of several processes of one job the first writes; all compute each batch, so all must skip the same shards.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from absl import logging

from distill_or_annotate.capture import collecting, identity, labels, predictions, sizes, writer
from distill_or_annotate.capture.header import Header
from distill_or_annotate.capture.records import Example
from distill_or_annotate.capture.teacher_pass import TeacherPass
from distill_or_annotate.teacher import FrozenTeacher
from distill_or_annotate.trainer.progress import STEP_EVENT


def capture(
    *,
    model: Any,
    dataset_cfg: Any,
    restore_checkpoint_cfg: Any,
    partitioner: Any,
    output_dir: str,
    kind: str = "topk",
    k: int = 32,
    temperature: float = 2.0,
    padding: str = "masked",
    targets: str = "greedy",
    label_words: Sequence[str] | None = None,
    given_task: str | None = None,
    counts_start: bool | None = None,
    dtype: str | None = None,
    shard_examples: int | None = None,
    shard_id: int = 0,
    num_shards: int = 1,
) -> str:
    """Writes a store: the teacher's targets for a pool, and its distributions at their positions.

    Args:
      model: the teacher, a T5X encoder-decoder model.
      dataset_cfg: `t5x.utils.DatasetConfig` of the pool: task, split, lengths, batch size.
      restore_checkpoint_cfg: `t5x.utils.RestoreCheckpointConfig` of the teacher.
      partitioner: mesh and placement of the teacher.
      output_dir: the store's folder; an interrupted capture goes on there.
      kind: `hidden`, `topk` or `full`.
      k: tokens that `topk` keeps.
      temperature: of the log-probabilities of `topk`, and what training is meant to use.
      padding: `masked` (fair) or `counted` (the paper's reference).
      targets: `greedy`, or `labels` for the best label word.
      label_words: label words of the rule `labels`; None takes the task's.
      given_task: task whose split `train` follows the pool with its own targets (gold labels); None for none.
      counts_start: whether the start token takes one place of the longest target; None for yes in `counted` only.
      dtype: float type of the stored numbers; None takes the kind's.
      shard_examples: examples of a shard; None chooses by size.
      shard_id: index of this job among those that share the pool.
      num_shards: number of such jobs; each has the whole teacher.

    Returns:
      `output_dir`.

    Raises:
      ValueError: whatever does not fit together, naming the field.
    """
    from t5x import utils

    utils.hide_gpus_from_tensorflow()
    if dataset_cfg.module:
        utils.import_module(dataset_cfg.module)
    utils.verify_matching_vocabs(dataset_cfg, model)
    lengths = dict(dataset_cfg.task_feature_lengths)
    batch_size = dataset_cfg.batch_size
    vocabulary = model.output_vocabulary
    config = model.module.config
    eos_id = getattr(vocabulary, "eos_id", None) or 1
    trie = None
    if targets == "labels":
        words = label_words if label_words is not None else _label_words(dataset_cfg.mixture_or_task_name)
        trie = labels.LabelTrie.from_words(words, vocabulary.encode, eos_id, lengths["targets"])

    teacher = FrozenTeacher(model, restore_checkpoint_cfg, partitioner)
    shapes = {f"{name}_tokens": (batch_size, lengths["targets"]) for name in ("decoder_input", "decoder_target")}
    shapes["encoder_input_tokens"] = (batch_size, lengths["inputs"])
    teacher.restore(shapes, dict.fromkeys(shapes, "int32"))
    _, paths = utils.get_first_valid_restore_config_and_paths([restore_checkpoint_cfg])
    head, tied, logit_scale = identity.head(teacher.params, config) if kind == "hidden" else (None, False, 1.0)
    stored = collecting.stored_dtype(kind, dtype)
    per_position = sizes.bytes_per_position(kind, config.emb_dim, config.vocab_size, k, stored)
    store = Header(
        kind=kind,
        task=str(dataset_cfg.mixture_or_task_name),
        split=dataset_cfg.split,
        given_task=given_task or "",
        temperature=float(temperature),
        k=k if kind == "topk" else 0,
        dtype=stored,
        padding=padding,
        targets_rule=targets,
        labels=trie.words if trie else (),
        input_tokens=lengths["inputs"],
        target_tokens=lengths["targets"],
        counts_start=padding == "counted" if counts_start is None else counts_start,
        batch_size=batch_size,
        shard_examples=shard_examples or sizes.shard_examples(per_position * lengths["targets"], batch_size),
        vocab_size=config.vocab_size,
        vocabulary=identity.vocabulary(vocabulary),
        teacher=identity.teacher(teacher.params, config, paths[0] if paths else None),
        tied=tied,
        logit_scale=logit_scale,
    )
    # Other kinds of model bring a pass of their own.
    run = getattr(model, "capture_pass", TeacherPass)(
        model, teacher.params, teacher.axes, partitioner, store, vocabulary.decode, trie, eos_id
    )
    captured, started = 0, time.monotonic()

    def advance(examples: int) -> None:
        nonlocal captured
        captured += examples
        jax.monitoring.record_scalar(STEP_EVENT, captured, total_steps=0)
        logging.info("Captured (or found) %d examples after %.0f s.", captured, time.monotonic() - started)

    writes = jax.process_index() == 0
    with writer.StoreWriter(output_dir, store, shard_id, num_shards, writes) as out:
        _agree(out)
        if head is not None:
            out.write_head(head)
        writer.write_all(out, _pool(dataset_cfg, given_task), run, advance)
        if writes:
            predictions.write(out)
    # t5x.infer goes on from here: a process that found no predictions yet would begin to infer, alone.
    utils.sync_global_devices("captured")
    return output_dir


def _agree(out: writer.StoreWriter) -> None:
    """All processes of this job skip what its writing process finds whole; in the rest each computes its part."""
    if jax.process_count() == 1:
        return
    from jax.experimental import multihost_utils

    whole = np.asarray(out.whole_shards() if jax.process_index() == 0 else [], np.int32)
    count = int(multihost_utils.broadcast_one_to_all(np.int32(len(whole))))
    if jax.process_index() != 0:
        whole = np.zeros(count, np.int32)
    if count:
        out.skip(np.asarray(multihost_utils.broadcast_one_to_all(whole)).tolist())


def _pool(cfg: Any, given_task: str | None) -> Iterable[Example]:
    yield from _examples(cfg, cfg.mixture_or_task_name, cfg.split, given=False)
    if given_task:
        _register(given_task)
        yield from _examples(cfg, given_task, "train", given=True)


def _register(name: str) -> None:
    """A variant such as `mini_n40_s0` is known to the process that trained on it, and this may be another one."""
    from distill_or_annotate.tasks import registry, variants

    # A task of SeqIO's own, or none: then T5X says so.
    with contextlib.suppress(registry.UnknownTask):
        variants.variant(name)


def _examples(cfg: Any, name: str, split: str, given: bool) -> Iterator[Example]:
    import tensorflow as tf

    from t5x import utils

    ds = utils.find_provider(name).get_dataset(
        sequence_length=cfg.task_feature_lengths,
        split=split,
        shuffle=False,
        num_epochs=1,
        seed=cfg.seed,
        use_cached=cfg.use_cached,
        trim_output_features=cfg.trim_output_features,
    )
    for example in ds.prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
        text = example.get("inputs_pretokenized", b"").decode("utf-8")
        yield Example(text, example["inputs"], example["targets"] if given else None)


def _label_words(task: str) -> tuple[str, ...]:
    from distill_or_annotate.tasks import registry

    return registry.get(task).labels
