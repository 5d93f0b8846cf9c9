"""The last words of a run: models that learnt nothing are named."""

from distill_or_annotate.pipeline import telling

SOUND = {"strategy": "distill", "n_labels": 1000, "degenerate": {"flagged": False, "reasons": []}}
CONSTANT = {
    "strategy": "annotate",
    "n_labels": 1100,
    "degenerate": {"flagged": True, "reasons": ["one answer in 99.0% of cases"]},
}


def test_degenerate_models_are_counted_and_one_is_explained():
    told = telling.degenerate([SOUND, CONSTANT, SOUND])
    assert told.startswith(
        "1 of 3 models are degenerate († where half of a cell's are), the annotate model at 1,100 labels for one: "
        "one answer in "
    )
    assert telling.degenerate([SOUND, {**SOUND, "degenerate": None}]) == telling.degenerate([]) == ""
