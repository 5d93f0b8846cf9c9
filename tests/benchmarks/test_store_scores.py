"""The benchmark of stores' scores: its pieces hang together, what is finished stays, and its arithmetic is right."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

_BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("store_scores", _BENCHMARKS / "store_scores.py")
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


def _student(score, step_seconds=0.1):
    return {"seconds": 50.0, "processor_seconds": 90.0, "steps": 670, "step_seconds": step_seconds, "score": score,
            "final_loss": 0.5}  # fmt: skip


@pytest.fixture
def measured():
    once = {"seconds": 10.0, "processor_seconds": 15.0}
    found = {"teacher": once, "generate": once, "capture_topk": {**once, "bytes": 7}}
    found |= {f"live_{seed}": _student(score) for seed, score in enumerate((60.0, 62.0, 64.0))}
    return found | {f"topk_{seed}": _student(score, 0.05) for seed, score in enumerate((60.0, 61.0, 63.5))}


_FLOPS = {"generate": 320, "capture_topk": 320, "capture_hidden": 320, "teacher": 300, "live": 400, "topk": 100,
          "hidden": 110}  # fmt: skip


def _report(bench, measured, ways=("live", "topk")):
    return bench.report(measured, {way: [0.1, 0.2, 0.3] for way in ways}, [0, 1, 2], _FLOPS)


def test_a_difference_of_means_is_told_in_the_live_teachers_standard_errors(bench, measured):
    found = _report(bench, measured)
    # By hand: a deviation of 2 over three seeds; 61.5 - 62.
    assert found["ways"]["live"]["score"] == {"by_seed": [60.0, 62.0, 64.0], "mean": 62.0, "standard_error": 1.155}
    against = found["against_live"]["topk"]
    assert against["score_difference"] == -0.5
    assert against["in_standard_errors_of_live"] == pytest.approx(-0.5 / 1.1547, abs=0.01)
    assert against["within_one_standard_error_of_live"]
    measured["topk_2"]["score"] = 58.0
    assert not _report(bench, measured)["against_live"]["topk"]["within_one_standard_error_of_live"]


def test_the_first_pass_is_counted_in_seconds_and_operations(bench, measured):
    ways = _report(bench, measured)["ways"]
    assert ways["live"]["seconds"]["first_pass_and_training_steps"] == pytest.approx(10 + 670 * 0.1)
    assert ways["topk"]["seconds"]["first_pass_and_training_steps"] == pytest.approx(10 + 670 * 0.05)
    live, topk = ways["live"]["flops"], ways["topk"]["flops"]
    assert live["total"] == 320 * 4287 / 32 + 670 * 400
    assert live["teacher_share"] == round((320 * 4287 / 32 + 670 * 300) / live["total"], 3)
    assert topk["total"] == 320 * 4387 / 32 + 670 * 100  # the gold labels pass through the teacher, too
    assert topk["teacher_share"] == round(320 * 4387 / 32 / topk["total"], 3)
    assert ways["topk"]["store_bytes"] == 7 and ways["live"]["store_bytes"] == 0


def test_one_seed_has_no_standard_error(bench, measured):
    against = bench.report(measured, {"live": [0.1], "topk": [0.1]}, [0], _FLOPS)["against_live"]["topk"]
    assert "within_one_standard_error_of_live" not in against and against["score_difference"] == 0


def test_students_read_what_their_ways_first_pass_writes(bench, tmp_path):
    pieces = bench.store_pieces.pieces(tmp_path, ["topk", "hidden"], [0, 1, 2])
    names = [piece.name for piece in pieces]
    assert (
        names[:4] == ["teacher", "generate", "capture_topk", "capture_hidden"] and len(names) == len(set(names)) == 13
    )
    assert {names[place] for place in (4, 7, 10)} == {"live_0", "topk_1", "hidden_2"}, "each way begins once"
    macros = {piece.name: piece.program.macros for piece in pieces}
    for kind in ("topk", "hidden"):
        assert macros[f"{kind}_1"]["STORE"] == macros[f"capture_{kind}"]["INFER_OUTPUT_DIR"]
        assert macros[f"{kind}_1"]["GOLD"] == macros[f"capture_{kind}"]["GIVEN_TASK"]
        assert macros[f"capture_{kind}"]["KIND"] == kind
    assert macros["live_1"]["PREDICTIONS"].startswith(macros["generate"]["infer.output_dir"])
    assert macros["live_1"]["TEACHER_PATH"] == macros["generate"]["CHECKPOINT_PATH"] == macros["teacher"]["MODEL_DIR"]
    assert {macros[f"{way}_2"]["RANDOM_SEED"] for way in ("live", "topk", "hidden")} == {2}


def test_a_finished_piece_is_kept_and_one_of_other_settings_refused(bench, tmp_path, monkeypatch):
    piece = bench.store_pieces.pieces(tmp_path, [], [0])[-1]
    runs = []
    monkeypatch.setattr(bench.store_pieces, "_timed", lambda *_: runs.append(1) or {"seconds": 1.0})
    monkeypatch.setattr(bench.store_pieces, "_last_loss", lambda folder: 0.5)
    monkeypatch.setattr("distill_or_annotate.pipeline.evaluation.evaluate", lambda *_, **__: {"score": 60.0})
    left = tmp_path / piece.name / "left.txt"
    left.parent.mkdir()
    left.write_text("of an interrupted run")
    first = bench.store_pieces.run(piece, tmp_path)
    assert not left.exists() and first == {"seconds": 1.0, "score": 60.0, "final_loss": 0.5}
    assert bench.store_pieces.run(piece, tmp_path) == first and len(runs) == 1
    file = tmp_path / piece.name / "done.json"
    done = json.loads(file.read_text())
    done["settings"]["macros"]["RANDOM_SEED"] = 7
    file.write_text(json.dumps(done))
    with pytest.raises(SystemExit, match="was run with other settings"):
        bench.store_pieces.run(piece, tmp_path)


def test_the_step_that_compiles_is_left_out_of_the_median(bench):
    reports = [(20, 30.0), (40, 32.0), (60, 34.0), (70, 36.0)]
    assert bench.store_pieces.seconds_per_step(reports) == pytest.approx(0.1)


def test_a_seed_given_twice_is_refused(bench, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["store_scores.py", "--seeds", "1", "1"])
    with pytest.raises(SystemExit, match="2"):
        bench.main()
    assert "--seeds: received [1, 1]; each may be given once." in capsys.readouterr().err
