"""From SeqIO data sets to globally sharded batches, read ahead in the background and resumable at any batch.

SeqIO and TensorFlow are imported inside functions: they take seconds, and the step itself needs neither.
"""

import concurrent.futures
import dataclasses
import difflib
import importlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.sharding import NamedSharding

from t5x.run_configs import DatasetConfig

Batch = Mapping[str, jax.Array]


# What `train.train` takes as `get_dataset_fn`; signature and meaning of `get_dataset`.
GetDatasetCallable = Callable[..., Any]
# What `train.train` takes as `train_eval_get_dataset_fn`; as `get_training_eval_datasets`.
GetEvalDatasetCallable = Callable[..., Mapping[str, Any]]


def import_module(module: str) -> None:
    """Imports the module that registers a task.

    Args:
      module: dotted name.

    Raises:
      RuntimeError: when the module registers gin configurables, for which it is too late.
    """
    try:
        importlib.import_module(module)
    except RuntimeError as error:
        if "after the config was locked" not in str(error):
            raise
        raise RuntimeError(
            f"Module {module} registers gin configurables, but the configuration is locked already. Import it in the "
            f"gin file that is parsed first (`import {module}`), instead of naming it only as the data set's module."
        ) from error


def wall_clock_seed() -> int:
    """A seed from the wall clock, the same on all processes.

    Returns:
      An integer below 2**31.
    """
    seed = np.int32(time.time() * 1000 % 2**31)
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        seed = multihost_utils.broadcast_one_to_all(seed)
    return int(seed)


def find_provider(name: Any) -> Any:
    """The registered task or mixture of a name.

    Args:
      name: registered name; a Task or Mixture is returned as it is.

    Returns:
      The `seqio.Task` or `seqio.Mixture`.

    Raises:
      ValueError: with near names, when there is none.
    """
    import seqio

    if not isinstance(name, str):
        return name
    known = [*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        raise ValueError(
            f"No task or mixture named {name!r} is registered. Near names: {', '.join(near) or 'none'}. A task is "
            "registered by importing its module: bind MIXTURE_OR_TASK_MODULE, or import it in the gin file."
        )
    return seqio.get_mixture_or_task(name)


def _shard_batch_size(cfg: DatasetConfig, num_shards: int) -> int:
    if cfg.batch_size % num_shards:
        raise ValueError(
            f"DatasetConfig.batch_size is {cfg.batch_size}, which does not divide by the {num_shards} data shards."
        )
    return cfg.batch_size // num_shards


def get_dataset_inner(
    cfg: DatasetConfig,
    shard_info: Any,
    feature_converter_cls: Callable[..., Any],
    seed: int | None,
    num_epochs: int | None,
) -> Any:
    """One shard of a data set, in model features, batched.

    Args:
      cfg: what to read.
      shard_info: `seqio.ShardInfo`.
      feature_converter_cls: SeqIO feature converter, called with `pack` and `use_custom_packing_ops`.
      seed: seed of shuffling and preprocessing.
      num_epochs: passes over the data; None repeats for ever.

    Returns:
      A `tf.data.Dataset` of batches of `batch_size / num_shards`.
    """
    import seqio

    ds = seqio.get_dataset(
        mixture_or_task_name=find_provider(cfg.mixture_or_task_name),
        task_feature_lengths=cfg.task_feature_lengths,
        dataset_split=cfg.split,
        shuffle=cfg.shuffle,
        num_epochs=num_epochs,
        feature_converter=feature_converter_cls(pack=cfg.pack, use_custom_packing_ops=cfg.use_custom_packing_ops),
        shard_info=shard_info,
        use_cached=cfg.use_cached,
        seed=seed,
        trim_output_features=cfg.trim_output_features,
    )
    return ds.batch(_shard_batch_size(cfg, shard_info.num_shards), drop_remainder=True)


def get_dataset(
    cfg: DatasetConfig,
    shard_id: int,
    num_shards: int,
    feature_converter_cls: Callable[..., Any],
    num_epochs: int | None = None,
    continue_from_last_checkpoint: bool = False,
) -> Any:
    """One shard of a data set through `seqio.get_dataset`, batched.

    Args:
      cfg: what to read; `seed=None` takes the wall clock.
      shard_id: index of the shard.
      num_shards: number of shards, which divides the batch size.
      feature_converter_cls: SeqIO feature converter.
      num_epochs: passes over the data; None repeats for ever.
      continue_from_last_checkpoint: not offered (as upstream).

    Returns:
      A `tf.data.Dataset` of batches of `batch_size / num_shards`.

    Raises:
      ValueError: for an unknown task, or a batch size that does not divide.
    """
    import seqio

    if continue_from_last_checkpoint:
        raise ValueError("continue_from_last_checkpoint is not offered for tf.data; bind save_dataset=True instead.")
    _shard_batch_size(cfg, num_shards)
    if cfg.module:
        import_module(cfg.module)
    seed = wall_clock_seed() if cfg.seed is None else cfg.seed
    shard_info = seqio.ShardInfo(index=shard_id, num_shards=num_shards)
    return get_dataset_inner(cfg, shard_info, feature_converter_cls, seed, num_epochs)


def get_training_eval_datasets(
    cfg: DatasetConfig,
    shard_id: int,
    num_shards: int,
    eval_steps: int,
    feature_converter_cls: Callable[..., Any],
    deterministic: bool = False,
    model_dir: str | None = None,
    start_step: int = 0,
) -> dict[str, Any]:
    """Data sets of the teacher-forced evaluation: one per subtask that has the split, plus the mixture itself.

    Args:
      cfg: what to read.
      shard_id: index of the shard.
      num_shards: number of shards.
      eval_steps: batches per evaluation; the data repeats to fill them.
      feature_converter_cls: SeqIO feature converter.
      deterministic: not offered.
      model_dir, start_step: accepted for compatibility.

    Returns:
      Task name to `tf.data.Dataset` of at most `eval_steps` batches; empty when no subtask has the split.

    Raises:
      ValueError: for `deterministic=True` or an unknown task.
    """
    del model_dir, start_step
    if deterministic:
        raise ValueError("get_training_eval_datasets(deterministic=True) is not offered.")
    import seqio

    if cfg.module:
        import_module(cfg.module)
    provider = find_provider(cfg.mixture_or_task_name)
    tasks = [task for task in seqio.get_subtasks(provider) if cfg.split in task.splits]
    if not tasks:
        logging.warning("No subtask of %s has split %r: no training evaluation.", provider.name, cfg.split)
        return {}
    named = {task.name: task for task in tasks}
    if isinstance(provider, seqio.Mixture):
        named[provider.name] = provider
    datasets = {}
    for name, task in named.items():
        task_cfg = dataclasses.replace(cfg, mixture_or_task_name=task, module=None)
        seed = 0 if cfg.seed is None else cfg.seed
        shard_info = seqio.ShardInfo(index=shard_id, num_shards=num_shards)
        ds = get_dataset_inner(task_cfg, shard_info, feature_converter_cls, seed, num_epochs=None).take(eval_steps)
        datasets[name] = ds.cache() if cfg.use_memory_cache else ds
    return datasets


def get_zeros_batch_like_spec(batch_spec: Mapping[str, Any]) -> dict[str, jax.Array]:
    """A batch of zeros.

    Args:
      batch_spec: feature to anything with `shape` and `dtype`.

    Returns:
      Feature to zeros.
    """
    return {name: jnp.zeros(spec.shape, spec.dtype) for name, spec in batch_spec.items()}


def get_zeros_batch_like_dataset(dataset: Any, batch_size: int | None = None) -> dict[str, jax.Array]:
    """A batch of zeros with the shapes of a data set.

    Args:
      dataset: a `tf.data.Dataset` of dictionaries.
      batch_size: replaces the leading dimension when given.

    Returns:
      Feature to zeros.
    """
    specs = {
        name: jax.ShapeDtypeStruct((batch_size or spec.shape[0], *spec.shape[1:]), spec.dtype.as_numpy_dtype)
        for name, spec in dataset.element_spec.items()
    }
    return get_zeros_batch_like_spec(specs)


def place_batch(batch: Mapping[str, np.ndarray], partitioner: Any) -> dict[str, jax.Array]:
    """Places this process's part of a batch on the devices, as part of a global array.

    Args:
      batch: feature to NumPy array, [batch / data shards, ...].
      partitioner: gives mesh, data spec and number of shards.

    Returns:
      Feature to global array, [batch, ...].
    """
    sharding = NamedSharding(partitioner.mesh, partitioner.data_partition_spec)
    if jax.process_count() == 1:
        return jax.device_put(dict(batch), sharding)
    shards = partitioner.data_shards
    return {
        name: jax.make_array_from_process_local_data(sharding, array, (array.shape[0] * shards, *array.shape[1:]))
        for name, array in batch.items()
    }


def iterate_batches(dataset: Any, partitioner: Any) -> Iterator[dict[str, jax.Array]]:
    """Yields a data set's batches as global arrays.

    Args:
      dataset: a `tf.data.Dataset` of dictionaries, or an iterable of dictionaries of arrays.
      partitioner: see `place_batch`.

    Yields:
      Feature to global array.
    """
    batches = dataset.as_numpy_iterator() if hasattr(dataset, "as_numpy_iterator") else dataset
    for batch in batches:
        yield place_batch(batch, partitioner)


class TrainIterator:
    """Iterator of global batches that reads one ahead in a thread and can be saved at the batch last handed out.

    Args:
      dataset: a `tf.data.Dataset` of dictionaries of tensors, or an iterator of dictionaries of arrays.
      partitioner: see `place_batch`.
      save_state: whether `save` writes the state of the tf.data iterator, and not only the count of batches.
      provenance: JSON-ready facts stored with the position, such as the seed of shuffling.

    Attributes:
      consumed_batches: batches handed out since the beginning of the data.
    """

    def __init__(
        self, dataset: Any, partitioner: Any, *, save_state: bool = False, provenance: Mapping[str, Any] | None = None
    ) -> None:
        self._dataset = dataset
        self._is_tf = hasattr(dataset, "as_numpy_iterator")
        self._partitioner = partitioner
        self._save_state = save_state and self._is_tf
        self.provenance = dict(provenance or {})
        self.consumed_batches = 0
        self._source: Any = None
        self._reader = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="t5x-batches")
        # The batch read ahead, and the host's copy of it: `save` stores what the iterator's state has passed.
        self._ahead: concurrent.futures.Future | None = None
        self._ahead_on_host: dict[str, np.ndarray] = {}

    @property
    def element_spec(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Feature to shape and dtype of the global batch."""
        if not self._is_tf:
            return {name: jax.ShapeDtypeStruct(a.shape, a.dtype) for name, a in self.peek_async().result().items()}
        shards = self._partitioner.data_shards
        return {
            name: jax.ShapeDtypeStruct((spec.shape[0] * shards, *spec.shape[1:]), spec.dtype.as_numpy_dtype)
            for name, spec in self._dataset.element_spec.items()
        }

    def _read(self) -> dict[str, jax.Array]:
        if self._source is None:
            self._source = iter(self._dataset)
        self._ahead_on_host = {}
        batch = next(self._source)
        self._ahead_on_host = {name: x.numpy() if self._is_tf else np.asarray(x) for name, x in batch.items()}
        return place_batch(self._ahead_on_host, self._partitioner)

    def peek_async(self) -> concurrent.futures.Future:
        """Starts to read in the background.

        Returns:
          A future of the next batch, which stays in the iterator.
        """
        if self._ahead is None:
            self._ahead = self._reader.submit(self._read)
        return self._ahead

    def __iter__(self) -> "TrainIterator":
        return self

    def __next__(self) -> dict[str, jax.Array]:
        try:
            batch = self.peek_async().result()
        except StopIteration:
            if self.consumed_batches:
                raise
            raise ValueError(
                "The training data yields no batch: the split is empty, or smaller than one batch of one shard."
            ) from None
        self.consumed_batches += 1
        self._ahead = self._reader.submit(self._read)
        return batch

    def save(self, prefix: str) -> None:
        """Writes the position after the last batch handed out.

        Args:
          prefix: path without extension; `.json` (count and provenance) is written, and with `save_state` also the
            tf.data iterator's files and `.ahead.npz`, the batch already read but not handed out.
        """
        position = {"batches": self.consumed_batches, **self.provenance}
        if self._save_state and self._ahead is not None:
            import tensorflow as tf

            concurrent.futures.wait([self._ahead])
            tf.train.Checkpoint(ds=self._source).write(os.fspath(prefix))
            np.savez(f"{os.fspath(prefix)}.ahead.npz", **self._ahead_on_host)
            position["iterator_state"] = True
        with open(f"{os.fspath(prefix)}.json", "w", encoding="utf-8") as file:
            json.dump(position, file)

    def restore(self, prefix: str) -> None:
        """Moves to a saved position: by the iterator's state if it was stored, else by skipping batches.

        Args:
          prefix: path given to `save`.

        Raises:
          ValueError: when batches have been read already, or the stored state does not fit this data set.
        """
        if self._ahead is not None:
            raise ValueError("Restore a TrainIterator before the first batch is read.")
        prefix = os.fspath(prefix)
        with open(f"{prefix}.json", encoding="utf-8") as file:
            position = json.load(file)
        self.consumed_batches = int(position["batches"])
        self._source = iter(self._dataset)
        if position.get("iterator_state") and self._is_tf and os.path.isfile(f"{prefix}.index"):
            import tensorflow as tf

            try:
                tf.train.Checkpoint(ds=self._source).read(prefix).assert_consumed()
            except Exception as error:  # TensorFlow's many kinds, none of which names the folder
                raise ValueError(f"The data iterator's state {prefix}.* does not fit this data set: {error}") from error
            with np.load(f"{prefix}.ahead.npz", allow_pickle=False) as stored:
                self._ahead_on_host = dict(stored)
            if self._ahead_on_host:
                self._ahead = self._reader.submit(place_batch, self._ahead_on_host, self._partitioner)
        elif self.consumed_batches:
            logging.info("Skipping %d batches of training data.", self.consumed_batches)
            for _ in range(self.consumed_batches):
                next(self._source)

    def close(self) -> None:
        """Ends the reading thread; idempotent."""
        self._reader.shutdown(wait=True, cancel_futures=True)


def prepare_train_iter(
    train_iter: Any, *, partitioner: Any, checkpoint_cfg: Any = None, provenance: Mapping[str, Any] | None = None
) -> Any:
    """Turns a data set into an iterator of global batches.

    Args:
      train_iter: a `tf.data.Dataset`, an iterable of dictionaries of arrays, or an iterator that offers `peek_async`
        and `element_spec` already (returned as it is).
      partitioner: see `place_batch`.
      checkpoint_cfg: its `save.save_dataset` decides whether the iterator's state is saved.
      provenance: see `TrainIterator`.

    Returns:
      The iterator.
    """
    if hasattr(train_iter, "peek_async") and hasattr(train_iter, "element_spec"):
        return train_iter
    save = getattr(checkpoint_cfg, "save", None)
    return TrainIterator(train_iter, partitioner, save_state=bool(save and save.save_dataset), provenance=provenance)
