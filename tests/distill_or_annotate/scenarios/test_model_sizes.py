"""Which models are encoders is what their gin files say."""

import re
from pathlib import Path

import pytest

from distill_or_annotate.scenarios import is_encoder

_MODELS = sorted((Path(__file__).parents[3] / "gin" / "models").glob("*.gin"))
_PARTS = {"encoder", "mini_base", "scanned", "xxl_and_small"}  # included by models, none by itself


@pytest.mark.parametrize("path", [path for path in _MODELS if path.stem not in _PARTS], ids=lambda path: path.stem)
def test_a_model_is_an_encoder_where_its_file_says_so(path):
    assert is_encoder(path.stem) == bool(
        re.search(r"^(include 'gin.models.encoder.gin'|ENCODER = )", path.read_text(encoding="utf-8"), re.M)
    )
