"""Small random models whose vocabulary is that of the embedded tasks."""

import pytest

from distill_or_annotate.interop import conversion, peak_memory
from distill_or_annotate.interop.naming import Sizes
from distill_or_annotate.tasks.mini import vocabulary

SIZES = Sizes(
    vocab_size=1024,
    emb_dim=24,
    num_heads=3,
    head_dim=10,
    mlp_dim=40,
    num_encoder_layers=1,
    num_decoder_layers=2,
    gated=True,
    tied=False,
)


@pytest.fixture(scope="session")
def hugging_face(tmp_path_factory):
    """A Hugging Face folder of random weights, with the mini vocabulary."""
    folder = tmp_path_factory.mktemp("models") / "hf"
    peak_memory.write_synthetic(folder, SIZES)
    (folder / "spiece.model").write_bytes(vocabulary.PATH.read_bytes())
    return folder


@pytest.fixture(scope="session")
def t5x_folder(hugging_face):
    """The same model as a T5X model folder."""
    folder = hugging_face.parent / "t5x"
    conversion.convert(hugging_face, folder)
    return folder
