"""Our files are what the safetensors library reads, and damage is named."""

import json
import struct

import ml_dtypes
import numpy as np
import pytest
from safetensors import numpy as library

from distill_or_annotate.interop import safetensors_files, tensors


def _write(path, arrays, dtype="float32", **metadata):
    contents = {name: tensors.in_memory(array) for name, array in arrays.items()}
    safetensors_files.write_file(path, contents, tensors.DTYPES[dtype], metadata)


def test_the_library_reads_what_we_write_and_we_read_what_it_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(tensors, "PIECE_BYTES", 64)
    arrays = {"b": np.arange(35, dtype=np.float32).reshape(7, 5) / 3, "a": np.ones(3, np.float32)}
    _write(tmp_path / "ours.safetensors", arrays, step="3")
    read = library.load_file(tmp_path / "ours.safetensors")
    assert set(read) == {"a", "b"}
    np.testing.assert_array_equal(read["b"], arrays["b"])

    library.save_file(arrays, tmp_path / "theirs.safetensors", metadata={"step": "3"})
    found, metadata = safetensors_files.open_file(tmp_path / "theirs.safetensors")
    assert metadata == {"step": "3"} and found["b"].shape == (7, 5)
    np.testing.assert_array_equal(found["b"].whole(), arrays["b"])
    np.testing.assert_array_equal(found["b"].read(1, 2, 4), arrays["b"][:, 2:4])


def test_bfloat16_is_rounded_to_nearest_and_read_back(tmp_path):
    array = np.linspace(-1, 1, 77, dtype=np.float32)
    _write(tmp_path / "m.safetensors", {"a": array}, "bfloat16")
    found, _ = safetensors_files.open_file(tmp_path / "m.safetensors")
    assert found["a"].dtype == tensors.BFLOAT16
    np.testing.assert_array_equal(found["a"].whole(), array.astype(ml_dtypes.bfloat16).astype(np.float32))


def _odd_headers():
    for header in (
        [1, 2],
        {"a": 3},
        {"a": {"dtype": "F32"}},
        {"a": {"dtype": [], "shape": [1], "data_offsets": [0, 4]}},
    ):
        encoded = json.dumps(header).encode()
        yield struct.pack("<Q", len(encoded)) + encoded + b"\0" * 8


def test_a_cut_file_names_the_tensor_and_a_foreign_one_itself(tmp_path):
    path = tmp_path / "m.safetensors"
    _write(path, {"first": np.ones(4, np.float32), "last": np.ones((50, 2), np.float32)})
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(ValueError, match=r"m\.safetensors: tensor last of shape \(50, 2\) ends at byte"):
        safetensors_files.open_file(path)
    for foreign in (whole[:30], b"", b"PK\x03\x04" + b"\0" * 60, struct.pack("<Q", 8) + b"not json", *_odd_headers()):
        path.write_bytes(foreign)
        with pytest.raises(ValueError, match="is no safetensors file"):
            safetensors_files.open_file(path)


def test_types_that_no_weights_have_are_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    header = json.dumps({"a": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 8)
    with pytest.raises(ValueError, match="tensor a is of dtype I64; allowed for weights: F32, BF16, F16"):
        safetensors_files.open_file(path)
