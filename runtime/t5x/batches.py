"""From SeqIO data sets to globally sharded batches, read ahead in the background and resumable at any batch.

SeqIO and TensorFlow are imported inside functions: they take seconds, and the step itself needs neither.
"""

import collections
import concurrent.futures
import dataclasses
import difflib
import importlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.sharding import NamedSharding

from t5x.run_configs import DatasetConfig

Batch = Mapping[str, jax.Array]
_READ_AHEAD_BATCHES = 2


class GetDatasetCallable(Protocol):
    """What `train.train` takes as `get_dataset_fn`: see `get_dataset`."""

    def __call__(
        self,
        cfg: DatasetConfig,
        shard_id: int,
        num_shards: int,
        feature_converter_cls: Callable[..., Any],
        num_epochs: int | None = None,
        continue_from_last_checkpoint: bool = False,
    ) -> Any: ...


class GetEvalDatasetCallable(Protocol):
    """What `train.train` takes as `train_eval_get_dataset_fn`: see `get_training_eval_datasets`."""

    def __call__(
        self,
        cfg: DatasetConfig,
        shard_id: int,
        num_shards: int,
        eval_steps: int,
        feature_converter_cls: Callable[..., Any],
    ) -> Mapping[str, Any]: ...


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
    specs = {}
    for name, spec in dataset.element_spec.items():
        shape = tuple(spec.shape)
        shape = shape if batch_size is None else (batch_size, *shape[1:])
        specs[name] = jax.ShapeDtypeStruct(shape, spec.dtype.as_numpy_dtype)
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
    shards = partitioner.get_data_layout().num_shards
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
    """Iterator of global batches that reads ahead in a thread and can be saved at the batch last handed out.

    Args:
      dataset: a `tf.data.Dataset` of dictionaries of tensors, or an iterator of dictionaries of arrays.
      partitioner: see `place_batch`.
      num_shards: processes' data shards that make up a global batch.
      save_state: whether `save` writes the state of the tf.data iterator, and not only the count of batches.
      provenance: JSON-ready facts stored with the position, such as the seed of shuffling.
    """

    def __init__(
        self,
        dataset: Any,
        partitioner: Any,
        *,
        num_shards: int = 1,
        save_state: bool = False,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        self._dataset = dataset
        self._is_tf = hasattr(dataset, "as_numpy_iterator")
        self._partitioner = partitioner
        self._num_shards = num_shards
        self._save_state = save_state and self._is_tf
        self._provenance = dict(provenance or {})
        self._consumed_batches = 0
        self._source: Any = None
        # Host copies stay beside the device arrays, so that `save` can store what was read ahead.
        self._ahead: collections.deque[tuple[dict[str, np.ndarray], dict[str, jax.Array]]] = collections.deque()
        self._changed = threading.Condition()
        self._pulling = threading.Lock()
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def element_spec(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Feature to shape and dtype of the global batch."""
        if self._is_tf:
            return {
                name: jax.ShapeDtypeStruct(
                    (spec.shape[0] * self._num_shards, *spec.shape[1:]), spec.dtype.as_numpy_dtype
                )
                for name, spec in self._dataset.element_spec.items()
            }
        return {name: jax.ShapeDtypeStruct(a.shape, a.dtype) for name, a in self.peek().items()}

    @property
    def provenance(self) -> dict[str, Any]:
        """Facts stored with the position."""
        return dict(self._provenance)

    @property
    def consumed_batches(self) -> int:
        """Batches handed out since the beginning of the data."""
        return self._consumed_batches

    def _start(self) -> None:
        if self._thread is None and not self._closed:
            if self._source is None:
                self._source = iter(self._dataset)
            self._thread = threading.Thread(target=self._read_ahead, name="t5x-batches", daemon=True)
            self._thread.start()

    def _pull(self) -> dict[str, np.ndarray]:
        batch = next(self._source)
        return {name: value.numpy() if self._is_tf else np.asarray(value) for name, value in batch.items()}

    def _read_ahead(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or len(self._ahead) < _READ_AHEAD_BATCHES)
                if self._closed:
                    return
            try:
                # Reading and appending are one step for `save`, which takes the same lock.
                with self._pulling:
                    host = self._pull()
                    pair = (host, place_batch(host, self._partitioner))
                    with self._changed:
                        self._ahead.append(pair)
                        self._changed.notify_all()
            except BaseException as error:  # handed to the consumer, StopIteration included
                with self._changed:
                    self._failure = error
                    self._changed.notify_all()
                return

    def _first(self) -> tuple[dict[str, np.ndarray], dict[str, jax.Array]]:
        self._start()
        self._changed.wait_for(lambda: self._ahead or self._failure is not None or self._closed)
        if self._ahead:
            return self._ahead[0]
        if self._closed:
            raise ValueError("This TrainIterator is closed.")
        if isinstance(self._failure, StopIteration) and self._consumed_batches == 0:
            raise ValueError(
                "The training data yields no batch: the split is empty, or smaller than one batch of one shard."
            )
        raise self._failure

    def __iter__(self) -> "TrainIterator":
        return self

    def __next__(self) -> dict[str, jax.Array]:
        with self._changed:
            _, batch = self._first()
            self._ahead.popleft()
            self._consumed_batches += 1
            self._changed.notify_all()
        return batch

    def peek(self) -> dict[str, jax.Array]:
        """The next batch, which stays in the iterator."""
        with self._changed:
            return self._first()[1]

    def peek_async(self) -> concurrent.futures.Future:
        """Starts to read in the background.

        Returns:
          A future of the next batch, which stays in the iterator.
        """
        self._start()
        future: concurrent.futures.Future = concurrent.futures.Future()

        def wait() -> None:
            try:
                future.set_result(self.peek())
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=wait, name="t5x-first-batch", daemon=True).start()
        return future

    def save(self, prefix: str) -> None:
        """Writes the position after the last batch handed out.

        Args:
          prefix: path without extension; `.json` (count and provenance) is written, and with `save_state` also the
            tf.data iterator's files and `.ahead.npz`, the batches already read but not handed out.
        """
        with self._pulling, self._changed:
            position = {"batches": self._consumed_batches, **self._provenance}
            if self._save_state and self._source is not None:
                import tensorflow as tf

                tf.train.Checkpoint(ds=self._source).write(os.fspath(prefix))
                ahead = {f"{i}/{k}": v for i, (host, _) in enumerate(self._ahead) for k, v in host.items()}
                np.savez(f"{os.fspath(prefix)}.ahead.npz", **ahead)
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
        if self._thread is not None or self._source is not None:
            raise ValueError("Restore a TrainIterator before the first batch is read.")
        prefix = os.fspath(prefix)
        with open(f"{prefix}.json", encoding="utf-8") as file:
            position = json.load(file)
        self._consumed_batches = int(position["batches"])
        if position.get("iterator_state") and self._is_tf and os.path.isfile(f"{prefix}.index"):
            import tensorflow as tf

            self._source = iter(self._dataset)
            try:
                tf.train.Checkpoint(ds=self._source).read(prefix).assert_consumed()
            except Exception as error:  # TensorFlow's many kinds, none of which names the folder
                raise ValueError(f"The data iterator's state {prefix}.* does not fit this data set: {error}") from error
            with np.load(f"{prefix}.ahead.npz", allow_pickle=False) as stored:
                rows: dict[int, dict[str, np.ndarray]] = {}
                for key in stored.files:
                    index, name = key.split("/", 1)
                    rows.setdefault(int(index), {})[name] = stored[key]
            for index in sorted(rows):
                self._ahead.append((rows[index], place_batch(rows[index], self._partitioner)))
        elif self._consumed_batches:
            logging.info("Skipping %d batches of training data.", self._consumed_batches)
            if self._is_tf:
                self._source = iter(self._dataset.skip(self._consumed_batches))
            else:
                self._source = iter(self._dataset)
                for _ in range(self._consumed_batches):
                    next(self._source)

    def reset(self) -> None:
        """Starts the data from its beginning again."""
        self.close()
        self._ahead.clear()
        self._source, self._failure, self._thread, self._closed = None, None, None, False
        self._consumed_batches = 0

    def close(self) -> None:
        """Ends the reading thread; idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None


def prepare_train_iter(
    train_iter: Any,
    *,
    partitioner: Any,
    data_layout: Any = None,
    checkpoint_cfg: Any = None,
    provenance: Mapping[str, Any] | None = None,
) -> Any:
    """Turns a data set into an iterator of global batches.

    Args:
      train_iter: a `tf.data.Dataset`, an iterable of dictionaries of arrays, or an iterator that offers `peek_async`
        and `element_spec` already (returned as it is).
      partitioner: see `place_batch`.
      data_layout: the partitioner's layout of the batch; None asks the partitioner.
      checkpoint_cfg: its `save.save_dataset` decides whether the iterator's state is saved.
      provenance: see `TrainIterator`.

    Returns:
      The iterator.
    """
    if hasattr(train_iter, "peek_async") and hasattr(train_iter, "element_spec"):
        return train_iter
    save = getattr(checkpoint_cfg, "save", None)
    layout = data_layout if data_layout is not None else partitioner.get_data_layout()
    return TrainIterator(
        train_iter,
        partitioner,
        num_shards=layout.num_shards,
        save_state=bool(save and save.save_dataset),
        provenance=provenance,
    )
