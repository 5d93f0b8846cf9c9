"""A study becomes cells and stages: everything needed, each thing once, named by what determines it."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate import scenarios
from distill_or_annotate.costs import cost_cell
from distill_or_annotate.ledger import Ledger
from distill_or_annotate.prices import PriceBookError, default_path, load_book
from distill_or_annotate.scenarios import Scenario, ScenarioError

# The shipped book's scale follows the quickstart; the numbers worked out here are for this one.
BOOK = dataclasses.replace(load_book("quickstart_scaled"), scale=0.06)


def _book(scenario):
    return BOOK if scenario.price_book == BOOK.name else None


def cells(scenario):
    return scenarios.cells(scenario, _book(scenario))


def teacher_cell(scenario):
    return scenarios.teacher_cell(scenario, _book(scenario))


def expand(scenario, **arguments):
    return scenarios.expand(scenario, _book(scenario), **arguments)


def _scenario(**changes):
    fields = {
        "name": "quickstart",
        "task": "mini",
        "n_labels": 300,
        "additional_usd": (0, 3, 12, 21.5),
        "price_book": "quickstart_scaled",
        "max_unlabeled": 20_000,
        "teacher_gin": "teacher.gin",
        "capture_gin": "capture.gin",
        "distill_gin": "distill.gin",
        "annotate_gin": "annotate.gin",
    }
    return Scenario(**{**fields, **changes})


def _by_kind(stages, kind):
    return [stage for stage in stages if stage.kind == kind]


def _names(scenario, kind):
    return {stage.name for stage in _by_kind(expand(scenario), kind)}


def test_cells_buy_what_the_cost_model_says():
    for cell in cells(_scenario()):
        cost = cost_cell(BOOK, "mini", 300, cell.additional_usd)
        if cell.strategy == "annotate":
            assert (cell.n_labels, cell.n_unlabeled) == (300 + cost.extra_labels, 0)
        else:
            assert (cell.n_labels, cell.n_unlabeled, cell.reason) == (300, cost.n_unlabeled, cost.reason)
        assert cell.total_usd == pytest.approx(300 * 0.26 + cell.additional_usd)


def test_what_is_not_affordable_has_a_reason_and_no_stage():
    scenario = _scenario(strategies=("distill",), additional_usd=(0, 3))
    assert [(cell.affordable, bool(cell.reason)) for cell in cells(scenario)] == [(False, True), (False, True)]
    assert [stage.kind for stage in expand(scenario)] == ["label"]


@settings(deadline=None)
@given(budgets=st.lists(st.integers(0, 20_000), min_size=1, max_size=6, unique=True), pool=st.integers(1, 9000))
def test_no_cell_spends_more_than_its_budget(budgets, pool):
    scenario = _scenario(additional_usd=tuple(n / 100 for n in budgets), max_unlabeled=pool)
    for cell in cells(scenario):
        assert cell.initial_usd <= cell.spent_usd <= cell.total_usd + 1e-6
        assert cell.affordable == (not cell.reason)


def test_the_end_of_the_pool_is_stated():
    capped = {cell.additional_usd: cell for cell in cells(_scenario(max_unlabeled=3000)) if cell.strategy == "distill"}
    assert (capped[12].n_unlabeled, capped[12].capped_by_pool) == (1827, False)
    assert (capped[21.5].n_unlabeled, capped[21.5].capped_by_pool) == (3000, True)
    labels = {cell.additional_usd: cell for cell in cells(_scenario(max_labels=350)) if cell.strategy == "annotate"}
    assert (labels[12].n_labels, labels[12].capped_by_pool) == (346, False)
    assert (labels[21.5].n_labels, labels[21.5].capped_by_pool) == (350, True)


def test_teacher_and_capture_are_shared_and_the_capture_holds_the_largest_pool():
    stages = expand(_scenario())
    (teacher,), (capture,) = _by_kind(stages, "finetune"), _by_kind(stages, "capture")
    distilled = _by_kind(stages, "distill")
    assert [stage.n_unlabeled for stage in distilled] == [1827, 4011]
    assert capture.n_unlabeled == 4011 and capture.depends_on == (teacher.name,)
    assert all({teacher.name, capture.name} <= set(stage.depends_on) for stage in distilled)
    assert set(teacher.serves) == {("distill", 12.0), ("distill", 21.5)}


def test_every_trained_model_is_evaluated_once():
    stages = expand(_scenario())
    trained = [stage.name for stage in stages if stage.kind in ("finetune", "distill", "annotate")]
    assert [stage.depends_on for stage in _by_kind(stages, "evaluate")] == [(name,) for name in trained]


@settings(deadline=None)
@given(
    budgets=st.lists(st.integers(0, 6_000), min_size=1, max_size=6, unique=True),
    strategies=st.sampled_from([("annotate",), ("distill",), ("annotate", "distill"), ("distill", "annotate")]),
)
def test_stages_are_sorted_unique_and_serve_every_affordable_cell(budgets, strategies):
    scenario = _scenario(additional_usd=tuple(n / 100 for n in budgets), strategies=strategies)
    stages, seen = expand(scenario), set()
    for stage in stages:
        assert set(stage.depends_on) <= seen
        seen.add(stage.name)
    assert len(seen) == len(stages)
    served = {key for stage in _by_kind(stages, "evaluate") for key in stage.serves}
    wanted = {(cell.strategy, cell.additional_usd) for cell in cells(scenario) if cell.affordable}
    assert wanted == {key for key in served if key[0] in strategies}


def test_budgets_that_buy_the_same_share_a_model():
    stages = expand(_scenario(additional_usd=(0, 0.1), strategies=("annotate",)))
    (stage,) = _by_kind(stages, "annotate")
    assert set(stage.serves) == {("annotate", 0.0), ("annotate", 0.1)}


def test_the_same_study_has_the_same_names_in_another_order_and_under_another_name():
    names = {stage.name for stage in expand(_scenario())}
    again = _scenario(name="other", additional_usd=(21.5, 12, 0, 3), strategies=("distill", "annotate"))
    assert {stage.name for stage in expand(again)} == names


@pytest.mark.parametrize(
    ("changes", "moved", "kept"),
    [
        ({"train_seed": 1}, {"finetune", "distill", "annotate", "capture"}, {"label"}),
        ({"data_seed": 1}, {"label", "finetune", "distill", "annotate", "capture"}, set()),
        ({"teacher": "t5_1_1_xl"}, {"finetune", "capture", "distill"}, {"annotate", "label"}),
        ({"student": "t5_1_1_base"}, {"distill", "annotate"}, {"finetune", "capture", "label"}),
        ({"mode": "paper"}, {"finetune", "capture", "distill", "annotate"}, {"label"}),
        ({"capture_gin": "other.gin"}, {"capture", "distill"}, {"finetune", "annotate", "label"}),
        ({"task_gin": "task.gin"}, {"finetune", "capture", "distill", "annotate"}, {"label"}),
        ({"task_module": "my_tasks.mini"}, set(), {"label", "finetune", "capture", "distill", "annotate"}),
        ({"macros": {"annotate": {"TRAIN_STEPS": 5}}}, {"annotate"}, {"finetune", "capture", "distill", "label"}),
        ({"macros": {"finetune": {"TRAIN_STEPS": 5}}}, {"finetune", "capture", "distill"}, {"annotate", "label"}),
    ],
)
def test_names_change_with_what_determines_a_stage_and_with_nothing_else(changes, moved, kept):
    before, after = _scenario(), _scenario(**changes)
    for kind in moved:
        assert not _names(before, kind) & _names(after, kind), kind
    for kind in kept:
        assert _names(before, kind) == _names(after, kind), kind


def test_an_edited_gin_file_makes_new_stages():
    scenario = _scenario()
    old = {stage.name for stage in expand(scenario, gin_digests={"annotate.gin": "1"}) if stage.kind == "annotate"}
    new = {stage.name for stage in expand(scenario, gin_digests={"annotate.gin": "2"}) if stage.kind == "annotate"}
    assert old and not old & new


def test_an_edited_task_file_makes_every_model_anew():
    scenario = _scenario(task_gin="task.gin")
    old, new = ({stage.name for stage in expand(scenario, gin_digests={"task.gin": text})} for text in "12")
    assert {name.split("-")[0] for name in old & new} == {"label"}


def test_prices_of_one_s_own_price_the_cells(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(default_path().read_text().replace("[books.paper]", "[books.mine]").replace(
        "[[books.paper.entries]]", "[[books.mine.entries]]").split("# The paper's WLP study made small")[0]
    )  # fmt: skip
    scenario = _scenario(task="wlp", price_book="mine", prices=str(path))
    (cell, *_) = scenarios.cells(scenario)
    assert cell.initial_usd == pytest.approx(300 * 0.26)


def test_a_larger_budget_added_later_redoes_no_model():
    small, large = _scenario(additional_usd=(12,)), _scenario(additional_usd=(12, 21.5))
    for kind in ("finetune", "distill", "annotate"):
        assert _names(small, kind) < _names(large, kind) or _names(small, kind) == _names(large, kind)
    assert _names(small, "capture") != _names(large, "capture")


def test_charges_add_up_to_what_the_cells_spend(tmp_path):
    # One distilled budget and no annotated one: the study's bill is that cell's.
    scenario = _scenario(additional_usd=(12,), strategies=("distill",))
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for stage in expand(scenario):
        ledger.charge(stage.name, stage.charges)
        if stage.kind == "label":
            span = {"first_label": stage.first_label, "last_label": stage.first_label + stage.n_labels}
            ledger.buy_labels(stage=stage.name, task="mini", data_seed=0, price=BOOK.label("mini"), **span)
    (cell,) = cells(scenario)
    assert ledger.totals().scenario_usd == pytest.approx(cell.spent_usd)


def test_annotated_budgets_buy_nested_labels():
    stages = _by_kind(expand(_scenario(strategies=("annotate",))), "label")
    assert [(stage.first_label, stage.n_labels) for stage in stages] == [(0, 300), (300, 11), (300, 46), (300, 82)]


def test_a_label_that_several_stages_need_is_bought_by_the_first():
    stages = _by_kind(expand(_scenario(strategies=("annotate",))), "label")
    assert [stage.n_new_labels for stage in stages] == [300, 11, 35, 36]


def test_paper_mode_reads_the_paper_s_task_and_pays_the_same():
    paper, fair = ({"mode": mode, "paper_task": "mini_prefixed"} for mode in ("paper", "fair"))
    assert {stage.reads for stage in expand(_scenario(**paper))} == {"mini_prefixed"}
    assert {stage.task for stage in expand(_scenario(**paper))} == {"mini"}
    assert [cell.total_usd for cell in cells(_scenario(**paper))] == [
        cell.total_usd for cell in cells(_scenario(mode="paper"))
    ]
    assert not {s.name for s in expand(_scenario(**paper))} & {s.name for s in expand(_scenario(mode="paper"))}
    assert [stage.name for stage in expand(_scenario(**fair))] == [stage.name for stage in expand(_scenario())]


def test_a_missing_gin_file_is_named():
    with pytest.raises(ScenarioError, match=r"Scenario\.teacher_gin.*finetune stage"):
        expand(_scenario(teacher_gin=""))


def test_a_task_the_book_does_not_price_is_refused():
    with pytest.raises(PriceBookError, match="label/mini"):
        cells(_scenario(price_book="paper"))


def test_the_teacher_is_a_cell_that_costs_its_fine_tuning():
    cell = teacher_cell(_scenario())
    assert cell.total_usd == pytest.approx(78 + 67.5 * BOOK.scale)


def test_paper_scenarios_expand_to_the_published_counts():
    scenario = _scenario(task="wlp", n_labels=5000, additional_usd=(100, 200, 300, 500), price_book="paper")
    scenario = dataclasses.replace(scenario, max_unlabeled=111_000)
    counts = [cell.n_unlabeled // 1000 for cell in cells(scenario) if cell.strategy == "distill"]
    assert counts == [7, 30, 53, 99]
