"""Splits share no source, pools hold nothing that is evaluated on, and labels have one spelling."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.own_tasks import labels, splits
from distill_or_annotate.own_tasks.tables import TableError
from distill_or_annotate.preprocess.text import source_key


def _rows(n_rows, first=0):
    return [{"source": f"sentence {i}", "target": "ab"[i % 2]} for i in range(first, first + n_rows)]


def _labelled(*targets):
    return [{"source": "a", "target": target} for target in targets]


@settings(deadline=None)
@given(
    sources=st.lists(st.integers(0, 300), min_size=120, max_size=400),
    seed=st.integers(0, 9),
    given_test=st.booleans(),
)
def test_held_out_parts_share_no_source_with_training_and_no_row_is_lost(sources, seed, given_test):
    train = [{"source": f"S {i}", "target": str(n)} for n, i in enumerate(sources)]
    given_splits = {"train": train, **({"test": _rows(9)} if given_test else {})}
    try:
        parts, _ = splits.hold_out(given_splits, seed)
    except TableError as error:
        assert "too few" in str(error)
        return
    keys = {split: {source_key(row["source"]) for row in rows} for split, rows in parts.items()}
    assert not keys["train"] & keys["validation"] and not keys["train"] & keys["test"]
    assert not keys["validation"] & keys["test"]
    cut = [row for split, rows in parts.items() if not (given_test and split == "test") for row in rows]
    assert sorted(row["target"] for row in cut) == sorted(row["target"] for row in train)


def test_a_tenth_of_the_texts_goes_to_each_split_that_has_no_file():
    parts, remarks = splits.hold_out({"train": _rows(200)})
    assert {split: len(rows) for split, rows in parts.items()} == {"train": 160, "validation": 20, "test": 20}
    assert remarks == ["cut from the training file, by source, with seed 2023: 10% as validation and 10% as test"]
    again, _ = splits.hold_out({"train": _rows(200)[::-1]})
    assert {row["source"] for row in again["test"]} == {row["source"] for row in parts["test"]}, "order matters not"


def test_too_few_rows_are_refused_with_their_number():
    with pytest.raises(TableError, match="validation: 4 rows are too few; at least 5"):
        splits.hold_out({"train": _rows(40)})
    with pytest.raises(TableError, match="train: 19 rows are too few; at least 20"):
        splits.hold_out({"train": _rows(19), "validation": _rows(5, 50), "test": _rows(5, 90)})


def test_a_shared_source_between_given_files_is_cautioned_of():
    _, remarks = splits.hold_out({"train": _rows(30), "validation": _rows(6, 50), "test": _rows(6, 27)})
    assert remarks == ["CAUTION: 3 of 6 test rows have a source that train has too"]


def test_training_texts_with_several_labels_are_cautioned_of():
    twice = [{"source": "Sentence 1", "target": "c"}]
    _, remarks = splits.hold_out({"train": _rows(30) + twice, "validation": _rows(6, 50), "test": _rows(6, 60)})
    assert remarks == ["CAUTION: 1 of 30 training texts have several labels"]


def test_a_pool_with_evaluation_sources_is_refused_with_their_number_or_loses_them():
    parts, _ = splits.hold_out({"train": _rows(200)})
    texts = [{"source": row["source"].upper(), "target": ""} for row in parts["test"][:3]]
    texts += [{"source": f"more {i}", "target": ""} for i in (1, 2, 2)]
    with pytest.raises(TableError, match=r"3 of 5 sources are in validation or test, such as 'SENTENCE \d+'"):
        splits.pool(parts, texts)
    pool, remarks = splits.pool(parts, texts, exclude=True)
    assert {row["source"] for row in pool} == {"more 1", "more 2"} and all(row["target"] == "" for row in pool)
    assert remarks == ["pool: 1 repeated texts left out", "pool: 3 evaluation sources left out"]
    with pytest.raises(TableError, match="no source is left"):
        splits.pool(parts, texts[:3], exclude=True)


def test_without_a_pool_the_training_texts_are_one():
    parts, _ = splits.hold_out({"train": _rows(200)})
    pool, remarks = splits.pool(parts, None)
    assert {row["source"] for row in pool} == {row["source"] for row in parts["train"]} and len(remarks) == 1


@pytest.mark.parametrize(
    ("targets", "metric"),
    [
        (["yes", "no"] * 30, "accuracy"),
        (["Mix [Action] water [Reagent]", ""] * 2 + ["Stir [Action]"], "entity_f1"),
        ([f"answer {i}" for i in range(60)], "token_f1"),
    ],
)
def test_the_labels_say_which_metric_they_call_for(targets, metric):
    assert labels.choose_metric(targets) == metric


def test_label_words_have_one_spelling_the_most_frequent_one():
    targets = ["Yes", "yes", "yes", "no", "NO", "no", "no"]
    assert labels.label_words("accuracy", _labelled(*targets)) == ("no", "yes")
    rows, n_respelt = labels.one_spelling([{"source": "a", "target": text} for text in targets], ("no", "yes"))
    assert [row["target"] for row in rows] == ["yes"] * 3 + ["no"] * 4 and n_respelt == 2


def test_entity_types_are_read_from_the_labels_and_their_lack_is_refused():
    assert labels.label_words("entity_f1", _labelled("Mix [Action] a [pH]", "Stir [Action]")) == ("Action", "pH")
    quoted = {"source": "Stir as in [7] .", "target": "Stir [Action] as in [7] [Mention]"}
    assert labels.label_words("entity_f1", [quoted]) == ("Action", "Mention"), "a word of the text is no type"
    with pytest.raises(TableError, match="'entity_f1' needs labels of the form"):
        labels.label_words("entity_f1", _labelled("yes"))
    with pytest.raises(TableError, match="all 3 training rows have the label 'yes'"):
        labels.label_words("accuracy", _labelled("yes", "yes", "yes"))


def test_labels_that_training_lacks_are_listed_with_the_nearest():
    rows = [{"source": "a", "target": text} for text in ("positive", "positiv", "positiv", "other")]
    with pytest.raises(TableError, match=r"t.csv \(test\).*'positiv' \(2 rows, nearest 'positive'\), 'other' \(1 row"):
        labels.check_known("test", "t.csv", "accuracy", rows, ("positive", "negative"))
    labels.check_known("test", "t.csv", "token_f1", rows, ())


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("bert_ibeu", "did you mean bert_ibleu"),
        ("acuracy", "did you mean accuracy"),
        ("x", "allowed: accuracy, macro_f1"),
    ],
)
def test_a_metric_that_is_not_there_names_another(metric, message):
    with pytest.raises(TableError, match=message):
        labels.check_metric(metric)
