"""An encoder as the student of a T5: the shipped mini teacher captured by its own command, a tiny BERT trained on that.

The capture is a process of its own with one device, as a person runs it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from distill_or_annotate.pipeline.program import Program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
_ROOT = Path(__file__).parents[3]
_TASK = "gin/tasks/mini.gin"
_LENGTHS = {"inputs": 48, "targets": 20}
_N_UNLABELED, _STEPS = 64, 40


def _run(*words):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *words], cwd=_ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def folders(tiny, tmp_path_factory):
    root = tmp_path_factory.mktemp("t5_teacher")
    patch = pytest.MonkeyPatch()
    patch.setenv("DOA_CACHE_DIR", str(root / "cache"))
    shipped = str(_ROOT / "tasks" / "mini" / "mini_teacher.safetensors")
    _run("-m", "distill_or_annotate", "convert", shipped, str(root / "teacher"), "--to", "t5x")
    common = {"TASK": "mini_cls", "TASK_FEATURE_LENGTHS": _LENGTHS, "N_UNLABELED": _N_UNLABELED}
    places = {"CHECKPOINT_PATH": str(root / "teacher"), "INFER_OUTPUT_DIR": str(root / "store")}
    capture = {**common, **places, "BATCH_SIZE": 16, "KIND": "full", "TARGETS_RULE": "labels"}
    macros = [f"--gin.{name}={value!r}" for name, value in capture.items()]
    _run("-m", "t5x.infer", "--gin_file=gin/experiments/mini_capture.gin", f"--gin_file={_TASK}", *macros)
    student = {
        **common, "ENCODER": str(tiny), "HEAD": "pooler", "BATCH_SIZE": 16, "LEARNING_RATE": 0.01, "DROPOUT_RATE": 0.0,
        "MIN_STEPS": _STEPS, "MAX_STEPS": _STEPS, "MODEL_DIR": str(root / "student"), "STORE": str(root / "store"),
    }  # fmt: skip
    Program("t5x.train", ("gin/experiments/encoder_distill_captured.gin", _TASK), student).run(root / "student.log")
    yield root
    patch.undo()


@pytest.fixture(scope="module")
def store(folders):
    """The store's header, and of each record its text, its choice and the labels' probabilities [K]."""
    import tensorflow as tf

    from distill_or_annotate.capture import header, records, writer
    from distill_or_annotate.tasks import registry

    found = header.read(folders / "store")
    firsts = [registry.vocabulary("mini_cls").encode(label)[0] for label in found.labels]
    assert len(set(firsts)) == len(firsts)  # so the first piece decides
    files = [str(folders / "store" / index.file) for index in writer.indices(folders / "store")]
    rows = []
    for raw in tf.data.TFRecordDataset(files):
        record = records.parse(raw.numpy(), records.feature_types(found))
        logits = record.kept["teacher_logits"][0, firsts].astype(np.float64)
        rows.append((record.text, record.targets_text, np.exp(logits - np.logaddexp.reduce(logits))))
    return found, rows


def test_the_store_is_a_t5s_and_its_choices_are_those_of_the_t5_asked_directly(folders, store):
    from distill_or_annotate.serving import models, task_facts
    from distill_or_annotate.serving.predictor import Predictor

    found, rows = store
    assert (found.kind, found.targets_rule, found.labels) == ("full", "labels", ("gentle", "harsh"))
    assert len(rows) == _N_UNLABELED
    facts = task_facts.facts("mini_cls")
    asked = Predictor(models.load("mini_teacher"), _LENGTHS["inputs"], labels=found.labels, prefix=facts.prefix)
    sources = [text.removeprefix(facts.prefix) for text, _, _ in rows]
    assert [one.text for one in asked.predict(sources)] == [chosen for _, chosen, _ in rows]


def test_the_encoder_comes_near_the_probabilities_that_the_t5_gave(folders, store):
    """Nearer than a constant answer: it has learnt of the sources, not only how often a label is chosen."""
    from distill_or_annotate.serving import models, task_facts
    from distill_or_annotate.serving.predictor import Predictor

    found, rows = store
    facts = task_facts.facts("mini_cls")
    made = Predictor(models.load(folders / "student"), _LENGTHS["inputs"], labels=found.labels, prefix=facts.prefix)
    predicted = list(made.predict([text.removeprefix(facts.prefix) for text, _, _ in rows]))
    theirs = np.array([probabilities for _, _, probabilities in rows])
    agreed = np.mean([one.text == chosen for one, (_, chosen, _) in zip(predicted, rows, strict=True)])
    assert agreed > max(np.bincount(theirs.argmax(axis=1), minlength=2)) / len(rows) + 0.1
    ours = [np.exp(one.scores[found.labels[0]]) for one in predicted]
    assert np.corrcoef(ours, theirs[:, 0])[0, 1] > 0.3


def test_each_answer_of_the_student_is_a_label_word_and_scored(folders):
    (decoded,) = [
        path for path in (folders / "student" / "inference_eval").glob("*.jsonl") if "metrics" not in path.name
    ]
    lines = [json.loads(line) for line in decoded.read_text().splitlines()]
    assert len(lines) == 500 and {line["prediction"] for line in lines} <= {"gentle", "harsh"}
