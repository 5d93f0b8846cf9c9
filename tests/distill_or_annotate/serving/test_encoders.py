"""An encoder classifier from its checkpoint and `config.gin`: it answers with its labels, or refuses."""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_or_annotate import cli
from distill_or_annotate.encoder import classifier, config, folders, network, wordpiece
from distill_or_annotate.interop import parameters
from distill_or_annotate.serving import models, recorded
from distill_or_annotate.serving.predictor import Predictor, SettingError

sys.path.insert(0, str(Path(__file__).parents[1] / "encoder"))
import tiny_encoder

_TEXTS = ["rain today", "no more play", "", "now now now now now now now now now now now now rain"]
_GIN = """
from __gin__ import dynamic_registration
from distill_or_annotate.encoder import classifier
from distill_or_annotate.encoder import folders
from distill_or_annotate.encoder import shortened

TASK = 'mini_cls'
TASK_FEATURE_LENGTHS = {{'inputs': 12, 'targets': 8}}
ENCODER = {encoder}
HEAD = 'mean'
MODEL = @classifier.from_folder()
MODEL/classifier.from_folder.folder = %ENCODER
MODEL/classifier.from_folder.head = %HEAD
MODEL/classifier.from_folder.task = %TASK
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_encoder.write(tmp_path_factory.mktemp("encoder") / "tiny-bert")


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """As `t5x.train` leaves an encoder: a checkpoint and `config.gin`."""
    place = tmp_path_factory.mktemp("trained")
    sizes = classifier.classifier_config(config.read(tiny), 2, 0, "mean")
    params = network.Classifier(sizes).init(jax.random.PRNGKey(0), jnp.ones((1, 4), jnp.int32))["params"]
    params["encoder"] = folders.read_params(tiny, sizes)[0]["encoder"]
    parameters.write_checkpoint(params, place, 3)
    (place / "config.gin").write_text(_GIN.format(encoder=repr(str(tiny))))
    return place


def test_it_answers_as_its_network_does_and_whoever_shares_the_batch(trained, tiny):
    loaded = models.load(trained)
    assert loaded.labels == ("gentle", "harsh") and loaded.step == 3
    found = Predictor(loaded, input_tokens=12, labels=loaded.labels, batch_size=3).predict(_TEXTS)
    for text, made in zip(_TEXTS, found, strict=True):
        ids = wordpiece.WordPiece(tiny).ids(text, 12)[None]
        log_probs = jax.nn.log_softmax(loaded.model.module.apply({"params": loaded.params}, ids))[0]
        assert [made.scores["gentle"], made.scores["harsh"]] == pytest.approx(np.asarray(log_probs).tolist(), abs=1e-5)
        assert made.text == loaded.labels[int(jnp.argmax(log_probs))]
        assert made.probability == pytest.approx(float(jnp.exp(log_probs.max())), abs=1e-5) and made.ended
    assert [made.truncated for made in found] == [False, False, False, True]


def test_labels_in_another_order_are_the_same_labels(trained):
    loaded = models.load(trained)
    ways = [Predictor(loaded, 12, labels=labels).predict(_TEXTS) for labels in (loaded.labels, loaded.labels[::-1])]
    assert [made.text for made in ways[0]] == [made.text for made in ways[1]]
    for one, other in zip(*ways, strict=True):
        assert one.scores == pytest.approx(other.scores)


def test_the_command_takes_the_labels_from_the_model(trained, tmp_path, capsys):
    (tmp_path / "texts.txt").write_text("rain today\nno more play\n")
    output = tmp_path / "out.jsonl"
    words = ["predict", "--model", str(trained), "--input", str(tmp_path / "texts.txt"), "--output", str(output)]
    assert cli.main([*words, "--scores"]) == 0
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert {row["prediction"] for row in rows} <= {"gentle", "harsh"} and set(rows[0]["scores"]) == {"gentle", "harsh"}
    assert "trained on task 'mini_cls'" in capsys.readouterr().err
    assert cli.main([*words, "--task", "mini", "--overwrite"]) != 0
    assert "its own task, mini_cls" in capsys.readouterr().err


def test_what_an_encoder_cannot_do_is_refused(trained):
    loaded = models.load(trained)
    for settings, word in (
        ({"labels": ("gentle", "rude")}, "gentle, harsh"),
        ({"labels": ()}, "writes nothing"),
        ({"labels": loaded.labels, "beams": 4}, "beams 4"),
        ({"labels": loaded.labels, "input_tokens": 49}, "up to 48"),
    ):
        with pytest.raises(SettingError, match=word):
            Predictor(loaded, **{"input_tokens": 12, **settings})
    for given in ({"dtype": "bfloat16"}, {"vocabulary": "vocab.model"}):
        with pytest.raises(models.ModelError, match=f"{next(iter(given))} .* an encoder"):
            models.load(trained, **given)


@pytest.mark.parametrize(
    ("encoder", "word"),
    [("@elsewhere.folder()", "elsewhere.folder"), ("'/no/such/folder'", "/no/such/folder"), (None, "config.gin")],
)
def test_a_folder_that_is_not_known_is_named(trained, tmp_path, encoder, word):
    (tmp_path / "checkpoint_3").symlink_to(trained / "checkpoint_3")
    if encoder:
        (tmp_path / "config.gin").write_text(_GIN.format(encoder=encoder))
    with pytest.raises(ValueError, match=word):
        models.load(tmp_path)


def test_a_task_with_other_labels_is_refused(trained, tmp_path):
    (tmp_path / "checkpoint_3").symlink_to(trained / "checkpoint_3")
    (tmp_path / "config.gin").write_text((trained / "config.gin").read_text().replace("mini_cls", "mini"))
    with pytest.raises(ValueError, match="2 labels, and task 'mini' has 0"):
        models.load(tmp_path)


def test_a_shortened_encoder_is_read_as_gin_called_for_it(tmp_path):
    text = _GIN.format(encoder="@shortened.first_layers()")
    text += "ENCODER/shortened.first_layers.folder = @folders.minilm()\nENCODER/shortened.first_layers.n_layers = 2\n"
    (tmp_path / "config.gin").write_text(text)
    found = recorded.read(tmp_path / "config.gin", None)
    inside = recorded.Called("folders.minilm", {})
    assert found.encoder == recorded.Called("shortened.first_layers", {"folder": inside, "n_layers": 2})
    assert (found.head, found.task) == ("mean", "mini_cls")


def test_it_is_timed_and_not_exported(trained, tmp_path, capsys):
    lengths = ["--input-tokens", "12", "--runs", "2", "--max-batch", "2"]
    assert cli.main(["bench-model", "--model", str(trained), *lengths, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["models"]
    assert row["compute_dtype"] == "float32" and row["flops_per_prediction"] > 0
    assert cli.main(["export", "--model", str(trained), "--to", str(tmp_path / "out"), "--format", "hf"]) != 0
    assert "is an encoder" in capsys.readouterr().err
