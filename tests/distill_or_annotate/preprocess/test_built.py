"""What was built is read back row by row, and a damaged or missing folder says what to do."""

import pytest

from distill_or_annotate.data.building import folder as build_folder
from distill_or_annotate.preprocess import built
from distill_or_annotate.preprocess.rows import DataFolderError

ROWS = [
    {"source": "who invented the left-handed spoon?", "target": "Ada Löffel", "targets": ["Ada Löffel", "A. Löffel"]},
    {"source": "a\u2028b", "target": ""},
]


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("DOA_DATA_DIR", str(tmp_path))
    return tmp_path


def test_a_task_that_was_not_built_has_no_splits(data_dir):
    assert built.folder("wlp") == data_dir / "built" / "wlp" / "1.0.0"
    assert built.splits("wlp") == () and built.provenance("wlp") is None
    with pytest.raises(DataFolderError, match=r"has nothing\. Make it with `doa data build wlp --test FILES"):
        built.read_split("wlp", "test")


def test_rows_come_back_in_order_over_several_files(data_dir, monkeypatch):
    monkeypatch.setattr(build_folder, "ROWS_A_FILE", 40)
    many = [{"source": f"sentence {n}", "target": "t"} for n in range(95)]
    build_folder.write(built.folder("nq"), {"test": ROWS, "train": many}, {"citation": "A, B", "seed": 1})
    assert built.splits("nq") == ("train", "test")
    assert built.read_split("nq", "train") == many
    assert built.read_split("nq", "test") == ROWS
    assert built.provenance("nq")["seed"] == 1
    assert len(list(built.folder("nq").glob("nq-train.tfrecord-*-of-00003"))) == 3
    with pytest.raises(ValueError, match="split: 'dev' is not one of"):
        built.read_split("nq", "dev")


def test_a_damaged_folder_is_named_with_the_fix(data_dir):
    build_folder.write(built.folder("nq"), {"test": ROWS}, {})
    record = next(built.folder("nq").glob("*tfrecord*"))
    record.write_bytes(record.read_bytes()[:-3])
    with pytest.raises(built.BuiltError, match=r"split 'test' cannot be read.*--force"):
        built.read_split("nq", "test")
    (built.folder("nq") / "dataset_info.json").write_text("[")
    with pytest.raises(built.BuiltError, match=r"dataset_info\.json cannot be read"):
        built.splits("nq")
