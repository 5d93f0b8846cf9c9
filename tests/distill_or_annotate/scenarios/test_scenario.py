"""A scenario refuses what it can't run, and says which field, which value, and what is allowed."""

import dataclasses

import pytest

from distill_or_annotate.scenarios import Scenario, ScenarioError

GOOD = {"name": "quickstart", "task": "mini", "n_labels": 300, "additional_usd": (0, 12.0)}


def test_gin_lists_become_tuples():
    scenario = Scenario(**{**GOOD, "additional_usd": [0, 12.0], "strategies": ["distill"]})
    assert (scenario.additional_usd, scenario.strategies) == ((0, 12.0), ("distill",))


def test_a_scenario_can_not_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Scenario(**GOOD).n_labels = 5


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", "Quick start", "Scenario.name: received 'Quick start'"),
        ("task", "", "base task"),
        ("task_module", "my-tasks.reviews", "Scenario.task_module: received 'my-tasks.reviews'; .* dotted name"),
        ("paper_task", None, "Scenario.paper_task: received None"),
        ("mesh", "v5e", "Scenario.mesh: received 'v5e'; .* such as 'v5e-8'"),
        ("mode", "papr", "did you mean 'paper'.*allowed: paper, fair"),
        ("strategies", ("anotate",), "did you mean 'annotate'"),
        ("strategies", "distill", "a tuple"),
        ("strategies", (), "at least one"),
        ("additional_usd", 12.0, "a tuple"),
        ("additional_usd", (3.0, 3.0), "none of them twice"),
        ("additional_usd", (-1.0,), r"received \(-1.0,\).*at least 0"),
        ("additional_usd", (float("nan"),), "finite"),
        ("n_labels", 0, "received 0; it must be a whole number, at least 1"),
        ("n_labels", 2.5, "whole number"),
        ("n_labels", True, "whole number"),
        ("data_seed", -1, "data_seed"),
        ("train_seed", "0", "train_seed"),
        ("max_unlabeled", 0, "max_unlabeled"),
        ("max_labels", 299, "at least 300"),
        ("notes", "one sentence", "a tuple of sentences"),
        ("macros", {"distil": {}}, "did you mean 'distill'"),
        ("macros", {"distill": {"STEPS": [1]}}, "STEPS.*received"),
    ],
)
def test_what_can_not_run_is_refused(field, value, message):
    with pytest.raises(ScenarioError, match=message):
        Scenario(**{**GOOD, field: value})


def test_gin_files_are_found_by_stage_kind():
    scenario = Scenario(**GOOD, teacher_gin="t.gin", distill_gin="d.gin")
    assert [scenario.gin_file(kind) for kind in ("finetune", "distill", "label")] == ["t.gin", "d.gin", ""]
