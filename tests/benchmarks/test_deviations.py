"""The benchmark of deviations: what each row changes, and the arithmetic of what came of it."""

import importlib.util
import sys
from pathlib import Path

import pytest

from distill_or_annotate.pipeline import study
from distill_or_annotate.scenarios import expand_all

_FILE = Path(__file__).parents[2] / "benchmarks" / "deviations.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("deviations", _FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["deviations"] = module
    spec.loader.exec_module(module)
    return module


def _rows(scores):
    return [
        {"strategy": strategy, "additional_usd": usd, "data_seed": seed, "score": score, "metric": "entity_f1"}
        for (strategy, usd, seed), score in scores.items()
    ]


def test_a_row_changes_its_own_setting_and_no_other(bench):
    assert bench.changed("annotate_rate", "quickstart", {}) == {"macros": {"annotate": {"LEARNING_RATE": 0.000167}}}
    slow = bench.changed("learning_rate", "quickstart", {})["macros"]
    assert slow["distill"] == {"LEARNING_RATE": 0.000267} and set(slow) == {"annotate", "distill"}
    kept = bench.changed("padding", "wlp_mini_models", {})["macros"]
    assert kept["annotate"] == {"MAX_STEPS": 300} and kept["distill"]["PADDING"] == "counted"
    assert (
        bench.changed("pool", "quickstart", {}) == {"task": "mini_pooled"}
        and bench.changed("pool", "quickstart_cls", {}) is None
    )
    assert bench.changed("padding", "real_fever", {}) is None
    assert bench.changed("search", "quickstart", {})["search"]["annotate"] == {"LEARNING_RATE": (0.002, 0.005, 0.0125)}


@pytest.mark.parametrize(
    "row", ["learning_rate", "annotate_rate", "search", "training", "padding", "gold", "pool", "prefix"]
)
def test_a_row_shares_with_the_study_what_it_does_not_change(bench, row):
    change = [f"{field}={value!r}" for field, value in bench.changed(row, "smoke", {}).items()]
    before, after = ({stage.name for stage in expand_all(study.read("smoke", words)[0])} for words in ([], change))
    assert before != after
    shared = {name.split("-")[0] for name in before & after}
    assert shared == (set() if row in ("pool", "prefix") else shared | {"label", "finetune"})


@pytest.mark.parametrize("study_name", ["mini", "real", "wlp", "smoke"])
def test_a_study_has_both_strategies_at_one_budget(bench, study_name):
    for name, narrowed in bench.STUDIES[study_name].items():
        scenarios, _ = study.read(name, [f"{field}={value!r}" for field, value in narrowed.items()])
        assert {"finetune", "annotate", "distill"} <= {stage.kind for stage in expand_all(scenarios)}


def test_differences_are_paired_by_seed_and_verdicts_are_of_means(bench):
    fair = {("annotate", 0, 0): 40.0, ("annotate", 0, 1): 50.0, ("distill", 0, 0): 60.0, ("distill", 0, 1): 61.0}
    slow = {("annotate", 0, 0): 62.0, ("annotate", 0, 1): 74.0, ("distill", 0, 0): 60.0, ("distill", 0, 1): 60.0}
    found = bench.compared(_rows(fair), _rows(slow))
    annotated, distilled = found["cells"]
    assert (annotated["fair"], annotated["changed"], annotated["difference"]) == (45.0, 68.0, 23.0)
    assert annotated["stderr"] == pytest.approx(1.0) and distilled["difference"] == -0.5
    assert found["verdicts"] == [{"additional_usd": 0, "fair": "distill", "changed": "annotate"}]
    text = bench.markdown({"rows": [{"row": "learning_rate", "scenario": "x", **found}]})
    assert "| learning_rate | x | +23.0 ± 1.0 | -0.5 ± 0.5 | +$0: +15.5 → -8.0 | +$0 of 1 |" in text


def test_one_seed_has_no_standard_error(bench):
    found = bench.compared(_rows({("annotate", 1, 0): 40.0}), _rows({("annotate", 1, 0): 41.0}))
    assert found["cells"][0]["stderr"] is None and found["verdicts"] == []
