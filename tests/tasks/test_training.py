"""One task from its files to its metric, as `make task-smoke` does for all six on the released rows.

`seqio_cache_tasks` writes the cache, `python -m t5x.train` trains three steps from it and scores: two processes.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest
import seqio
import tensorflow as tf

from distill_or_annotate.tasks import registry

ROOT = pathlib.Path(__file__).parents[2]


def _run(*words):
    done = subprocess.run(
        words, cwd=ROOT, env=os.environ.copy(), capture_output=True, text=True, timeout=440, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stderr


def _examples(folder):
    """Name of each feature to its values, for each example of the splits that training rows went to."""
    files = sorted(map(str, [*folder.glob("train.tfrecord-*"), *folder.glob("validation.tfrecord-*")]))
    for record in tf.data.TFRecordDataset(files).as_numpy_iterator():
        features = tf.train.Example.FromString(record).features.feature
        yield {name: list(value.bytes_list.value or value.int64_list.value) for name, value in features.items()}


# Two processes that import TensorFlow, JAX and Beam: under a minute where nothing else runs.
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_task_is_cached_by_beam_trained_from_its_cache_and_scored(
    released, tmp_path, monkeypatch, small_vocabulary_file, golden, invented
):
    # Natural Questions, since its examples hold more than inputs and targets.
    monkeypatch.setenv("DOA_T5_VOCAB", small_vocabulary_file)
    (released / "nq_unlabeled_all.json").unlink()  # each split costs Beam seconds
    cache, model = tmp_path / "seqio", tmp_path / "model"
    _run(
        sys.executable, "-c", "from seqio.scripts import cache_tasks_main as m; m.console_entry_point()",
        "--tasks=natural_questions", f"--output_cache_dir={cache}", "--min_shards=1",
        "--module_import=distill_or_annotate.tasks.natural_questions",
    )  # fmt: skip
    folder = cache / "natural_questions"
    assert (folder / "COMPLETED").exists()
    examples = {path.name.split(".")[1]: json.loads(path.read_text())["examples"] for path in folder.glob("stats.*")}
    rows = {split: len(registry.rows("natural_questions", split)) for split in ("train", "validation", "test")}
    assert rows["test"] == len(invented("natural_questions", "dev"))
    assert examples == rows
    row = golden["natural_questions"]
    (found,) = (each for each in _examples(folder) if each["inputs_pretokenized"] == [row["source"].encode()])
    assert found["targets"] == seqio.SentencePieceVocabulary(small_vocabulary_file).encode(row["target"])
    assert found["answers"] == [answer.encode() for answer in row["targets"]]

    said = _run(
        sys.executable, "-m", "t5x.train", "--gin_file=gin/experiments/tiny_natural_questions.gin",
        f"--gin.MODEL_DIR='{model}'", "--gin.VOCAB_SIZE=256", "--gin.BATCH_SIZE=8",
        "--gin.USE_CACHED_TASKS=True", f"--seqio_additional_cache_dirs={cache}",
    )  # fmt: skip
    assert f"Using cache directory {folder}" in said
    scores = json.loads((model / "inference_eval" / "natural_questions-metrics.jsonl").read_text())
    assert scores["step"] == 3 and 0 <= scores["token_f1"] <= 100
    inferred = (model / "inference_eval" / "natural_questions-000003.jsonl").read_text().splitlines()
    assert [json.loads(line)["target"] for line in inferred] == [["some words"]] * rows["test"]
