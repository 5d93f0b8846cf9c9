"""Tables of every form are read alike; what cannot be read for certain is refused in words."""

import json
import random

import pyarrow
import pyarrow.parquet
import pytest

from distill_or_annotate.own_tasks.splits import rows_of
from distill_or_annotate.own_tasks.tables import TableError, read_table

ROWS = [("It rained, all day.", "wet"), ('She said "no".', "dry"), ("Café ☕ at 5\nold street", "dry")]


def _write(path, rows=ROWS):
    kind = path.suffix
    if kind == ".parquet":
        table = pyarrow.table({"text": [text for text, _ in rows], "label": [label for _, label in rows]})
        pyarrow.parquet.write_table(table, path)
    elif kind == ".jsonl":
        path.write_text("".join(json.dumps({"text": t, "label": la}) + "\n" for t, la in rows), encoding="utf-8")
    else:
        mark = {".csv": ",", ".tsv": "\t"}[kind]
        cells = [[f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row] for row in [("text", "label"), *rows]]
        path.write_text("".join(mark.join(row) + "\r\n" for row in cells), encoding="utf-8", newline="")
    return path


def _read(path, **options):
    table = read_table(path, ["text", "label"], **options)
    return rows_of(table, ["text"], "label")[0]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet", "A.CSV"])
def test_every_form_gives_the_same_rows_and_white_space_becomes_one_space(name, tmp_path):
    path = _write(tmp_path / name.lower()).rename(tmp_path / name)
    expected = [{"source": " ".join(text.split()), "target": label} for text, label in ROWS]
    assert _read(path) == expected


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_delimiter_of_a_csv_is_found_out_from_its_header(mark, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"id{mark} text {mark}label\n1{mark}a, b; c{mark}x\n".replace("a, b; c", "a b"))
    assert _read(path) == [{"source": "a b", "target": "x"}]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_the_encoding(encoding, tmp_path):
    (tmp_path / "a.csv").write_text("text,label\nCafé,x\n", encoding=encoding)
    assert _read(tmp_path / "a.csv") == [{"source": "Café", "target": "x"}]


def test_an_encoding_that_is_named_is_used_and_one_that_is_not_is_asked_for(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\nCafé,x\n".encode("cp1252"))
    with pytest.raises(TableError, match=r"not UTF-8 \(lines 2\).*--encoding cp1252"):
        _read(path)
    assert _read(path, encoding="cp1252")[0]["source"] == "Café"


def _damaged(data):
    return lambda path: path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"txt,label\na,b\n", r"no column 'text' in its header; did you mean 'txt'\? It has: 'txt', 'label'"),
        ("a.csv", b"Text,label\na,b\n", "did you mean 'Text'"),
        ("a.csv", b"text,text,label\na,b,c\n", "2 columns are named 'text'"),
        ("a.csv", b"text,label\n", "holds no row"),
        ("a.csv", b" \n", "is empty"),
        ("a.csv", b'text,label\na,"b\nc,d\n', r"line 2: no CSV from here on"),
        (
            "a.csv",
            "text,label\nCafé,x\n".encode() + "naïve,x\n".encode("latin-1"),
            r"mixes encodings: 1 lines .*3.*, 1",
        ),
        ("a.csv", b"text,label\na\0b,x\n", "zero bytes"),
        ("a.csv", b"text,label\na,x\nb\n", r"1 of 2 rows cannot be used \(line 3: it has 1 cells, the header 2\)"),
        (
            "a.csv",
            b"text,label\na,x\n,y\nb,\n",
            r"2 of 3 rows .*line 3: the cell of 'text' is empty; line 4",
        ),
        ("a.jsonl", b'{"text": "a", "label": 1}\nnot json\n', "line 2: it is not JSON"),
        ("a.jsonl", b'[{"text": "a", "label": 1}\n]', "JSON array, not JSON lines"),
        ("a.jsonl", b'{"text": ["a"], "label": "x"}\n', "the cell of 'text' is a list"),
        ("a.jsonl", b'{"text": "\\ud800", "label": "x"}\n', "half of a surrogate pair"),
        ("a.jsonl", b'{"texts": "a", "label": "x"}\n', "did you mean 'texts'"),
        ("a.parquet", b"PAR1 no", "cannot be read as Parquet"),
        ("a.xlsx", b"PK", "files ending in '.xlsx' are not read"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place_and_a_fix(name, data, message, tmp_path):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(TableError, match=message):
        _read(path)


def test_skipping_counts_what_it_leaves_out(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\na,x\n,y\nb\nc,z\n")
    rows, bad = rows_of(read_table(tmp_path / "a.csv", ["text", "label"]), ["text"], "label", on_bad_row="skip")
    assert [row["source"] for row in rows] == ["a", "c"] and [row.line for row in bad] == [3, 4]


def test_of_several_text_columns_each_text_stands_after_its_column_s_name(tmp_path):
    (tmp_path / "a.csv").write_text("one,two,same\nIt rains.,Rain falls.,yes\nIt rains.,,no\n")
    table = read_table(tmp_path / "a.csv", ["one", "two", "same"])
    rows, bad = rows_of(table, ["one", "two"], "same", on_bad_row="skip")
    assert rows == [{"source": "one: It rains. two: Rain falls.", "target": "yes"}]
    assert [row.problem for row in bad] == ["the cell of 'two' is empty"]
    (tmp_path / "a.txt").write_text("It rains.\n")
    with pytest.raises(TableError, match="plain text, which has one column, not one, two"):
        read_table(tmp_path / "a.txt", ["one", "two"])


def test_a_list_of_labels_is_one_target_with_all_accepted_ones_beside_it(tmp_path):
    lines = [{"text": "a", "label": ["x  y", "z", "z"]}, {"text": "b", "label": ["only"]}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    first, second = _read(tmp_path / "a.jsonl")
    assert first == {"source": "a", "target": "x y", "targets": ["x y", "z"]}
    assert second == {"source": "b", "target": "only"}


def test_numbers_are_labels_too_and_nothing_is_an_empty_cell(tmp_path):
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", "b"], "label": [1, None]}), tmp_path / "a.parquet")
    with pytest.raises(TableError, match="line 2: the cell of 'label' is empty"):
        _read(tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text('{"text": "a", "label": 1}\n{"text": "b", "label": NaN}\n')
    with pytest.raises(TableError, match="line 2: the cell of 'label' is empty"):
        _read(tmp_path / "a.jsonl")


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet"])
def test_randomly_damaged_files_are_read_or_refused_in_words(name, tmp_path):
    """250 of each form: bytes changed, cut out, doubled; the message is never a bare traceback's."""
    rng, path = random.Random(name), _write(tmp_path / name, ROWS * 4)
    whole, refused = path.read_bytes(), 0
    for _ in range(250):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 3, 20))):
            place = rng.randrange(len(data))
            data[place : place + rng.choice((0, 1, 8))] = rng.randbytes(rng.choice((0, 1, 4)))
        path.write_bytes(bytes(data))
        try:
            _read(path)
        except TableError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 50
