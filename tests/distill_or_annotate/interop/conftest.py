"""Small random T5 models in Hugging Face's form."""

import dataclasses

import pytest

from distill_or_annotate.interop import peak_memory
from distill_or_annotate.interop.naming import Sizes

TINY = Sizes(
    vocab_size=60,
    emb_dim=24,
    num_heads=3,
    head_dim=10,
    mlp_dim=40,
    num_encoder_layers=2,
    num_decoder_layers=3,
    gated=True,
    tied=False,
)


@pytest.fixture
def sizes():
    """Sizes in which no two dimensions are equal, so that no transposition fits by chance."""
    return TINY


@pytest.fixture(params=[(gated, tied) for gated in (True, False) for tied in (True, False)], ids=str)
def any_sizes(request):
    """The four kinds: gated GELU or ReLU, tied or untied."""
    gated, tied = request.param
    return dataclasses.replace(TINY, gated=gated, tied=tied)


@pytest.fixture
def folder(tmp_path, sizes):
    """A Hugging Face folder of random weights."""
    peak_memory.write_synthetic(tmp_path / "source", sizes)
    return tmp_path / "source"
