"""A damaged built folder: what `doa data build` wrote is read whole, or refused with the fix."""

import struct

import pytest
from damage import damaged

from distill_or_annotate.data.building import folder as build_folder
from distill_or_annotate.preprocess import built
from distill_or_annotate.preprocess.rows import DataFolderError

ROWS = [{"source": f"who is nº {i}?", "target": "Ann", "targets": ["Ann", "Ann Lee"]} for i in range(6)]
TRAIN_FILE = "nq-train.tfrecord-00000-of-00001"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("built")
    build_folder.write(root / "nq" / built.VERSION, {"train": ROWS, "test": ROWS[:3]}, {"citation": "x"})
    return {path.name: path.read_bytes() for path in sorted((root / "nq" / built.VERSION).iterdir())}


def _written(root, files):
    folder = root / "nq" / built.VERSION
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_damage_is_refused_in_one_line_with_the_fix_or_does_no_harm(files, tmp_path):
    assert len(files) == 5 and TRAIN_FILE in files
    n_refused = 0
    for seed in range(40):
        name = sorted(files)[seed % len(files)]
        root = tmp_path / str(seed)
        folder = _written(root, {**files, name: damaged(files[name], seed)})
        try:
            built.splits("nq", root), built.provenance("nq", root)
            assert built.read_split("nq", "train", root) == ROWS, f"seed {seed}"
        except (built.BuiltError, DataFolderError) as error:
            n_refused += 1
            assert str(folder) in str(error) and "doa data build" in str(error) and str(error).isprintable(), seed
    assert 15 < n_refused < 40


def test_missing_rows_are_noticed_where_the_file_ends_between_two(files, tmp_path):
    content = files[TRAIN_FILE]
    # A record of a TFRecord: its length in 8 bytes, a check of these in 4, the bytes, a check of them in 4.
    (length,) = struct.unpack("<Q", content[:8])
    _written(tmp_path, {**files, TRAIN_FILE: content[: 3 * (length + 16)]})
    with pytest.raises(built.BuiltError, match=r"split 'train' cannot be read .*contain 6 elements .*only 3"):
        built.read_split("nq", "train", tmp_path)
