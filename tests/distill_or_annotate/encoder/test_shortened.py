"""The first layers of an encoder as a folder of its own: fewer layers, everything else as it was."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from distill_or_annotate.encoder import shortened
from distill_or_annotate.encoder.config import EncoderError


@pytest.fixture
def whole(tmp_path, monkeypatch):
    monkeypatch.setenv("DOA_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "num_hidden_layers": 3, "hidden_size": 4}))
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n")
    names = ["embeddings.word_embeddings.weight", *(f"encoder.layer.{n}.output.dense.weight" for n in range(3))]
    save_file(
        {name: np.full((2, 2), number, np.float32) for number, name in enumerate(names)}, folder / "model.safetensors"
    )
    return folder


def test_the_first_layers_are_kept_with_the_embeddings_and_the_vocabulary(whole):
    folder = shortened.first_layers(whole, 2)
    found = load_file(f"{folder}/model.safetensors")
    assert sorted(found) == [
        "embeddings.word_embeddings.weight",
        "encoder.layer.0.output.dense.weight",
        "encoder.layer.1.output.dense.weight",
    ]
    assert found["encoder.layer.1.output.dense.weight"][0, 0] == 2.0
    with open(f"{folder}/config.json", encoding="utf-8") as file:
        assert json.load(file) == {"model_type": "bert", "num_hidden_layers": 2, "hidden_size": 4}
    with open(f"{folder}/vocab.txt", encoding="utf-8") as file:
        assert file.read() == (whole / "vocab.txt").read_text()


def test_it_is_made_once_and_names_its_depth(whole):
    folder = shortened.first_layers(whole, 1)
    assert folder.endswith("tiny-first-1") and shortened.first_layers(whole, 1) == folder
    assert shortened.first_layers(whole, 2) != folder


@pytest.mark.parametrize("n_layers", [0, 3, 7])
def test_as_many_layers_as_there_are_is_no_smaller_encoder(whole, n_layers):
    with pytest.raises(EncoderError, match=rf"received {n_layers};.*has 3 layers"):
        shortened.first_layers(whole, n_layers)
