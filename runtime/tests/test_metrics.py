"""Metrics: what merging, steps and durations do to them."""

import clu.metrics as clu_metrics
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5x import metrics

NUMBERS = st.lists(st.integers(-1000, 1000), min_size=3, max_size=3)


@given(NUMBERS)
def test_merging_is_associative_and_sums(values):
    a, b, c = (metrics.AveragePerStep(steps=1, total=np.float64(value)) for value in values)
    left, right = a.merge(b).merge(c), a.merge(b.merge(c))
    assert left == right and left.steps == 3
    assert left.compute() == pytest.approx(sum(values) / 3)


def test_a_sum_takes_any_shape():
    total = metrics.Sum.from_model_output(jnp.arange(6).reshape(2, 3)).merge(metrics.Sum.from_model_output(5))
    assert int(total.compute()) == 20


def test_microbatches_do_not_shrink_a_per_step_average():
    quarters = [metrics.AveragePerStep.from_model_output(jnp.array([1.0, 2.0])) for _ in range(4)]
    merged = quarters[0].merge(quarters[1]).merge(quarters[2]).merge(quarters[3])
    assert float(merged.compute()) == 3.0  # as if four steps
    done = metrics.set_step_metrics_num_steps({"loss": merged}, 1)
    assert float(done["loss"].compute()) == 12.0  # one step of four microbatches


def test_time_metrics_ask_for_their_duration():
    for metric in (metrics.Time(), metrics.TimeRate.from_model_output(3.0), metrics.StepsPerTime.from_model_output()):
        with pytest.raises(ValueError, match="duration"):
            metric.compute()


def test_durations_and_steps_are_filled_into_the_metrics_that_want_them():
    found = {
        "seconds": metrics.Time(),
        "seqs": metrics.TimeRate.from_model_output(numerator=jnp.array([3.0, 5.0])),
        "steps": metrics.StepsPerTime.from_model_output(),
        "loss": metrics.AveragePerStep.from_model_output(jnp.array(10.0)),
        "accuracy": clu_metrics.Average.from_model_output(jnp.array([0.0, 1.0])),
    }
    done = metrics.set_step_metrics_num_steps(metrics.set_time_metrics_duration(found, 4.0), 5)
    values = {name: float(metric.compute()) for name, metric in done.items()}
    assert values == {"seconds": 4.0, "seqs": 2.0, "steps": 1.25, "loss": 2.0, "accuracy": 0.5}


def test_two_rates_with_known_durations_do_not_merge():
    done = metrics.TimeRate(duration=1.0, numerator=2.0)
    assert done.merge(metrics.TimeRate(numerator=3.0)).compute() == 5.0
    with pytest.raises(AssertionError):
        done.merge(done)
    with pytest.raises(AssertionError):
        metrics.StepsPerTime(steps=1, duration=1.0).merge(metrics.StepsPerTime(steps=1, duration=1.0))


def test_known_times_add_and_unknown_ones_leave_them():
    assert metrics.Time(duration=1.5).merge(metrics.Time(duration=2.0)).compute() == 3.5
    assert metrics.Time().merge(metrics.Time(duration=2.0)).compute() == 2.0


def test_metrics_cross_jit_with_an_unknown_duration():
    found = jax.jit(lambda: {"t": metrics.Time(), "r": metrics.TimeRate.from_model_output(jnp.float32(6.0))})()
    assert metrics.set_time_metrics_duration(found, 3.0)["r"].compute() == 2.0


def test_shapes_become_zeros_and_plain_numbers_become_metrics():
    shapes = jax.eval_shape(lambda: metrics.create_metrics_dict({"x": jnp.float32(2.0)}))
    zeros = metrics.shape_obj_to_defined_obj(shapes)
    assert float(zeros["x"].total) == 0.0
    assert metrics.is_metric_obj(zeros["x"]) and not metrics.is_time_metric(zeros["x"])
    assert metrics.is_time_metric(metrics.Time()) and not metrics.is_metric_obj(3.0)
