"""`t5x.train`: the command, the files it leaves, resuming after a kill, periods, actions and errors."""

import functools
import json
import os
import signal
import threading
import time

import jax
import metric_reader
import numpy as np
import pytest

from t5x import checkpoints, train, trainer


def steps_of(folder):
    return checkpoints.all_steps(str(folder))


def assert_same_checkpoint(a, b):
    jax.tree.map(np.testing.assert_array_equal, checkpoints.load_t5x_checkpoint(a), checkpoints.load_t5x_checkpoint(b))


def run(configured, folder, **macros):
    macros = {"MODEL_DIR": f"'{folder}'", "TRAIN_STEPS": 4, "EVAL_PERIOD": 0, **macros}
    return configured("train", "finetune", {name.replace("__", "."): value for name, value in macros.items()})()


@pytest.mark.slow
def test_a_killed_run_continues_to_the_state_of_an_uninterrupted_one(start, tmp_path):
    options = {"utils.SaveCheckpointConfig.period": 10, "utils.SaveCheckpointConfig.keep": 2, "EVAL_PERIOD": 0}
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    first = start("train", "finetune", {**options, "MODEL_DIR": f"'{killed}'", "TRAIN_STEPS": 100000})
    deadline = time.time() + 120
    while not steps_of(killed):
        assert first.poll() is None, first.communicate()[0]
        assert time.time() < deadline
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    reached = steps_of(killed)[-1]
    # The data seed was not given: the resumed run finds it in the checkpoint, the other one must be told.
    seed = checkpoints.read_dataset_position(str(killed / f"checkpoint_{reached}"))["seed"]
    options["TRAIN_STEPS"] = reached + 15
    again = start("train", "finetune", {**options, "MODEL_DIR": f"'{killed}'"})
    other = start("train", "finetune", {**options, "MODEL_DIR": f"'{whole}'", "train/utils.DatasetConfig.seed": seed})
    for process in (again, other):
        output, _ = process.communicate(timeout=200)
        assert process.returncode == 0, output[-3000:]
    assert steps_of(killed)[-1] == reached + 15
    assert_same_checkpoint(str(killed), str(whole))
    # Periods count from the run's first step, not from where the second process began.
    assert steps_of(killed) == [reached + 10, reached + 15]


def test_one_run_leaves_the_documented_files_and_no_threads(configured, tmp_path):
    before = {thread.name for thread in threading.enumerate()}
    step, state = run(configured, tmp_path, EVAL_PERIOD=4, train__stats_period=2)
    assert step == 4 and int(state.step) == 4
    assert {thread.name for thread in threading.enumerate()} <= before
    assert sorted(os.listdir(tmp_path)) == [
        "checkpoint_4",
        "config.gin",
        "inference_eval",
        "model-info.txt",
        "train",
        "training_eval",
    ]
    (line,) = (tmp_path / "inference_eval" / "reverse_bytes-metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["step"] == 4
    examples = (tmp_path / "inference_eval" / "reverse_bytes-000004.jsonl").read_text().splitlines()
    assert len(examples) == 12
    assert json.loads(examples[0])["input"]["inputs_pretokenized"]
    assert sorted(metric_reader.read_metric(str(tmp_path), "train/loss")) == [2, 4]
    assert sorted(metric_reader.read_metric(str(tmp_path), "training_eval/reverse_bytes/accuracy")) == [4]
    assert sorted(metric_reader.read_metric(str(tmp_path), "inference_eval/reverse_bytes/eval/exact")) == [4]
    info = (tmp_path / "model-info.txt").read_text()
    assert "Total number of parameters: " in info
    assert "token_embedder/embedding" in info and "shape (vocab=384, embed=16)" in info
    assert "TRAIN_STEPS = 4" in (tmp_path / "config.gin").read_text()

    # A finished run returns at once, and writes nothing twice.
    modified = os.stat(tmp_path / "checkpoint_4").st_mtime_ns
    assert run(configured, tmp_path)[0] == 4
    assert os.stat(tmp_path / "checkpoint_4").st_mtime_ns == modified

    with pytest.raises(ValueError, match="total_steps is 3, but the restored state stands at step 4"):
        run(configured, tmp_path, TRAIN_STEPS=3)


@pytest.mark.parametrize("save_dataset", [False, True])
def test_a_resumed_run_reads_on_where_it_stopped(configured, tmp_path, save_dataset):
    options = {"train/utils.DatasetConfig.seed": 3, "utils.SaveCheckpointConfig.save_dataset": save_dataset}
    run(configured, tmp_path / "parts", TRAIN_STEPS=3, **options)
    run(configured, tmp_path / "parts", TRAIN_STEPS=5, **options)
    run(configured, tmp_path / "whole", TRAIN_STEPS=5, **options)
    assert_same_checkpoint(str(tmp_path / "parts"), str(tmp_path / "whole"))


def test_relative_steps_count_from_the_first_step_also_after_a_restart(configured, tmp_path):
    run(configured, tmp_path / "a", TRAIN_STEPS=3)
    start_from = {"INITIAL_CHECKPOINT_PATH": f"'{tmp_path}/a/checkpoint_3'", "TRAIN_STEPS_RELATIVE": 4}
    assert run(configured, tmp_path / "b", **start_from, utils__SaveCheckpointConfig__checkpoint_steps=(5,))[0] == 7
    assert steps_of(tmp_path / "b") == [5, 7]
    assert run(configured, tmp_path / "b", **start_from)[0] == 7


class StopsAtOnce(trainer.BaseAction):
    """Asks to stop whenever it is asked."""

    def __init__(self):
        self.seen = []

    def run(self, train_state, metrics_by_task):
        self.seen.append((int(train_state.step), sorted(metrics_by_task)))
        return True


@pytest.fixture
def given(arguments, tmp_path):
    """Arguments of a run of six steps with two kinds of evaluation."""
    return arguments("train", "finetune", {"MODEL_DIR": f"'{tmp_path}'", "TRAIN_STEPS": 6, "EVAL_PERIOD": 2})


def test_an_action_stops_training_and_the_state_is_saved(given, tmp_path):
    action = StopsAtOnce()
    step, _ = train.train(**given | {"actions": {"TRAIN_EVAL": [action]}})
    assert step == 2
    assert action.seen == [(2, ["reverse_bytes"])]
    assert steps_of(tmp_path) == [2]


class Recorded(trainer.Trainer):
    """Notes the last step of each piece."""

    def __init__(self, *, events, **trainer_args):
        super().__init__(num_microbatches=None, **trainer_args)
        self._events = events

    def train(self, batch_iter, num_steps, start_step=None):
        self._events.append(start_step + num_steps)
        return super().train(batch_iter, num_steps, start_step)


def test_sigterm_saves_and_exits_with_a_status_that_schedulers_know(start, tmp_path):
    options = {"MODEL_DIR": f"'{tmp_path}'", "TRAIN_STEPS": 100000, "EVAL_PERIOD": 0, "train.stats_period": 1}
    process = start("train", "finetune", options)
    deadline = time.time() + 150
    while not metric_reader.read_metric(str(tmp_path), "train/loss"):
        assert process.poll() is None, process.communicate()[0]
        assert time.time() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143, output[-3000:]
    (saved,) = steps_of(tmp_path)
    assert f"Preempted at step {saved}: saving." in output
    assert checkpoints.read_dataset_position(str(tmp_path / f"checkpoint_{saved}"))["batches"] == saved


def test_preemption_saves_before_it_is_passed_on(given, tmp_path):
    class Preempted(trainer.Trainer):
        def train(self, batch_iter, num_steps, start_step=None):
            if start_step == 4:
                raise trainer.PreemptionError
            return super().train(batch_iter, num_steps, start_step)

    given |= {"infer_eval_dataset_cfg": None, "train_eval_dataset_cfg": None}
    given |= {"stats_period": 2, "eval_period": 0}
    trainer_cls = functools.partial(Preempted, learning_rate_fn=lambda step: 0.1, num_microbatches=None)
    with pytest.raises(trainer.PreemptionError):
        train.train(**given | {"trainer_cls": trainer_cls})
    assert steps_of(tmp_path) == [4]


def test_unknown_modes_of_actions_are_refused(given):
    with pytest.raises(ValueError, match="actions has the keys"):
        train.train(**given | {"actions": {"NEVER": []}})


def test_periods_need_not_be_multiples_of_each_other(given, tmp_path):
    given["checkpoint_cfg"].save.period = 3
    events = []
    given |= {"infer_eval_dataset_cfg": None, "train_eval_dataset_cfg": None, "gc_period": 2}
    given |= {"trainer_cls": functools.partial(Recorded, events=events, learning_rate_fn=lambda step: 0.1)}
    train.train(**given)
    assert events == [2, 3, 4, 6] and steps_of(tmp_path) == [3, 6]


def test_the_command_refuses_a_misspelt_macro(start, tmp_path):
    process = start("train", "finetune", {"MODEL_DIR": f"'{tmp_path}'", "TRAIN_STEP": 3})
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "TRAIN_STEP (did you mean TRAIN_STEPS" in output
    assert os.listdir(tmp_path) == []
