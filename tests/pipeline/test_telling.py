"""The last words of a run: models that learnt nothing are named."""

from distill_or_annotate.pipeline import telling
from distill_or_annotate.reports import ReportCell

SOUND = {"strategy": "distill", "n_labels": 1000, "degenerate": {"flagged": False, "reasons": []}}
CONSTANT = {
    "strategy": "annotate",
    "n_labels": 1100,
    "degenerate": {"flagged": True, "reasons": ["one answer in 99.0% of cases"]},
}


def test_degenerate_models_are_counted_and_one_is_explained():
    cells = [ReportCell("score"), ReportCell("degenerate")]
    told = telling.degenerate([SOUND, CONSTANT, SOUND], cells)
    assert told.startswith("1 of 3 models are degenerate, the annotate model at 1,100 labels for one: one answer in ")
    assert "1 of 2 cells have the mark †" in told
    assert telling.degenerate([SOUND, {**SOUND, "degenerate": None}], cells) == telling.degenerate([], []) == ""
