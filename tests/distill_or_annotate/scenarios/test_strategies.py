"""What the strategies beside annotating and distilling buy and train, and what a search adds."""

import dataclasses
import math

import pytest

from distill_or_annotate.prices import load_book
from distill_or_annotate.scenarios import Scenario, ScenarioError, cells, check_runnable, expand, expand_all

BOOK = load_book("paper")
_BASE = Scenario(
    name="systems",
    task="wlp",
    n_labels=1000,
    additional_usd=(0, 100, 500),
    price_book="paper",
    mode="fair",
    teacher="t5_1_1_xxl",
    student="t5_1_1_small",
    teacher_gin="teacher.gin",
    capture_gin="capture.gin",
    distill_gin="distill.gin",
    annotate_gin="annotate.gin",
    teacher_macros={"t5_1_1_small": {"capture": {"MODEL": "small"}, "distill": {"TEACHER_MODEL": "small"}}},
)
_SEARCH = {"annotate": {"LEARNING_RATE": (0.001, 0.003), "EPOCHS": (20, 50)}, "distill": {"LEARNING_RATE": (0.1, 0.2)}}


def _scenario(**changes):
    return dataclasses.replace(_BASE, **changes)


def _kinds(stages, kind):
    return [stage for stage in stages if stage.kind == kind]


def _pools(**changes):
    return _scenario(additional_usd=(), n_unlabeled=(0, 4000), **changes)


def test_a_student_teaches_itself_through_a_capture_of_its_own():
    stages = expand(_pools(strategies=("annotate", "self_distill", "distill")), BOOK)
    (student,), (teacher,) = _kinds(stages, "annotate"), _kinds(stages, "finetune")
    taught, own = _kinds(stages, "capture")
    assert taught.depends_on == (teacher.name,) and own.depends_on == (student.name,)
    assert own.macros == {"MODEL": "small"} and taught.macros == {} and own.model == "t5_1_1_small"
    of_teacher, of_itself = _kinds(stages, "distill")
    assert {teacher.name, taught.name} <= set(of_teacher.depends_on)
    assert {student.name, own.name} <= set(of_itself.depends_on)
    assert of_itself.macros == {"TEACHER_MODEL": "small"} and of_itself.n_unlabeled == of_teacher.n_unlabeled == 4000
    (charge,) = of_itself.charges
    assert student.charges == () and charge.usd < of_teacher.charges[0].usd / 30, "its own fine-tuning is free"


def test_without_a_baseline_the_student_that_teaches_is_trained_and_scored_all_the_same():
    stages = expand(_pools(strategies=("self_distill",)), BOOK)
    kinds = ["label", "annotate", "evaluate", "capture", "distill", "evaluate"]
    assert [stage.kind for stage in stages] == kinds


def test_a_student_whose_network_the_capture_does_not_know_is_refused():
    with pytest.raises(ScenarioError, match=r"teacher_macros: received none for 't5_1_1_small'.*'capture'"):
        expand(_pools(strategies=("self_distill",), teacher_macros={}), BOOK)
    expand(_pools(strategies=("self_distill",), teacher_macros={}, teacher="t5_1_1_small"), BOOK)


def test_language_model_labels_are_one_purchase_for_both_kinds_of_student():
    both = ("llm_annotate", "human_llm_annotate")
    stages = expand(_scenario(strategies=both, additional_usd=(200,)), BOOK)
    (bought,) = _kinds(stages, "llm_label")
    alone, human = (_kinds(stages, kind)[0] for kind in both)
    assert bought.name in alone.depends_on and bought.name in human.depends_on
    assert (alone.n_labels, alone.n_unlabeled) == (human.n_labels, human.n_unlabeled) == (1000, 4347)
    assert alone.gin_file == "annotate.gin" and alone.overlay_gin == "gin/runs/llm_labels.gin"
    assert set(bought.serves) == {(kind, 200.0) for kind in both}
    asked = expand(_scenario(strategies=both, additional_usd=(200,), llm_options={"shots": 8}), BOOK)
    assert _kinds(asked, "llm_label")[0].name != bought.name, "other prompts, other labels"


def test_a_compact_encoder_is_annotated_with_its_own_file_and_can_be_priced_without_it():
    scenario = _scenario(strategies=("annotate", "general_distill"), general_gin="encoder.gin", compact="minilm")
    stages = expand(scenario, BOOK)
    found = [(stage.model, stage.gin_file, stage.n_labels) for stage in _kinds(stages, "general_distill")]
    counts = [stage.n_labels for stage in _kinds(stages, "annotate")]
    assert found == [("minilm", "encoder.gin", count) for count in counts]
    check_runnable(scenario)
    planned = dataclasses.replace(scenario, general_gin="")
    assert len(_kinds(expand(planned, BOOK), "general_distill")) == 3
    with pytest.raises(ScenarioError, match=r"general_gin: received ''.*strategies=\('annotate',\)"):
        check_runnable(planned)


def test_a_searched_model_is_selected_among_one_for_each_combination():
    stages = expand(_scenario(strategies=("annotate",), additional_usd=(0,), search=_SEARCH), BOOK)
    candidates, (chosen,) = _kinds(stages, "annotate"), _kinds(stages, "select")
    assert chosen.depends_on == tuple(stage.name for stage in candidates) and chosen.trains_as == "annotate"
    assert [(stage.macros["LEARNING_RATE"], stage.macros["EPOCHS"]) for stage in candidates] == [
        (0.001, 20),
        (0.001, 50),
        (0.003, 20),
        (0.003, 50),
    ]
    assert {stage.macros["EVAL_SPLIT"] for stage in candidates} == {"validation"}, "test is for the chosen one"
    assert [stage.depends_on for stage in _kinds(stages, "evaluate")] == [(chosen.name,)]


def test_a_student_s_own_search_stands_in_place_of_the_other():
    students = ("t5_1_1_small", "encoder")
    own = {"encoder": {"annotate": {"LEARNING_RATE": (1e-4, 2e-4, 3e-4)}}}
    scenario = _scenario(
        strategies=("annotate", "distill"),
        additional_usd=(0, 500),
        student=students,
        search=_SEARCH,
        student_search=own,
    )
    found = {
        (stage.model, kind): len(stage.depends_on)
        for stage in expand_all(scenario, BOOK)
        for kind in (stage.trains_as,)
        if stage.kind == "select"
    }
    small = {("t5_1_1_small", "annotate"): 4, ("t5_1_1_small", "distill"): 2}
    assert found == small | {("encoder", "annotate"): 3}
    with pytest.raises(ScenarioError, match=r"student_search\['encoder'\]: received 'anotate'"):
        _scenario(student_search={"encoder": {"anotate": {"EPOCHS": (1,)}}})


def test_without_a_search_nothing_changes_its_name():
    assert [stage.name for stage in expand(_BASE, BOOK)] == [stage.name for stage in expand(_scenario(search={}), BOOK)]


def _totals(**fields):
    """Dollars that the stages owe, without and with a search of four candidates on labels and two of a teacher."""
    return [
        math.fsum(charge.usd for stage in expand(_scenario(search=search, **fields), BOOK) for charge in stage.charges)
        for search in ({}, _SEARCH)
    ]


def test_candidates_share_the_price_of_one_where_the_paper_counts_no_training():
    fields = {"additional_usd": (500,), "mode": "paper"}
    distilled = _kinds(expand(_scenario(search=_SEARCH, **fields), BOOK), "distill")
    assert [stage.part for stage in distilled] == [0.5, 0.5]
    plain, searched = _totals(**fields)
    assert searched == pytest.approx(plain)
    assert all(cell.on_top_usd == 0 for cell in cells(_scenario(search=_SEARCH, **fields), BOOK))


def test_where_time_is_measured_candidates_share_the_time_that_was_bought():
    measured = _scenario(additional_usd=(500,), search=_SEARCH, mesh="a100-8")
    stages = expand(measured, BOOK)
    assert [stage.part for stage in _kinds(stages, "distill")] == [0.5, 0.5]
    assert all(not stage.charges for stage in _kinds(stages, "annotate")), "a charge would end their training"


def test_each_candidate_beyond_the_first_is_owed_where_training_is_not_free():
    plain, searched = _totals(additional_usd=(500,))
    found = [
        {cell.strategy: cell for cell in cells(_scenario(additional_usd=(500,), search=search), BOOK)}
        for search in ({}, _SEARCH)
    ]
    annotated = [each["annotate"].on_top_usd for each in found]
    assert annotated[1] == pytest.approx(4 * annotated[0], rel=1e-3) and annotated[0] > 0
    distilled = found[1]["distill"]
    rate = (distilled.spent_usd - found[0]["distill"].initial_usd) / (distilled.n_unlabeled / 1000)
    assert 0 < distilled.on_top_usd < rate * distilled.n_unlabeled / 1000
    # What the table counts on top of a budget is what the ledger will hold: a plain student's training is in neither.
    again = annotated[1] - annotated[0] + distilled.on_top_usd
    assert searched - plain == pytest.approx(again, abs=1e-3)


def test_a_searched_student_teaches_itself_and_the_models_of_language_model_labels_are_searched_too():
    stages = expand(_pools(strategies=("self_distill",), search=_SEARCH), BOOK)
    (own,) = _kinds(stages, "capture")
    assert own.depends_on[0].startswith("select-")
    stages = expand(_scenario(strategies=("llm_annotate",), additional_usd=(200,), search=_SEARCH), BOOK)
    assert len(_kinds(stages, "llm_annotate")) == 4 and _kinds(stages, "select")[0].trains_as == "llm_annotate"


def test_every_stage_of_a_searched_grid_stands_after_those_it_needs():
    strategies = ("annotate", "distill", "self_distill", "llm_annotate", "general_distill")
    scenario = _scenario(strategies=strategies, search=_SEARCH, general_gin="encoder.gin", data_seed=(0, 1))
    seen = set()
    for stage in expand_all(scenario, BOOK):
        assert set(stage.depends_on) <= seen
        seen.add(stage.name)


@pytest.mark.parametrize(
    ("search", "told"),
    [
        ({"anotate": {"EPOCHS": (1,)}}, "did you mean 'annotate'"),
        ({"annotate": {"EPOCHS": 3}}, r"search\['annotate'\]\['EPOCHS'\]: received 3; it must be a tuple"),
        ({"annotate": {"EPOCHS": ()}}, "a tuple of values"),
        ({"annotate": {"EPOCHS": ([1],)}}, "must be a text, a number"),
    ],
)
def test_a_search_that_means_nothing_is_refused(search, told):
    with pytest.raises(ScenarioError, match=told):
        _scenario(search=search)
