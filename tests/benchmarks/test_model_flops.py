"""The count behind unpriced sizes: it is what the shipped file holds, and steps are three passes."""

import dataclasses
import sys
from pathlib import Path

from distill_or_annotate.costs import model_flops as shipped

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import model_flops


def test_the_shipped_file_holds_what_is_counted():
    for name, shape in model_flops._MINI.items():
        found = model_flops.of_an_example(dataclasses.replace(shape, **model_flops._MINI_LENGTHS))
        assert found["forward"] == found["decode"] == shipped.forward("mini", name)
        assert found["finetune"] == found["distill"] == shipped.STEP_PASSES * found["forward"]
