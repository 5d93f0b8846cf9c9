"""Metrics need neither JAX nor TensorFlow, preprocessing no JAX: scoring a file must not start an accelerator."""

import importlib
import json
import pkgutil
import subprocess
import sys

import pytest

WALLS = {
    "distill_or_annotate.metrics": ("jax", "flax", "tensorflow", "seqio", "gin", "distill_or_annotate.tasks"),
    "distill_or_annotate.preprocess": ("jax", "flax", "gin", "distill_or_annotate.tasks"),
    # The client and the progress bar wait inside functions: `doa annotate --estimate` needs neither.
    "distill_or_annotate.annotators": (
        "jax", "flax", "tensorflow", "seqio", "gin", "openai", "rich", "distill_or_annotate.tasks",
    ),
}  # fmt: skip


def _modules(package: str) -> list[str]:
    root = importlib.import_module(package)
    return [package, *(found.name for found in pkgutil.walk_packages(root.__path__, f"{package}."))]


def _crossed(modules: list[str], forbidden: tuple[str, ...]) -> set[str]:
    # TensorFlow takes JAX in by itself where it finds it, and does without where not; that is no doing of the wing's.
    hidden = "sys.modules['jax'] = None\nimport tensorflow\ndel sys.modules['jax']\n"
    code = (
        f"import importlib, json, sys\n{'' if 'tensorflow' in forbidden else hidden}"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(json.dumps(list(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1])) & set(forbidden)


@pytest.mark.parametrize("package", WALLS)
def test_each_module_of_the_wing_stays_inside_its_wall(package):
    modules = _modules(package)
    assert len(modules) >= 4
    assert _crossed(modules, WALLS[package]) == set()


def test_the_check_sees_a_wall_being_crossed():
    forbidden = WALLS["distill_or_annotate.metrics"]
    assert _crossed(["distill_or_annotate.metrics.evaluation", "jax"], forbidden) == {"jax"}
    assert "distill_or_annotate.tasks" in _crossed(["distill_or_annotate.tasks"], forbidden)
