"""Actions: decisions from metrics between chunks of training, such as stopping early."""

from __future__ import annotations

import abc
import dataclasses
import enum
from collections.abc import Mapping, Sequence

import numpy as np
from absl import logging

from t5x import train_state as train_state_lib
from t5x.summaries import MetricValueMapType


class ActionMode(enum.Enum):
    """When an action runs."""

    TRAIN = 1
    TRAIN_EVAL = 2
    INFER_EVAL = 3


class BaseAction(abc.ABC):
    """Something to decide from the metrics, outside the step."""

    @abc.abstractmethod
    def run(self, train_state: train_state_lib.TrainState, metrics_by_task: Mapping[str, MetricValueMapType]) -> bool:
        """Returns whether training should stop.

        Args:
            train_state: the current state.
            metrics_by_task: metric values by task (`'train'` for training metrics) and name.
        """


ActionMapType = Mapping[ActionMode, Sequence[BaseAction]]


def _metric_number(metrics_by_task: Mapping[str, MetricValueMapType], task: str, name: str) -> float | None:
    """Returns a metric as a number; logs and returns None when it is not there."""
    value = metrics_by_task.get(task, {}).get(name)
    if value is None:
        available = {key: sorted(values) for key, values in metrics_by_task.items()}
        logging.warning("No metric %r of task %r; there are %s.", name, task, available)
        return None
    return float(np.asarray(getattr(value, "value", value)))


@dataclasses.dataclass
class EarlyStoppingAction(BaseAction):
    """Stops when a metric has not improved for `patience` runs in a row.

    Args:
        metric: (task, metric name).
        mode: 'min' if smaller is better, 'max' if larger is.
        patience: runs without improvement before stopping, at least 1.
        atol: least absolute improvement that counts.
        rtol: least improvement relative to the best value that counts.

    Raises:
        ValueError: another mode.
    """

    metric: tuple[str, str]
    mode: str
    patience: int = 3
    atol: float = 0.0
    rtol: float = 0.0

    def __post_init__(self) -> None:
        if self.mode not in ("min", "max"):
            raise ValueError(f"EarlyStoppingAction.mode={self.mode!r}: use 'min' or 'max'.")
        self._sign = 1.0 if self.mode == "min" else -1.0
        self._best: float | None = None
        self._runs_without_improvement = 0

    def run(self, train_state: train_state_lib.TrainState, metrics_by_task: Mapping[str, MetricValueMapType]) -> bool:
        """Returns whether `patience` runs in a row brought no improvement; a missing metric counts as no run."""
        value = _metric_number(metrics_by_task, *self.metric)
        if value is None:
            return False
        signed = self._sign * value
        margin = 0.0 if self._best is None else self.atol + self.rtol * abs(self._best)
        if self._best is None or signed < self._best - margin:
            self._best = signed
            self._runs_without_improvement = 0
            return False
        self._runs_without_improvement += 1
        should_stop = self._runs_without_improvement >= self.patience
        if should_stop:
            best = self._sign * self._best
            logging.warning("Stopping: %s has not improved on %g for %d evaluations.", self.metric, best, self.patience)
        return should_stop


@dataclasses.dataclass
class TerminateOnNanAction(BaseAction):
    """Stops when a metric is not a finite number.

    Args:
        task: task whose metric is watched (`'train'` for training metrics).
        metric: metric name.
    """

    task: str
    metric: str = "loss"

    def run(self, train_state: train_state_lib.TrainState, metrics_by_task: Mapping[str, MetricValueMapType]) -> bool:
        """Returns whether the metric is NaN or infinite; a missing metric does not stop."""
        value = _metric_number(metrics_by_task, self.task, self.metric)
        should_stop = value is not None and not np.isfinite(value)
        if should_stop:
            logging.warning("Stopping: %s/%s is %s at step %s.", self.task, self.metric, value, train_state.step)
        return should_stop
