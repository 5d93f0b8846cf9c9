"""What a wheel holds: all code and data of the rooms, nothing else, and no name of another library.

The list is what setuptools would copy, asked for without building; `make wheel-check` builds and uses the wheels.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PROGRAM = """
import json, sys
from setuptools import Distribution
from distutils.core import run_setup
build = run_setup("setup.py", stop_after="init").get_command_obj("build_py")
build.build_lib = "BUILD"
build.ensure_finalized()
print(json.dumps(build.get_outputs(include_bytecode=0)))
"""


def _contents(folder: Path) -> set[str]:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {Path(path).relative_to("BUILD").as_posix() for path in json.loads(done.stdout.splitlines()[-1])}


@pytest.fixture(scope="module")
def wheel():
    return _contents(_ROOT)


def _tracked(*folders: str) -> set[str]:
    """Files of the rooms as they stand, caches left out."""
    files = (path for folder in folders for path in (_ROOT / folder).rglob("*") if path.is_file())
    return {path.relative_to(_ROOT).as_posix() for path in files if "__pycache__" not in path.parts}


def test_every_file_of_the_rooms_is_in_the_wheel(wheel):
    library = _tracked("distill_or_annotate")
    mapped = {f"distill_or_annotate/{path}" for path in _tracked("tasks", "gin")}
    assert len(library) > 60 and len(mapped) > 40
    assert library | mapped == wheel


def test_what_only_a_reader_of_the_source_needs_is_in_no_wheel(wheel):
    assert {path.split("/")[0] for path in wheel} == {"distill_or_annotate"}


def test_the_gin_folder_holds_gin_files_alone_and_tasks_import_under_the_owned_name(wheel):
    gin = [path for path in wheel if path.startswith("distill_or_annotate/gin/")]
    assert len(gin) > 20 and all(path.endswith(".gin") for path in gin)
    six = ("wlp", "stanceosaurus", "fever", "multipit_id", "multipit_gen", "natural_questions")
    assert {f"distill_or_annotate/tasks/{name}.py" for name in six} <= wheel


def test_the_wheel_of_the_runtime_holds_t5x_and_its_gin_files():
    contents = _contents(_ROOT / "runtime")
    runtime = {path.removeprefix("runtime/") for path in _tracked("runtime/t5x")}
    assert contents == runtime and "t5x/configs/runs/finetune.gin" in contents


def test_a_data_file_of_an_unlisted_kind_would_be_missed(tmp_path):
    (tmp_path / "setup.py").write_text(
        "import setuptools\nsetuptools.setup(name='x', packages=['x'], package_data={'x': ['**/*.toml']})\n"
    )
    (tmp_path / "x").mkdir()
    for name in ("__init__.py", "a.toml", "b.yaml"):
        (tmp_path / "x" / name).write_text("")
    assert _contents(tmp_path) == {"x/__init__.py", "x/a.toml"}
