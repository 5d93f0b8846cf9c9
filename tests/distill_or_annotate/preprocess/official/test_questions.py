"""KILT, fever.ai and NQ-open give the released claims and questions, with all accepted answers."""

import json

import pytest

from distill_or_annotate.preprocess.official import questions
from distill_or_annotate.preprocess.rows import RowError


def _file(write, *rows):
    return write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def test_kilt_questions_keep_all_answers_in_order_without_repeats(write):
    output = [
        {"answer": "Ada  Spoon", "provenance": [{}]},
        {"answer": "", "provenance": [{}]},
        {"answer": "A. Spoon"},
        {"answer": "Ada Spoon"},
    ]
    path = _file(
        write,
        {"id": "1", "input": "who bent it", "output": output, "meta": {}},
        {"id": "2", "input": "when ?", "output": [{"answer": "1901"}]},
        {"id": "3", "input": "where", "output": [{"provenance": []}]},
        {"id": "4", "input": "why"},
    )
    reading = questions.read_kilt_questions([path])
    assert [(row.source, row.target, row.targets) for row in reading.rows] == [
        ("who bent it?", "Ada Spoon", ("Ada Spoon", "A. Spoon")),
        ("when?", "1901", ()),
    ]
    assert reading.left_out == {"no answer": 2}


def test_kilt_claims_need_one_known_label(write):
    rows = [
        {"id": 1, "input": "Spoons float.", "output": [{"answer": "REFUTES", "provenance": []}, {"answer": "REFUTES"}]},
        {"id": 2, "input": "Spoons sink.", "output": [{"answer": "REFUTES"}, {"answer": "SUPPORTS"}]},
        {"id": 3, "input": "Spoons fly.", "output": []},
    ]
    reading = questions.read_kilt_fever([_file(write, *rows)])
    assert [(row.source, row.target) for row in reading.rows] == [("Spoons float.", "REFUTES")]
    assert reading.left_out == {"several labels": 1, "no label": 1}
    with pytest.raises(RowError, match=r"unknown label 'REFUTE'.*'REFUTES'"):
        questions.read_kilt_fever([_file(write, {"id": 1, "input": "a", "output": [{"answer": "REFUTE"}]})])


def test_fever_ai_leaves_not_enough_info_out_and_counts_it(write):
    rows = [
        {"id": 1, "verifiable": "VERIFIABLE", "label": "SUPPORTS", "claim": "Spoons sink.", "evidence": [[]]},
        {"id": 2, "verifiable": "NOT VERIFIABLE", "label": "NOT ENOUGH INFO", "claim": "Spoons dream.", "evidence": []},
        {"id": 3, "claim": "Spoons sing."},
    ]
    reading = questions.read_fever_ai([_file(write, *rows)])
    assert [(row.source, row.target) for row in reading.rows] == [("Spoons sink.", "SUPPORTS")]
    assert reading.left_out == {"NOT ENOUGH INFO": 1, "no label": 1}


def test_nq_open_keeps_all_answers(write):
    reading = questions.read_nq_open([_file(write, {"question": "who bent it", "answer": ["Ada", "A. Spoon"]})])
    assert reading.rows[0][:2] == ("who bent it?", "Ada") and reading.rows[0].targets == ("Ada", "A. Spoon")


@pytest.mark.parametrize(
    ("row", "field", "problem"),
    [
        ({"question": "a"}, "answer", r"missing; the row has \['question'\]"),
        ({"question": " ", "answer": ["a"]}, "question", "empty"),
        ({"question": "a", "answer": "b"}, "answer", "a list of strings is needed, received str"),
        ({"question": "a", "answer": [1]}, "answer", "a string is needed, received int"),
        ({"question": "a\ud800", "answer": ["b"]}, "encoding", "UTF-8 cannot carry"),
    ],
)
def test_a_malformed_row_is_named_or_skipped_and_counted(write, row, field, problem):
    path = _file(write, {"question": "q", "answer": ["a"]}, row)
    with pytest.raises(RowError, match=problem) as error:
        questions.read_nq_open([path])
    assert (error.value.line, error.value.field) == (2, field)
    reading = questions.read_nq_open([path], "skip")
    assert len(reading.rows) == 1 and len(reading.skipped) == 1
