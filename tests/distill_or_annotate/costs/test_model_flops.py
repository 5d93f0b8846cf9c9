"""The sizes that no price book prices: what our forecast counts of them."""

import pytest

from distill_or_annotate import paper
from distill_or_annotate.costs import model_flops

_SIZES = ("small", "base", "large", "xl", "xxl")
# Parameters outside the input embedding, which costs no matrix product.
_WORKING_PARAMETERS = {"t5_1_1_small": 60_511_616, "t5_1_1_xxl": 11_003_736_064}


@pytest.mark.parametrize("task", paper.task_names())
def test_every_task_has_every_size_and_larger_ones_take_more(task):
    counts = [model_flops.forward(task, f"t5_1_1_{size}") for size in _SIZES]
    assert counts == sorted(set(counts))


@pytest.mark.parametrize("model", _WORKING_PARAMETERS)
def test_a_pass_takes_between_once_and_thrice_two_operations_a_parameter_and_token(model):
    """The rule of thumb counts each parameter once a token; encoder and decoder see tokens of their own."""
    lengths = [paper.task("wlp")[f"max_{side}_tokens"]["value"] for _, side in model_flops.LENGTHS]
    rule = 2 * _WORKING_PARAMETERS[model] * min(lengths)
    assert rule < model_flops.forward("wlp", model) < 3 * rule


def test_the_priced_pair_costs_what_the_book_says_and_others_in_proportion():
    for teacher, student in model_flops.PRICED_PAIRS.values():
        assert model_flops.finetune_ratio("wlp", teacher) == 1
        assert model_flops.distill_ratio("wlp", teacher, student) == 1
    assert model_flops.distill_ratio("wlp", "t5_1_1_xl", "t5_1_1_small") < 0.3
    assert 1 < model_flops.distill_ratio("wlp", "t5_1_1_xxl", "t5_1_1_large") < 1.3


def test_a_model_nobody_counted_has_no_family():
    assert model_flops.family("my_teacher") is None
    assert model_flops.family("t5_1_1_base") == "t5_1_1"
    assert model_flops.family("mini_teacher") == "mini"
    assert "t5_1_1_xxl" in model_flops.models() and "mini_student" in model_flops.models()
