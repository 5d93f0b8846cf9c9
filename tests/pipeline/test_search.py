"""A search on dev: the best candidate is the model, of equal ones the first; test is decoded for it alone."""

import dataclasses
import json

import pytest

from distill_or_annotate.pipeline import billing, evaluation, gates, programs, results, study, work
from distill_or_annotate.pipeline.deadline import Deadline
from distill_or_annotate.prices import load_book
from distill_or_annotate.scenarios import expand_all

_SEARCH = {"annotate": {"LEARNING_RATE": (0.001, 0.002, 0.003)}, "distill": {"LEARNING_RATE": (0.004, 0.008)}}


@pytest.fixture
def scenario():
    return dataclasses.replace(study.read("smoke")[0], search=_SEARCH)


@pytest.fixture
def selected(scenario, tmp_path, monkeypatch):
    """Selects among candidates of given scores on dev; returns what was written, and the programs that were run."""
    stages = expand_all(scenario)
    stage = next(stage for stage in stages if stage.kind == "select")
    for name in stage.depends_on:
        (tmp_path / name / "model" / "checkpoint_6").mkdir(parents=True)
    (tmp_path / stage.name).mkdir()

    def select(*scores):
        ran, by_folder = [], dict(zip((tmp_path / name for name in stage.depends_on), scores, strict=True))

        def evaluate(folder, task, labels, seed=0, split="test", mode="fair"):
            assert split == "validation", "nothing is decided on test"
            found = {"metric": "entity_f1", "score": by_folder[folder], "stderr": 1.0, "floors": {}, "n_examples": 9}
            return found | {"degenerate": {"reasons": []}}

        monkeypatch.setattr(evaluation, "evaluate", evaluate)
        monkeypatch.setattr(work, "_run", lambda stage, program, *_: ran.append(program))
        work.do(stage, scenario, stages, tmp_path, lambda *_: None, Deadline(float("inf")))
        return stage, json.loads((tmp_path / stage.name / results.SELECTION).read_text()), ran

    return select


@pytest.mark.parametrize(("scores", "best"), [((1.0, 3.0, 2.0), 1), ((2.0, 5.0, 5.0), 1), ((4.0, 4.0, 4.0), 0)])
def test_the_best_on_dev_is_chosen_and_of_equal_ones_the_first(selected, scores, best):
    stage, found, _ = selected(*scores)
    assert found["chosen"] == stage.depends_on[best]
    assert found["macros"]["LEARNING_RATE"] == _SEARCH["annotate"]["LEARNING_RATE"][best]
    assert [each["score"] for each in found["candidates"]] == list(scores) and found["on_dev"]["score"] == scores[best]


def test_test_is_decoded_with_the_chosen_one_s_last_checkpoint_and_no_step(selected, tmp_path):
    stage, found, (program,) = selected(1.0, 3.0, 2.0)
    folder = tmp_path / stage.name / "model"
    assert program.macros["MODEL_DIR"] == str(folder) and program.macros["TRAIN_STEPS"] == 6
    assert "EVAL_SPLIT" not in program.macros and program.macros["train.run_eval_before_training"] is True
    link = folder / "checkpoint_6"
    assert link.is_symlink() and not link.readlink().is_absolute(), "a store may be moved"
    assert link.resolve() == (tmp_path / found["chosen"] / "model" / "checkpoint_6").resolve()
    assert programs.last_step(tmp_path / stage.name) == 6, "what reads the selection's model finds it"


def test_the_gate_compares_the_teacher_with_the_selected_student(scenario, selected, tmp_path):
    stages = expand_all(scenario)
    capture = next(stage for stage in stages if stage.kind == "capture")
    (student,) = gates.compared_students(capture, stages)
    assert student.kind == "select" and student.trains_as == "annotate"
    _, found, _ = selected(1.0, 3.0, 2.0)
    assert gates._on_dev(student, tmp_path, tmp_path / "unused") == found["on_dev"]
    assert not (tmp_path / "unused").exists(), "it was scored on dev when it was chosen"


def test_candidates_of_a_distillation_share_its_time_and_its_part_of_the_capture(scenario):
    book = study.prices(scenario)
    bills = billing.Billing(book, load_book("cloud").entry("device_hour/v5e"), 8)
    seconds = {}
    for search in ({}, _SEARCH):
        stages = expand_all(dataclasses.replace(scenario, search=search, mesh="v5e-8"), book)
        by_name = {stage.name: stage for stage in stages}
        capture = next(stage.name for stage in stages if stage.kind == "capture")
        found = [stage for stage in stages if stage.kind == "distill"]
        seconds[len(found)] = [bills.budget_seconds(stage, by_name, {capture: 1e-3}) for stage in found]
    assert len(seconds[2]) == 2 and sum(seconds[2]) == pytest.approx(seconds[1][0])


def test_an_encoder_is_refused_for_a_task_without_label_words(scenario):
    encoder = dataclasses.replace(scenario, strategies=("annotate", "general_distill"))
    with pytest.raises(gates.GateError, match=r"chooses a label word.*strategies=\('annotate',\)"):
        gates.check_encoders(encoder, ("Action", "Reagent"), "entity_f1")
    gates.check_encoders(encoder, ("YES", "NO"), "accuracy")
    gates.check_encoders(scenario, ("Action",), "entity_f1")


def test_a_search_on_the_rows_that_are_scored_is_refused_and_a_gate_on_them_is_told(scenario):
    apart = {"mini/train": "a", "mini/validation": "b", "mini/test": "c", "mini settings": "d"}
    assert gates.check_dev(scenario, apart) == ""
    same = apart | {"mini/validation": "c"}
    with pytest.raises(gates.GateError, match=r"dev and test of mini are the same rows.*SEARCH=off"):
        gates.check_dev(scenario, same)
    assert "decided on test" in gates.check_dev(dataclasses.replace(scenario, search={}), same)
    assert gates.check_dev(dataclasses.replace(scenario, search={}), {"mini/train": "a"}) == ""
