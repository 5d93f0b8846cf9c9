"""A tiny encoder through T5X's own programs on an embedded task: trained, scored, captured as a teacher, distilled."""

import json
import math

import numpy as np
import pytest

from distill_or_annotate.pipeline.program import Program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
_TASK = "gin/tasks/mini.gin"
_LENGTHS = {"inputs": 48, "targets": 20}
_STEPS = {"MIN_STEPS": 3, "MAX_STEPS": 3, "BATCH_SIZE": 16, "HEAD": "pooler"}


@pytest.fixture(scope="module")
def folders(tiny, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    patch = pytest.MonkeyPatch()
    patch.setenv("DOA_CACHE_DIR", str(root / "cache"))
    common = {"TASK": "mini_cls", "ENCODER": str(tiny), "TASK_FEATURE_LENGTHS": _LENGTHS}
    train = {**common, **_STEPS, "MODEL_DIR": str(root / "teacher"), "N_LABELS": 50}
    Program("t5x.train", ("gin/experiments/encoder_annotate.gin", _TASK), train).run(root / "train.log")
    capture = {
        **common, "HEAD": "pooler", "BATCH_SIZE": 16, "N_UNLABELED": 30, "GIVEN_TASK": "mini_cls_n50_s0",
        "CHECKPOINT_PATH": str(root / "teacher"), "INFER_OUTPUT_DIR": str(root / "store"),
    }  # fmt: skip
    Program("t5x.infer", ("gin/experiments/encoder_capture.gin", _TASK), capture).run(root / "capture.log")
    student = {**common, **_STEPS, "MODEL_DIR": str(root / "student"), "STORE": str(root / "store"), "N_UNLABELED": 30}
    student["GOLD"] = "mini_cls_n50_s0"
    Program("t5x.train", ("gin/experiments/encoder_distill_captured.gin", _TASK), student).run(root / "student.log")
    yield root
    patch.undo()


@pytest.mark.parametrize("run", ["teacher", "student"])
def test_every_prediction_is_a_label_word_and_is_scored_like_any_other(folders, run):
    (decoded,) = [path for path in (folders / run / "inference_eval").glob("*.jsonl") if "metrics" not in path.name]
    lines = [json.loads(line) for line in decoded.read_text().splitlines()]
    assert len(lines) == 500 and {line["prediction"] for line in lines} <= {"gentle", "harsh"}
    right = sum(line["prediction"] == line["target"] for line in lines) / 5
    (metrics,) = (folders / run / "inference_eval").glob("*-metrics.jsonl")
    assert json.loads(metrics.read_text().splitlines()[-1])["accuracy"] == pytest.approx(right)
    assert (folders / run / "checkpoint_3").is_dir()


@pytest.mark.parametrize("run", ["teacher", "student"])
def test_doa_predict_answers_as_the_evaluator_did(folders, run):
    from distill_or_annotate.serving import models, task_facts
    from distill_or_annotate.serving.predictor import Predictor

    (decoded,) = [path for path in (folders / run / "inference_eval").glob("*.jsonl") if "metrics" not in path.name]
    lines = [json.loads(line) for line in decoded.read_text().splitlines()]
    loaded, prefix = models.load(folders / run), task_facts.facts("mini_cls").prefix
    made = Predictor(loaded, _LENGTHS["inputs"], labels=loaded.labels, prefix=prefix)
    sources = [line["input"]["inputs_pretokenized"].removeprefix(prefix) for line in lines]
    assert [one.text for one in made.predict(sources)] == [line["prediction"] for line in lines]


def test_the_store_holds_the_tasks_own_inputs_and_the_labels_probabilities(folders):
    from distill_or_annotate.capture import header, reading, records, writer
    from distill_or_annotate.tasks import registry

    store = header.read(folders / "store")
    vocabulary = registry.vocabulary("mini_cls")
    assert (store.kind, store.labels, store.vocab_size) == ("full", ("gentle", "harsh"), 1024)
    import tensorflow as tf

    types = records.feature_types(store)
    files = [folders / "store" / index.file for index in writer.indices(folders / "store")]
    found = [records.parse(raw.numpy(), types) for raw in tf.data.TFRecordDataset([str(file) for file in files])]
    assert len(found) == 80 and [record.given for record in found] == [False] * 30 + [True] * 50
    firsts = [vocabulary.encode(label)[0] for label in store.labels]
    for record in found:
        assert record.inputs.tolist() == [*vocabulary.encode(record.text)[:47], 1]
        log_probs = record.kept["teacher_logits"][0, firsts]
        assert np.exp(log_probs).sum() == pytest.approx(1, abs=1e-4)
        if not record.given:  # the likelier of the two was chosen, and its log-probability is the record's
            assert record.targets_text == store.labels[int(log_probs.argmax())]
            assert record.log_probability == pytest.approx(float(log_probs.max()), abs=1e-4)
            assert record.log_probability >= math.log(0.5) - 1e-4
    assert reading.finished(folders / "store").counts["given"] == 50
