"""A model keeps every bit on its way through each form, and what fails leaves nothing."""

import importlib.util
import json
import tracemalloc
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors import numpy as library

from distill_or_annotate import cli
from distill_or_annotate.interop import conversion, logits, parameters, peak_memory, t5x_folders, tensors
from distill_or_annotate.tasks.mini import vocabulary

_ROOT = Path(__file__).parents[3]


def _all(folder):
    return {name: array for path in folder.glob("*.safetensors") for name, array in library.load_file(path).items()}


def _same(first, second):
    assert set(first) == set(second) and first
    for name, array in first.items():
        assert array.dtype == second[name].dtype
        np.testing.assert_array_equal(array, second[name], err_msg=name)


@pytest.mark.parametrize("shard_bytes", [10**9, 20_000])
def test_a_round_trip_keeps_every_bit(tmp_path, any_sizes, shard_bytes, monkeypatch):
    monkeypatch.setattr(tensors, "PIECE_BYTES", 1000)
    peak_memory.write_synthetic(tmp_path / "hf", any_sizes, shard_bytes)
    report = conversion.convert(tmp_path / "hf", tmp_path / "t5x")
    assert (report["from"], report["to"], report["file"]) == ("hugging_face", "t5x", str(tmp_path / "t5x/checkpoint_0"))
    assert report["largest_difference"] == 0 and report["largest_logit_difference"] < 1e-5
    assert report["parameters"] == sum(array.size for array in _all(tmp_path / "hf").values())
    conversion.convert(tmp_path / "t5x", tmp_path / "back", shard_bytes=shard_bytes)
    _same(_all(tmp_path / "hf"), _all(tmp_path / "back"))
    for file in ("config.json", "generation_config.json"):
        assert (tmp_path / "hf" / file).read_text() == (tmp_path / "back" / file).read_text()


def test_a_single_file_goes_both_ways(tmp_path, folder):
    conversion.convert(folder, tmp_path / "one.safetensors", note="a note")
    _, metadata = parameters.read_safetensors(tmp_path / "one.safetensors")
    assert metadata == {"step": "0", "note": "a note"}
    conversion.convert(tmp_path / "one.safetensors", tmp_path / "t5x", to="t5x")
    conversion.convert(tmp_path / "one.safetensors", tmp_path / "back")
    _same(_all(folder), _all(tmp_path / "back"))
    read, step = parameters.read_checkpoint(tmp_path / "t5x")
    assert step == 0
    np.testing.assert_array_equal(read["token_embedder"]["embedding"], _all(folder)["shared.weight"])
    np.testing.assert_array_equal(read["decoder"]["logits_dense"]["kernel"], _all(folder)["lm_head.weight"].T)


def test_bfloat16_halves_the_file_and_says_what_it_cost(tmp_path, folder):
    report = conversion.convert(folder, tmp_path / "t5x", dtype="bfloat16")
    assert 0 < report["largest_difference"] < 0.05
    assert 0 < report["largest_logit_difference"] < 0.1 * report["largest_logit"]
    # From there on nothing more is lost, also in a wider type.
    again = conversion.convert(tmp_path / "t5x", tmp_path / "wide", dtype="float32")
    assert again["largest_difference"] == 0
    expected = {name: array.astype(tensors.BFLOAT16).astype(np.float32) for name, array in _all(folder).items()}
    _same(_all(tmp_path / "wide"), expected)


def test_the_checkpoint_starts_training_as_published_ones_do(tmp_path):
    """As finetune.gin restores: no assignment map, no fallback, so the optimizer's state must be there and fit."""
    from t5x import adafactor, partitioning, utils
    from t5x.examples.t5 import network

    sizes = peak_memory.Sizes(160, 130, 2, 70, 200, 1, 1, gated=True, tied=False)
    peak_memory.write_synthetic(tmp_path / "hf", sizes)
    conversion.convert(tmp_path / "hf", tmp_path / "t5x")
    config = network.T5Config(160, "float32", 130, 2, 1, 1, 70, 200, ("gelu", "linear"))

    def variables(rng, input_shapes, input_types=None):
        tokens = jax.numpy.ones((2, 4), jax.numpy.int32)
        return network.Transformer(config).init(rng, tokens, tokens, tokens, enable_dropout=False)

    initializer = utils.TrainStateInitializer(
        optimizer_def=adafactor.Adafactor(logical_factor_rules=adafactor.standard_logical_factor_rules()),
        init_fn=variables,
        input_shapes={},
        partitioner=partitioning.PjitPartitioner(
            model_parallel_submesh=(1, 2, 1, 1), logical_axis_rules=partitioning.standard_logical_axis_rules()
        ),
    )
    cfg = utils.RestoreCheckpointConfig(path=str(tmp_path / "t5x" / "checkpoint_0"), mode="specific", dtype="float32")
    state = initializer.from_checkpoint([cfg], init_rng=jax.random.PRNGKey(0))
    scratch = initializer.from_scratch(jax.random.PRNGKey(0))
    assert int(state.step) == 0
    jax.tree.map(np.testing.assert_array_equal, state.param_states, scratch.param_states)
    kernel = state.params["decoder"]["layers_0"]["encoder_decoder_attention"]["value"]["kernel"]
    theirs = _all(tmp_path / "hf")["decoder.block.0.layer.1.EncDecAttention.v.weight"]
    np.testing.assert_array_equal(kernel, theirs.T)


def test_a_checkpoint_of_the_older_format_is_converted(tmp_path, sizes, folder):
    spec = importlib.util.spec_from_file_location("legacy_format", _ROOT / "runtime" / "tests" / "legacy_format.py")
    legacy_format = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(legacy_format)
    target = t5x_folders._nested({n: t.whole() for n, t in conversion.open_model(folder).tensors.items()})
    legacy_format.write(
        tmp_path / "published" / "checkpoint_1000000", {"target": target, "state": {"step": np.int32(1000000)}}
    )
    report = conversion.convert(tmp_path / "published", tmp_path / "back")
    assert report["step"] == 1000000 and report["largest_difference"] == 0
    _same(_all(folder), _all(tmp_path / "back"))


def test_the_tokenizer_that_came_with_a_model_goes_back_with_it(tmp_path):
    sizes = peak_memory.Sizes(1024, 8, 2, 4, 12, 1, 1, gated=True, tied=True)
    peak_memory.write_synthetic(tmp_path / "hf", sizes)
    first = conversion.convert(tmp_path / "hf", tmp_path / "bare")
    assert "tokenizer" not in first
    assert conversion.convert(tmp_path / "bare", tmp_path / "none")["tokenizer"] == []
    with_one = conversion.convert(tmp_path / "bare", tmp_path / "some", tokenizer=vocabulary.PATH)
    assert with_one["tokenizer"] == ["spiece.model", "tokenizer_config.json"]
    conversion.convert(tmp_path / "some", tmp_path / "start")
    assert conversion.convert(tmp_path / "start", tmp_path / "again")["tokenizer"] == with_one["tokenizer"]
    assert (tmp_path / "again/spiece.model").read_bytes() == (tmp_path / "some/spiece.model").read_bytes()


def _tree(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("output", ["new/t5x", "new.safetensors"])
def test_a_conversion_that_changes_a_weight_or_a_logit_leaves_nothing(tmp_path, folder, output, monkeypatch):
    before = _tree(tmp_path)
    honest = logits.compute
    calls = []

    def dishonest(*arguments):
        calls.append(1)
        return honest(*arguments) + (1 if len(calls) == 2 else 0)

    monkeypatch.setattr(logits, "compute", dishonest)
    with pytest.raises(ValueError, match="the logits of the converted model differ by 1"):
        conversion.convert(folder, tmp_path / output)
    monkeypatch.setattr(conversion, "largest_difference", lambda *_: 0.5)
    with pytest.raises(ValueError, match=r"the weights read back differ by 0\.5"):
        conversion.convert(folder, tmp_path / output)
    assert _tree(tmp_path) == before and not (tmp_path / "new").exists()


def test_a_wrong_name_in_the_table_shows_in_the_logits(tmp_path, folder, monkeypatch):
    """Why the check reads each form under names of its own: the weights would come back, from the wrong places."""
    from distill_or_annotate.interop import naming

    right = naming.hugging_face_name

    def swapped(name):
        found = right(name)
        turn = {".q.weight": ".k.weight", ".k.weight": ".q.weight"}
        return next((found.replace(a, b) for a, b in turn.items() if found.endswith(a)), found)

    monkeypatch.setattr(naming, "hugging_face_name", swapped)
    with pytest.raises(ValueError, match="the logits of the converted model differ by"):
        conversion.convert(folder, tmp_path / "t5x")


def test_what_exists_is_not_overwritten(tmp_path, folder):
    conversion.convert(folder, tmp_path / "t5x")
    before = _tree(tmp_path)
    with pytest.raises(ValueError, match=r"checkpoint_0 exists\. Fix: give another folder"):
        conversion.convert(folder, tmp_path / "t5x")
    with pytest.raises(ValueError, match=r"source exists\. Fix"):
        conversion.convert(tmp_path / "t5x", folder)
    assert _tree(tmp_path) == before


def test_a_damaged_checkpoint_names_file_and_leaf(tmp_path, folder, sizes):
    with pytest.raises(FileNotFoundError, match="no model at"):
        conversion.convert(tmp_path / "absent", tmp_path / "x")
    conversion.convert(folder, tmp_path / "t5x")
    data = max((tmp_path / "t5x/checkpoint_0/state/d").iterdir(), key=lambda path: path.stat().st_size)
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"checkpoint_0, leaf target\."):
        conversion.convert(tmp_path / "t5x", tmp_path / "x")
    (tmp_path / "t5x/checkpoint_0/state/_METADATA").unlink()
    with pytest.raises(ValueError, match="holds no state/_METADATA"):
        conversion.convert(tmp_path / "t5x", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_memory_is_bounded_by_the_piece_not_by_the_model(tmp_path, monkeypatch):
    """NumPy's arrays; the whole process is measured by `interop.peak_memory` (docs/checkpoints.md)."""
    monkeypatch.setattr(tensors, "PIECE_BYTES", 1 << 18)
    sizes = peak_memory.Sizes(4096, 256, 4, 64, 640, 4, 4, gated=True, tied=False)
    peak_memory.write_synthetic(tmp_path / "hf", sizes)
    model_bytes = 4 * peak_memory.parameters(sizes)
    conversion.convert(tmp_path / "hf", tmp_path / "warm")  # imports and caches are not the model's
    tracemalloc.start()
    try:
        conversion.convert(tmp_path / "hf", tmp_path / "t5x")
        conversion.convert(tmp_path / "t5x", tmp_path / "back")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert model_bytes > 30e6 and peak_bytes < 8e6


class TestCommand:
    """`doa convert`."""

    def test_prints_one_line_of_json_for_a_folder(self, tmp_path, folder, capsys):
        assert cli.main(["convert", str(folder), str(tmp_path / "t5x")]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert printed["largest_logit_difference"] < 1e-5 and printed["to"] == "t5x"
        assert cli.main(["convert", str(tmp_path / "t5x"), str(tmp_path / "back")]) == 0
        captured = capsys.readouterr()
        assert "--tokenizer spiece.model adds them" in captured.err
        assert json.loads(captured.out)["tokenizer"] == []

    def test_refuses_in_one_line(self, tmp_path, folder, capsys):
        folder.rename(tmp_path / "t5-small-ssm-nq")
        assert cli.main(["convert", str(tmp_path / "t5-small-ssm-nq"), str(tmp_path / "t5x")]) == 2
        assert "has seen the labels" in capsys.readouterr().err.replace("\n", " ")
        assert not (tmp_path / "t5x").exists()
