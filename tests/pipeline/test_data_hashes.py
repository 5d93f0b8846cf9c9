"""What a study's data hashes know: rows, the task's settings, and the encoder that will score."""

import types

import pytest

from distill_or_annotate.metrics import similarity
from distill_or_annotate.pipeline import preparing
from distill_or_annotate.tasks.spec import TaskSpec


@pytest.fixture
def spec():
    return TaskSpec(
        "paraphrases", version=1, rows=lambda split: [{"source": "a", "target": "b"}], vocabulary=object,
        input_tokens=8, target_tokens=8, metric="bert_ibleu", splits=("test",),
    )  # fmt: skip


def test_an_encoder_that_is_not_here_is_said_before_anything_is_trained(spec, monkeypatch):
    monkeypatch.setenv(similarity.VARIABLE, "no_such_encoder")
    with pytest.raises(similarity.SimilarityError, match="'no_such_encoder' is neither a folder nor one of"):
        preparing.data_hashes(spec)


def test_another_encoder_is_another_task(spec, monkeypatch):
    monkeypatch.setattr(similarity, "_LOADERS", {})
    monkeypatch.setattr(similarity, "_LOADED", {})
    found = {}
    for name in ("one", "two"):
        similarity.register(name, lambda name=name: types.SimpleNamespace(name=name))
        monkeypatch.setenv(similarity.VARIABLE, name)
        found[name] = preparing.data_hashes(spec)
    assert found["one"]["paraphrases/test"] == found["two"]["paraphrases/test"]
    assert found["one"]["paraphrases settings"] != found["two"]["paraphrases settings"]
