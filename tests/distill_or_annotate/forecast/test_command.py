"""From gin files to a table: a tiny experiment on virtual CPU devices, compiled once and kept."""

import argparse
import dataclasses
import json

import pytest

from distill_or_annotate.forecast import cache, command, devices, meshes, programs

_TINY = """
from __gin__ import dynamic_registration
from t5x import models
from t5x.examples.t5 import network
include 'gin/runs/{run}.gin'
include 'gin/models/mini_base.gin'
include 'gin/tasks/mini.gin'
network.T5Config:
  emb_dim = 16
  num_heads = 2
  head_dim = 8
  mlp_dim = 32
  num_encoder_layers = 1
  num_decoder_layers = 1
DROPOUT_RATE = 0.0
"""
_TRAIN = """
MODEL = @models.EncoderDecoderModel()
INITIAL_CHECKPOINT_PATH = []
MODEL_DIR = 'runs/none'
N_LABELS = 64
DATA_SEED = 0
RANDOM_SEED = 0
EPOCHS = 2
"""
_DISTILL = """
TEACHER_MODEL = @models.EncoderDecoderModel()
TEACHER_PATH = 'none'
PREDICTIONS = 'none'
"""
_SCENARIO = """
scenarios.Scenario:
  name = 'tiny'
  n_labels = 96
  teacher_gin = '{0}/teacher.gin'
  capture_gin = '{0}/capture.gin'  # labels the pool
  distill_gin = '{0}/distill.gin'
scenarios.Scenario.task_gin = ''
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gin")
    (folder / "teacher.gin").write_text(_TINY.format(run="labelled") + _TRAIN)
    (folder / "distill.gin").write_text(_TINY.format(run="distill") + _TRAIN + _DISTILL)
    capture = "MODEL = @models.EncoderDecoderModel()\nCHECKPOINT_PATH = 'none'\nINFER_OUTPUT_DIR = 'none'\n"
    (folder / "capture.gin").write_text(_TINY.format(run="capture") + capture + "N_UNLABELED = 1000\n")
    (folder / "scenario.gin").write_text(_SCENARIO.format(folder))
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DOA_CACHE_DIR", str(tmp_path))


def _args(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(words)


def _json(capsys, *words):
    status = command.run(_args(*words, "--json"))
    return status, json.loads(capsys.readouterr().out)


def test_a_scenario_is_its_programs(tiny):
    found = programs.experiment([str(tiny / "scenario.gin")], ["BATCH_SIZE = 8"], examples=500)
    assert [program.kind for program in found] == ["finetune", "encode", "capture", "distill_live", "distill_captured"]
    assert "N_LABELS = 96" in found[0].bindings and "N_UNLABELED = 500" in found[3].bindings
    assert all("BATCH_SIZE = 8" in program.bindings for program in found)
    assert programs.experiment([str(tiny / "teacher.gin")])[0].kind == "train"
    assert programs.experiment([str(tiny / "distill.gin")])[0].kind == "distill_live"


def test_a_forecast_by_hand_and_from_the_cache(tiny, capsys, monkeypatch):
    words = ("--gin_file", str(tiny / "teacher.gin"), "--mesh", "cpu-1", "--set", "BATCH_SIZE=16")
    status, found = _json(capsys, *words)
    row = found["forecasts"][0]["programs"][0]
    assert status == 0 and row["fits"] and row["spare_bytes"] > 0
    assert row["costs"]["batch_size"] == 16 and row["costs"]["steps"] == 64 * 2 // 16
    assert row["hours"] == pytest.approx(row["seconds"] * 8 / 3600)
    assert row["usd"] == pytest.approx(row["hours"] * 0.08)
    attention, mlp, tables, norms = 4 * 16 * 16, 3 * 16 * 32, 2 * 32 * 2, 7 * 16
    assert row["costs"]["parameters"] == 2 * 1024 * 16 + 3 * attention + 2 * mlp + tables + norms
    # float32 parameters, Adafactor's moments (unfactored for such small arrays), and the batch.
    assert row["costs"]["argument_bytes"] > 4 * row["costs"]["parameters"]

    def never(*_):
        raise AssertionError("traced again")

    monkeypatch.setattr(programs, "trace", never)
    again = _json(capsys, *words)[1]["forecasts"][0]["programs"][0]
    assert again["costs"] == row["costs"]


def test_capture_and_both_ways_to_distill_on_eight_devices(tiny, capsys, tmp_path):
    table = tmp_path / "table.md"
    words = ["--gin_file", str(tiny / "scenario.gin"), "--mesh", "cpu-8", "--only", "capture", "--only", "distill"]
    status, found = _json(capsys, *words, "--markdown", str(table), "--examples", "512")
    rows = {row["kind"]: row for row in found["forecasts"][0]["programs"]}
    assert status == 0 and set(rows) == {"encode", "capture", "distill_live", "distill_captured"}
    flops = {kind: row["costs"]["flops"] for kind, row in rows.items()}
    assert 0 < flops["encode"] < flops["capture"]
    # One network of this size takes 6 of a forward pass's 2 operations a weight, its teacher another 2.
    assert flops["distill_live"] == pytest.approx(4 / 3 * flops["distill_captured"], rel=0.05)
    assert rows["distill_live"]["costs"]["collectives"]
    assert rows["capture"]["costs"]["steps"] == 2  # batches of 256
    ways = found["forecasts"][0]["ways"]
    both = [ways["teacher live at each step"], ways["teacher captured once"]]
    assert both[1]["flops"] < both[0]["flops"]
    assert both[0]["usd"] == pytest.approx(rows["capture"]["usd"] + rows["distill_live"]["usd"])
    assert "| scenario | cpu-8 | teacher captured once | yes |" in table.read_text()


def test_one_shape_is_compiled_once(tiny, monkeypatch):
    meshes.prepare([devices.mesh_facts("cpu-1")])
    program = programs.experiment([str(tiny / "teacher.gin")])[0]
    other = dataclasses.replace(program, bindings=(*program.bindings, "DATA_SEED = 3"))
    facts = devices.mesh_facts("cpu-1")
    assert cache.request_key(program, facts) != cache.request_key(other, facts)
    costs = command.costs_of(program, facts)

    def never(*_):
        raise AssertionError("compiled again")

    monkeypatch.setattr(programs, "compile_costs", never)
    assert command.costs_of(other, facts) == costs


def test_a_damaged_entry_is_made_anew(tmp_path):
    (cache.folder()).mkdir(parents=True)
    (cache.folder() / "ab.json").write_text('{"parameters": 1')
    assert cache.read("ab") is None and cache.read("missing") is None


@pytest.mark.parametrize(
    "words, message",
    [
        (["--mesh", "v5q-8"], "did you mean .*v5p-8"),
        (["--mesh", "cpu-1", "--set", "BATCH_SIZE"], "MACRO=VALUE"),
        (["--mesh", "cpu-1", "--set", "BATCH_SIZ=3"], "BATCH_SIZ .did you mean BATCH_SIZE"),
        (["--mesh", "cpu-1", "--only", "capture"], "no such program"),
        (["--mesh", "cpu-1", "--examples", "0"], "--examples is 0"),
        (["--mesh", "v5p-8", "--book", "local"], "no price 'device_hour/v5p'"),
    ],
)
def test_what_cannot_be_forecast_is_said(tiny, words, message):
    with pytest.raises(ValueError, match=message):
        command.run(_args("--gin_file", str(tiny / "teacher.gin"), *words))


def test_a_missing_gin_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"nowhere\.gin"):
        command.run(_args("--gin_file", "nowhere.gin", "--mesh", "cpu-1"))


def test_a_refusal_for_lack_of_memory_says_how_much_is_needed():
    said = "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 45.61G of 15.75G hbm. Exceeded by 29.86G."
    assert programs.needed_bytes(said) == int(45.61 * 2**30)
    said = "RESOURCE_EXHAUSTED: the total memory required for HLO temporaries (80.00G) exceeds available HBM (31.25G)."
    assert programs.needed_bytes(said, argument_bytes=7) == (80 << 30) + 7
    assert programs.needed_bytes("INTERNAL: no such thing") is None
