"""An output is gone on with only where it was made from the same, and after its last whole line."""

import json
import subprocess
import sys

import pytest

from distill_or_annotate.serving import output

_MADE_FROM = {"input": "abc", "--labels": ["a", "b"], "--beam": 1}


def _lines(n, start=0):
    return "".join(json.dumps({"id": i}) + "\n" for i in range(start, n)).encode()


def _begin(path, n, rows=10):
    with output.to_file(path, _MADE_FROM, rows) as (stream, done):
        assert done == 0
        stream.write(_lines(n))


def test_a_new_file_gets_its_description_before_its_first_line(tmp_path):
    path = tmp_path / "new" / "out.jsonl"
    with output.to_file(path, _MADE_FROM, 3) as (stream, done):
        assert done == 0
        assert json.loads(output.sidecar(path).read_text()) == _MADE_FROM
        stream.write(_lines(3))
    assert path.read_bytes() == _lines(3) and output.sidecar(path).name == "out.jsonl.meta.json"


@pytest.mark.parametrize("cut", [b"", b'{"id": 4', b'{"id": "\xc3'])
def test_what_was_cut_off_after_the_last_whole_line_goes(tmp_path, cut):
    path = tmp_path / "out.jsonl"
    _begin(path, 4)
    with path.open("ab") as stream:
        stream.write(cut)
    with output.to_file(path, _MADE_FROM, 10) as (stream, done):
        assert done == 4
        stream.write(_lines(10, 4))
    assert path.read_bytes() == _lines(10)


def test_another_input_model_or_setting_is_refused_by_name(tmp_path):
    path = tmp_path / "out.jsonl"
    _begin(path, 2)
    other = {**_MADE_FROM, "input": "abd", "--labels": ["a"]}
    with (
        pytest.raises(
            output.OutputError, match=r'input: "abc" then, "abd" now; --labels: \["a", "b"\] then, \["a"\] now'
        ),
        output.to_file(path, other, 10),
    ):
        pass
    assert path.read_bytes() == _lines(2)
    with output.to_file(path, other, 10, overwrite=True) as (_, done):
        assert done == 0
    assert path.read_bytes() == b"" and json.loads(output.sidecar(path).read_text()) == other


def _refused(path, match, rows=10):
    with pytest.raises(output.OutputError, match=match), output.to_file(path, _MADE_FROM, rows):
        pass


def test_a_file_of_somebody_elses_is_left_alone(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("mine\n")
    _refused(path, r"exists, and no out\.jsonl\.meta\.json says what it was made from\. Fix: .*--overwrite")
    output.sidecar(path).write_text("no JSON")
    _refused(path, "is no JSON")
    output.sidecar(path).write_text("[]")
    _refused(path, "holds no object")
    output.sidecar(path).write_text(json.dumps(_MADE_FROM))
    _refused(path, r"out\.jsonl, line 1: it is not JSON")
    assert path.read_text() == "mine\n"
    path.write_bytes(_lines(4))
    _refused(path, "has 4 lines, the input 3 rows", rows=3)
    _refused(tmp_path, "is a folder")


def test_two_processes_do_not_write_one_file(tmp_path):
    path = tmp_path / "out.jsonl"
    program = (
        "import sys, pathlib; from distill_or_annotate.serving import output\n"
        "with output.to_file(pathlib.Path(sys.argv[1]), {}, 1, overwrite=True): print('written')"
    )
    with output.to_file(path, _MADE_FROM, 1) as (stream, _):
        stream.write(_lines(1))
        stream.flush()
        done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True)
    assert done.returncode and "is being written by another process" in done.stderr
    assert path.read_bytes() == _lines(1)
