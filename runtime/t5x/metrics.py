"""Metric objects that live on the device during a step and become numbers when a summary is written.

Each metric is a pytree with `from_model_output`, `merge` and `compute`. Two facts are unknown inside the step and are
filled in just before `compute`: how many steps the merged metrics cover (`replace_steps`) and how long they took
(`replace_duration`).
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import clu.metrics as clu_metrics
import flax
import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray
Scalar = int | float | np.number | Array
MetricsMap = MutableMapping[str, clu_metrics.Metric]


@flax.struct.dataclass
class Sum(clu_metrics.Metric):
    """Sum of all values seen."""

    total: Scalar

    @classmethod
    def from_model_output(cls, values: Scalar, **_: Any) -> Sum:
        """Sums `values` (any shape) into a scalar."""
        return cls(total=jnp.sum(jnp.asarray(values)))

    def merge(self, other: Sum) -> Sum:
        """Adds the two totals."""
        return type(self)(total=self.total + other.total)

    def compute(self) -> Scalar:
        """Returns the total."""
        return self.total


@flax.struct.dataclass
class Step(clu_metrics.Metric):
    """Base of metrics that are divided by the number of training steps they cover."""

    steps: int | Array | None = 1

    def replace_steps(self, steps: int) -> Step:
        """Returns a copy that covers `steps` training steps (at least 1)."""
        return self.replace(steps=steps)

    def merge(self, other: Step) -> Step:
        """Adds the two step counts."""
        return type(self)(steps=self.steps + other.steps)

    def compute(self) -> Scalar:
        """Returns the number of steps."""
        return self.steps


@flax.struct.dataclass
class AveragePerStep(Step):
    """Total divided by the number of steps: a per-step sum that does not shrink under microbatches."""

    total: Scalar | None = None

    @classmethod
    def from_model_output(cls, values: Scalar, steps: int = 1, **_: Any) -> AveragePerStep:
        """Sums `values` (any shape) over one step (or `steps` steps)."""
        return cls(steps=steps, total=jnp.sum(jnp.asarray(values)))

    def merge(self, other: AveragePerStep) -> AveragePerStep:
        """Adds totals and step counts."""
        return type(self)(steps=self.steps + other.steps, total=self.total + other.total)

    def compute(self) -> Scalar:
        """Returns total / steps; raises ValueError when `steps` is unset."""
        if self.steps is None:
            raise ValueError("`steps` is not set on AveragePerStep: call `replace_steps(n)` first.")
        return self.total / self.steps


class _WithDuration(clu_metrics.Metric):
    """A metric whose `duration`, in seconds, is filled in on the host."""

    def replace_duration(self, duration: Scalar) -> _WithDuration:
        """Returns a copy with `duration` in seconds."""
        return self.replace(duration=duration)

    def _known_duration(self) -> Scalar:
        if self.duration is None:
            name = type(self).__name__
            raise ValueError(f"`duration` is not set on {name}: call `replace_duration(seconds)` on it first.")
        return self.duration

    def _one_duration(self, other: _WithDuration) -> Scalar | None:
        """The duration of two rates together: they may overlap, so only one of them may know its own."""
        assert self.duration is None or other.duration is None, "Two rates with known durations cannot be merged."
        return other.duration if self.duration is None else self.duration


@flax.struct.dataclass
class Time(_WithDuration):
    """Duration in seconds, filled in on the host."""

    duration: Scalar | None = None

    @classmethod
    def from_model_output(cls, **_: Any) -> Time:
        """Returns a metric whose duration is still unknown."""
        return cls(duration=None)

    def merge(self, other: Time) -> Time:
        """Adds known durations; an unknown one leaves the other unchanged."""
        known = [d for d in (self.duration, other.duration) if d is not None]
        return type(self)(duration=sum(known) if known else None)

    def compute(self) -> Scalar:
        """Returns the duration in seconds; raises ValueError when it is unset."""
        return self._known_duration()


@flax.struct.dataclass
class TimeRate(Time):
    """Numerator divided by the duration in seconds, such as sequences per second."""

    numerator: Scalar | None = None

    @classmethod
    def from_model_output(cls, numerator: Scalar, **_: Any) -> TimeRate:
        """Sums `numerator` (any shape); the duration is filled in later."""
        return cls(duration=None, numerator=jnp.sum(jnp.asarray(numerator)))

    def merge(self, other: TimeRate) -> TimeRate:
        """Adds numerators; two known durations cannot be merged (they may overlap)."""
        return type(self)(duration=self._one_duration(other), numerator=self.numerator + other.numerator)

    def compute(self) -> Scalar:
        """Returns numerator / duration; raises ValueError when the duration is unset."""
        return self.numerator / self._known_duration()


@flax.struct.dataclass
class StepsPerTime(Step, _WithDuration):
    """Steps divided by the duration in seconds."""

    duration: Scalar | None = None

    @classmethod
    def from_model_output(cls, steps: int = 1, **_: Any) -> StepsPerTime:
        """Counts one step (or `steps` steps); the duration is filled in later."""
        return cls(steps=steps, duration=None)

    def merge(self, other: StepsPerTime) -> StepsPerTime:
        """Adds step counts; two known durations cannot be merged (they may overlap)."""
        return type(self)(steps=self.steps + other.steps, duration=self._one_duration(other))

    def compute(self) -> Scalar:
        """Returns steps / duration; raises ValueError when the duration is unset."""
        return self.steps / self._known_duration()


def is_metric_obj(obj: Any) -> bool:
    """Returns whether `obj` is a metric (a node of the metrics tree rather than one of its arrays)."""
    return isinstance(obj, clu_metrics.Metric)


def is_time_metric(obj: Any) -> bool:
    """Returns whether `obj` needs a duration before it can be computed."""
    return is_metric_obj(obj) and hasattr(obj, "replace_duration")


def create_metrics_dict(float_metrics: Mapping[str, Scalar]) -> MetricsMap:
    """Wraps plain per-step numbers in `AveragePerStep`, so that they can be merged over steps."""
    return {name: AveragePerStep.from_model_output(value) for name, value in float_metrics.items()}


def shape_obj_to_defined_obj(obj: Any) -> Any:
    """Replaces `jax.ShapeDtypeStruct` leaves (as from `jax.eval_shape`) of a metrics tree by zeros."""

    def zeros(leaf: Any) -> Any:
        return jnp.zeros(leaf.shape, leaf.dtype) if isinstance(leaf, jax.ShapeDtypeStruct) else leaf

    return jax.tree.map(zeros, obj)


def set_time_metrics_duration(metrics: Mapping[str, Any], duration: Scalar) -> MetricsMap:
    """Returns `metrics` with `duration` (seconds) filled into every time metric."""
    return {k: m.replace_duration(duration) if is_time_metric(m) else m for k, m in metrics.items()}


def set_step_metrics_num_steps(metrics: Mapping[str, Any], num_steps: int) -> MetricsMap:
    """Returns `metrics` with `num_steps` (at least 1) filled into every per-step metric."""
    return {k: m.replace_steps(num_steps) if isinstance(m, Step) else m for k, m in metrics.items()}
