"""`runtime/` knows nothing of distillation, tasks or money, and stays small."""

import ast
from pathlib import Path

import pytest

_RUNTIME = Path(__file__).parents[2] / "runtime" / "t5x"
_MODULES = sorted(_RUNTIME.rglob("*.py"))


def _imported(source: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("path", _MODULES, ids=lambda path: str(path.relative_to(_RUNTIME)))
def test_no_module_of_the_runtime_imports_the_library(path):
    assert "distill_or_annotate" not in _imported(path.read_text(encoding="utf-8"))


def test_the_check_sees_an_import():
    assert "distill_or_annotate" in _imported("def f():\n    from distill_or_annotate.losses import kl\n")


def test_no_gin_file_of_the_runtime_names_the_library():
    named = [path for path in _RUNTIME.rglob("*.gin") if "distill_or_annotate" in path.read_text(encoding="utf-8")]
    assert named == [] and list(_RUNTIME.rglob("*.gin"))


def test_the_runtime_stays_below_five_thousand_lines():
    assert 0 < sum(len(path.read_text(encoding="utf-8").splitlines()) for path in _MODULES) < 5000
