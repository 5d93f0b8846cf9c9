"""CoNLL gives one row a sentence, its tokens put together again."""

import pytest

from distill_or_annotate.preprocess.official import wlp_conll, wlp_text
from distill_or_annotate.preprocess.rows import RowError

TEXT = "Warm\tB-Action\n5\tB-Amount\nml\tI-Amount\n(\tO\ncold\tB-Modifier\n)\tO\nmilk\tI-Reagent\n.\tO\n\nWait\tO\n"


def test_tokens_are_joined_as_written_and_entities_follow(write):
    reading = wlp_conll.read([write("protocol_7_conll.txt", TEXT)])
    assert [(row.source, row.target, row.group) for row in reading.rows] == [
        ("Warm 5 ml (cold) milk.", "Warm [Action] 5 ml [Amount] cold [Modifier] milk [Reagent]", "protocol_7"),
        ("Wait", "", "protocol_7"),
    ]
    assert reading.noted == {"I- tag without its B-: read as the start of an entity": 1}


def test_two_entities_of_one_type_side_by_side_stay_two(write):
    text = "red\tB-Reagent\nink\tI-Reagent\nblue\tB-Reagent\nink\tI-Reagent\n"
    assert wlp_conll.read([write("a.txt", text)]).rows[0].target == "red ink [Reagent] blue ink [Reagent]"


def test_quotation_marks_of_the_tokeniser_become_ordinary_ones():
    assert (
        wlp_text.untokenised(["the", "``", "left", "''", "tube", ",", "do", "n't", "mix"])
        == 'the "left" tube, don\'t mix'
    )


@pytest.mark.parametrize(
    ("line", "field", "problem"),
    [
        ("milk\tB-Reagnt", "tag", "unknown label 'Reagnt'.*did you mean 'Reagent'"),
        ("milk\tReagent", "tag", "O, B-TYPE or I-TYPE is needed"),
        ("milk", "tag", "a token and its tag are needed"),
        (b"mi\xfflk\tO", "encoding", "UTF-8 cannot carry"),
    ],
)
def test_a_bad_line_takes_its_sentence_with_it(write, line, field, problem):
    line = line if isinstance(line, bytes) else line.encode()
    path = write("a.txt", b"Warm\tB-Action\n" + line + b"\n\nWait\tO\n")
    with pytest.raises(RowError, match=problem) as error:
        wlp_conll.read([path])
    assert (error.value.line, error.value.field) == (2, field)
    reading = wlp_conll.read([path], "skip")
    assert [row.source for row in reading.rows] == ["Wait"] and len(reading.skipped) == 1
