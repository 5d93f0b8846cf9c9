"""One model in any form is loaded as the same one, with the vocabulary that belongs to it."""

import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from distill_or_annotate.interop import conversion, logits, parameters
from distill_or_annotate.serving import models, recorded, vocabularies
from distill_or_annotate.tasks.mini import vocabulary as mini

_GIN = """
from __gin__ import dynamic_registration
import no_such_module_of_anyones
from t5x.examples.t5 import network

TASK = 'mini'
TASK_FEATURE_LENGTHS = {'inputs': 20, 'targets': 12}
MODEL = @student/models.EncoderDecoderModel()
DTYPE = 'bfloat16'
student/network.T5Config.dtype = %DTYPE
student/network.T5Config.emb_dim = 24
student/network.T5Config.mlp_activations = ['gelu', 'linear']
teacher/network.T5Config.dtype = 'float32'
teacher/network.T5Config.emb_dim = 48
"""


@pytest.fixture
def trained(t5x_folder, tmp_path):
    """As `t5x.train` leaves a model: a checkpoint and `config.gin`, and no tokenizer."""
    shutil.copytree(t5x_folder / "checkpoint_0", tmp_path / "model" / "checkpoint_0")
    (tmp_path / "model" / "config.gin").write_text(_GIN)
    return tmp_path / "model"


def test_every_form_is_the_same_model(hugging_face, t5x_folder, tmp_path):
    conversion.convert(hugging_face, tmp_path / "one.safetensors")
    loaded = [
        models.load(hugging_face),
        models.load(t5x_folder),
        models.load(t5x_folder / "checkpoint_0"),
        models.load(tmp_path / "one.safetensors", vocabulary=mini.PATH),
    ]
    assert [found.form for found in loaded] == ["hugging_face", "t5x", "t5x", "safetensors"]
    assert len({found.fingerprint() for found in loaded}) == 1
    changed = jax.tree.map(lambda leaf: leaf * 2, loaded[0].params)
    assert models.dataclasses.replace(loaded[0], params=changed).fingerprint() != loaded[0].fingerprint()


def test_the_network_computes_what_the_file_means(hugging_face):
    loaded = models.load(hugging_face)
    inputs, targets = logits.fixed_batch(1024)
    stored = conversion.open_model(hugging_face)
    expected = logits.compute(stored.weights, stored.sizes(), inputs, targets)
    found = loaded.model.module.apply(
        {"params": loaded.params}, inputs, np.pad(targets[:, :-1], ((0, 0), (1, 0))), targets, enable_dropout=False
    )
    real = targets > 0
    np.testing.assert_allclose(np.asarray(found)[real], expected[real], rtol=1e-4, atol=1e-4)


def test_config_gin_gives_the_vocabulary_lengths_and_type_of_the_students_network(trained):
    loaded = models.load(trained)
    assert loaded.vocabulary.path == mini.PATH
    assert loaded.recorded.lengths == {"inputs": 20, "targets": 12} and loaded.recorded.task == "mini"
    assert loaded.config.dtype == "bfloat16" and loaded.config.mlp_activations == ("gelu", "linear")
    assert models.load(trained, dtype="float32").config.dtype == "float32"


def test_the_newest_whole_checkpoint_of_a_stage_is_read(trained):
    params, _ = parameters.read_checkpoint(trained / "checkpoint_0")
    parameters.write_checkpoint(params, trained, step=900)
    parameters.write_checkpoint(params, trained, step=1000)
    (trained / "checkpoint_1000" / "state" / "_METADATA").unlink()
    assert models.load(trained.parent).step == 900
    for step in (0, 900):
        shutil.rmtree(trained / f"checkpoint_{step}")
    with pytest.raises(ValueError, match="holds checkpoint_1000 and no whole checkpoint"):
        models.load(trained)


def test_a_shipped_model_is_loaded_by_name():
    assert models.load("mini_student").vocabulary.path == mini.PATH
    with pytest.raises(FileNotFoundError, match=r"no model at 'mini_studnet' .near names: mini_student"):
        models.load("mini_studnet")


def test_a_run_of_several_models_lists_them(tmp_path):
    for stage in ("finetune-1", "distill-2"):
        (tmp_path / "stages" / stage / "model").mkdir(parents=True)
    with pytest.raises(models.ModelError, match=r"is a run of 2 models\. Fix: name one of .*distill-2, .*finetune-1"):
        models.load(tmp_path)


def test_what_is_wrong_is_named(trained, hugging_face, tmp_path):
    (trained / "config.gin").write_text("TASK = = 3\n")
    with pytest.raises(recorded.RecordedError, match=r"config\.gin is no gin file"):
        models.load(trained)
    (trained / "config.gin").write_text("network.T5Config.emb_dim = 25\n")
    with pytest.raises(recorded.RecordedError, match="configures no network of Sizes"):
        models.load(trained)
    (trained / "config.gin").write_text("")
    with pytest.raises(models.ModelError, match=r"the vocabulary of .* is not known: .*Fix: --vocabulary PATH"):
        models.load(trained)
    with pytest.raises(models.ModelError, match="dtype is 'float8'; allowed: float32, bfloat16"):
        models.load(hugging_face, dtype="float8")
    (tmp_path / "text.model").write_text("no vocabulary at all")
    with pytest.raises(vocabularies.VocabularyError, match=r"text\.model is no SentencePiece model"):
        models.load(trained, vocabulary=tmp_path / "text.model")


class TestVocabulary:
    """`serving.vocabularies`."""

    def test_reads_and_writes_as_seqio_does(self):
        ours, theirs = vocabularies.Vocabulary(mini.PATH, 1024), mini.vocabulary()
        assert ours.vocab_size == theirs.vocab_size == 1024
        texts = ["galate some tulol", "", "  two  spaces ", "unheard Wörds 😀", "see <extra_id_3> here <extra_id_0>"]
        for text in texts:
            assert ours.encode(text) == list(theirs.encode(text))
        rng = np.random.default_rng(0)
        for _ in range(50):
            ids = rng.integers(0, 1030, 9)
            assert ours.decode(ids) == theirs.decode(ids.tolist())

    def test_more_pieces_than_rows_are_another_models(self):
        with pytest.raises(vocabularies.VocabularyError, match="has 1000 pieces and the model's embedding 999 rows"):
            vocabularies.Vocabulary(mini.PATH, 999)


def test_loading_needs_neither_tensorflow_nor_seqio(trained):
    program = (
        "import sys; from distill_or_annotate.serving import models; models.load(sys.argv[1]); "
        "print([name for name in ('tensorflow', 'seqio') if name in sys.modules], 't5x' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(trained)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] True"
