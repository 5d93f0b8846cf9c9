"""Globally sharded batches of a data set, read ahead in the background and resumable at any batch."""

import concurrent.futures
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.sharding import NamedSharding


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
    return {
        name: jax.make_array_from_process_local_data(sharding, a, (a.shape[0] * partitioner.data_shards, *a.shape[1:]))
        for name, a in batch.items()
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
    yield from (place_batch(batch, partitioner) for batch in batches)


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
        return {
            name: jax.ShapeDtypeStruct(
                (spec.shape[0] * self._partitioner.data_shards, *spec.shape[1:]), spec.dtype.as_numpy_dtype
            )
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
