"""Parameters survive each form they travel in."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from distill_or_annotate import cli
from distill_or_annotate.interop import parameters, shipped

_PARAMS = {
    "encoder": {"layers_0": {"kernel": np.arange(12, dtype=np.float32).reshape(3, 4) / 7}},
    "scale": np.ones(4, np.float32),
}


def test_safetensors_round_trip_is_exact_in_float32(tmp_path):
    path = tmp_path / "m.safetensors"
    parameters.write_safetensors(_PARAMS, path, "float32", {"note": "a"})
    params, metadata = parameters.read_safetensors(path)
    np.testing.assert_array_equal(params["encoder"]["layers_0"]["kernel"], _PARAMS["encoder"]["layers_0"]["kernel"])
    assert metadata == {"note": "a"}


def test_bfloat16_rounds_and_halves_the_file(tmp_path):
    path = tmp_path / "m.safetensors"
    parameters.write_safetensors({"a": np.full((1000,), 1 / 3, np.float32)}, path, "bfloat16", {})
    params, _ = parameters.read_safetensors(path)
    assert params["a"].dtype == np.float32
    assert float(params["a"][0]) == float(jnp.bfloat16(1 / 3))
    assert 2000 <= path.stat().st_size < 2200


def test_checkpoint_round_trip_and_newest_of_a_folder(tmp_path):
    parameters.write_checkpoint(_PARAMS, tmp_path, step=3)
    parameters.write_checkpoint(_PARAMS, tmp_path, step=12)
    params, step = parameters.read_checkpoint(tmp_path)
    assert step == 12
    np.testing.assert_array_equal(params["scale"], _PARAMS["scale"])
    assert parameters.read_checkpoint(tmp_path / "checkpoint_3")[1] == 3


def test_an_empty_folder_and_an_unknown_model_say_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint_<step>"):
        parameters.read_checkpoint(tmp_path)
    with pytest.raises(ValueError, match="'mini_giant'; allowed: mini_teacher, mini_student"):
        shipped.checkpoint("mini_giant")


def test_weights_that_were_never_made_name_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("DOA_CACHE_DIR", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="make pretrain-wlp"):
        shipped.checkpoint("mini_student", corpus="wlp")


def test_convert_prints_step_count_and_difference(tmp_path, capsys):
    parameters.write_checkpoint(_PARAMS, tmp_path / "model", step=5)
    assert cli.main(["convert", str(tmp_path / "model"), str(tmp_path / "o.safetensors"), "--dtype", "bfloat16"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["step"] == 5 and printed["parameters"] == 16
    assert 0 < printed["largest_difference"] < 0.01
