"""A distillation experiment over two processes of four devices each, on loopback, has the losses of one process."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from distill_or_annotate.interop import shipped

_ROOT = Path(__file__).resolve().parents[3]
_STEPS, _POOL = 4, 120


@pytest.fixture
def start(tmp_path, monkeypatch):
    """`start(name, devices, flags)` starts the experiment in `tmp_path/name`; what still runs at the end is killed."""
    from distill_or_annotate.tasks import registry

    monkeypatch.setenv("DOA_CACHE_DIR", str(tmp_path / "cache"))
    # Both checkpoints before any process asks for them: two would write at once.
    teacher, _ = shipped.checkpoint("mini_teacher"), shipped.checkpoint("mini_student")
    spec = registry.get("mini")
    with (tmp_path / "predictions.jsonl").open("w") as lines:
        for row in registry.rows("mini", "unlabeled")[:_POOL]:
            answer = {"inputs": {"inputs_pretokenized": spec.prefix + row["source"]}, "prediction": row["source"][:30]}
            lines.write(json.dumps(answer) + "\n")
    macros = {
        "N_UNLABELED": _POOL,
        "N_LABELS": 40,
        "MAX_STEPS": _STEPS,
        "MIN_STEPS": _STEPS,
        "EPOCHS": 1,
        "TEACHER_PATH": f"'{Path(teacher).parent}'",
        "PREDICTIONS": f"'{tmp_path}/predictions.jsonl'",
        "utils.create_learning_rate_scheduler.warmup_steps": 1,
        "train.stats_period": 1,
        "train.eval_period": 0,
        "train.infer_eval_dataset_cfg": None,
        # Without a shuffle the rows of a batch are the same, whoever reads which of them.
        "train/utils.DatasetConfig.shuffle": False,
    }
    processes = []

    def popen(name, devices, flags=()):
        command = [sys.executable, "-m", "t5x.train", "--gin_file=gin/experiments/mini_distill.gin"]
        command += ["--gin_file=gin/mesh/cpu-8.gin", *flags]
        command += [
            f"--gin.{macro}={value}" for macro, value in {**macros, "MODEL_DIR": f"'{tmp_path / name}'"}.items()
        ]
        environment = {
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": str(devices),
            "NPROC": "16",
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        }
        processes.append(
            subprocess.Popen(
                command, env=environment, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
        return processes[-1]

    yield popen
    for process in processes:
        process.kill()
        process.communicate()


def _scalars(model_dir):
    """Tag -> values by step, of the training's event files."""
    import tensorflow as tf

    found = {}
    for path in sorted((model_dir / "train").glob("events.*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                if value.HasField("tensor") and not value.tag.startswith("timing"):
                    array = tf.make_ndarray(value.tensor)
                    if array.shape == () and array.dtype.kind == "f":
                        found.setdefault(value.tag, {})[event.step] = float(array)
    return found


def _free_port():
    with socket.socket() as listening:
        listening.bind(("localhost", 0))
        return listening.getsockname()[1]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_processes_have_the_losses_of_one(start, tmp_path):
    one = start("one", 8)
    output, _ = one.communicate(timeout=250)
    assert one.returncode == 0, output[-3000:]
    several = ["--multiprocess_gpu", f"--coordinator_address=localhost:{_free_port()}", "--process_count=2"]
    several.append("--initialization_timeout=120")
    two = [start("two", 4, [*several, f"--process_index={index}"]) for index in range(2)]
    for process in two:
        output, _ = process.communicate(timeout=250)
        assert process.returncode == 0, output[-3000:]

    expected, found = (_scalars(tmp_path / name) for name in ("one", "two"))
    for tag in ("distill/kl_per_token", "distill/cross_entropy_per_token", "loss", "non_padding_fraction/loss_weights"):
        assert list(expected[tag]) == list(found[tag]) == list(range(1, _STEPS + 1)), tag
        np.testing.assert_allclose(list(found[tag].values()), list(expected[tag].values()), rtol=1e-4, err_msg=tag)
    first, *_, last = expected["distill/kl_per_token"].values()
    assert last < 0.9 * first, "a student that had not moved would have the same losses whatever the gradients were"
    # Each process keeps its own place in the data; one that read the other's would show above, too.
    places = sorted(path.name for path in (tmp_path / "two" / f"checkpoint_{_STEPS}" / "dataset").rglob("*.json"))
    assert places == ["train_ds-000-of-002.json", "train_ds-001-of-002.json"]
