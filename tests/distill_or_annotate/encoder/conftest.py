"""A tiny encoder and the packaged one; lets the tests of this folder import what they share."""

import sys
from pathlib import Path

import pytest

TESTS_DIR = Path(__file__).parent
if str(TESTS_DIR) not in sys.path:
    sys.path.insert(0, str(TESTS_DIR))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    import tiny_encoder

    return tiny_encoder.write(tmp_path_factory.mktemp("encoder") / "tiny-bert")


@pytest.fixture(scope="session")
def minilm():
    from distill_or_annotate.encoder import folders

    try:
        return Path(folders.minilm())
    except ValueError as error:
        pytest.skip(f"THE REAL ENCODER IS NOT TESTED: {error}")
