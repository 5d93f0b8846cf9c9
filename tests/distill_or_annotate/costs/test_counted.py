"""What counts when an assumption is switched off: the student's training, an engineer, API labels."""

import dataclasses
import datetime

import pytest

from distill_or_annotate.costs import (
    Assumptions,
    api_label_cost,
    api_models,
    cost_cell,
    finetune_cost,
    on_top,
    student_training_cost,
)
from distill_or_annotate.paper import facts, task_names
from distill_or_annotate.prices import PriceEntry, load_book

PAPER, CURRENT = load_book("paper"), load_book("current")


def test_with_the_papers_assumptions_nothing_comes_on_top():
    cell = cost_cell(PAPER, "wlp", 5000, 200)
    assert (cell.student_training_usd, cell.engineer_usd, cell.pretrained_usd) == (0, 0, 0)
    assert cell.annotate_total_usd == cell.distill_total_usd == 1500.0
    assert cell == cost_cell(PAPER, "wlp", 5000, 200, Assumptions.for_mode("paper"))


def test_in_fair_mode_the_students_fine_tuning_is_added_to_annotate_alone():
    free, fair = cost_cell(PAPER, "wlp", 5000, 200), cost_cell(PAPER, "wlp", 5000, 200, Assumptions.for_mode("fair"))
    # The line of the teacher at 5,769 labels, times 16.1 / 2,836 GFLOP a pass and 50 / 20 epochs.
    teacher_usd = 67.5 + (67.5 - 15) / 4000 * 769
    assert fair.student_training_usd == pytest.approx(teacher_usd * 16.089 / 2836.15 * 2.5, rel=1e-3)
    assert fair.annotate_total_usd == pytest.approx(1500 + fair.student_training_usd)
    assert fair.distill_total_usd == 1500.0
    # What the budget buys is the same.
    assert (fair.extra_labels, fair.n_unlabeled, fair.gpu_hours) == (
        free.extra_labels,
        free.n_unlabeled,
        free.gpu_hours,
    )


def test_an_engineer_counts_for_both_and_the_models_for_distilling():
    assumptions = Assumptions(
        engineer_is_free=False,
        engineer_hours=4,
        engineer_usd_per_hour=50,
        pretrained_is_free=False,
        pretrained_usd=10,
    )
    cell = cost_cell(PAPER, "fever", 1000, 50, assumptions)
    assert cell.annotate_total_usd == 129 + 50 + 200
    assert cell.distill_total_usd == 129 + 50 + 200 + 10
    assert cell.as_dict()["distill_total_usd"] == cell.distill_total_usd


def test_each_strategy_pays_for_what_it_needs():
    counted = Assumptions(student_training_is_free=False, pretrained_is_free=False, pretrained_usd=10)
    for strategy, trains, teacher in (
        ("annotate", True, False),
        ("llm_annotate", True, False),
        ("human_llm_annotate", True, False),
        ("self_distill", True, False),
        ("distill", False, True),
        ("teacher", False, True),
    ):
        found = on_top(counted, PAPER, "wlp", strategy, 1000)
        assert (found.student_training_usd > 0, found.pretrained_usd) == (trains, 10 if teacher else 0), strategy
        assert found.usd == found.student_training_usd + found.pretrained_usd
        assert on_top(Assumptions(), PAPER, "wlp", strategy, 1000).usd == 0
    with pytest.raises(ValueError, match="received 'anotate'; did you mean annotate"):
        on_top(counted, PAPER, "wlp", "anotate", 1000)


@pytest.mark.parametrize("task", task_names())
def test_the_student_costs_a_few_percent_of_the_teacher_and_more_with_more_labels(task):
    costs = [student_training_cost(PAPER, task, n).usd for n in (100, 500, 1000, 5000, 10_000)]
    assert costs == sorted(costs) and costs[0] > 0
    assert costs[-1] < 0.05 * finetune_cost(PAPER, task, 10_000).usd
    assert student_training_cost(PAPER, task, 1000).provenance == "estimated"


def test_larger_students_cost_more_and_unknown_ones_are_refused():
    names = ["mini_student", "t5_1_1_small", "t5_1_1_base", "t5_1_1_large", "t5_1_1_xl", "t5_1_1_xxl"]
    costs = [student_training_cost(PAPER, "wlp", 1000, name).usd for name in names]
    assert costs[0] == costs[1] and costs[1:] == sorted(costs[1:])
    with pytest.raises(ValueError, match="student: received 't5_small'"):
        student_training_cost(PAPER, "wlp", 1000, "t5_small")


def test_a_scaled_book_scales_the_student_too():
    book = load_book("quickstart_scaled")
    small, large = student_training_cost(book, "mini", 100), student_training_cost(PAPER, "wlp", 5000)
    assert small.usd == pytest.approx(book.scale * large.usd)


def test_a_book_may_price_the_student_itself():
    entry = PriceEntry(
        book="paper",
        id="student_finetune/*",
        usd=0.5,
        unit="1000 labels",
        date=datetime.date(2026, 11, 1),
        source="our bill",
        provenance="published",
    )
    book = dataclasses.replace(PAPER, entries={**PAPER.entries, entry.id: entry})
    cost = student_training_cost(book, "wlp", 3000)
    assert (cost.usd, cost.provenance, cost.price_entries) == (1.5, "published", ("paper:student_finetune/*",))


@pytest.mark.parametrize("task", ["wlp", "stanceosaurus"])
def test_gpt_3_5_costs_what_section_5_says(task):
    told = facts()["gpt35"]
    cost = api_label_cost(PAPER, told["model"], input_tokens=told[task]["tokens_per_label"], output_tokens=0)
    assert cost.usd == pytest.approx(told[task]["usd_per_label"])
    assert int(told[task]["budget"] / cost.usd) == told[task]["labels"]
    assert cost.provenance == "published"


def test_cached_input_and_the_batch_tier_are_cheaper():
    tokens = {"input_tokens": 2300, "output_tokens": 30}
    for model in api_models(CURRENT):
        plain = api_label_cost(CURRENT, model, **tokens).usd
        assert api_label_cost(CURRENT, model, cached_input_tokens=2000, **tokens).usd < plain
        assert api_label_cost(CURRENT, model, batch=True, **tokens).usd == pytest.approx(plain / 2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "gpt-6-lunar"}, "did you mean gpt-6-luna"),
        ({"input_tokens": -1}, "input_tokens: received -1"),
        ({"output_tokens": float("inf")}, "output_tokens: received inf"),
        ({"cached_input_tokens": 200}, "cached_input_tokens: received 200; it must lie between 0 and input_tokens"),
        ({"input_tokens": 0, "output_tokens": 0}, "both 0"),
    ],
)
def test_impossible_requests_are_refused(fields, message):
    wanted = {"model": "gpt-6-luna", "input_tokens": 100, "output_tokens": 10} | fields
    with pytest.raises(ValueError, match=message):
        api_label_cost(CURRENT, wanted.pop("model"), **wanted)
