"""The train step needs neither TensorFlow nor SeqIO, so that it can be timed on a bare accelerator machine."""

import json
import subprocess
import sys

import pytest

_STEP = (
    "distill_or_annotate.encoder.bert_score",
    "distill_or_annotate.encoder.classifier",
    "distill_or_annotate.encoder.label_words",
    "distill_or_annotate.encoder.network",
    "distill_or_annotate.losses",
    "distill_or_annotate.losses.kl",
    "distill_or_annotate.model",
    "distill_or_annotate.model.placement",
    "distill_or_annotate.model.scanned",
    "distill_or_annotate.model.stacking",
    "distill_or_annotate.teacher",
    "distill_or_annotate.teacher.frozen",
    "distill_or_annotate.trainer.schedule",
    "t5x",
    "t5x.adafactor",
    "t5x.decoding",
    "t5x.examples.t5.layers",
    "t5x.examples.t5.network",
    "t5x.losses",
    "t5x.models",
    "t5x.optimizers",
    "t5x.partitioning",
    "t5x.train_state",
)
_FORBIDDEN = ("tensorflow", "seqio", "gin")


def _loaded_after(*modules: str) -> set[str]:
    code = (
        f"import importlib, json, sys\nfor m in {modules!r}: importlib.import_module(m)\n"
        "print(json.dumps(list(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1])) & set(_FORBIDDEN)


def test_the_step_imports_neither_tensorflow_nor_seqio_nor_gin():
    assert _loaded_after(*_STEP) == set()


@pytest.mark.parametrize("forbidden", ["gin", "tensorflow"])
def test_the_check_sees_a_forbidden_import(forbidden):
    assert forbidden in _loaded_after("distill_or_annotate.losses", forbidden)
