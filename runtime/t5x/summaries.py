"""Metrics on the host: merging what steps leave on the devices, and summaries written in the background."""

from __future__ import annotations

import concurrent.futures
import functools
import os
import threading
import time
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import clu.metrics as clu_metrics
import clu.values as clu_values
import jax
import jax.numpy as jnp
import numpy as np

from t5x import metrics as metrics_lib

PyTree = Any
_STEPS_PER_GROUP = 8
MetricMapType = MutableMapping[str, clu_metrics.Metric]
MetricValueMapType = Mapping[str, clu_values.Value]


def merge_metrics(a: Mapping[str, Any], b: Mapping[str, Any]) -> MetricMapType:
    """Merges the metrics of `a` with those of `b`, which have the same names."""
    return {name: metric.merge(b[name]) for name, metric in a.items()}


@jax.jit
def _merge_on_device(parts: Sequence[MetricMapType]) -> MetricMapType:
    """Merges the metrics of several steps, in order, in one call: fetching and merging them one by one costs more."""
    return functools.reduce(merge_metrics, parts)


def _merge_on_host(parts: Sequence[Mapping[str, Any]]) -> MetricMapType:
    """Fetches metrics from the devices (waiting for them) and merges them in order."""
    fetched = jax.device_get([dict(part) for part in parts])
    return functools.reduce(merge_metrics, (jax.tree.map(_widen, part) for part in fetched))


def _widen(leaf: Any) -> Any:
    """Token counts of a long piece overflow int32, and small losses vanish in a large float32 sum."""
    leaf = np.asarray(leaf)
    if leaf.dtype.kind in "iu":
        return leaf.astype(np.int64)
    # bfloat16 is of no kind that numpy knows.
    return leaf.astype(np.float64) if leaf.dtype.kind == "f" or leaf.dtype == jnp.bfloat16 else leaf


class MetricsManager:
    """Writes summaries of one run (`train`, or an evaluation) in the background.

    Args:
        name: label; a folder below `summary_dir`.
        summary_dir: folder of the event files; None writes none. Only process 0 writes.

    Attributes:
        summary_dir: folder of the event files, or None.
        executor: one thread, so that what is submitted is done in order.
        start_time_seconds: when the next summary's clock started, or None.
    """

    def __init__(self, name: str, summary_dir: str | None = None):
        """Starts the worker thread; the event file is opened by the first write."""
        self._name = name
        self.summary_dir = os.path.join(summary_dir, name) if summary_dir else None
        self._writer: Any = None
        self._writer_lock = threading.RLock()
        self.executor = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"metrics-{name[:20]}")
        self.start_time_seconds: concurrent.futures.Future[float] | None = None
        self._is_closed = False

    @property
    def summary_writer(self) -> Any:
        """The writer of event files; None without a folder or outside process 0."""
        with self._writer_lock:
            if self._writer is None and self.summary_dir is not None and jax.process_index() == 0:
                from t5x import event_writer  # opening a file is what first needs TensorFlow

                self._writer = event_writer.EventWriter(self.summary_dir)
            return self._writer

    def write_scalar(self, key: str, val: Any, step: int) -> None:
        """Writes the number `val` under the tag `key` at `step`."""
        self.write_scalars(step, {key: val})

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Writes the numbers in `scalars`, by tag, at `step`."""
        with self._writer_lock:
            if self.summary_writer is not None:
                self.summary_writer.write_scalars(int(step), scalars)

    def start_duration_timer(self, block_on: PyTree = ()) -> None:
        """Starts the clock of the next summary once the arrays of `block_on` are computed.

        Args:
            block_on: arrays that no later step donates.
        """

        def completion_seconds() -> float:
            jax.block_until_ready(block_on)
            return time.time()

        self.start_time_seconds = self.executor.submit(completion_seconds)

    def write_metrics_summary(
        self, metrics: MetricMapType, step: int, num_steps: int
    ) -> concurrent.futures.Future[MetricValueMapType]:
        """Computes and writes metrics in the background.

        The duration of time metrics runs from `start_duration_timer` to the moment when `metrics` are computed.

        Args:
            metrics: metrics merged over `num_steps` steps.
            step: step number of the summary.
            num_steps: steps covered, at least 1.

        Returns:
            A future of the values by name.
        """
        gathered = Gathered(self)
        gathered.add(metrics, num_steps)
        return gathered.summarize(step)

    def flush(self) -> None:
        """Waits for everything submitted so far and makes it visible to readers."""
        self.executor.submit(lambda: None).result()
        with self._writer_lock:
            if self._writer is not None:
                self._writer.flush()

    def close(self) -> None:
        """Finishes pending writes, joins the thread and closes the file; safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        self.executor.shutdown(wait=True)
        with self._writer_lock:
            if self._writer is not None:
                self._writer.close()


class Gathered:
    """Metrics of a run of steps, merged in groups on the device and added up on the host in the background.

    Merging a group in one jitted call, and fetching only its result, costs less than either for each step.

    Args:
        manager: does the background work and writes the summary.

    Attributes:
        num_steps: steps gathered so far.
    """

    def __init__(self, manager: MetricsManager):
        """Starts without metrics."""
        self._manager = manager
        self._pending: list[MetricMapType] = []
        self._merged: concurrent.futures.Future[MetricMapType] | None = None
        self.num_steps = 0

    def add(self, metrics: MetricMapType, num_steps: int = 1) -> None:
        """Adds `metrics` that cover `num_steps` steps; nothing is fetched here."""
        self.num_steps += num_steps
        self._pending.append(metrics)
        if len(self._pending) == _STEPS_PER_GROUP:
            self._merge([_merge_on_device(self._pending)])

    def _merge(self, parts: Sequence[MetricMapType]) -> None:
        before = self._merged

        def merge() -> MetricMapType:
            more = _merge_on_host(parts)
            return more if before is None else merge_metrics(before.result(), more)

        self._merged, self._pending = self._manager.executor.submit(merge), []

    def summarize(self, step: int) -> concurrent.futures.Future[MetricValueMapType]:
        """Writes the summary of all steps gathered at `step`; returns a future of the values by name."""
        if self._pending:
            self._merge(self._pending)
        merged, start_time_seconds = self._merged, self._manager.start_time_seconds
        self._manager.start_time_seconds = None

        def finish() -> MetricValueMapType:
            metrics = merged.result()
            if start_time_seconds is not None:
                # Never zero, which rates would divide by: clocks tick in steps.
                duration_seconds = max(time.time() - start_time_seconds.result(), 1e-9)
                metrics = metrics_lib.set_time_metrics_duration(metrics, duration_seconds)
            metrics = metrics_lib.set_step_metrics_num_steps(metrics, self.num_steps)
            # 0 / 0 is the honest value of an average over no tokens: NaN, without a warning per metric.
            with np.errstate(divide="ignore", invalid="ignore"):
                values = {name: metric.compute_value() for name, metric in metrics.items()}
            scalars = {name: value.value for name, value in values.items() if isinstance(value, clu_values.Scalar)}
            self._manager.write_scalars(step, scalars)
            return values

        return self._manager.executor.submit(finish)
