"""Labels, hours and unlabeled examples for any budget; costs at any N."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.costs import (
    cost_cell,
    distill_cost_per_1k,
    finetune_cost,
    gpu_hours_for,
    labels_bought,
    unlabeled_affordable,
)
from distill_or_annotate.costs.teacher import finetune_line
from distill_or_annotate.paper import task_names
from distill_or_annotate.prices import PriceBookError, load_book

PAPER, SCALED = load_book("paper"), load_book("quickstart_scaled")
cents = st.integers(0, 10_000_000).map(lambda n: n / 100)
prices = st.integers(1, 100_000).map(lambda n: n / 1000)


@settings(deadline=None)
@given(labels=st.integers(0, 1_000_000), price=prices)
def test_the_price_of_n_labels_buys_n_labels(labels, price):
    assert labels_bought(labels * price, price) == labels


@settings(deadline=None)
@given(budget=cents, price=prices)
def test_labels_never_cost_more_than_the_budget_and_one_more_would(budget, price):
    labels = labels_bought(budget, price)
    assert labels * price <= budget + 1e-6
    assert (labels + 1) * price > budget - 1e-6


@settings(deadline=None)
@given(hours=st.integers(0, 100_000), price=prices)
def test_the_price_of_n_hours_is_n_hours(hours, price):
    assert gpu_hours_for(hours * price, price) == hours


@settings(deadline=None)
@given(budget=cents, finetune=cents, rate=prices)
def test_distilling_spends_within_the_budget_or_is_not_available(budget, finetune, rate):
    examples = unlabeled_affordable(budget, finetune, rate)
    if examples is None:
        assert (budget - finetune) / rate * 1000 < 1 + 1e-6
    else:
        assert examples >= 1
        assert finetune + examples * rate / 1000 <= budget + 1e-6


def test_a_budget_equal_to_the_fine_tuning_cost_distills_nothing():
    assert unlabeled_affordable(67.5, 67.5, 4.35) is None
    assert unlabeled_affordable(67.4, 67.5, 4.35) is None


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf, True, "5"])
def test_impossible_budgets_are_refused_with_the_value(bad):
    with pytest.raises(ValueError, match=r"additional_usd: received"):
        labels_bought(bad, 0.26)


def test_free_labels_are_refused():
    with pytest.raises(ValueError, match="usd_per_label: received 0"):
        labels_bought(5, 0)


@pytest.mark.parametrize("task", task_names())
def test_priced_n_are_returned_as_they_stand(task):
    for n_labels, entry in PAPER.finetune_points(task).items():
        cost = finetune_cost(PAPER, task, n_labels)
        assert (cost.usd, cost.provenance) == (entry.usd, entry.provenance)


def test_unpriced_n_are_linear_rounded_up_and_marked_estimated():
    # WLP: 15 at 1,000 and 67.5 at 5,000; at 3,000 the line is at 41.25, which is 11 half wall-hours of 3.75 exactly.
    cost = finetune_cost(PAPER, "wlp", 3000)
    assert (cost.usd, cost.provenance) == (41.25, "estimated")
    assert cost.price_entries == ("paper:finetune/wlp/1000", "paper:finetune/wlp/5000")
    # At 500 the line is at 8.75, between 7.5 and 11.25.
    assert finetune_cost(PAPER, "wlp", 500).usd == 11.25
    # Beyond 5,000 the last slope holds: 67.5 + 52.5 / 4,000 * 5,000 = 133.125, rounded up to 135.
    assert finetune_cost(PAPER, "wlp", 10_000).usd == 135.0
    # Below 100 half a wall-hour is the least that can be rented.
    assert finetune_cost(PAPER, "wlp", 7).usd == 3.75


@pytest.mark.parametrize("task", task_names())
@pytest.mark.parametrize("n_labels", [500, 10_000])
def test_what_the_paper_prices_nowhere_is_on_the_grid_of_half_wall_hours_of_four_gpus(task, n_labels):
    grid_usd = 0.5 * 4 * PAPER.gpu_hour().usd
    assert PAPER.finetune_rounding_usd == grid_usd
    cost = finetune_cost(PAPER, task, n_labels)
    if n_labels in PAPER.finetune_points(task):
        assert n_labels == 10_000 and cost.provenance == "inferred"
        return
    line_usd = finetune_line(PAPER, task, n_labels).usd
    assert cost.provenance == "estimated" and (cost.usd / grid_usd).is_integer()
    assert line_usd <= cost.usd < line_usd + grid_usd


@settings(deadline=None)
@given(task=st.sampled_from(task_names()), n=st.integers(1, 20_000), more=st.integers(1, 5_000))
def test_more_labels_never_make_the_teacher_cheaper(task, n, more):
    assert finetune_cost(PAPER, task, n).usd <= finetune_cost(PAPER, task, n + more).usd


def test_estimated_costs_reach_the_cell():
    cell = cost_cell(PAPER, "wlp", 500, 100)
    assert cell.provenance == {"extra_labels": "published", "gpu_hours": "published", "n_unlabeled": "estimated"}


def test_the_scaled_book_keeps_the_ratios_of_the_paper():
    s, label_usd = SCALED.scale, SCALED.label("mini").usd
    n_labels = round(s * 5000)
    # Section 1.5 of the plan: the teacher costs as much as about 260 labels, 100K distilled as about 1,670.
    assert finetune_cost(SCALED, "mini", n_labels).usd / label_usd == pytest.approx(s * 260, rel=0.01)
    rate_usd = distill_cost_per_1k(SCALED, "mini", n_labels).usd
    assert s * 100 * rate_usd / label_usd == pytest.approx(s * 1670, rel=0.01)
    assert finetune_cost(SCALED, "mini", n_labels).provenance == "scaled"


@pytest.mark.parametrize("additional_usd", [100, 200, 300, 500])
def test_a_scaled_study_buys_the_scaled_amounts(additional_usd):
    s = SCALED.scale
    small, large = (
        cost_cell(SCALED, "mini", round(s * 5000), s * additional_usd),
        cost_cell(PAPER, "wlp", 5000, additional_usd),
    )
    assert small.extra_labels == pytest.approx(s * large.extra_labels, abs=1)
    assert small.n_unlabeled == pytest.approx(s * large.n_unlabeled, abs=1)


def test_not_available_comes_with_its_reason():
    cell = cost_cell(PAPER, "natural_questions", 10_000, 50)
    assert (cell.n_unlabeled, cell.gpu_hours) == (None, None)
    assert "$60.00" in cell.reason and "$50.00" in cell.reason
    assert "no additional dollars" in cost_cell(PAPER, "wlp", 1000, 0).reason


@pytest.mark.parametrize("n_labels", [0, -3, 2.5, True])
def test_impossible_n_is_refused(n_labels):
    with pytest.raises(ValueError, match="n_labels: received"):
        cost_cell(PAPER, "wlp", n_labels, 100)


def test_a_task_without_prices_is_refused():
    with pytest.raises(PriceBookError, match="label/mini"):
        cost_cell(PAPER, "mini", 100, 100)
