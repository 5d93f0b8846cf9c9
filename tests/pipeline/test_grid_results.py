"""Rows of a study over several seeds, N and models: each model once, with the values of the axes it stands at."""

import dataclasses
import json

import pytest

from distill_or_annotate import cli
from distill_or_annotate.pipeline import results, study
from distill_or_annotate.scenarios import expand_all, singles


@pytest.fixture
def scenario():
    return dataclasses.replace(
        study.read("smoke")[0],
        n_labels=(40, 60),
        student=("mini_student", "mini_teacher"),
        data_seed=(0, 1),
        train_seed=(0, 2),
    )


def _evaluate(stages, folder):
    """Leaves an evaluation of each model, its score the model's position among the stages."""
    by_name = {stage.name: position for position, stage in enumerate(stages)}
    for stage in stages:
        if stage.kind == "evaluate":
            (folder / stage.name).mkdir()
            found = {"metric": "entity_f1", "score": by_name[stage.depends_on[0]], "stderr": 1.0, "floors": {}}
            found |= {"degenerate": {"flagged": False}, "parts": {}, "n_examples": 500}
            (folder / stage.name / results.EVALUATION).write_text(json.dumps(found))


def test_every_cell_of_every_single_has_a_row_of_its_own_model(scenario, tmp_path):
    stages = expand_all(scenario)
    _evaluate(stages, tmp_path)
    rows = results.result_rows(scenario, stages, tmp_path)
    by_name = {stage.name: (position, stage) for position, stage in enumerate(stages)}
    # For each single: two annotated budgets, one distilled (the other is N/A), the teacher.
    assert len(rows) == len(singles(scenario)) * 4
    for row in rows:
        position, stage = by_name[row["run_ids"][0]]
        assert row["score"] == position
        assert (stage.data_seed, stage.train_seed) == (row["data_seed"], row["train_seed"])
        assert stage.kind == {"teacher": "finetune"}.get(row["strategy"], row["strategy"])
        assert stage.model == (row["teacher"] if row["strategy"] == "teacher" else row["student"])
        assert (stage.n_labels, stage.n_unlabeled) == (row["n_labels"], row["n_unlabeled"])
        assert row["initial_labels"] in (40, 60)
    keys = [
        (
            row["strategy"],
            row["additional_usd"],
            row["student"],
            row["initial_labels"],
            row["data_seed"],
            row["train_seed"],
        )
        for row in rows
    ]
    assert len(set(keys)) == len(keys)
    trained = {stage.name for stage in stages if stage.kind in ("finetune", "distill", "annotate")}
    assert {row["run_ids"][0] for row in rows} == trained, "no model without a row"


def test_cells_whose_models_are_not_there_yet_have_no_row(scenario, tmp_path):
    assert results.result_rows(scenario, expand_all(scenario), tmp_path) == []


def test_the_manifest_s_cells_name_the_axes(scenario):
    cells = results.planned_cells(scenario)
    assert len(cells) == len(singles(scenario)) * 4
    axes = {(cell["initial_labels"], cell["student"], cell["data_seed"], cell["train_seed"]) for cell in cells}
    assert len(axes) == len(singles(scenario))


def test_teachers_of_two_sizes_are_told_apart(scenario, tmp_path):
    scenario = dataclasses.replace(
        scenario,
        teacher=("mini_teacher", "mini_student"),
        student="mini_student",
        data_seed=0,
        train_seed=0,
        n_labels=40,
    )
    stages = expand_all(scenario)
    _evaluate(stages, tmp_path)
    rows = [row for row in results.result_rows(scenario, stages, tmp_path) if row["strategy"] == "distill"]
    by_name = {stage.name: stage for stage in stages}
    for row in rows:
        taught_by = {
            by_name[name].model for name in by_name[row["run_ids"][0]].depends_on if name.startswith("finetune")
        }
        assert taught_by == {row["teacher"]}
    assert len({row["score"] for row in rows}) == 2


def test_a_dry_run_over_two_seeds_prints_both(capsys):
    assert cli.main(["run", "smoke", "--set", "data_seed=(0, 1)", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("\nfinetune-") == 2 and "--gin.DATA_SEED=1" in printed


def test_labels_that_nobody_can_be_asked_for_are_refused_before_anything_is_bought(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert cli.main(["run", "figure7"]) == 2
    told = capsys.readouterr().err
    assert (
        "text-davinci-003, and it cannot be asked" in told and "OPENAI_API_KEY" in told and "Nothing was spent" in told
    )
    assert cli.main(["run", "figure7", "--set", "llm_options={'shot': 3}"]) == 2
    assert "llm_options: received shot; allowed: model, shots" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_that_has_no_gin_file_is_refused_before_anything_is_bought(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["run", "smoke", "--set", "strategies=('annotate', 'general_distill')"]
    assert cli.main(words) == 2
    assert "Scenario.general_gin: received ''; general_distill trains 'minilm'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


_SEARCH = {"annotate": {"LEARNING_RATE": (0.002, 0.005)}, "distill": {"LEARNING_RATE": (0.004, 0.008)}}


def test_a_searched_model_s_row_says_what_was_chosen(tmp_path):
    scenario = dataclasses.replace(study.read("smoke")[0], search=_SEARCH)
    stages = expand_all(scenario)
    _evaluate(stages, tmp_path)
    for stage in stages:
        if stage.kind == "select":
            (tmp_path / stage.name).mkdir()
            chosen = {"chosen": stage.depends_on[1], "macros": {"LEARNING_RATE": 0.1}}
            (tmp_path / stage.name / results.SELECTION).write_text(json.dumps(chosen))
    rows = results.result_rows(scenario, stages, tmp_path)
    assert len(rows) == 4
    for row in rows:
        assert ("search" in row) == (row["strategy"] != "teacher")
        assert row["run_ids"][0].startswith("finetune-" if row["strategy"] == "teacher" else "select-")


def test_students_of_a_teacher_and_of_themselves_are_told_apart(tmp_path):
    scenario, _ = study.read("table3", ["FORM=mini", "TASK=mini"])
    stages = expand_all(scenario, study.prices(scenario))
    _evaluate(stages, tmp_path)
    rows = {row["strategy"]: row for row in results.result_rows(scenario, stages, tmp_path, study.prices(scenario))}
    assert set(rows) == {"annotate", "self_distill", "distill", "teacher"}
    assert len({row["score"] for row in rows.values()}) == 4
    by_name = {stage.name: stage for stage in stages}
    own = by_name[rows["self_distill"]["run_ids"][0]]
    assert any(name.startswith("annotate-") for name in own.depends_on)


def test_a_compact_encoder_s_row_names_it(tmp_path):
    scenario, _ = study.read("table10", ["FORM=mini", "TASK=fever"])
    stages = expand_all(scenario, study.prices(scenario))
    _evaluate(stages, tmp_path)
    rows = results.result_rows(scenario, stages, tmp_path, study.prices(scenario))
    named = {row["strategy"]: row.get("model") for row in rows}
    assert named == {"annotate": None, "general_distill": "minilm", "distill": None, "teacher": None}
    assert {row["student"] for row in rows} == {"mini_student"}, "so that it stands in one table with the others"
