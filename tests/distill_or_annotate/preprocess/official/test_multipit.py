"""MultiPIT's CSV files give labelled pairs, paraphrases and pools."""

import pytest

from distill_or_annotate.preprocess.official import multipit
from distill_or_annotate.preprocess.rows import RowError

EXPERT = 'sentence1,sentence2,label\nA cat sat .,"A cat , seated .",1\nA cat sat .,Dogs bark .,0\n'
# The crowd file by its documented fields, with a column that is passed over and another order.
CROWD = "topic,label,sentence1,sentence2\nSports,1,They won .,A win !\nSports,0,They won .,It rained .\n"
AUTO = 'sentence1,sentence2\nA cat sat .,"Two\u2028lines , one cell"\nA cat sat .,A cat is sitting .\n'


@pytest.mark.parametrize(("content", "first"), [(EXPERT, "A cat sat ."), (CROWD, "They won .")])
def test_labels_become_words(write, content, first):
    rows = multipit.read_identification([write("a.csv", content)]).rows
    assert [row.target for row in rows] == ["YES", "NO"]
    assert all(row.source.startswith(f"sentence1: {first} sentence2: ") for row in rows)
    assert len({row.group for row in rows}) == 1


def test_generation_takes_paraphrases_only(write):
    reading = multipit.read_generation([write("a.csv", EXPERT)])
    assert [(row.source, row.target) for row in reading.rows] == [("A cat sat .", "A cat , seated .")]
    assert reading.left_out == {"pair that is no paraphrase": 1}


def test_automatic_pairs_are_paraphrases_or_a_pool(write):
    path = write("auto.csv", AUTO)
    assert [row.target for row in multipit.read_automatic([path]).rows] == [
        "Two lines , one cell",
        "A cat is sitting .",
    ]
    assert {(row.source, row.target) for row in multipit.read_sentence_pool([path]).rows} == {("A cat sat .", "")}
    assert multipit.read_pair_pool([path]).rows[1].source == "sentence1: A cat sat . sentence2: A cat is sitting ."


def test_a_header_without_the_column_names_near_ones(write):
    with pytest.raises(RowError, match=r"no column 'sentence1' \(near: sentence_1, sentence2\)"):
        multipit.read_identification([write("a.csv", "sentence_1,sentence2,label\na,b,1\n")])


@pytest.mark.parametrize(
    ("line", "field", "problem"),
    [
        ("a,b", "csv", "3 cells are needed, received 2"),
        ("a,b,2", "label", "unknown label '2', not among 0, 1, NO, YES"),
        ("a,,1", "sentence2", "empty"),
        (b"a,b\xff,1", "encoding", "UTF-8 cannot carry"),
        ('a,"b"c,1', "csv", "not CSV"),
    ],
)
def test_a_malformed_row_is_named_or_skipped_and_counted(write, line, field, problem):
    line = line if isinstance(line, bytes) else line.encode()
    path = write("a.csv", EXPERT.encode() + line + b"\n" + b"c,d,0\n")
    with pytest.raises(RowError, match=problem) as error:
        multipit.read_identification([path])
    assert (error.value.line, error.value.field) == (4, field)
    reading = multipit.read_identification([path], "skip")
    assert len(reading.rows) == 3 and len(reading.skipped) == 1
