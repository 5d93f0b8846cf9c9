"""Training and evaluation steps, and the loop that runs them.

The step is a pure function `(train_state, batch) -> (train_state, metrics)`, partitioned over the mesh, with the train
state donated. A subclass may override `_partitioned_train_step` to give the step further arguments (such as a frozen
teacher), as long as what it returns is called with two.

What the loop does per step, and why:
  1. It dispatches the step and keeps the handle of its metrics; nothing is fetched.
  2. Beyond `MAX_STEPS_IN_FLIGHT` undone steps it waits for the oldest: virtual CPU devices deadlock in their
     collectives when steps pile up, and no accelerator needs more to stay busy.
  3. Metrics of so many steps are merged in one jitted call; a background thread fetches the result and adds it up on
     the host, so that there is neither a second jitted call per step nor a wait in the loop.
"""

from __future__ import annotations

import abc
import collections
import concurrent.futures
import functools
import os
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import clu.metrics as clu_metrics
import flax.core
import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.sharding import PartitionSpec

from t5x import metrics as metrics_lib
from t5x import partitioning, state_utils
from t5x import train_state as train_state_lib
from t5x.actions import ActionMapType, ActionMode, BaseAction, EarlyStoppingAction, TerminateOnNanAction  # noqa: F401
from t5x.summaries import Gathered, MetricMapType, MetricsManager, MetricValueMapType, merge_metrics

Array = jax.Array | np.ndarray
BatchType = Mapping[str, Array]
Rng = jax.Array
FlaxMutables = Any
PyTree = Any

MAX_STEPS_IN_FLIGHT = 8
_FIRST_DATA_AXIS = PartitionSpec("data")


class PreemptionError(Exception):
    """Training must stop now; `train.train` saves a checkpoint before it passes this on."""


# Learning rate, float32 scalar, at a step, int32 scalar.
LearningRateCallable = Callable[[Array], Array]
# A partitioned training step: from state and batch to new state and metrics.
PartitionedTrainCallable = Callable[[train_state_lib.TrainState, BatchType], tuple[Any, MetricMapType]]
# A partitioned evaluation step: from state and batch to metrics.
PartitionedEvalCallable = Callable[[train_state_lib.TrainState, BatchType], MetricMapType]
# What `train.train` calls, with the arguments of `BaseTrainer`; others are bound beforehand.
BaseTrainerConstructor = Callable[..., "BaseTrainer"]


# ---------------------------------------------------------------------------------------------------------------------
# Steps
# ---------------------------------------------------------------------------------------------------------------------


def accumulate_grads_microbatched(
    model: Any,
    train_state: train_state_lib.TrainState,
    batch: BatchType,
    dropout_rng: Rng,
    num_microbatches: int | None,
    data_partition_spec: PartitionSpec = _FIRST_DATA_AXIS,
) -> tuple[PyTree, MetricMapType, FlaxMutables]:
    """Computes gradients, in slices of the batch when memory asks for it.

    The model's loss is a sum, so gradients of slices are added, in float32. Slice `i` takes rows `i`, `i + k`,
    `i + 2k`, ...: rows stay on the devices that hold them. Its dropout key is `fold_in(dropout_rng, i)`, so that
    slices have different masks; without slices the key is `dropout_rng` itself.

    Args:
        model: has `loss_fn(params, batch, dropout_rng) -> (loss, metrics)`; with mutables, `loss_fn` takes them as
            fourth argument and returns `(loss, (metrics, mutables))`.
        train_state: parameters and mutables.
        batch: arrays `[batch, ...]`, all sliced along the first axis.
        dropout_rng: key of this step.
        num_microbatches: number of slices k; None, 0 and 1 mean one pass.
        data_partition_spec: layout of the first axis.

    Returns:
        Gradients (float32 when sliced), merged metrics, mutables after the step.

    Raises:
        ValueError: k does not divide the batch.
    """
    has_mutables = bool(train_state.flax_mutables)
    grad_fn = jax.value_and_grad(model.loss_fn, has_aux=True)

    def grads_of(rows: BatchType, rng: Rng, mutables: FlaxMutables) -> tuple[PyTree, MetricMapType, FlaxMutables]:
        if has_mutables:
            (_, (metrics, new_mutables)), grads = grad_fn(train_state.params, rows, rng, mutables)
            return grads, metrics, new_mutables
        (_, metrics), grads = grad_fn(train_state.params, rows, rng)
        return grads, metrics, mutables

    if num_microbatches is None or num_microbatches <= 1:
        return grads_of(batch, dropout_rng, train_state.flax_mutables)

    batch_size = next(iter(batch.values())).shape[0]
    if batch_size % num_microbatches:
        raise ValueError(
            f"trainer.Trainer.num_microbatches={num_microbatches} must divide the batch of {batch_size}: use a divisor "
            f"of it, or another BATCH_SIZE."
        )
    if hasattr(model, "with_normalizing_factor"):
        # Each slice is divided by what the whole batch is: its own number of tokens would weigh slices differently.
        batch = model.with_normalizing_factor(batch)
    rows_per_slice = batch_size // num_microbatches
    by_slice = {k: x.reshape(rows_per_slice, num_microbatches, *x.shape[1:]) for k, x in batch.items()}

    def add_slice(
        carry: tuple[PyTree, FlaxMutables], index: Array
    ) -> tuple[tuple[PyTree, FlaxMutables], MetricMapType]:
        grads, mutables = carry
        rows = {k: jax.lax.dynamic_index_in_dim(x, index, axis=1, keepdims=False) for k, x in by_slice.items()}
        rows = {k: partitioning.with_sharding_constraint(x, data_partition_spec) for k, x in rows.items()}
        more, metrics, mutables = grads_of(rows, jax.random.fold_in(dropout_rng, index), mutables)
        grads = jax.tree.map(lambda total, grad: total + grad.astype(jnp.float32), grads, more)
        return (grads, mutables), metrics

    zeros = jax.tree.map(lambda param: jnp.zeros(param.shape, jnp.float32), train_state.params)
    (grads, mutables), stacked = jax.lax.scan(
        add_slice, (zeros, train_state.flax_mutables), jnp.arange(num_microbatches)
    )
    parts = [jax.tree.map(lambda x, i=i: x[i], stacked) for i in range(num_microbatches)]
    return grads, functools.reduce(merge_metrics, parts), mutables


def apply_grads(
    train_state: train_state_lib.TrainState,
    grads: PyTree,
    metrics: MetricMapType,
    learning_rate: Array,
    weight_metrics_computer: WeightMetricsComputer | None,
    other_state_variables: Mapping[str, Any] | None = None,
) -> tuple[train_state_lib.TrainState, MetricMapType]:
    """Takes one optimizer step and adds the learning rate to the metrics.

    Args:
        train_state: state before the step.
        grads: gradients, nested like the parameters.
        metrics: metrics of the loss.
        learning_rate: scalar.
        weight_metrics_computer: adds metrics per parameter; None adds none.
        other_state_variables: further arguments of `apply_gradient`, such as `flax_mutables`.

    Returns:
        The new state and the metrics.
    """
    new_state = train_state.apply_gradient(grads, learning_rate=learning_rate, **(other_state_variables or {}))
    learning_rate = jnp.asarray(learning_rate, jnp.float32)
    metrics = dict(metrics)
    metrics["learning_rate"] = clu_metrics.Average.from_model_output(learning_rate[None])
    metrics["learning_rate/current"] = clu_metrics.LastValue.from_model_output(learning_rate[None])
    if weight_metrics_computer is not None:
        metrics.update(weight_metrics_computer.compute_metrics(grads, train_state, new_state))
    return new_state, metrics


def train_with_lr(
    train_state: train_state_lib.TrainState,
    batch: BatchType,
    learning_rate: Array,
    dropout_rng: Rng,
    model: Any,
    num_microbatches: int | None,
    weight_metrics_computer: WeightMetricsComputer | None = None,
    data_partition_spec: PartitionSpec = _FIRST_DATA_AXIS,
) -> tuple[train_state_lib.TrainState, MetricMapType]:
    """One training step: gradients, then the optimizer.

    Args:
        train_state: state before the step.
        batch: arrays `[batch, ...]`.
        learning_rate: scalar.
        dropout_rng: key of this step.
        model: has `loss_fn`; see `accumulate_grads_microbatched`.
        num_microbatches: slices of the batch; None, 0 and 1 mean one pass.
        weight_metrics_computer: adds metrics per parameter; None adds none.
        data_partition_spec: layout of the first axis of the batch.

    Returns:
        The new state and the metrics.
    """
    grads, metrics, mutables = accumulate_grads_microbatched(
        model, train_state, batch, dropout_rng, num_microbatches, data_partition_spec
    )
    variables = {"flax_mutables": mutables} if mutables else None
    return apply_grads(train_state, grads, metrics, learning_rate, weight_metrics_computer, variables)


def eval_step(model: Any, train_state: train_state_lib.TrainState, batch: BatchType) -> MetricMapType:
    """Returns the metrics of `model.eval_fn` on `batch` with the parameters of `train_state`."""
    if train_state.flax_mutables:
        _, metrics = model.eval_fn(train_state.params, batch, train_state.flax_mutables)
    else:
        _, metrics = model.eval_fn(train_state.params, batch)
    return metrics


class WeightMetricsComputer:
    """Metrics of each parameter tensor and its update: rms values, maxima and the global gradient norm."""

    @staticmethod
    def _rms(x: Array) -> Array:
        return jnp.sqrt(jnp.mean(jnp.square(x.astype(jnp.float32))))

    def compute_metrics(
        self,
        gradients: PyTree,
        old_train_state: train_state_lib.TrainState,
        new_train_state: train_state_lib.TrainState,
    ) -> MetricMapType:
        """Returns per-step averages by name.

        Args:
            gradients: gradients, nested like the parameters.
            old_train_state: state before the update.
            new_train_state: state after the update.
        """
        grads, old, new = (
            state_utils.flatten_state_dict(flax.core.unfreeze(tree))
            for tree in (gradients, old_train_state.params, new_train_state.params)
        )
        values: dict[str, Array] = {}
        for name, weight in old.items():
            weight_rms, update_rms = self._rms(weight), self._rms(new[name] - weight)
            values[f"weight_rms/{name}"] = weight_rms
            values[f"weight_gradient_rms/{name}"] = self._rms(grads[name])
            values[f"weight_update_rms/{name}"] = update_rms
            # 1e-8 stands in for the rms of a parameter that starts at zero.
            values[f"weight_update_divided_by_weight_rms/{name}"] = update_rms / jnp.maximum(weight_rms, 1e-8)
            values[f"weight_max/{name}"] = jnp.max(jnp.abs(weight))
        squares = [jnp.sum(jnp.square(grad.astype(jnp.float32))) for grad in grads.values()]
        values["weight_gradient_norm"] = jnp.sqrt(sum(squares))
        return metrics_lib.create_metrics_dict(values)


# ---------------------------------------------------------------------------------------------------------------------
# Trainers
# ---------------------------------------------------------------------------------------------------------------------


class BaseTrainer(abc.ABC):
    """Runs training and evaluation steps; subclasses say what the steps are.

    Args:
        model: the model.
        train_state: state to start from, laid out over the mesh.
        partitioner: builds and compiles partitioned functions.
        eval_names: names of the evaluations.
        summary_dir: folder for TensorBoard summaries; None writes none.
        train_state_axes: PartitionSpecs nested like the train state.
        rng: key from which each step's key is derived.

    Attributes:
        train_state: the current state; its arrays are donated to the next step.
        stop_training: set to end training after the current piece.
        is_preempted: asked before each step, with the number of steps taken; True raises `PreemptionError`.
    """

    def __init__(
        self,
        model: Any,
        train_state: train_state_lib.TrainState,
        partitioner: partitioning.BasePartitioner,
        eval_names: Sequence[str],
        summary_dir: str | None,
        train_state_axes: Any,
        rng: Rng,
    ):
        """Opens one metrics manager for training and one per evaluation."""
        self._model = model
        self._train_state_axes = train_state_axes
        self._base_rng = rng
        self._partitioner = partitioner
        self._compiled_train_step: PartitionedTrainCallable | None = None
        self._compiled_eval_steps: MutableMapping[str, PartitionedEvalCallable] = {}
        self._compiled_eval_step_cache: MutableMapping[Any, PartitionedEvalCallable] = {}
        self.train_state = train_state
        self._in_flight: collections.deque[Any] = collections.deque()
        self._last_metrics: Any = ()
        self._start_time_seconds = time.time()
        self.stop_training = False
        self.is_preempted: Callable[[int], bool] = lambda step: False
        self.train_metrics_manager = MetricsManager("train", summary_dir)
        self.eval_metrics_managers = {
            name: MetricsManager(os.path.join("training_eval", name), summary_dir) for name in eval_names
        }

    def __enter__(self) -> BaseTrainer:
        """Returns the trainer itself."""
        return self

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        """Closes the trainer."""
        self.close()

    def close(self) -> None:
        """Finishes pending summaries and joins the threads."""
        self.train_metrics_manager.close()
        for manager in self.eval_metrics_managers.values():
            manager.close()

    def _get_step_rng(self, step: Array | int) -> Rng:
        return jax.random.fold_in(self._base_rng, step)

    def _wait_for_oldest(self, metrics: Any) -> None:
        """Notes a dispatched step; blocks while more than `MAX_STEPS_IN_FLIGHT` are undone."""
        self._in_flight.append(metrics)
        if len(self._in_flight) > MAX_STEPS_IN_FLIGHT:
            jax.block_until_ready(self._in_flight.popleft())

    def train(
        self, batch_iter: Iterator[BatchType], num_steps: int, start_step: int | None = None
    ) -> concurrent.futures.Future[MetricValueMapType]:
        """Takes `num_steps` training steps; returns before the last ones are done.

        Args:
            batch_iter: yields batches `{name: [batch, ...]}`.
            num_steps: steps to take, at least 1.
            start_step: step number before the first of them; read from the train state (waiting for it) when None.

        Returns:
            A future of the metric values over these steps, which are also written as a summary at the last step.

        Raises:
            PreemptionError: `is_preempted` says so; the train state is that of the last step taken.
            ValueError: fewer than 1 step.
        """
        if num_steps < 1:
            raise ValueError(f"num_steps={num_steps}: at least 1 step must be taken.")
        train_state = self.train_state
        if start_step is None:
            start_step = int(jax.device_get(train_state.step))
        manager = self.train_metrics_manager
        if not self._last_metrics:
            # Only before the first step: its state is the one thing to wait for that will be donated.
            jax.block_until_ready(train_state.params)
        manager.start_duration_timer(block_on=self._last_metrics)
        train_step = self._compiled_train_step or self._partitioned_train_step
        gathered = Gathered(manager)
        for step_index in range(num_steps):
            if self.is_preempted(start_step + step_index):
                raise PreemptionError(f"Told to stop at step {start_step + step_index}.")
            logging.log_every_n_seconds(logging.INFO, "Training: step %d", 10, start_step + step_index)
            with jax.profiler.StepTraceAnnotation("train", step_num=start_step + step_index):
                batch = next(batch_iter)
                train_state, metrics = train_step(train_state, batch)
            # Kept at once: the state before is donated, and an iterator that fails must leave a whole state.
            self.train_state = train_state
            self._last_metrics = metrics
            self._wait_for_oldest(metrics)
            gathered.add(metrics)
        last_step = start_step + num_steps
        manager.write_scalar("timing/uptime", time.time() - self._start_time_seconds, last_step)
        return gathered.summarize(last_step)

    def compile_train(self, batch: BatchType) -> None:
        """Compiles the training step for batches of this shape and dtype.

        Args:
            batch: a batch with the global shapes; its values do not matter.
        """
        start_seconds = time.time()
        train_state = self.train_state
        self._compiled_train_step = self._partitioner.compile(self._partitioned_train_step, train_state, batch)
        step = int(jax.device_get(train_state.step))
        self.train_metrics_manager.write_scalar("timing/compilation_seconds", time.time() - start_seconds, step)

    def eval(self, batch_iters: Mapping[str, Iterator[BatchType]]) -> Mapping[str, MetricValueMapType]:
        """Runs each evaluation to the end of its iterator.

        Args:
            batch_iters: batches by evaluation name.

        Returns:
            Metric values by evaluation name.

        Raises:
            ValueError: a name was not given to the constructor, or an iterator yields nothing.
        """
        train_state = self.train_state
        step = int(jax.device_get(train_state.step))
        futures = {}
        for name, batch_iter in batch_iters.items():
            manager = self._eval_manager(name)
            eval_fn = self._compiled_eval_steps.get(name) or self._partitioned_eval_step
            manager.start_duration_timer(block_on=train_state.step)
            gathered = Gathered(manager)
            for batch in batch_iter:
                metrics = eval_fn(train_state, batch)
                self._wait_for_oldest(metrics)
                gathered.add(metrics)
            if not gathered.num_steps:
                raise ValueError(f"Evaluation {name!r} has no batch: is its split smaller than one batch?")
            futures[name] = gathered.summarize(step)
        return {name: future.result() for name, future in futures.items()}

    def compile_eval(self, batches: Mapping[str, BatchType]) -> None:
        """Compiles the evaluation step for each evaluation; equal batch shapes share one program.

        Args:
            batches: one batch by evaluation name; values do not matter.
        """
        for name, batch in batches.items():
            start_seconds = time.time()
            key = tuple(sorted((k, tuple(x.shape), str(x.dtype)) for k, x in batch.items()))
            train_state, known = self.train_state, self._compiled_eval_step_cache
            if key not in known:
                known[key] = self._partitioner.compile(self._partitioned_eval_step, train_state, batch)
            self._compiled_eval_steps[name] = known[key]
            step = int(jax.device_get(train_state.step))
            self._eval_manager(name).write_scalar("timing/compilation_seconds", time.time() - start_seconds, step)

    def _eval_manager(self, name: str) -> MetricsManager:
        if name not in self.eval_metrics_managers:
            raise ValueError(f"Unknown evaluation {name!r}; eval_names are {sorted(self.eval_metrics_managers)}.")
        return self.eval_metrics_managers[name]

    @property
    @abc.abstractmethod
    def _partitioned_train_step(self) -> PartitionedTrainCallable:
        """The partitioned training step."""

    @property
    @abc.abstractmethod
    def _partitioned_eval_step(self) -> PartitionedEvalCallable:
        """The partitioned evaluation step."""


class Trainer(BaseTrainer):
    """Trainer whose step is gradient accumulation followed by the optimizer.

    Args:
        model: the model.
        train_state: state to start from, laid out over the mesh.
        partitioner: builds and compiles partitioned functions.
        eval_names: names of the evaluations.
        summary_dir: folder for TensorBoard summaries; None writes none.
        train_state_axes: PartitionSpecs nested like the train state.
        rng: key from which each step's dropout key is derived.
        learning_rate_fn: learning rate by step.
        num_microbatches: slices over which gradients are accumulated; None, 0 and 1 mean one pass.
        weight_metrics_computer: adds metrics per parameter; None adds none.
    """

    def __init__(
        self,
        model: Any,
        train_state: train_state_lib.TrainState,
        partitioner: partitioning.BasePartitioner,
        eval_names: Sequence[str],
        summary_dir: str | None,
        train_state_axes: Any,
        rng: Rng,
        learning_rate_fn: LearningRateCallable,
        num_microbatches: int | None,
        weight_metrics_computer: WeightMetricsComputer | None = None,
    ):
        """Keeps the schedule and the number of microbatches."""
        self._learning_rate_fn = learning_rate_fn
        self._num_microbatches = num_microbatches
        self._weight_metrics_computer = weight_metrics_computer
        super().__init__(model, train_state, partitioner, eval_names, summary_dir, train_state_axes, rng)

    @functools.cached_property
    def _partitioned_train_step(self) -> PartitionedTrainCallable:
        def train_step(train_state: Any, batch: BatchType) -> tuple[Any, MetricMapType]:
            return train_with_lr(
                train_state,
                batch,
                learning_rate=self._learning_rate_fn(train_state.step),
                dropout_rng=self._get_step_rng(train_state.step),
                model=self._model,
                num_microbatches=self._num_microbatches,
                weight_metrics_computer=self._weight_metrics_computer,
                data_partition_spec=self._partitioner.data_partition_spec,
            )

        return self._partitioner.partition(
            train_step,
            in_axis_resources=(self._train_state_axes, self._partitioner.data_partition_spec),
            out_axis_resources=(self._train_state_axes, None),
            donate_argnums=(0,),
        )

    @functools.cached_property
    def _partitioned_eval_step(self) -> PartitionedEvalCallable:
        return self._partitioner.partition(
            lambda train_state, batch: eval_step(self._model, train_state, batch),
            in_axis_resources=(self._train_state_axes, self._partitioner.data_partition_spec),
            out_axis_resources=None,
        )
