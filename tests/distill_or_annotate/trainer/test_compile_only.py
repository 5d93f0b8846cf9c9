"""The step of a full-size model for a mesh of virtual devices, by command: what is lowered, what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from distill_or_annotate.forecast import train_step

_ROOT = Path(__file__).parents[3]
_SMALL = "gin/experiments/t5x_finetune_wlp.gin"
_COMMAND = (sys.executable, "-m", "distill_or_annotate.trainer.compile_only")


def _run(*words):
    environment = {name: value for name, value in os.environ.items() if name != "DOA_DATA_DIR"}
    return subprocess.run(
        [*_COMMAND, *words], cwd=_ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False
    )


def test_t5_small_is_lowered_for_eight_devices_from_the_documented_macros_alone():
    done = _run(f"--gin_file={_SMALL}", "--devices=8", "--model-parallel=2", "--lower-only", "--gin.BATCH_SIZE=64")
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["mesh"] == {"data": 4, "model": 2} and found["parameters"] == 76_961_152
    assert found["batch"]["decoder_segment_ids"] == [64, 128]
    # Float32 parameters and Adafactor's factored moments, split over `model` but for norms, biases and vectors.
    assert 2 * 76_961_152 < found["state_bytes_per_device"] < 2.1 * 76_961_152
    assert found["batch_bytes_per_device"] == 8 * 64 * 128 * 4 / 4
    assert "compiled_bytes_per_device" not in found


def test_a_tiny_model_is_compiled_and_its_memory_is_what_was_counted():
    done = _run(
        "--gin_file=t5x/examples/t5/t5_1_1/tiny.gin", "--gin_file=t5x/configs/runs/finetune.gin", "--devices=2",
        "--gin.TASK_FEATURE_LENGTHS={'inputs': 8, 'targets': 8}", "--gin.MIXTURE_OR_TASK_NAME='no_task'",
        "--gin.TRAIN_STEPS=1", "--gin.MODEL_DIR='/m'", "--gin.INITIAL_CHECKPOINT_PATH='/c'", "--gin.BATCH_SIZE=8",
        "--gin.network.T5Config.num_encoder_layers=1", "--gin.network.T5Config.num_decoder_layers=1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["mesh"] == {"data": 2, "model": 1}  # num_partitions is 1 in finetune.gin
    compiled = found["compiled_bytes_per_device"]
    assert compiled["of_which_donated"] == found["state_bytes_per_device"]
    assert 0 < compiled["arguments"] - found["state_bytes_per_device"] <= found["batch_bytes_per_device"]


def test_what_is_refused_is_one_line():
    done = _run("--gin_file=t5x/examples/t5/t5_1_1/small.gin", "--gin_file=t5x/configs/runs/finetune.gin")
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("compile_only: ")]
    assert "Required macros not set: INITIAL_CHECKPOINT_PATH, MIXTURE_OR_TASK_NAME" in line


@pytest.mark.parametrize("ways", [4, 8])
def test_six_heads_cannot_be_split_four_or_eight_ways(ways, monkeypatch):
    monkeypatch.chdir(_ROOT)
    with pytest.raises(ValueError, match=rf"rel_embedding \[6, 32\] {ways} ways over `model`.*one of \[1, 2\]"):
        train_step.train_step([_SMALL], mesh=lambda given: train_step.mesh_of(jax.devices(), given, ways))


def test_ways_that_do_not_divide_the_devices_are_refused(monkeypatch):
    monkeypatch.chdir(_ROOT)
    with pytest.raises(ValueError, match=r"3-way model parallelism on 8 devices\. Fix: one of \[1, 2, 4, 8\]"):
        train_step.train_step([_SMALL], mesh=lambda given: train_step.mesh_of(jax.devices(), given, 3))
