"""Every row of an input arrives once with all of its fields, or is named with file and line."""

import io
import json
import os
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_or_annotate.serving import inputs

_TAKEN = frozenset({"prediction", "confidence"})


def _read(path, **options):
    with inputs.opened(str(path), taken=_TAKEN, **options) as table:
        rows = list(table.rows())
        assert len(rows) == table.n_rows
        return table, rows


def _write(folder, name, content):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


def test_json_lines_keep_every_field_and_blank_lines_are_passed_over(tmp_path):
    path = _write(tmp_path, "a.jsonl", '\ufeff{"source": "é", "id": 1, "more": [1, {"a": null}]}\n\n{"source": ""}')
    table, rows = _read(path)
    assert rows == [{"source": "é", "id": 1, "more": [1, {"a": None}]}, {"source": ""}]
    assert (table.form, table.field, table.bad) == ("jsonl", "source", ())
    assert list(table.rows(1)) == rows[1:]


def test_csv_quotes_hold_commas_quotes_and_line_ends(tmp_path):
    path = _write(tmp_path, "a.csv", 'id, text \r\n1,"one, ""two""\nthree"\r\n\r\n2,plain\r\n')
    assert _read(path, field="text")[1] == [{"id": "1", "text": 'one, "two"\nthree'}, {"id": "2", "text": "plain"}]
    path = _write(tmp_path, "a.tsv", 'text\tid\nit is, so\t"7"\n')
    assert _read(path, field="text")[1] == [{"text": "it is, so", "id": "7"}]


def test_text_is_one_row_a_line(tmp_path):
    assert _read(_write(tmp_path, "a.txt", "one\r\n\n two \n"))[1] == [{"source": "one"}, {"source": " two "}]
    assert _read(_write(tmp_path, "a.log", "one\n"), form="text")[1] == [{"source": "one"}]


def test_standard_input_is_read_once_and_its_rows_as_often_as_wanted(monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO(b'{"source": "a"}\n{"source": "b"}\n'))
    monkeypatch.setattr(sys, "stdin", stdin)
    with inputs.opened("-") as table:
        assert [row["source"] for row in table.rows()] == ["a", "b"]
        assert [row["source"] for row in table.rows(1)] == ["b"]
        assert table.name == "standard input"


def test_a_pipe_with_a_name_is_read_once_too(tmp_path):
    """As the shell's `<(...)` gives one."""
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=("one\ntwo\n",))
    writer.start()
    assert _read(tmp_path / "pipe", form="text")[1] == [{"source": "one"}, {"source": "two"}]
    writer.join()


def test_no_rows_are_a_table_too(tmp_path):
    assert _read(_write(tmp_path, "a.jsonl", "\n"))[1] == []
    assert _read(_write(tmp_path, "a.csv", "source,id\n"))[1] == []


_BROKEN = {
    "no JSON": ("a.jsonl", '{"source": "a"}\n{"source": "b\n', r"a\.jsonl, line 2: it is not JSON"),
    "an array": ("a.jsonl", '[{"source": "a"}]\n', r"line 1: it is a list, not an object"),
    "a broken array": ("a.jsonl", '[\n{"source": "a"}]\n', "line 1: .*write one object a line"),
    "field missing": ("a.jsonl", '{"sorce": "a"}\n', r"line 1: no field 'source'; it has \['sorce'\]. Fix: --field"),
    "a number": ("a.jsonl", '{"source": 3}\n', "line 1: field 'source' is int, not a text"),
    "half a pair": ("a.jsonl", '{"source": "\\ud800"}\n', "line 1: field 'source' holds half of a surrogate pair"),
    "prediction there": (
        "a.jsonl",
        '{"source": "a", "confidence": 1}\n',
        "line 1: it has a field 'confidence' already",
    ),
    "no UTF-8": ("a.jsonl", b'{"source": "a"}\n{"source": "\xe9"}\n', r"a\.jsonl, line 2: it is not UTF-8"),
    "column missing": ("a.csv", "id,Sources\n1,a\n", r"no field 'source' in its header; did you mean 'Sources'\?"),
    "column twice": ("a.csv", "source,source\n1,a\n", "2 columns are named 'source'"),
    "prediction column": ("a.csv", "source,prediction\n1,a\n", "line 1: it has a field 'prediction' already"),
    "too few cells": ("a.csv", 'id,source\n1,"a\nb"\n2\n', r"a\.csv, line 4: it has 1 cells, the header 2"),
    "open quote": ("a.csv", 'id,source\n1,a\n2,"b\n3,c\n', r"a\.csv, line 3: no table from here on"),
    "empty table": ("a.csv", "", r"a\.csv is empty; a header is needed"),
    "unknown ending": ("a.xlsx", "", r"files ending in '\.xlsx' are not read; allowed: \.jsonl.*--format"),
}


@pytest.mark.parametrize("name", _BROKEN)
def test_what_cannot_be_used_is_named(tmp_path, name):
    file, content, message = _BROKEN[name]
    with pytest.raises(ValueError, match=message):
        _read(_write(tmp_path, file, content))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.csv"):
        _read(tmp_path / "absent.csv")


def test_bad_rows_are_skipped_only_when_asked_for_and_counted(tmp_path):
    path = _write(tmp_path, "a.jsonl", '{"source": "a"}\nno\n{"source": "b"}\n{"other": "c"}\n')
    table, rows = _read(path, skip_bad=True)
    assert [row["source"] for row in rows] == ["a", "b"] and [row["source"] for row in table.rows(1)] == ["b"]
    assert len(table.bad) == 2 and "line 2" in table.bad[0] and "line 4" in table.bad[1]
    with pytest.raises(ValueError, match=r"holds no row that can be used; the first: .*line 1"):
        _read(_write(tmp_path, "b.jsonl", "no\n"), skip_bad=True)


@given(
    st.lists(st.fixed_dictionaries({"source": st.text(st.characters(exclude_categories=["Cs"])), "n": st.integers()}))
)
def test_any_rows_come_back_from_json_lines(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    for ascii_only in (True, False):
        path.write_text("".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows), encoding="utf-8")
        assert _read(path)[1] == rows
