"""What is exported predicts what the model predicts, without us; and nothing that stands there is lost."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export as jax_export
from safetensors import flax as library

from distill_or_annotate import cli
from distill_or_annotate.interop import conversion, peak_memory, stablehlo, stablehlo_folders
from distill_or_annotate.interop.naming import Sizes
from distill_or_annotate.serving import exporting, models
from distill_or_annotate.tasks.mini import vocabulary

_LENGTH = 12


@pytest.fixture(scope="module")
def hugging_face(tmp_path_factory):
    """A model of one layer: most of the time here is compiling."""
    folder = tmp_path_factory.mktemp("tiny") / "hf"
    peak_memory.write_synthetic(folder, Sizes(1024, 16, 2, 8, 24, 1, 1, gated=True, tied=False))
    (folder / "spiece.model").write_bytes(vocabulary.PATH.read_bytes())
    return folder


@pytest.fixture(scope="module")
def t5x_folder(hugging_face):
    folder = hugging_face.parent / "t5x"
    conversion.convert(hugging_face, folder)
    return folder


@pytest.fixture(scope="module")
def exported(t5x_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "programs"
    report = exporting.export(t5x_folder, folder, "stablehlo", output_tokens=_LENGTH)
    return folder, report


@pytest.fixture(scope="module")
def loaded(t5x_folder):
    return models.load(t5x_folder)


def _tokens(rows, length, seed=0):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(2, 1024, (rows, length)).astype(np.int32)
    for row, end in zip(tokens, rng.integers(1, length, rows), strict=True):
        row[end:] = 0
    return tokens


def _program(folder, name):
    return jax.jit(jax_export.deserialize(bytearray((folder / f"{name}.jax_export").read_bytes())).call)


def test_a_hundred_rows_get_the_model_s_own_predictions(exported, loaded):
    params = library.load_file(exported[0] / "params.safetensors")
    inputs = _tokens(100, 20)
    made, scores = _program(exported[0], "predict")(params, inputs)
    batch = {"encoder_input_tokens": inputs, "decoder_input_tokens": np.zeros((100, _LENGTH), np.int32)}
    expected, aux = jax.jit(loaded.model.predict_batch_with_aux)(loaded.params, batch)
    np.testing.assert_array_equal(made, expected)
    np.testing.assert_allclose(scores, aux["scores"], rtol=1e-5)
    assert len({row.tobytes() for row in np.asarray(made)}) > 50, "the rows are told apart"


@pytest.mark.parametrize(("rows", "length", "targets"), [(1, 1, 1), (3, 300, 9)])
def test_scores_of_any_shape_are_the_model_s_own(exported, loaded, rows, length, targets):
    params = library.load_file(exported[0] / "params.safetensors")
    inputs, wanted = _tokens(rows, length + 1)[:, :length], np.full((rows, targets), 7, np.int32)
    wanted[:, targets // 2 + 1 :] = 0
    found = _program(exported[0], "score")(params, inputs, wanted)
    batch = {
        "encoder_input_tokens": inputs,
        "decoder_input_tokens": np.pad(wanted[:, :-1], ((0, 0), (1, 0))),
        "decoder_target_tokens": wanted,
        "decoder_loss_weights": (wanted > 0).astype(np.float32),
    }
    np.testing.assert_allclose(found, jax.jit(loaded.model.score_batch)(loaded.params, batch), rtol=1e-5)


def test_a_prediction_s_score_is_its_likelihood(exported):
    params = library.load_file(exported[0] / "params.safetensors")
    inputs = _tokens(4, 9)
    made, scores = _program(exported[0], "predict")(params, inputs)
    np.testing.assert_allclose(_program(exported[0], "score")(params, inputs, made), scores, rtol=1e-4)


def test_the_manifest_says_what_a_stranger_needs(exported):
    folder, report = exported
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["platforms"] == ["cpu", "cuda", "tpu"] == report["platforms"]
    assert manifest["functions"]["predict"]["inputs"] == ["params", "int32[b,n]"]
    assert manifest["functions"]["predict"]["outputs"] == [f"int32[b,{_LENGTH}]", "float32[b]"]
    assert manifest["functions"]["score"]["inputs"] == ["params", "int32[b,n]", "int32[b,t]"]
    assert (manifest["eos_id"], manifest["pad_id"], manifest["vocab_size"]) == (1, 0, 1024)
    assert manifest["made_with"]["jax"] == jax.__version__
    params = library.load_file(folder / "params.safetensors")
    assert manifest["params"] == {name: list(value.shape) for name, value in params.items()}
    assert set(manifest["files"]) == {path.name for path in folder.iterdir()} - {"manifest.json"}
    assert report["largest_log_likelihood_difference"] <= 1e-4 and report["checked_on"] == "cpu"


def test_rounded_weights_are_stored_rounded_and_checked(t5x_folder, tmp_path):
    report = exporting.export(t5x_folder, tmp_path / "half", "stablehlo", dtype="bfloat16", output_tokens=4)
    params = library.load_file(tmp_path / "half" / "params.safetensors")
    assert {value.dtype for value in params.values()} == {jnp.bfloat16.dtype} and report["params_dtype"] == "bfloat16"
    assert report["rows"] == 4 and report["largest_log_likelihood_difference"] < 1e-3


def test_programs_for_other_machines_are_written_and_said_to_be_unchecked(t5x_folder, tmp_path):
    report = exporting.export(t5x_folder, tmp_path / "tpu", "stablehlo", output_tokens=4, platforms=["tpu"])
    assert report["checked_on"] is None and report["platforms"] == ["tpu"]


def test_the_check_sees_other_weights(exported, loaded):
    programs = stablehlo.Programs(loaded.model, _LENGTH)
    other = jax.tree.map(lambda leaf: leaf[..., ::-1], loaded.params)
    with pytest.raises(ValueError, match=r"other tokens than the model|log-likelihoods differ"):
        stablehlo_folders.check(exported[0], programs, other)


@pytest.mark.parametrize("name", ["params.safetensors", "predict.jax_export"])
def test_a_damaged_file_is_named(t5x_folder, exported, loaded, tmp_path, name):
    for path in exported[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    content = bytearray((tmp_path / name).read_bytes())
    content[-1] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}.*SHA-256"):
        stablehlo_folders.read_manifest(tmp_path)


def test_a_foreign_manifest_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text('{"format": "else", "files": {}}')
    with pytest.raises(ValueError, match="format is 'else'"):
        stablehlo_folders.read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(ValueError, match="no manifest of `doa export`"):
        stablehlo_folders.read_manifest(tmp_path)


def test_the_hugging_face_form_is_that_of_convert(t5x_folder, hugging_face, tmp_path):
    report = exporting.export(t5x_folder, tmp_path / "hf", "hf")
    assert report["largest_difference"] == 0
    names = {"config.json", "generation_config.json", "model.safetensors", "spiece.model", "tokenizer_config.json"}
    assert names <= {path.name for path in (tmp_path / "hf").iterdir()}
    again, first = (conversion.open_model(path).tensors for path in (tmp_path / "hf", hugging_face))
    assert all(np.array_equal(again[name].whole(), first[name].whole()) for name in first)
    with pytest.raises(ValueError, match="a Hugging Face folder already"):
        exporting.export(hugging_face, tmp_path / "again", "hf")
    assert not (tmp_path / "again").exists()


def test_a_folder_in_use_is_replaced_only_when_asked_and_only_an_export(t5x_folder, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    exporting.export(t5x_folder, folder, "hf")
    with pytest.raises(ValueError, match="--overwrite"):
        exporting.export(t5x_folder, folder, "hf")
    exporting.export(t5x_folder, folder, "hf", overwrite=True, dtype="bfloat16")
    assert "bfloat16" in (folder / "config.json").read_text()
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"'thesis.tex', which no export writes"):
        exporting.export(t5x_folder, folder, "hf", overwrite=True)
    assert (folder / "thesis.tex").read_text() == "years of work"


def test_a_model_is_not_replaced_by_its_own_export(hugging_face, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for path in hugging_face.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match="holds the model itself"):
        exporting.export(folder, folder, "stablehlo", overwrite=True)
    assert (folder / "config.json").exists()


def test_what_fails_leaves_the_earlier_export_and_no_scratch(t5x_folder, tmp_path):
    exporting.export(t5x_folder, tmp_path / "out", "hf")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="--platforms is 'cpu,cudda'; did you mean cuda"):
        exporting.export(t5x_folder, tmp_path / "out", "stablehlo", overwrite=True, platforms=["cpu", "cudda"])
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "hf", "--model", "mini_studnet"], "mini_student"),
        (["--format", "stablehlo", "--model", "mini_student", "--max-output-tokens", "0"], "--max-output-tokens is 0"),
        (["--format", "stablehlo", "--model", "mini_student", "--platforms", ""], "--platforms is ''"),
    ],
)
def test_mistakes_are_said_in_one_line(words, message, tmp_path, capsys):
    assert cli.main(["export", "--to", str(tmp_path / "new" / "out"), *words]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not (tmp_path / "new").exists()


def test_the_command_s_module_loads_nothing_heavy():
    code = "import sys; from distill_or_annotate.serving import export_command; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
