"""A scenario over several values of an axis is a grid of scenarios that share what is equal."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.prices import load_book
from distill_or_annotate.scenarios import (
    AXES,
    Scenario,
    ScenarioError,
    all_cells,
    cells,
    expand,
    expand_all,
    model_sizes,
    singles,
)

BOOK = load_book("paper")
_BASE = Scenario(
    name="grid",
    task="wlp",
    n_labels=1000,
    additional_usd=(0, 100, 500),
    price_book="paper",
    mode="paper",
    teacher="t5_1_1_xxl",
    student="t5_1_1_small",
    teacher_gin="teacher.gin",
    capture_gin="capture.gin",
    distill_gin="distill.gin",
    annotate_gin="annotate.gin",
)


def _scenario(**changes):
    return dataclasses.replace(_BASE, **changes)


def _kinds(stages, kind):
    return [stage for stage in stages if stage.kind == kind]


def test_a_scenario_with_one_value_per_axis_is_its_own_grid():
    assert singles(_BASE) == [_BASE] and expand_all(_BASE, BOOK) == expand(_BASE, BOOK)
    assert _scenario(n_labels=(1000,), data_seed=[0]) == _BASE


def test_the_grid_holds_every_combination_in_a_fixed_order():
    grid = singles(_scenario(n_labels=(1000, 100), data_seed=(0, 1), train_seed=(3, 2)))
    found = [(single.n_labels, single.data_seed, single.train_seed) for single in grid]
    assert found == [(n, data, train) for n in (1000, 100) for data in (0, 1) for train in (3, 2)]


_values = {
    "n_labels": st.lists(st.sampled_from([100, 500, 1000, 5000]), min_size=1, max_size=3, unique=True),
    "student": st.lists(st.sampled_from(["t5_1_1_small", "t5_1_1_base"]), min_size=1, max_size=2, unique=True),
    "teacher": st.lists(st.sampled_from(["t5_1_1_xxl", "t5_1_1_xl"]), min_size=1, max_size=2, unique=True),
    "data_seed": st.lists(st.integers(0, 3), min_size=1, max_size=2, unique=True),
    "train_seed": st.lists(st.integers(0, 3), min_size=1, max_size=2, unique=True),
}


@settings(deadline=None, max_examples=40)
@given(st.fixed_dictionaries(_values))
def test_the_grid_s_stages_are_those_of_its_singles_each_once_and_sorted(values):
    scenario = _scenario(**{axis: tuple(value) for axis, value in values.items()})
    stages = expand_all(scenario, BOOK)
    names = [stage.name for stage in stages]
    assert len(set(names)) == len(names)
    for position, stage in enumerate(stages):
        assert set(stage.depends_on) <= set(names[:position])
    wanted = {stage.name for single in singles(scenario) for stage in expand(single, BOOK) if stage.kind != "capture"}
    assert {stage.name for stage in stages if stage.kind != "capture"} == wanted
    assert len(_kinds(stages, "capture")) == len(_kinds(stages, "finetune"))


def test_a_teacher_s_captures_of_several_pools_are_one_that_holds_the_largest():
    scenario = _scenario(student=("t5_1_1_small", "t5_1_1_large"), additional_usd=(500,))
    stages = expand_all(scenario, BOOK)
    (capture,) = _kinds(stages, "capture")
    distilled = _kinds(stages, "distill")
    counts = {stage.model: stage.n_unlabeled for stage in distilled}
    assert counts["t5_1_1_large"] < counts["t5_1_1_small"] == capture.n_unlabeled
    assert all(capture.name in stage.depends_on for stage in distilled)
    assert len(_kinds(stages, "finetune")) == 1


def test_seeds_of_training_share_the_labels_and_seeds_of_the_data_do_not():
    by_train_seed = expand_all(_scenario(train_seed=(0, 1)), BOOK)
    by_data_seed = expand_all(_scenario(data_seed=(0, 1)), BOOK)
    assert len(_kinds(by_train_seed, "label")) == len(_kinds(expand(_BASE, BOOK), "label"))
    assert len(_kinds(by_data_seed, "label")) == 2 * len(_kinds(expand(_BASE, BOOK), "label"))
    assert len(_kinds(by_train_seed, "finetune")) == len(_kinds(by_data_seed, "finetune")) == 2


def test_labels_of_several_n_are_the_first_of_one_shuffle_and_paid_for_once():
    stages = _kinds(expand_all(_scenario(n_labels=(1000, 5000), data_seed=(0, 1)), BOOK), "label")
    assert sum(stage.n_new_labels for stage in stages) == 2 * (5000 + 1923)
    assert all(stage.n_new_labels <= stage.n_labels for stage in stages)


def test_a_larger_grid_keeps_the_stages_of_a_smaller_one():
    small = {stage.name for stage in expand_all(_scenario(n_labels=(1000,)), BOOK)}
    large = {stage.name for stage in expand_all(_scenario(n_labels=(1000, 5000), train_seed=(0, 1)), BOOK)}
    assert small <= large


def test_of_a_total_budget_the_labels_at_hand_leave_the_rest():
    scenario = _scenario(n_labels=(100, 5000, 10_000), additional_usd=(), total_usd=(1800,))
    found = {(single.n_labels, cell.strategy): cell for single, cell in all_cells(scenario, BOOK)}
    assert found[100, "distill"].additional_usd == 1774 and found[5000, "distill"].additional_usd == 500
    assert {found[n, "annotate"].n_labels for n in (100, 5000)} == {6923}, "all dollars in labels, whatever N was"
    reason = found[10_000, "distill"].reason
    assert not found[10_000, "distill"].affordable and "cost $800.00 more than the total budget" in reason
    stages = expand_all(scenario, BOOK)
    assert len(_kinds(stages, "annotate")) == 1
    assert {stage.n_labels for stage in _kinds(stages, "finetune")} == {100, 5000}


@settings(deadline=None, max_examples=60)
@given(
    total=st.integers(0, 400_000),
    n_labels=st.lists(st.integers(1, 12_000), min_size=1, max_size=4, unique=True),
    student=st.sampled_from(["t5_1_1_small", "t5_1_1_large"]),
)
def test_no_cell_of_a_total_budget_spends_more(total, n_labels, student):
    scenario = _scenario(n_labels=tuple(n_labels), additional_usd=(), total_usd=(total / 100,), student=student)
    for single, cell in all_cells(scenario, BOOK):
        assert cell.affordable == (not cell.reason)
        # Budgets are cents; what the labels at hand leave is rounded to one.
        assert cell.spent_usd <= total / 100 + 0.006
        if single.n_labels * 0.26 > total / 100 + 0.005:
            assert not cell.affordable


def test_the_dollars_of_a_pool_follow_from_the_price_book():
    scenario = _scenario(n_labels=(1000, 5000), additional_usd=(), n_unlabeled=(0, 10_000, 100_000))
    found = [
        (single.n_labels, cell.strategy, cell.n_unlabeled, cell.additional_usd)
        for single, cell in all_cells(scenario, BOOK)
    ]
    assert found == [
        (1000, "annotate", 0, 0.0),
        (1000, "distill", 10_000, pytest.approx(15 + 43.5)),
        (1000, "distill", 100_000, pytest.approx(15 + 435)),
        (5000, "annotate", 0, 0.0),
        (5000, "distill", 10_000, pytest.approx(67.5 + 43.5)),
        (5000, "distill", 100_000, pytest.approx(67.5 + 435)),
    ]


def test_a_pool_that_is_not_there_is_cut_and_said_so():
    scenario = _scenario(
        additional_usd=(), n_unlabeled=(10_000, 100_000), max_unlabeled=20_000, strategies=("distill",)
    )
    assert [(cell.n_unlabeled, cell.capped_by_pool) for cell in cells(scenario, BOOK)] == [
        (10_000, False),
        (20_000, True),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"additional_usd": ()},
        {"total_usd": (5,)},
        {"n_unlabeled": (0,)},
        {"additional_usd": (), "total_usd": (1,), "n_unlabeled": (1,)},
    ],
)
def test_exactly_one_kind_of_budget_is_given(changes):
    with pytest.raises(ScenarioError, match="exactly one of additional_usd, total_usd, n_unlabeled"):
        _scenario(**changes)


@pytest.mark.parametrize("axis", AXES)
def test_an_axis_refuses_repeats_and_wrong_values(axis):
    good = _BASE.values(axis)[0]
    with pytest.raises(ScenarioError, match=f"Scenario.{axis}: received .*none of them twice"):
        _scenario(**{axis: (good, good)})
    with pytest.raises(ScenarioError, match=f"Scenario.{axis}: received .*a tuple"):
        _scenario(**{axis: (good, None)})


def test_larger_models_cost_what_the_formula_says_and_are_marked_estimated():
    priced = model_sizes.finetune_cost(BOOK, "wlp", 5000, "t5_1_1_xxl")
    xl = model_sizes.finetune_cost(BOOK, "wlp", 5000, "t5_1_1_xl")
    assert (priced.usd, priced.provenance) == (67.5, "published")
    # A quarter of the parameters; at equal lengths, a little more than a quarter of the operations.
    assert 0.25 < xl.usd / priced.usd < 0.28 and xl.provenance == "estimated"
    rates = [
        model_sizes.distill_cost_per_1k(BOOK, "wlp", 5000, "t5_1_1_xxl", f"t5_1_1_{size}").usd
        for size in ("small", "base", "large")
    ]
    assert rates[0] == 4.35 < rates[1] < rates[2] < 2 * 4.35
    assert model_sizes.distill_cost_per_1k(BOOK, "wlp", 5000, "my_teacher", "my_student").usd == 4.35


def test_macros_of_a_model_reach_its_own_stages_alone():
    scenario = _scenario(
        teacher=("t5_1_1_xxl", "t5_1_1_xl"),
        teacher_macros={"t5_1_1_xl": {"finetune": {"MODEL": "xl"}, "distill": {"TEACHER_MODEL": "xl"}}},
        macros={"finetune": {"STEPS": 3}},
        additional_usd=(500,),
    )
    found = {
        (stage.kind, stage.model): stage.macros for stage in expand_all(scenario, BOOK) if stage.kind == "finetune"
    }
    assert found == {("finetune", "t5_1_1_xxl"): {"STEPS": 3}, ("finetune", "t5_1_1_xl"): {"MODEL": "xl", "STEPS": 3}}
    distilled = _kinds(expand_all(scenario, BOOK), "distill")
    assert sorted(len(stage.macros) for stage in distilled) == [0, 1]


def test_language_model_labels_are_bought_at_the_paper_s_price_and_none_where_it_has_none():
    strategies = ("llm_annotate", "human_llm_annotate")
    found = cells(_scenario(strategies=strategies, additional_usd=(200,)), BOOK)
    assert [(cell.strategy, cell.n_llm_labels) for cell in found] == [(name, 4347) for name in strategies]
    stages = expand(_scenario(strategies=strategies, additional_usd=(200,)), BOOK)
    (bought,) = _kinds(stages, "llm_label")
    (charge,) = bought.charges
    assert (charge.kind, charge.quantity * charge.unit_price_usd) == ("api", pytest.approx(4347 * 0.046))
    (cell,) = cells(_scenario(task="fever", strategies=("llm_annotate",), additional_usd=(200,)), BOOK)
    assert cell.reason.startswith("the paper counts no tokens of a language-model label of task fever; bind")
    (cell,) = cells(_scenario(llm="gpt-9", strategies=("llm_annotate",), additional_usd=(200,)), BOOK)
    assert "prices no labels by gpt-9; Scenario.llm may be text-davinci-003" in cell.reason


def test_a_budget_buys_language_model_labels_by_the_tokens_that_the_study_names():
    """A model or a prompt that is not the paper's costs something else; its tokens make any task affordable."""
    for task in ("wlp", "fever"):
        named = _scenario(
            task=task, strategies=("llm_annotate",), additional_usd=(200,), llm_options={"tokens_per_label": (700, 50)}
        )
        (cell,) = cells(named, BOOK)
        (charge,) = _kinds(expand(named, BOOK), "llm_label")[0].charges
        assert charge.unit_price_usd == pytest.approx(750 * 0.02 / 1000)
        assert (cell.n_llm_labels, cell.provenance) == (int(200 / charge.unit_price_usd), "estimated")


@pytest.mark.parametrize("tokens", [700, (700,), (700, -1), (0, 0), (1.5, 2)])
def test_tokens_of_a_label_that_are_none_are_refused(tokens):
    with pytest.raises(ScenarioError, match=r"llm_options.*tokens of a request, tokens of its answer"):
        _scenario(llm_options={"tokens_per_label": tokens})


def test_a_student_that_teaches_itself_pays_for_no_teacher():
    scenario = _scenario(strategies=("self_distill", "distill"), additional_usd=(), n_unlabeled=(100_000,))
    own, taught = cells(scenario, BOOK)
    assert own.additional_usd < taught.additional_usd / 30 and own.provenance == "estimated"


def test_the_teacher_alone_is_trained_and_scored_once():
    stages = expand(_scenario(strategies=("teacher",), additional_usd=(), n_unlabeled=(0,)), BOOK)
    assert [stage.kind for stage in stages] == ["label", "finetune", "evaluate"]
