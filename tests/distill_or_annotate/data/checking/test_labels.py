"""The spread of answers for the three kinds of task."""

from distill_or_annotate.data.checking.labels import spread, unknown_types


def _rows(*targets, source="s"):
    return [{"source": source, "target": target} for target in targets]


def test_label_words_are_counted_in_the_tasks_order_and_unknown_ones_named():
    found = spread(_rows("yes", "NO ", "NO", "NOO"), "accuracy", ("YES", "NO", "MAYBE"))
    assert found.kind == "class" and found.counts == {"YES": 1, "NO": 2, "MAYBE": 0}
    assert [(label.text, label.n_rows, label.nearest) for label in found.unknown] == [("NOO", 1, "NO")]


def test_entity_types_are_counted_and_broken_targets_too():
    targets = ("mix [Action] salt [Reagent]", "", "mix [action] well", "[Action]", "mix [Acton]")
    found = spread(_rows(*targets), "entity_f1", ("Action", "Reagent", "Time"))
    assert found.kind == "entity" and found.counts == {"Action": 3, "Reagent": 1, "Time": 0}
    # Words after the last type, a type without words, and a misspelt type, which makes all of it words.
    assert found.n_malformed == 3
    assert [(label.text, label.nearest) for label in found.unknown] == [("[Acton]", "Action")]


def test_a_type_is_counted_once_a_target():
    assert [(label.text, label.n_rows) for label in unknown_types(["a [X] b [X]", "c [X]"], ("Action",))] == [
        ("[X]", 2)
    ]


def test_free_text_is_told_by_what_repeats():
    found = spread(_rows("same", "same", "other", "s"), "chrf_ibleu", ())
    assert (found.kind, found.counts, found.n_distinct_targets) == ("text", {}, 3)
    assert (found.top_target, found.top_share, found.n_target_is_source) == ("same", 0.5, 1)
