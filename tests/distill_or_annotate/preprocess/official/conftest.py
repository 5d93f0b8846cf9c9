"""Files written by hand in each data set's official form; their text is invented."""

import pytest


@pytest.fixture
def write(tmp_path):
    """Writes a file of a given name and content below a temporary folder, and returns its path."""

    def make(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return make
