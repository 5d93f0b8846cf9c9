"""Every tensor has one name in each form, and sizes can be read off the shapes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.interop import naming

_SIZES = st.builds(
    naming.Sizes,
    vocab_size=st.integers(4, 99),
    emb_dim=st.integers(1, 99),
    num_heads=st.integers(1, 9),
    head_dim=st.integers(1, 9),
    mlp_dim=st.integers(1, 99),
    num_encoder_layers=st.integers(1, 12),
    num_decoder_layers=st.integers(1, 12),
    gated=st.booleans(),
    tied=st.booleans(),
)


@settings(deadline=None, max_examples=40)
@given(sizes=_SIZES)
def test_sizes_come_back_from_the_shapes_and_no_name_is_used_twice(sizes):
    shapes = sizes.t5x_shapes()
    assert naming.sizes_of(shapes) == sizes
    theirs = [naming.hugging_face_name(name) for name in shapes]
    assert len(set(theirs)) == len(theirs)


def test_the_names_of_some_tensors():
    names = {
        "token_embedder/embedding": "shared.weight",
        "decoder/logits_dense/kernel": "lm_head.weight",
        "encoder/layers_3/attention/out/kernel": "encoder.block.3.layer.0.SelfAttention.o.weight",
        "decoder/layers_0/encoder_decoder_attention/key/kernel": "decoder.block.0.layer.1.EncDecAttention.k.weight",
        "decoder/layers_11/mlp/wi_1/kernel": "decoder.block.11.layer.2.DenseReluDense.wi_1.weight",
        "decoder/layers_1/pre_cross_attention_layer_norm/scale": "decoder.block.1.layer.1.layer_norm.weight",
        "encoder/layers_1/pre_mlp_layer_norm/scale": "encoder.block.1.layer.1.layer_norm.weight",
        "encoder/encoder_norm/scale": "encoder.final_layer_norm.weight",
    }
    assert {ours: naming.hugging_face_name(ours) for ours in names} == names


@pytest.mark.parametrize(
    "name", ["encoder/layers_0/moe/kernel", "decoder/decoder/x", "encoder/layers_0/self_attention/query/kernel", "a"]
)
def test_what_is_no_tensor_of_a_t5_is_said(name):
    with pytest.raises(ValueError, match=r"is no tensor of a T5\. Fix: give a checkpoint of t5x\.examples\.t5"):
        naming.hugging_face_name(name)


def test_a_wrong_tree_names_what_is_missing_unknown_or_misshapen(sizes):
    shapes = sizes.t5x_shapes()
    del shapes["encoder/layers_1/mlp/wo/kernel"]
    with pytest.raises(ValueError, match="encoder/layers_1/mlp/wo/kernel is missing"):
        naming.sizes_of(shapes)
    shapes = {**sizes.t5x_shapes(), "decoder/adapter/kernel": (2, 2)}
    with pytest.raises(ValueError, match="decoder/adapter/kernel is unknown"):
        naming.sizes_of(shapes)
    shapes = {**sizes.t5x_shapes(), "decoder/decoder_norm/scale": (7,)}
    with pytest.raises(ValueError, match=r"decoder_norm/scale has shape \(7,\), expected \(24,\)"):
        naming.sizes_of(shapes)
    with pytest.raises(ValueError, match="the checkpoint lacks token_embedder/embedding"):
        naming.sizes_of({"x": (1,)})
