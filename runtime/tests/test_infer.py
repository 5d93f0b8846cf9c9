"""`t5x.infer`: modes, files, sharding, and going on after a kill."""

import json
import os

import jax
import numpy as np
import pytest
import seqio
import synthetic_task
import tensorflow as tf

from t5x import infer

OUTPUT = "reverse_bytes-predict.jsonl-00000-of-00001"
MACROS = {
    "TASK_FEATURE_LENGTHS": "{'inputs': 8, 'targets': 8}",
    "infer.checkpoint_period": 1,
    "utils.DatasetConfig.batch_size": 8,
    "utils.RestoreCheckpointConfig.dtype": "'float32'",
    "partitioning.PjitPartitioner.model_parallel_submesh": "(1, 1, 1, 1)",
}


@pytest.fixture
def run(configured, trained):
    def infer_into(folder, **macros):
        macros = {**MACROS, "CHECKPOINT_PATH": f"'{trained}'", "INFER_OUTPUT_DIR": f"'{folder}'", **macros}
        configured("infer", "infer", {name.replace("__", "."): value for name, value in macros.items()})()

    return infer_into


def read(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_predictions_are_json_lines_in_the_order_of_the_task(run, tmp_path):
    run(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["config.gin", "model-info.txt", OUTPUT, f"{OUTPUT}.COMPLETED"]
    lines = read(tmp_path / OUTPUT)
    inputs = [{f"{k}_pretokenized": v for k, v in row.items()} for row in synthetic_task.rows("test")]
    assert [line["inputs"] for line in lines] == inputs
    assert all(isinstance(line["prediction"], str) and set(line) == {"inputs", "prediction"} for line in lines)


def test_a_complete_output_is_not_made_again(run, tmp_path):
    (tmp_path / f"{OUTPUT}.COMPLETED").touch()
    run(tmp_path, CHECKPOINT_PATH="'/nowhere/checkpoint_1'")
    assert not (tmp_path / OUTPUT).exists()


def test_scores_are_log_likelihoods_and_those_of_beams_come_as_aux(run, tmp_path):
    run(tmp_path, infer__mode="'score'")
    scores = [line["score"] for line in read(tmp_path / OUTPUT.replace("predict", "score"))]
    assert len(scores) == 21 and all(score < 0 for score in scores) and len(set(scores)) > 1
    run(tmp_path, infer__mode="'predict_with_aux'")
    lines = read(tmp_path / OUTPUT.replace("predict", "predict_with_aux"))
    assert all(isinstance(line["aux"]["scores"], float) for line in lines)


def test_two_shards_hold_all_examples_once(run, tmp_path):
    for shard in range(2):
        run(tmp_path, infer__shard_id=shard, infer__num_shards=2)
    found = [
        line["inputs"]["inputs_pretokenized"]
        for shard in range(2)
        for line in read(tmp_path / f"reverse_bytes-predict.jsonl-0000{shard}-of-00002")
    ]
    assert sorted(found) == sorted(row["inputs"] for row in synthetic_task.rows("test"))


def test_a_killed_run_goes_on_after_its_complete_chunks(arguments, trained, tmp_path):
    written = []

    def dies_at_the_third(path, *args, **kwargs):
        written.append(os.path.basename(path))
        infer.write_inferences_to_file(path, *args, **kwargs)
        if len(written) == 3:
            raise KeyboardInterrupt

    given = arguments("infer", "infer", {**MACROS, "CHECKPOINT_PATH": f"'{trained}'", "INFER_OUTPUT_DIR": "''"})
    infer.infer(**given | {"output_dir": str(tmp_path / "whole")})
    given |= {"output_dir": str(tmp_path / "parts"), "write_fn": dies_at_the_third}
    with pytest.raises(KeyboardInterrupt):
        infer.infer(**given)
    # Two chunks are whole; of the third, no file bears its final name.
    left = os.listdir(tmp_path / "parts" / "tmp-reverse_bytes-00000-of-00001")
    assert sorted(n for n in left if n.endswith("COMPLETED")) == [f"{OUTPUT}-chunk0000{i}.COMPLETED" for i in (0, 1)]
    assert f"{OUTPUT}-chunk00002" not in left
    infer.infer(**given)
    assert written[3:] == [f"{OUTPUT}-chunk00002.tmp"]
    assert (tmp_path / "parts" / OUTPUT).read_bytes() == (tmp_path / "whole" / OUTPUT).read_bytes()


def test_chunks_of_another_configuration_are_discarded(run, tmp_path):
    folder = tmp_path / "tmp-reverse_bytes-00000-of-00001"
    folder.mkdir()
    (folder / "run.json").write_text('{"mode": "other"}')
    for name in (f"{OUTPUT}-chunk00000", f"{OUTPUT}-chunk00000.COMPLETED"):
        (folder / name).write_text("stale\n")
    run(tmp_path)
    assert len(read(tmp_path / OUTPUT)) == 21


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"infer__mode": "'guess'"}, "infer.mode is 'guess'; allowed: predict"),
        ({"infer__shard_id": 3}, "infer.shard_id is 3; allowed: 0 to 0"),
        ({"infer__checkpoint_period": 0}, "at least 1"),
        ({"utils__DatasetConfig__split": "'tset'"}, "has the split 'tset'"),
        ({"MIXTURE_OR_TASK_NAME": "'reverse_byte'"}, "Near names: reverse_bytes"),
    ],
)
def test_impossible_arguments_are_refused(run, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, **options)


def test_fields_and_ids_can_be_chosen(tmp_path):
    examples = infer.ExampleChunk([{"a_pretokenized": b"x", "a": np.array([1, 2]), "id": 7}])
    vocabulary = seqio.ByteVocabulary()
    tokens = [[*vocabulary.encode("hi"), 1, 0, 0]]

    def written(**options):
        infer.write_inferences_to_file(str(tmp_path / "f"), (tokens, {}), examples, "predict", vocabulary, **options)
        return read(tmp_path / "f")[0]

    assert written() == {"inputs": {"a_pretokenized": "x"}, "prediction": "hi"}
    assert written(input_fields_to_include=["id"], output_ids=True) == {
        "inputs": {"id": 7},
        "prediction": "hi",
        "prediction_tokens": [*vocabulary.encode("hi"), 1],
    }
    assert written(include_all_inputs=True)["inputs"] == {"a_pretokenized": "x", "a": [1, 2], "id": 7}
    with pytest.raises(ValueError, match="do not match"):
        infer.write_inferences_to_file(str(tmp_path / "f"), ([], {}), examples, "predict", vocabulary)


def test_a_task_from_records_is_registered_once(tmp_path):
    path = str(tmp_path / "in.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        feature = {"question": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"abc"]))}
        writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    features = {name: seqio.Feature(seqio.ByteVocabulary()) for name in ("inputs", "targets")}
    name = infer.create_task_from_tfexample_file([path], "tfrecord", "question", None, features)
    assert name == infer.create_task_from_tfexample_file([path], "tfrecord", "question", None, features)
    assert name.startswith("infer_") and len(name) == 16
    (example,) = seqio.get_mixture_or_task(name).get_dataset({"inputs": 8, "targets": 8}, "infer").as_numpy_iterator()
    assert example["inputs_pretokenized"] == b"abc" and example["inputs"].tolist() == [100, 101, 102, 1]
    with pytest.raises(ValueError, match="file_type is 'csv'"):
        infer.create_task_from_tfexample_file([path], "csv", "question", None, features)


def test_the_device_count_is_the_one_these_tests_assume():
    assert jax.device_count() == 8
