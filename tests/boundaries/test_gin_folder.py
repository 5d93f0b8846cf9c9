"""`gin/` holds no Python and shadows nothing; each of its files is one that gin can read."""

import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_GIN = _ROOT / "gin"


def test_the_gin_folder_holds_no_python():
    assert list(_GIN.rglob("*.py")) == [] and list(_GIN.rglob("*.gin"))


@pytest.mark.parametrize("folder", [_ROOT, _ROOT / "tests", Path("/")], ids=["root", "tests", "outside"])
def test_gin_config_is_what_import_gin_finds(folder):
    code = "import gin; assert callable(gin.parse_config_file), gin"
    assert subprocess.run([sys.executable, "-c", code], cwd=folder, check=False).returncode == 0


@pytest.mark.parametrize("path", sorted(_GIN.rglob("*.gin")), ids=lambda path: str(path.relative_to(_GIN)))
def test_every_gin_file_opens_with_what_it_is_for_and_imports_what_it_names(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ") and "from __gin__ import dynamic_registration" in text
    body = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    last_include = max((i for i, line in enumerate(body) if line.startswith("include ")), default=-1)
    early = [line for line in body[: last_include + 1] if not line.startswith(("include ", "import ", "from "))]
    assert early == [], f"set before an include, so lost when the included file sets them too: {early}"
