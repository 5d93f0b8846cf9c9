"""Every T5X experiment in gin/experiments is complete, binds nothing in vain, and says what it requires.

Each is parsed and finalized as the command line does it, one process for all of a kind: importing the entry points
takes seconds, parsing takes none.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from distill_or_annotate.pipeline import study

_ROOT = Path(__file__).parents[2]
_GIN = _ROOT / "gin"
_TASKS = _GIN / "tasks"
_EXPERIMENTS = sorted((_GIN / "experiments").glob("*.gin"))

_PARSE = """
import importlib, json, sys
import gin
from t5x import gin_utils

def state():
    bound, read = gin_utils._macros()
    required = {name for name, value in bound.items() if gin_utils._is_required_marker(value)}
    return {"bound": sorted(bound), "read": sorted(read), "required": sorted(required | (read - set(bound)))}

module = importlib.import_module(sys.argv[1])
found = {}
for name in sys.argv[3:]:
    files = name.split("+")
    gin.clear_config()
    try:
        if files[0] == "open":
            gin_utils.parse_for(module, sys.argv[2], gin_files=files[1:], finalize_config=False)
        else:
            gin_utils.parse_for(module, sys.argv[2], gin_files=files)
    except Exception as error:
        found[name] = {"error": f"{type(error).__name__}: {error}"}
    else:
        found[name] = state()
print(json.dumps(found))
"""


def _kind(path):
    """`train` or `infer` for a T5X experiment, by its header's command; None for a scenario."""
    command = re.search(r"^# Command: python -m t5x\.(\w+) --gin_file=(\S+?)[;,]?(?:\s|$)", path.read_text(), re.M)
    return command and command[1]


def _parse(module, function, names):
    words = [sys.executable, "-c", _PARSE, f"t5x.{module}", function, *names]
    done = subprocess.run(words, cwd=_ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def _files(path):
    """A gin file and those of `gin/` that it includes; T5X's own are left out, whose macros one may override or not."""
    text = path.read_text(encoding="utf-8")
    children = [_files(_ROOT / name) for name in re.findall(r"""^include ['"](gin/[^'"]+)['"]""", text, re.M)]
    return {path}.union(*children)


def _bound(path):
    return set(re.findall(r"^([A-Z][A-Z0-9_]*)\s*=", path.read_text(encoding="utf-8"), re.M))


def _stated(path):
    """Macros that a file's header says are required, or None where it has no such header.

    `and those of FILE but A and B` stands for the required macros of that file without A and B.
    """
    header = "".join(re.match(r"(?:#.*\n)+", path.read_text(encoding="utf-8"))[0])
    part = re.search(r"^# Required macros:(.*?)(?=^# [A-Z][\w ]*:|\Z)", header, re.M | re.S)
    if part is None:
        return None
    text = re.sub(r"\([^)]*\)", "", part[1].replace("\n#", " "))
    inherited = re.search(r"those of (gin/\S+\.gin)(?: but (.*))?", text)
    macros = set(re.findall(r"\b[A-Z][A-Z0-9_]+\b", text[: inherited.start()] if inherited else text))
    if inherited:
        but = set(re.findall(r"\b[A-Z][A-Z0-9_]+\b", inherited[2] or ""))
        macros |= _stated(_ROOT / inherited[1]) - but
    return macros


_TRAIN = [path for path in _EXPERIMENTS if _kind(path) == "train"]
_INFER = [path for path in _EXPERIMENTS if _kind(path) == "infer"]
_SCENARIOS = [path for path in _EXPERIMENTS if _kind(path) is None]
# Headers are compared over the run file alone and over the model file: what they leave open is what they require.
_RUNS = sorted((_GIN / "runs").glob("*.gin"))
_HEADED_MODELS = [_GIN / "models" / name for name in ("encoder.gin", "mini_base.gin", "xxl_and_small.gin")]
_MESH = "gin/experiments/mini_distill.gin+gin/mesh/cpu-8.gin"
# A task's file after an experiment's: how one set of experiments serves every task with a mini vocabulary.
_LAYERED = [f"gin/experiments/mini_{kind}.gin+gin/tasks/wlp_mini.gin" for kind in ("teacher", "distill", "annotate")]
_LAYERED += [
    f"gin/experiments/mini_annotate.gin+gin/tasks/{task}.gin"
    for task in ("fever_mini", "multipit_id_mini", "stanceosaurus_mini", "mini_prefixed")
]
_LAYERED.append("gin/experiments/mini_teacher.gin+gin/models/scanned.gin+gin/runs/lora.gin")
_LAYERED_INFER = ["gin/experiments/mini_capture.gin+gin/tasks/wlp_mini.gin"]


def _name(path):
    return str(path.relative_to(_ROOT))


@pytest.fixture(scope="module")
def parsed():
    """What each experiment and each run file binds, reads and requires, by name."""
    infer_runs = [path for path in _RUNS if path.stem == "capture"]
    train_runs = [path for path in _RUNS if path not in infer_runs]
    opened = [f"open+{_name(path)}" for path in [*train_runs, *_HEADED_MODELS]]
    trained = _parse("train", "train", [*map(_name, _TRAIN), _MESH, *_LAYERED, *opened])
    inferred = _parse(
        "infer", "infer", [*map(_name, _INFER), *_LAYERED_INFER, *(f"open+{_name(path)}" for path in infer_runs)]
    )
    return trained | inferred


def test_experiments_of_every_kind_were_found():
    assert len(_TRAIN) >= 7 and len(_INFER) >= 1 and len(_SCENARIOS) >= 4


@pytest.mark.parametrize("path", [*_TRAIN, *_INFER], ids=lambda path: path.stem)
def test_the_header_s_command_names_the_file_itself(path):
    assert f"--gin_file={_name(path)}" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*map(_name, [*_TRAIN, *_INFER]), _MESH, *_LAYERED, *_LAYERED_INFER])
def test_a_t5x_experiment_is_complete_as_it_stands(parsed, name):
    assert parsed[name].get("error") is None
    assert parsed[name]["required"] == []


@pytest.mark.parametrize("path", [*_TRAIN, *_INFER], ids=lambda path: path.stem)
def test_an_experiment_binds_no_macro_that_nothing_reads(parsed, path):
    own = set().union(*(_bound(file) for file in _files(path) if file.parent != _TASKS))
    assert {"MODEL", "MODEL_DIR"} & own  # a T5X user's file has its model from T5X's
    of_training = {"INITIAL_CHECKPOINT_PATH", "NEW_LAYERS"} if path in _INFER else set()  # gin/models/encoder.gin's
    # The paper's training is one file for both kinds of model, and a classifier has one target an example.
    of_tokens = {"LOSS_NORMALIZING_FACTOR"} if _GIN / "models" / "encoder.gin" in _files(path) else set()
    assert sorted(own - of_training - of_tokens - set(parsed[_name(path)]["read"])) == []


@pytest.mark.parametrize("path", sorted(_TASKS.glob("*.gin")), ids=lambda path: path.stem)
def test_a_task_binds_no_macro_that_no_experiment_reads(parsed, path):
    """A task's file serves every stage, and not every stage reads all of it."""
    users = [_name(experiment) for experiment in [*_TRAIN, *_INFER] if path in _files(experiment)]
    users += [name for name in [*_LAYERED, *_LAYERED_INFER] if name.endswith(f"+{_name(path)}")]
    read = set().union(*(parsed[name]["read"] for name in users))
    assert "TASK" in _bound(path)
    assert sorted(_bound(path) - read) == []


@pytest.mark.parametrize("path", _RUNS, ids=lambda path: path.stem)
def test_a_run_s_header_states_what_it_requires(parsed, path):
    assert sorted(_stated(path)) == parsed[f"open+{_name(path)}"]["required"]


@pytest.mark.parametrize("path", _HEADED_MODELS, ids=lambda path: path.stem)
def test_a_model_s_header_states_what_it_requires(parsed, path):
    assert sorted(_stated(path)) == parsed[f"open+{_name(path)}"]["required"]


def test_every_header_of_required_macros_is_one_of_those_compared():
    headed = {path for path in _GIN.rglob("*.gin") if _stated(path) is not None}
    assert headed == {*_RUNS, *_HEADED_MODELS}


@pytest.mark.parametrize("path", _SCENARIOS, ids=lambda path: path.stem)
def test_a_scenario_names_experiments_that_are_there_and_of_the_right_kind(path):
    scenario, _ = study.read(str(path))
    wanted = {"finetune": _TRAIN, "capture": _INFER, "distill": _TRAIN, "annotate": _TRAIN}
    for kind, experiments in wanted.items():
        assert _ROOT / scenario.gin_file(kind) in experiments, kind
    assert scenario.name == path.stem


def test_a_file_that_lacks_a_macro_or_misspells_one_is_found(tmp_path):
    lacking = tmp_path / "lacking.gin"
    lacking.write_text("from __gin__ import dynamic_registration\ninclude 'gin/runs/labelled.gin'\nTASK = 'mini'\n")
    spare = tmp_path / "spare.gin"
    spare.write_text(
        "from __gin__ import dynamic_registration\ninclude 'gin/experiments/mini_annotate.gin'\nEPOCH = 3\n"
    )
    found = _parse("train", "train", [str(lacking), str(spare)])
    assert "N_LABELS" in found[str(lacking)]["error"]
    assert _bound(spare) - set(found[str(spare)]["read"]) == {"EPOCH"}
