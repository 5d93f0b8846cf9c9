"""`t5x.eval`: scores of checkpoints, remembered per checkpoint."""

import json

import pytest


@pytest.fixture
def run(configured, trained):
    def evaluate_into(folder, **macros):
        macros = {
            "CHECKPOINT_PATH": f"'{trained}'",
            "EVAL_OUTPUT_DIR": f"'{folder}'",
            "utils.DatasetConfig.batch_size": 8,
            "partitioning.PjitPartitioner.model_parallel_submesh": "(1, 1, 1, 1)",
            **macros,
        }
        return configured("eval", "eval", {name.replace("__", "."): value for name, value in macros.items()})()

    return evaluate_into


def test_a_checkpoint_is_scored_and_remembered(run, trained, tmp_path):
    results = run(tmp_path)
    assert set(results) == {trained}
    assert 0.0 <= results[trained]["reverse_bytes"]["exact"] <= 100.0
    assert (tmp_path / "eval.reverse_bytes.ckpt").read_text() == f"{trained}\n"
    (line,) = (tmp_path / "inference_eval" / "reverse_bytes-metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["step"] == 2
    assert len((tmp_path / "inference_eval" / "reverse_bytes-000002.jsonl").read_text().splitlines()) == 21

    folder = trained.rsplit("/", 1)[0]
    options = {"CHECKPOINT_PATH": f"'{folder}'", "utils__RestoreCheckpointConfig__mode": "'all'"}
    assert run(tmp_path, **options) == {}, "evaluated before"
    assert set(run(tmp_path / "again", **options)) == {trained}


def test_a_split_without_examples_or_metrics_is_refused(run, tmp_path):
    with pytest.raises(ValueError, match="both the split 'none' and a metric"):
        run(tmp_path, utils__DatasetConfig__split="'none'")


def test_a_folder_without_checkpoints_is_refused(run, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds none"):
        run(tmp_path, CHECKPOINT_PATH=f"'{tmp_path}/empty'", utils__RestoreCheckpointConfig__mode="'latest'")
