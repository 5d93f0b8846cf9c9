"""`doa predict`: rows in, the same rows with predictions out, also after it was killed."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from distill_or_annotate import cli
from distill_or_annotate.serving import models, predict_command
from distill_or_annotate.serving.predictor import Predictor

_WORDS = ["galate", "some", "tulol", "with", "the", "fully", "dorous", "lurcap", "now", "slowly"]
_SHORT = ("--max-input-tokens", "16", "--max-output-tokens", "4")


def _rows(n, seed=0):
    rng = np.random.default_rng(seed)
    return [{"source": " ".join(rng.choice(_WORDS, rng.integers(1, 7))), "id": i} for i in range(n)]


def _json_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def _doa(*words):
    return cli.main(["predict", *map(str, words)])


@pytest.fixture
def ten(tmp_path):
    return _json_lines(tmp_path / "in.jsonl", _rows(10))


def test_rows_keep_their_fields_and_order_and_gain_a_prediction(ten, tmp_path, hugging_face, capsys):
    out = tmp_path / "out.jsonl"
    assert _doa("--model", hugging_face, "--input", ten, "--output", out, "--batch-size", 4, *_SHORT) == 0
    rows = _read(out)
    expected = Predictor(models.load(hugging_face), 16, 4, batch_size=4).predict([row["source"] for row in _rows(10)])
    assert [{k: row[k] for k in ("source", "id")} for row in rows] == _rows(10)
    assert [row["prediction"] for row in rows] == [prediction.text for prediction in expected]
    assert [row["confidence"] for row in rows] == pytest.approx([p.probability for p in expected], rel=1e-3)
    assert "10 rows in" in capsys.readouterr().err

    # The same command on a complete file does nothing; per token the confidence is the geometric mean.
    before = out.read_bytes()
    assert _doa("--model", hugging_face, "--input", ten, "--output", out, "--batch-size", 4, *_SHORT) == 0
    assert "is complete: 10 rows are there" in capsys.readouterr().err and out.read_bytes() == before
    assert _doa("--model", hugging_face, "--input", ten, *_SHORT, "--confidence", "token") == 0
    for line, prediction in zip(capsys.readouterr().out.splitlines(), expected, strict=True):
        mean = np.exp(prediction.log_probability / prediction.tokens)
        assert json.loads(line)["confidence"] == pytest.approx(mean, rel=1e-3)


def test_labels_from_a_table_with_quotes_through_standard_input(hugging_face, capsys, monkeypatch):
    table = io.StringIO()
    csv.writer(table).writerows([["id", "text"], ["1", 'now, "some"\ntulol'], ["2", ""], ["3", "galate " * 20]])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(table.getvalue().encode())))
    words = ("--input", "-", "--format", "csv", "--field", "text", "--labels", 'gentle, harsh,"now, now"', "--scores")
    assert _doa("--model", hugging_face, *words, *_SHORT) == 0
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    assert [row["id"] for row in rows] == ["1", "2", "3"] and rows[0]["text"] == 'now, "some"\ntulol'
    for row in rows:
        assert list(row["scores"]) == ["gentle", "harsh", "now, now"]
        scores = np.array(list(row["scores"].values()))
        weights = np.exp(scores - scores.max())
        assert row["prediction"] == list(row["scores"])[int(scores.argmax())]
        assert row["confidence"] == pytest.approx((weights / weights.sum()).max(), abs=1e-3)
    assert "1 inputs were cut to 16 tokens; 1 inputs were empty" in captured.err


def test_killed_and_started_again_every_row_is_there_once(tmp_path, hugging_face):
    rows, out = _rows(2000), tmp_path / "out.jsonl"
    source = _json_lines(tmp_path / "in.jsonl", rows)
    words = ["--model", hugging_face, "--input", source, "--output", out, "--batch-size", 4, *_SHORT]
    process = subprocess.Popen(
        [sys.executable, "-m", "distill_or_annotate", "predict", *map(str, words)], stderr=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 120
        while not (out.exists() and out.stat().st_size) and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.002)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        message = process.communicate()[1].decode()
    assert process.returncode == -signal.SIGKILL, message
    n_before = len(_read(out))
    assert 0 < n_before < len(rows)
    kept = out.read_bytes()
    # As though the kill had come in the middle of a line, and in the middle of a window of 64 rows.
    cut = kept[: -len(kept.splitlines(keepends=True)[-1]) - 7]
    out.write_bytes(cut)
    assert _doa(*words) == 0
    assert [row["id"] for row in _read(out)] == list(range(len(rows)))
    assert out.read_bytes().startswith(cut)
    whole = tmp_path / "whole.jsonl"
    assert _doa(*["--model", hugging_face, "--input", source, "--output", whole, "--batch-size", 4, *_SHORT]) == 0
    for row, expected in zip(_read(out), _read(whole), strict=True):
        assert row["confidence"] == pytest.approx(expected.pop("confidence"), rel=1e-3)
        assert {**row, **expected} == row


def test_a_file_made_from_other_rows_is_not_gone_on_with(ten, tmp_path, hugging_face, capsys):
    out = tmp_path / "out.jsonl"
    words = ("--model", hugging_face, "--output", out, "--labels", "gentle,harsh")
    assert _doa(*words, "--input", ten) == 0
    other = _json_lines(tmp_path / "other.jsonl", _rows(10, seed=1))
    before = out.read_bytes()
    assert _doa(*words, "--input", other) == 2
    message = capsys.readouterr().err
    assert "was made from something else (input: " in message and "--overwrite" in message
    assert out.read_bytes() == before
    assert _doa(*words, "--input", other, "--overwrite") == 0
    assert [row["source"] for row in _read(out)] == [row["source"] for row in _rows(10, seed=1)]


_REFUSED = {
    "column": (("--field", "text"), "no field 'text'; it has ['id', 'source']"),
    "labels and decode": (("--labels", "a,b", "--decode"), "--decode and --labels contradict each other"),
    "labels and beam": (("--labels", "gentle,harsh", "--beam", "2"), "--beam is for what a model writes"),
    "scores alone": (("--scores",), "--scores needs label words"),
    "batch": (("--batch-size", "0"), "--batch-size is 0; allowed: 1 and more"),
    "length": (("--max-input-tokens", "0"), "input_tokens is 0"),
    "vocabulary": (("--vocabulary", "absent.model"), "no vocabulary at absent.model"),
}


@pytest.mark.parametrize("name", _REFUSED)
def test_what_cannot_be_done_is_said_in_one_line(ten, tmp_path, hugging_face, capsys, name):
    words, message = _REFUSED[name]
    out = tmp_path / "out.jsonl"
    assert _doa("--model", hugging_face, "--input", ten, "--output", out, *words) == 2
    assert message in capsys.readouterr().err and not out.exists()


def test_the_input_is_not_written_over(ten, hugging_face, capsys):
    before = ten.read_bytes()
    assert _doa("--model", hugging_face, "--input", ten, "--output", ten, "--overwrite") == 2
    assert "is the input" in capsys.readouterr().err and ten.read_bytes() == before


def test_rows_that_cannot_be_used_are_named_or_left_out(tmp_path, hugging_face, capsys):
    source = tmp_path / "in.jsonl"
    source.write_text('{"source": "now"}\n{"sour\n{"source": "some"}\n')
    words = ("--model", hugging_face, "--input", source, "--labels", "gentle,harsh")
    assert _doa(*words) == 2
    assert "in.jsonl, line 2: it is not JSON" in capsys.readouterr().err
    assert _doa(*words, "--on-bad-row", "skip") == 0
    captured = capsys.readouterr()
    assert [json.loads(line)["source"] for line in captured.out.splitlines()] == ["now", "some"]
    assert "left out: " in captured.err and "1 rows were left out" in captured.err


def test_a_reader_that_stops_early_is_no_failure(tmp_path, hugging_face):
    source = _json_lines(tmp_path / "in.jsonl", _rows(1000))
    words = f"--model {hugging_face} --input {source} --labels gentle,harsh --batch-size 8"
    command = f"set -o pipefail; {sys.executable} -m distill_or_annotate predict {words} | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Broken pipe" not in done.stderr and "Traceback" not in done.stderr
    assert json.loads(done.stdout)["id"] == 0


def test_windows_hold_every_row_in_order():
    rows = [{"id": i} for i in range(7)]
    assert list(predict_command._windows(iter(rows), 3)) == [rows[:3], rows[3:6], rows[6:]]
    assert list(predict_command._windows(iter(rows[:6]), 3)) == [rows[:3], rows[3:6]]
