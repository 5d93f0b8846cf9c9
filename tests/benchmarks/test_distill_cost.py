"""The benchmark of distillation's cost at tiny shapes: reports are complete and add up, and the walk counts right."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
_WAYS = ("live", "topk", "hidden")


def _report(tmp_path_factory, *words):
    output = tmp_path_factory.mktemp("report") / "report.json"
    command = [sys.executable, str(_BENCHMARKS / "distill_cost.py"), *words, "--output", str(output)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(output.read_text(encoding="utf-8"))
    assert json.loads(done.stdout) == report
    return report


@pytest.fixture(scope="module")
def timed(tmp_path_factory):
    return _report(tmp_path_factory, "--shapes", "tiny", "--batches", "2", "--rounds", "1")


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    return _report(tmp_path_factory, "--flops-only", "--model", "tiny")


@pytest.mark.slow
def test_totals_are_one_pass_of_the_teacher_and_ten_epochs(timed):
    parts, total = timed["median_seconds"]["ours"], timed["total_seconds"]
    assert all(seconds > 0 for seconds in parts.values())
    for way, once in zip(_WAYS, ("generate", "capture_topk", "capture_hidden"), strict=True):
        assert total[way] == pytest.approx(parts[once] + 10 * parts[way], abs=2e-3)
    assert timed["ratio"]["topk"] == pytest.approx(total["live"] / total["topk"], rel=0.05)


def test_students_of_a_store_learn_what_the_live_teachers_student_learns(timed):
    loss = timed["loss"]
    assert timed["targets_agree"] == {"topk": 1.0, "hidden": 1.0}
    assert {len(curve) for curve in loss["by_step"].values()} == {4}
    assert loss["hidden_within_bfloat16_rounding"]
    assert loss["hidden_largest_relative_difference"] > 0
    assert abs(loss["final_relative_difference"]["topk"]) < 0.05
    # A bucket for the rest hides differences within it.
    assert all(a < b for a, b in zip(loss["by_step"]["topk"], loss["by_step"]["live"], strict=True))


def test_a_store_was_written(timed):
    positions = 2 * 2 * 4  # batches, rows and target tokens
    assert timed["store_bytes"]["topk"] > positions * (32 * 4 + 2)
    assert timed["store_bytes"]["hidden"] > positions * 32 * 2
    assert timed["head_bytes"] > 32 * 64 * 4


def test_a_live_step_is_a_captured_one_and_the_teachers_pass(counted):
    assert len(counted["tasks"]) == 6
    for row in counted["tasks"].values():
        flops = row["flops_per_pass"]
        assert flops["live"] == flops["topk"] + flops["teacher"]
        head = 2 * counted["examples"] * row["target_tokens"] * 32 * 64
        assert flops["hidden"] == flops["topk"] + head
        assert flops["capture_topk"] == flops["capture_hidden"] == flops["generate"] >= flops["teacher"]
        total = {"live": flops["generate"] + 50 * flops["live"], "topk": flops["capture_topk"] + 50 * flops["topk"]}
        assert row["ratio"]["topk"] == round(total["live"] / total["topk"], 2)


def test_a_count_of_layers_and_products_by_hand_is_the_walks(counted):
    row = counted["tasks"]["wlp"]
    inputs, targets = row["input_tokens"], row["target_tokens"]
    width, heads, hidden, layers, vocab = 32, 4 * 8, 64, 2, 64
    mlp = 3 * width * hidden
    encoder = inputs * (4 * width * heads + mlp) + 2 * inputs * inputs * heads
    decoder = targets * (6 * width * heads + mlp) + inputs * 2 * width * heads
    decoder += 2 * targets * (targets + inputs) * heads
    by_hand = 2 * counted["examples"] * (layers * (encoder + decoder) + targets * width * vocab)
    assert row["flops_per_pass"]["teacher"] == by_hand


def test_a_pool_without_batches_is_refused():
    command = [sys.executable, str(_BENCHMARKS / "distill_cost.py"), "--batches", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "--batches is 0; at least 1 is needed." in done.stderr


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs the extra parity")
def test_the_peer_is_timed_beside_us(tmp_path_factory):
    report = _report(tmp_path_factory, "--shapes", "tiny", "--batches", "1", "--rounds", "1", "--peer", "hf")
    peer = report["median_seconds"]["hf"]
    assert report["total_seconds"]["hf"] == pytest.approx(peer["generate"] + 10 * peer["live"], abs=2e-3)
    assert report["ratio_to_peer"].keys() == set(_WAYS)
