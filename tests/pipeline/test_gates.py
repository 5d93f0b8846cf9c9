"""The gates before money is spent: one vocabulary, a teacher above the floors and above the student on dev."""

import dataclasses
import json

import pytest

from distill_or_annotate.pipeline import gates
from distill_or_annotate.scenarios import Scenario, expand, expand_all

_SCENARIO = Scenario(
    name="gated",
    task="mini",
    n_labels=40,
    additional_usd=(0, 3),
    max_unlabeled=60,
    price_book="quickstart_scaled",
    teacher_gin="gin/experiments/mini_teacher.gin",
    capture_gin="gin/experiments/mini_capture.gin",
    distill_gin="gin/experiments/mini_distill.gin",
    annotate_gin="gin/experiments/mini_annotate.gin",
)


def _check(scenario, folder, monkeypatch=None, **on_dev):
    """Runs the gate; with scores given, as if they had been measured."""
    if on_dev:
        results = {
            {"finetune": "teacher", "annotate": "student"}[kind]: {
                "metric": "entity_f1",
                "score": score,
                "degenerate": {"reasons": reasons},
            }
            for kind, (score, reasons) in on_dev.items()
        }
        monkeypatch.setattr(gates, "_on_dev", lambda stage, *_: results[_ROLE[stage.kind]])
    stages = expand(scenario)
    capture = next(stage for stage in stages if stage.kind == "capture")
    gates.check_teacher(capture, scenario, stages, folder, folder)


_ROLE = {"finetune": "teacher", "annotate": "student"}


def test_the_student_on_the_teachers_labels_stands_before_the_capture():
    kinds = [(stage.kind, stage.n_labels) for stage in expand(_SCENARIO)]
    assert kinds.index(("annotate", 40)) < [kind for kind, _ in kinds].index("capture")
    assert kinds.count(("annotate", 40)) == 1


def test_in_a_study_of_several_students_the_capture_waits_for_the_first_alone():
    stages = expand_all(dataclasses.replace(_SCENARIO, student=("mini_student", "mini_teacher")))
    (capture,) = [stage for stage in stages if stage.kind == "capture"]
    assert [stage.model for stage in gates.compared_students(capture, stages)] == ["mini_student"]


def test_a_teacher_above_all_passes(tmp_path, monkeypatch):
    _check(_SCENARIO, tmp_path, monkeypatch, finetune=(60.0, []), annotate=(40.0, []))
    found = json.loads((tmp_path / "gates.json").read_text())
    assert found["shut"] == found["untried"] == [] and found["student"]["score"] == 40.0


def test_a_teacher_within_a_floor_is_refused_and_the_floor_is_named(tmp_path, monkeypatch):
    reasons = ["1.0 +- 0.9 above the floor 'lookup' (29.6)"]
    with pytest.raises(gates.GateError, match=r"is 30\.6, 1\.0 \+- 0\.9 above the floor 'lookup' \(29\.6\).*--force"):
        _check(_SCENARIO, tmp_path, monkeypatch, finetune=(30.6, reasons), annotate=(20.0, []))


@pytest.mark.parametrize("student", [60.0, 60.1])
def test_a_teacher_not_above_the_student_is_refused_with_both_scores(tmp_path, monkeypatch, student):
    with pytest.raises(
        gates.GateError, match=rf"is 60\.0, not above the {student} of the student on the same 40 labels"
    ):
        _check(_SCENARIO, tmp_path, monkeypatch, finetune=(60.0, []), annotate=(student, []))


def test_what_was_found_is_kept_and_force_passes_it_with_a_note(tmp_path, monkeypatch):
    with pytest.raises(gates.GateError):
        _check(_SCENARIO, tmp_path, monkeypatch, finetune=(1.0, ["flat"]), annotate=(0.0, []))
    monkeypatch.undo()  # a second measurement would run the real thing, and fail: nothing is trained here
    with pytest.raises(gates.GateError, match="flat"):
        _check(_SCENARIO, tmp_path)
    _check(dataclasses.replace(_SCENARIO, force=True), tmp_path)
    capture = next(stage for stage in expand(_SCENARIO) if stage.kind == "capture")
    (tmp_path / capture.name).mkdir()
    (tmp_path / "gates.json").rename(tmp_path / capture.name / "gates.json")
    told = gates.notes(expand(_SCENARIO), tmp_path)
    assert told == ["Distilled by force, past the gates: on dev its entity_f1 is 1.0, flat."]


def test_a_study_without_that_student_says_that_it_was_not_compared(tmp_path, monkeypatch):
    scenario = dataclasses.replace(_SCENARIO, additional_usd=(3,))
    _check(scenario, tmp_path, monkeypatch, finetune=(60.0, []))
    assert (
        "no student is trained on the teacher's 40 labels"
        in json.loads((tmp_path / "gates.json").read_text())["untried"][0]
    )


def _distill_gin(tmp_path, *bindings):
    path = tmp_path / "distill.gin"
    lines = ["from __gin__ import dynamic_registration", "import seqio", "from t5x.examples.t5 import network"]
    path.write_text("\n".join([*lines, "include 'gin/experiments/mini_distill.gin'", *bindings]) + "\n")
    return dataclasses.replace(_SCENARIO, distill_gin=str(path))


def test_two_sizes_of_vocabulary_are_refused_with_both(tmp_path):
    scenario = _distill_gin(tmp_path, "network.T5Config.vocab_size = 2048")
    with pytest.raises(
        gates.GateError, match=r"is 1024 for the teacher \(gin/.*teacher\.gin\) and 2048 for the student"
    ):
        gates.check_vocabulary(expand(dataclasses.replace(scenario, force=True)), tmp_path)


def test_other_pieces_of_the_same_size_are_refused(tmp_path):
    scenario = _distill_gin(tmp_path, "VOCABULARY = @seqio.ByteVocabulary()")
    with pytest.raises(gates.GateError, match="both have 1024 pieces, but not the same ones"):
        gates.check_vocabulary(expand(scenario), tmp_path)


def test_the_shipped_models_share_a_vocabulary(tmp_path):
    gates.check_vocabulary(expand(_SCENARIO), tmp_path)
    gates.check_vocabulary(expand(dataclasses.replace(_SCENARIO, strategies=("annotate",))), tmp_path)


def test_force_must_be_true_or_false():
    with pytest.raises(ValueError, match=r"Scenario\.force: received 'yes'; it must be True or False"):
        dataclasses.replace(_SCENARIO, force="yes")


def test_a_stage_that_cannot_be_configured_is_refused_before_anything_runs(tmp_path):
    stages = expand(_SCENARIO)
    gates.check_programs(stages, tmp_path)
    wrong = dataclasses.replace(_SCENARIO, macros={"distill": {"mini_pupil/network.T6Config.emb_dim": 8}})
    with pytest.raises(gates.GateError, match=r"^stage distill-\w+ \(gin/.*nothing was run: .*T6Config"):
        gates.check_programs(expand(wrong), tmp_path)
    absent = [dataclasses.replace(stage, gin_file="gin/absent.gin") for stage in stages if stage.kind == "annotate"]
    with pytest.raises(gates.GateError, match=r"absent\.gin"):
        gates.check_programs(absent, tmp_path)


def test_the_folder_of_a_compact_encoder_is_asked_for_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    compact = dataclasses.replace(
        _SCENARIO,
        strategies=("general_distill",),
        compact="distilbert",
        task="mini_cls",
        task_gin="gin/tasks/fever.gin",
        general_gin="gin/experiments/paper_distilbert_annotate.gin",
    )
    with pytest.raises(gates.GateError, match="distilbert from checkpoints/distilbert-base-uncased, and no such"):
        gates.check_programs(expand(compact), tmp_path)
    gates.check_programs([stage for stage in expand(compact) if stage.kind == "label"], tmp_path)
    (tmp_path / "elsewhere").mkdir()
    named = dataclasses.replace(compact, macros={"general_distill": {"ENCODER": "elsewhere"}})
    gates.check_programs(expand(named), tmp_path)
    (tmp_path / "checkpoints" / "distilbert-base-uncased").mkdir(parents=True)
    gates.check_programs(expand(compact), tmp_path)
