"""Running a model over an enumerated data set: padding, placing, dispatching ahead, and putting results in order."""

import collections
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import PartitionSpec

from t5x.batches import place_batch

# Results are fetched this many batches late, so that the host prepares a batch while the devices work. Small: virtual
# CPU devices deadlock when many steps are in flight.
_IN_FLIGHT_BATCHES = 2


# A model's `predict_batch`, `predict_batch_with_aux` or `score_batch`.
InferStepCallable = Callable[..., Any]
# What `get_infer_fn` returns.
InferFnCallable = Callable[..., Any]


def get_infer_fn(
    infer_step: InferStepCallable,
    batch_size: int,
    train_state_axes: Any,
    partitioner: Any,
    keep_aux_as_numpy: bool = False,
) -> InferFnCallable:
    """Builds a function that runs `infer_step` over a data set; it compiles once per batch shape.

    Args:
      infer_step: function of parameters and batch, to which `rng` and `flax_mutables` are passed if it names them.
      batch_size: global batch size, a multiple of the number of data shards.
      train_state_axes: placement of the train state.
      partitioner: gives mesh and data layout.
      keep_aux_as_numpy: leave auxiliary values as NumPy arrays in place of Python lists.

    Returns:
      `fn(ds, train_state, rng=None)`, where `ds` yields (index, features) without batch dimension. It returns a list of
      (index, output) in order of index, and, when the step returns (output, Mapping), also a dictionary of lists.

    Raises:
      ValueError: when the returned function meets a data set of unknown length, or batch sizes that do not divide.
    """
    accepted = inspect.signature(infer_step).parameters
    takes_rng, takes_mutables = "rng" in accepted, "flax_mutables" in accepted
    data_spec = partitioner.data_partition_spec

    def step(train_state: Any, batch: Mapping[str, jax.Array], rng: jax.Array | None, index: jax.Array) -> Any:
        options: dict[str, Any] = {}
        if takes_rng:
            options["rng"] = rng
        if takes_mutables:
            options["flax_mutables"] = train_state.flax_mutables
        # The index travels with the rows: on several hosts the order of a global batch is the mesh's, not the data's.
        return infer_step(train_state.params, batch, **options), index

    partitioned = partitioner.partition(
        step, (train_state_axes, data_spec, PartitionSpec(), data_spec), (PartitionSpec(), PartitionSpec())
    )

    def infer_fn(ds: Any, train_state: Any, rng: jax.Array | None = None) -> Any:
        layout = partitioner.get_data_layout(batch_size)
        if batch_size % layout.num_shards:
            raise ValueError(f"batch_size={batch_size} does not divide by the {layout.num_shards} data shards.")
        length = int(ds.cardinality().numpy())
        if length < 0:
            raise ValueError("Inference needs a data set of known length; cache it, or bind num_epochs=1.")
        # Filled up with copies of the first example, so that every process runs the same number of full batches.
        filler = ds.take(1).map(lambda index, features: (-1 + 0 * index, features))
        ds = ds.concatenate(filler.repeat(-length % batch_size))
        local = ds.shard(layout.num_shards, layout.shard_id).batch(batch_size // layout.num_shards)
        pending: collections.deque = collections.deque()
        indices: list[np.ndarray] = []
        outputs: list[Any] = []

        def collect() -> None:
            output, index = jax.device_get(pending.popleft())
            real = index >= 0
            indices.append(index[real])
            outputs.append(jax.tree.map(lambda x: np.asarray(x)[real], output))

        for index, features in local.as_numpy_iterator():
            # int32: the data set counts in int64, which JAX does not hold by default.
            placed = place_batch({**features, "": index.astype(np.int32)}, partitioner)
            placed_index = placed.pop("")
            pending.append(partitioned(train_state, placed, rng, placed_index))
            if len(pending) > _IN_FLIGHT_BATCHES:
                collect()
        while pending:
            collect()
        return _ordered(indices, outputs, keep_aux_as_numpy)

    return infer_fn


def _rows(tree: Any, count: int) -> list[Any]:
    """Splits arrays [count, ...] into one tree of Python values per row."""
    lists = jax.tree.map(lambda x: x.tolist(), tree)
    if isinstance(tree, np.ndarray):
        return lists
    return [jax.tree.map(lambda x, i=i: x[i], lists, is_leaf=lambda x: isinstance(x, list)) for i in range(count)]


def _ordered(indices: list[np.ndarray], outputs: list[Any], keep_aux_as_numpy: bool) -> Any:
    if not indices:
        return []
    index = np.concatenate(indices)
    order = np.argsort(index, kind="stable")
    output = jax.tree.map(lambda *parts: np.concatenate(parts)[order], *outputs)
    numbers = index[order].tolist()
    if isinstance(output, tuple) and len(output) == 2 and isinstance(output[1], Mapping):
        main, aux = output
        aux = jax.tree.map(list if keep_aux_as_numpy else lambda x: x.tolist(), dict(aux))
        return list(zip(numbers, _rows(main, len(numbers)), strict=True)), aux
    return list(zip(numbers, _rows(output, len(numbers)), strict=True))
