"""Actions: when training stops."""

import clu.values as clu_values
import pytest

from t5x import trainer


class State:
    step = 3


def runs(action, values, task="dev", metric="loss"):
    return [action.run(State(), {task: {metric: clu_values.Scalar(value)}}) for value in values]


def test_stops_after_as_many_runs_without_improvement_as_patience_says():
    action = trainer.EarlyStoppingAction(("dev", "loss"), mode="min", patience=2)
    assert runs(action, [3.0, 2.0, 2.5, 1.0, 1.5, 1.0]) == [False, False, False, False, False, True]


def test_larger_is_better_in_mode_max():
    action = trainer.EarlyStoppingAction(("dev", "accuracy"), mode="max", patience=1)
    assert runs(action, [0.1, 0.2, 0.2], metric="accuracy") == [False, False, True]


@pytest.mark.parametrize("tolerance", [{"atol": 0.1}, {"rtol": 0.1}])
def test_an_improvement_within_the_tolerance_does_not_count(tolerance):
    action = trainer.EarlyStoppingAction(("dev", "loss"), mode="min", patience=1, **tolerance)
    assert runs(action, [1.0, 0.95]) == [False, True]
    again = trainer.EarlyStoppingAction(("dev", "loss"), mode="min", patience=1, **tolerance)
    assert runs(again, [1.0, 0.85]) == [False, False]


def test_plain_numbers_serve_and_missing_metrics_do_not_stop():
    action = trainer.EarlyStoppingAction(("dev", "loss"), mode="min", patience=1)
    assert action.run(State(), {"dev": {"loss": 1.0}}) is False
    assert action.run(State(), {"dev": {}}) is False and action.run(State(), {}) is False
    assert action.run(State(), {"dev": {"loss": 1.0}}) is True


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="mode='least': use 'min' or 'max'"):
        trainer.EarlyStoppingAction(("dev", "loss"), mode="least")


@pytest.mark.parametrize("value,stops", [(1.0, False), (float("nan"), True), (float("inf"), True)])
def test_a_loss_that_is_not_finite_stops(value, stops):
    assert runs(trainer.TerminateOnNanAction("train"), [value], task="train") == [stops]
    assert trainer.TerminateOnNanAction("train").run(State(), {}) is False
