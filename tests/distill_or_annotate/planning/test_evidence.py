"""Evidence of several models: sizes that are counted are one family of curves, others are not mixed."""

import json

import pytest

from distill_or_annotate.planning import command
from distill_or_annotate.planning.outcomes import PlanningError


def _row(strategy, student, score, teacher="minilm", n_labels=100):
    return {
        "task": "t", "strategy": strategy, "mode": "fair", "n_labels": n_labels, "metric": "accuracy", "score": score,
        "student": student, "teacher": teacher, "n_unlabeled": 1000, "additional_usd": 0.0, "total_usd": 1.0,
        "initial_usd": 1.0, "run_ids": [f"{strategy}-{student}-{score}"],
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A run with two students of unknown size."""
    rows = [_row("teacher", "mini_student", 80.0)]
    rows += [_row(kind, student, score + place) for place, student in enumerate(("mini_student", "minilm_2"))
             for kind, score in (("annotate", 60.0), ("distill", 70.0))]  # fmt: skip
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return tmp_path


def test_students_of_unknown_size_are_not_mixed(folder):
    with pytest.raises(PlanningError, match=r"student: .* mix mini_student and minilm_2, .*Fix: --students with one"):
        command.evidence_of([folder], "t")


def test_one_of_them_may_be_named(folder):
    found = command.evidence_of([folder], "t", {"teacher": ("",), "student": ("minilm_2",)})
    scores = {(each.strategy, each.score) for each in found.outcomes}
    assert scores == {("teacher", 80.0), ("annotate", 61.0), ("distill", 71.0)}


def test_the_command_takes_a_model_of_the_results(folder, capsys):
    from distill_or_annotate.cli import main

    words = ["plan", "--task", "t", "--label-usd", "0.2", "--budget-usd", "60", "--results", str(folder)]
    assert main([*words, "--students", "minilm_2"]) == 0
    assert "3 models of this task" in capsys.readouterr().out
    assert main(words) == 2
    assert main([*words, "--students", "minilm_9"]) == 2
    assert "did you mean minilm_2?" in capsys.readouterr().err


def test_a_pilot_of_one_model_is_kept_beside_other_results(folder, tmp_path, capsys):
    from distill_or_annotate.cli import main

    pilot = tmp_path / "pilot"
    pilot.mkdir()
    row = json.dumps(_row("distill", "minilm_2", 99.5, n_labels=200))
    (pilot / "results.jsonl").write_text(row + "\n", encoding="utf-8")
    words = ["plan", "--task", "t", "--label-usd", "0.2", "--budget-usd", "20", "--students", "minilm_2"]
    assert main([*words, "--results", str(folder), "--pilot", str(pilot)]) == 0
    assert "Keep the student on 200 labels, 1,000 distilled" in capsys.readouterr().out
