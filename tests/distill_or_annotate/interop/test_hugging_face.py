"""Which folders are opened, what is refused and why."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from safetensors import numpy as library

from distill_or_annotate.interop import hugging_face, peak_memory

_FILE = "model.safetensors"


def _settings(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _tensors(folder, **changes):
    arrays = library.load_file(folder / _FILE)
    for name, value in changes.items():
        if value is None:
            del arrays[name.replace("__", ".")]
        else:
            arrays[name.replace("__", ".")] = np.ascontiguousarray(value(arrays))
    library.save_file(arrays, folder / _FILE)


@pytest.mark.parametrize("name", ["t5-large-ssm-nq", "T5-11b-SSM-NQO", "t5_xl_ssm_nq"])
def test_a_checkpoint_that_saw_natural_questions_is_no_start(tmp_path, folder, name):
    named = tmp_path / f"models--google--{name}" / "snapshots" / "3f2a"
    named.parent.mkdir(parents=True)
    shutil.copytree(folder, named)
    link = tmp_path / "innocent"
    link.symlink_to(named)
    for path in (named, link):
        with pytest.raises(ValueError, match=r"was fine-tuned on Natural Questions.*-ssm without -nq"):
            hugging_face.open_folder(path)


def test_it_is_recognised_by_its_configuration_too_and_ssm_alone_is_welcome(folder):
    _settings(folder, _name_or_path="google/t5-large-ssm")
    hugging_face.open_folder(folder)
    _settings(folder, _name_or_path="google/t5-large-ssm-nq")
    with pytest.raises(ValueError, match="'google/t5-large-ssm-nq': it was fine-tuned on Natural Questions"):
        hugging_face.open_folder(folder)


def test_pickles_are_not_opened(folder):
    (folder / _FILE).rename(folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin: a pickle.*save_pretrained\('.*source-safetensors'\)"):
        hugging_face.open_folder(folder)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds neither model\.safetensors nor"):
        hugging_face.open_folder(folder)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model_type", "umt5", "model_type is 'umt5'; allowed: t5, mt5"),
        ("feed_forward_proj", "gated-silu", "feed_forward_proj is 'gated-silu'; allowed: 'relu', 'gated-gelu'"),
        ("relative_attention_max_distance", 64, "relative_attention_max_distance is 64; T5X's network has 128"),
        ("layer_norm_epsilon", 1e-5, "layer_norm_epsilon is 1e-05"),
        ("d_ff", 41, r"wi_0/kernel has shape \(24, 40\), expected \(24, 41\)"),
        ("num_layers", 3, "encoder/layers_2/.* is missing"),
    ],
)
def test_a_configuration_that_does_not_fit_is_named(folder, field, value, message):
    _settings(folder, **{field: value})
    with pytest.raises(ValueError, match=message):
        hugging_face.open_folder(folder)


def test_shards_are_joined_and_lost_or_outlying_ones_named(tmp_path, sizes):
    folder = tmp_path / "sharded"
    peak_memory.write_synthetic(folder, sizes, shard_bytes=20_000)
    names = sorted(path.name for path in folder.glob("*.safetensors"))
    assert names[0] == f"model-00001-of-{len(names):05d}.safetensors" and len(names) > 2
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    peak_memory.write_synthetic(tmp_path / "whole", sizes)
    assert set(index["weight_map"]) == set(library.load_file(tmp_path / "whole" / _FILE))
    assert hugging_face.open_folder(folder).sizes == sizes

    (folder / names[1]).unlink()
    with pytest.raises(FileNotFoundError, match=f"lacks {names[1]}"):
        hugging_face.open_folder(folder)
    index["weight_map"]["lm_head.weight"] = "../whole/model.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="points outside its folder"):
        hugging_face.open_folder(folder)


def test_copies_of_the_embedding_are_dropped_and_false_copies_refused(folder, sizes):
    unused = np.zeros((32, 3), np.float32)
    _tensors(
        folder,
        encoder__embed_tokens__weight=lambda arrays: arrays["shared.weight"],
        decoder__block__0__layer__1__EncDecAttention__relative_attention_bias__weight=lambda arrays: unused,
    )
    assert set(hugging_face.open_folder(folder).as_t5x()) == set(sizes.t5x_shapes())
    for wrong in (lambda arrays: arrays["shared.weight"][:5], lambda arrays: arrays["shared.weight"] * 2):
        _tensors(folder, decoder__embed_tokens__weight=wrong)
        with pytest.raises(ValueError, match=r"decoder\.embed_tokens\.weight differs from shared\.weight"):
            hugging_face.open_folder(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is no JSON"):
        hugging_face.open_folder(folder)


class TestHeads:
    """Whether the head is the embedding: what old and new transformers write."""

    def test_untied_as_published(self, folder):
        assert not hugging_face.open_folder(folder).sizes.tied

    def test_untied_as_saved_again_by_todays_transformers(self, folder):
        _settings(folder, tie_word_embeddings=True, scale_decoder_outputs=False)
        assert not hugging_face.open_folder(folder).sizes.tied

    def test_an_mt5_is_never_scaled(self, folder):
        _settings(folder, model_type="mt5", tie_word_embeddings=True)
        assert not hugging_face.open_folder(folder).sizes.tied

    def test_an_equal_copy_of_the_embedding_is_tied(self, folder):
        _settings(folder, tie_word_embeddings=True)
        _tensors(folder, lm_head__weight=lambda arrays: arrays["shared.weight"])
        opened = hugging_face.open_folder(folder)
        assert opened.sizes.tied and "decoder/logits_dense/kernel" not in opened.as_t5x()

    def test_a_head_of_its_own_that_is_said_to_be_tied_is_refused(self, folder):
        _settings(folder, tie_word_embeddings=True)
        with pytest.raises(ValueError, match=r"although config\.json says that they are tied"):
            hugging_face.open_folder(folder)

    def test_a_missing_head_is_refused(self, folder):
        _tensors(folder, lm_head__weight=None)
        with pytest.raises(ValueError, match=r"lacks tensor lm_head\.weight"):
            hugging_face.open_folder(folder)

    def test_a_shared_head_without_scale_becomes_a_head_of_its_own(self, folder):
        _settings(folder, tie_word_embeddings=True, scale_decoder_outputs=False)
        _tensors(folder, lm_head__weight=None)
        opened = hugging_face.open_folder(folder)
        assert not opened.sizes.tied
        head, embedding = (opened.as_t5x()[n] for n in ("decoder/logits_dense/kernel", "token_embedder/embedding"))
        np.testing.assert_array_equal(head.whole(), embedding.whole().T)

    def test_tied_as_published(self, tmp_path, sizes):
        peak_memory.write_synthetic(tmp_path / "tied", dataclasses.replace(sizes, tied=True, gated=False))
        opened = hugging_face.open_folder(tmp_path / "tied")
        assert opened.sizes.tied and not opened.sizes.gated
