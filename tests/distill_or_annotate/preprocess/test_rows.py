"""Released rows are read whole, and what cannot be used is named by file, line and field."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.preprocess import rows as rows_lib

GOOD = {"source": "Mix reagents.", "target": "Mix [Action] reagents [Reagent]"}


def _file(tmp_path, *lines):
    path = tmp_path / "wlp_train_all.json"
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines))
    return path


def test_only_source_and_target_are_kept_in_order(tmp_path):
    path = _file(tmp_path, {**GOOD, "id": 7}, b"", {"source": "Wait.", "target": "Wait [Action]"}, b"")
    assert rows_lib.read_rows(path).rows == (GOOD, {"source": "Wait.", "target": "Wait [Action]"})


def test_empty_target_is_a_sentence_without_entities(tmp_path):
    assert rows_lib.read_rows(_file(tmp_path, {"source": "Note:", "target": ""})).rows[0]["target"] == ""


def test_line_separators_inside_text_do_not_split_a_row(tmp_path):
    row = {"source": "a\u2028b\x85c\u000bd", "target": "a\u2028b [Action]"}
    assert rows_lib.read_rows(_file(tmp_path, json.dumps(row, ensure_ascii=False).encode())).rows == (row,)


def test_byte_order_mark_is_passed_over(tmp_path):
    assert rows_lib.read_rows(_file(tmp_path, b"\xef\xbb\xbf" + json.dumps(GOOD).encode())).rows == (GOOD,)


def test_all_accepted_answers_are_kept_and_a_single_one_is_the_target(tmp_path):
    several = {"source": "q?", "target": "a", "targets": ["a", "b", "a"]}
    path = _file(tmp_path, several, {"source": "q?", "target": "a", "targets": ["a"]}, GOOD)
    assert rows_lib.read_rows(path).rows == (
        {"source": "q?", "target": "a", "targets": ["a", "b"]}, {"source": "q?", "target": "a"}, GOOD,
    )  # fmt: skip


BAD = [
    (b'{"source": "a", ', "json", "not JSON"),
    (b"[1, 2]", "json", "a JSON object is needed, received list"),
    (b"[" * 100_000, "json", "not JSON"),
    ({"source": "a"}, "target", r"missing; the row has \['source'\]"),
    ({"target": "a"}, "source", "missing"),
    ({"source": "a", "target": None}, "target", "a string is needed, received NoneType"),
    ({"source": " \t", "target": "a"}, "source", "empty"),
    (b'{"source": "a\xff", "target": ""}', "encoding", "byte 0xff at column 14 is not UTF-8"),
    (b'{"source": "a\\ud800", "target": ""}', "source", "surrogate"),
    ({"source": "a", "target": "b", "targets": "b"}, "targets", "a list of strings is needed, received str"),
    ({"source": "a", "target": "b", "targets": None}, "targets", "a list of strings is needed, received NoneType"),
    ({"source": "a", "target": "b", "targets": ["b", 3]}, "targets", "a string is needed, received int"),
    (
        {"source": "a", "target": "b", "targets": []},
        "targets",
        "starts with nothing; its first must be the target, 'b'",
    ),
    ({"source": "a", "target": "b", "targets": ["c", "b"]}, "targets", "starts with 'c'; its first must be the target"),
    (b'{"source": "a", "target": "b", "targets": ["b", "\\udc00"]}', "targets", "surrogate"),
]


@pytest.mark.parametrize(("bad", "field", "problem"), BAD)
def test_malformed_row_stops_with_file_line_and_field(tmp_path, bad, field, problem):
    path = _file(tmp_path, GOOD, b"", bad, GOOD)
    with pytest.raises(rows_lib.RowError, match=problem) as error:
        rows_lib.read_rows(path)
    assert (error.value.path, error.value.line, error.value.field) == (str(path), 3, field)
    assert f"wlp_train_all.json, line 3, field '{field}'" in str(error.value)
    assert "on_bad_row='skip'" in str(error.value)


@pytest.mark.parametrize(("bad", "field", "problem"), BAD)
def test_skipping_counts_what_it_leaves_out(tmp_path, bad, field, problem):
    read = rows_lib.read_rows(_file(tmp_path, GOOD, bad, GOOD), on_bad_row="skip")
    assert len(read.rows) == 2
    assert [(error.line, error.field) for error in read.skipped] == [(2, field)]


def test_file_without_usable_rows_is_an_error_even_when_skipping(tmp_path):
    for lines in ([], [b"{", b"}"]):
        with pytest.raises(rows_lib.RowError, match=rf"no usable row \({len(lines)} skipped\)"):
            rows_lib.read_rows(_file(tmp_path, *lines), on_bad_row="skip")


def test_unknown_way_with_bad_rows_is_refused(tmp_path):
    with pytest.raises(ValueError, match="on_bad_row: 'ignore' is not one of"):
        rows_lib.read_rows(_file(tmp_path, GOOD), on_bad_row="ignore")


@settings(deadline=None, max_examples=200)
@given(place=st.integers(0, 10_000), junk=st.binary(max_size=6), cut=st.integers(0, 40))
def test_damage_is_either_harmless_or_a_named_row(tmp_path_factory, place, junk, cut):
    whole = b"\n".join(
        json.dumps({"source": f"é {i}", "target": f"t{i} [Time]"}, ensure_ascii=False).encode() for i in range(5)
    )
    place %= len(whole)
    path = tmp_path_factory.mktemp("damaged") / "rows.json"
    path.write_bytes(whole[:place] + junk + whole[place + cut :])
    try:
        rows_lib.read_rows(path)
    except rows_lib.RowError as error:
        assert error.line >= 1
        skipped = rows_lib.read_rows(path, on_bad_row="skip")
        assert error.line in [other.line for other in skipped.skipped]


def test_data_folder_says_which_variable_to_set(tmp_path, monkeypatch):
    monkeypatch.delenv("DOA_DATA_DIR", raising=False)
    with pytest.raises(rows_lib.DataFolderError, match=r"DOA_DATA_DIR is not set. Set it to the folder"):
        rows_lib.data_dir()
    monkeypatch.setenv("DOA_DATA_DIR", str(tmp_path / "gone"))
    with pytest.raises(rows_lib.DataFolderError, match=r"DOA_DATA_DIR='.*gone' is not a folder"):
        rows_lib.data_dir()


def test_files_are_found_by_their_released_names(tmp_path, monkeypatch):
    monkeypatch.setenv("DOA_DATA_DIR", str(tmp_path))
    for name in ("wlp_dev_all.json", "wlp_train_all.part60.json", "wlp_mini_train_all.json", "wlp_dev.json"):
        (tmp_path / name).write_text(json.dumps({"source": name, "target": ""}))
    assert [row["source"] for row in rows_lib.read_split("wlp", "validation")] == ["wlp_dev_all.json"]
    assert [row["source"] for row in rows_lib.read_split("wlp", "train")] == ["wlp_train_all.part60.json"]
    with pytest.raises(rows_lib.DataFolderError, match=r"no wlp_test_all\*.json.*Put the released file there"):
        rows_lib.read_split("wlp", "test")
    with pytest.raises(ValueError, match="split: 'dev' is not one of"):
        rows_lib.read_split("wlp", "dev")
