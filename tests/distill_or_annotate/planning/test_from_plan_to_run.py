"""From a plan to a run: what a pilot has taken of the budget, and the scenario that is written."""

import json

import pytest

from distill_or_annotate.pipeline import study
from distill_or_annotate.planning.gin_text import scenario_text
from distill_or_annotate.planning.options import Option
from distill_or_annotate.planning.outcomes import PlanningError
from distill_or_annotate.planning.paid import paid_for

_ALONE = Option("annotate", 120, 0, 31.2)
_DISTILLED = Option("distill", 93, 1044, 24.18, 1.28, 4.54)


@pytest.fixture(scope="module")
def quickstart():
    """The quickstart's scenario as a manifest holds it."""
    return json.loads(json.dumps(study.read("quickstart")[0].as_dict()))


@pytest.mark.parametrize("option", (_ALONE, _DISTILLED))
def test_the_written_scenario_buys_what_the_plan_says(option, quickstart, tmp_path):
    path = tmp_path / "plan.gin"
    path.write_text(scenario_text(option, quickstart, "A plan.", 40.0), encoding="utf-8")
    found, _ = study.read(str(path))
    assert found.name == "quickstart_plan" and found.n_labels == option.n_labels
    assert found.strategies == (option.strategy,)
    assert found.n_unlabeled == ((option.n_unlabeled,) if option.n_unlabeled else ())
    for field in ("task", "teacher_gin", "capture_gin", "price_book", "max_labels"):
        assert getattr(found, field) == quickstart[field]
    assert "# Command: doa run FILE --max-usd 40.00" in path.read_text(encoding="utf-8")


def test_results_without_a_scenario_cannot_become_one():
    with pytest.raises(PlanningError, match="write_gin: the results name no scenario"):
        scenario_text(_ALONE, {}, "A plan.", 40.0)


def _row(**fields):
    known = {"status": "settled", "book": "paper", "stage": "s", "attempt": None, "source": "paper", "wasted": False}
    return known | {"unit": "label", "quantity": 1, "unit_price_usd": 1.0, "time": "2026-01-01T00:00:00+00:00"} | fields


def _run(folder, *rows):
    folder.mkdir()
    result = {
        "task": "t", "strategy": "annotate", "mode": "fair", "n_labels": 10, "additional_usd": 0.0, "total_usd": 1.0,
        "initial_usd": 1.0, "metric": "accuracy", "score": 50.0,
    }  # fmt: skip
    (folder / "results.jsonl").write_text(json.dumps(result) + "\n", encoding="utf-8")
    (folder / "ledger.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def test_a_label_that_two_runs_paid_for_counts_once(tmp_path):
    labels = {"kind": "label", "task": "t", "data_seed": 0, "first_label": 0}
    one = _run(tmp_path / "one", _row(entry_id="a", usd=20.0, last_label=20, **labels))
    other = _run(
        tmp_path / "other",
        _row(entry_id="a", usd=50.0, last_label=50, **labels),
        _row(entry_id="b", kind="device", usd=7.0),
        _row(entry_id="c", kind="device", usd=9.0, book="local"),
    )
    paid = paid_for([one, other], "t", 1.0)
    assert (paid.n_labels, paid.label_usd, paid.other_usd) == (50, 50.0, 7.0)
    assert "50 labels, which are at hand" in paid.notes()[0]


def test_what_one_run_paid_in_parts_and_another_in_one_row_counts_once_in_either_order(tmp_path):
    api = {"kind": "api", "unit": "label"}
    parts = [_row(entry_id="x:part-0", usd=6.0, **api), _row(entry_id="x", usd=0.5, **api)]
    one = _run(tmp_path / "one", *parts)
    other = _run(tmp_path / "other", _row(entry_id="x", usd=6.5, **api), _row(entry_id="y", usd=1.0, **api))
    for folders in ([one, other], [other, one]):
        assert paid_for(folders, "t", 1.0).other_usd == 7.5


def test_no_pilot_is_nothing_paid():
    assert paid_for([], "t", 1.0).usd == 0 and paid_for([], "t", 1.0).notes() == []
