"""docs/checkpoints.md, followed literally on tiny models: every command runs, in order, in a user's folder."""

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import numpy as library

from distill_or_annotate import cli
from distill_or_annotate.interop import conversion, peak_memory, shipped, t5x_folders
from distill_or_annotate.tasks.mini import vocabulary

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs" / "checkpoints.md").read_text(encoding="utf-8")


def _blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", _PAGE, re.DOTALL)


_COMMANDS = [line for block in _blocks("bash") for line in block.splitlines()]
_CONVERSIONS = [c for c in _COMMANDS if c.startswith("doa convert") and "# refused" not in c]
_REFUSED = [c for c in _COMMANDS if "# refused" in c]
_MEASURED = [c for c in _COMMANDS if c.startswith("python -m distill_or_annotate.interop.peak_memory")]
_SIZES = peak_memory.Sizes(1024, 16, 2, 8, 24, 1, 2, gated=True, tied=False)


def _legacy_format():
    spec = importlib.util.spec_from_file_location("legacy_format", _ROOT / "runtime" / "tests" / "legacy_format.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """The user's folder after all conversions of the page, and the line that each printed."""
    folder = tmp_path_factory.mktemp("user")
    peak_memory.write_synthetic(folder / "models" / "flan-t5-small", _SIZES, shard_bytes=20_000)
    tensors = conversion.open_model(folder / "models" / "flan-t5-small").tensors
    (folder / "spiece.model").write_bytes(vocabulary.PATH.read_bytes())
    (folder / "models" / "flan-t5-small" / "spiece.model").write_bytes(vocabulary.PATH.read_bytes())
    (folder / "runs" / "my_student" / "model").mkdir(parents=True)
    student = conversion.open_model(shipped.weights_file("mini_student")).tensors
    t5x_folders.write_checkpoint(folder / "runs/my_student/model/checkpoint_40", student, np.dtype(np.float32))
    target = t5x_folders._nested({name: tensor.whole() for name, tensor in tensors.items()})
    _legacy_format().write(
        folder / "checkpoints" / "t5_1_1_small" / "checkpoint_1000000",
        {"target": target, "state": {"step": np.int32(1_000_000)}},
        chunk=64,
    )
    peak_memory.write_synthetic(folder / "models" / "t5-large-ssm-nq", _SIZES)
    peak_memory.write_synthetic(folder / "models" / "pickled", _SIZES)
    (folder / "models/pickled/model.safetensors").rename(folder / "models/pickled/pytorch_model.bin")
    return folder, {command: _convert(command, folder) for command in _CONVERSIONS}


def _convert(command, folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = _captured(shlex.split(command, comments=True)[1:])
    assert done[0] == 0, f"{command}: {done}"
    return json.loads(done[1])


def _captured(arguments):
    import contextlib
    import io

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main(arguments)
    return status, out.getvalue(), err.getvalue()


def test_every_command_of_the_page_is_run_by_this_file():
    assert sorted([*_CONVERSIONS, *_REFUSED, *_MEASURED]) == sorted(_COMMANDS)
    assert len(_CONVERSIONS) >= 5 and len(_REFUSED) >= 2 and _MEASURED


def test_the_conversions_go_through_and_say_so(followed):
    folder, printed = followed
    for command, report in printed.items():
        assert (folder / report["file"]).exists(), command
        lossless = "bfloat16" not in command
        assert report["largest_difference"] == 0 or not lossless, command
        assert report["largest_logit_difference"] <= (1e-4 if lossless else 0.1) * report["largest_logit"], command
    assert (folder / "runs/flan_t5_small/hugging_face/spiece.model").exists()
    assert (folder / "my_student_hf/tokenizer_config.json").exists()
    first = {
        n: a for f in (folder / "models/flan-t5-small").glob("*.safetensors") for n, a in library.load_file(f).items()
    }
    again = library.load_file(folder / "t5_1_1_small_hf" / "model.safetensors")
    assert set(again) == set(first)
    for key, array in first.items():
        np.testing.assert_array_equal(array, again[key])


@pytest.mark.parametrize("command", _REFUSED)
def test_what_is_refused_is_refused_with_the_reason(followed, command, monkeypatch):
    monkeypatch.chdir(followed[0])
    arguments = shlex.split(command, comments=True)[1:]
    status, _, err = _captured(arguments)
    assert status == 2 and not Path(arguments[-1]).exists()
    assert ("Natural Questions" if "ssm-nq" in command else "a pickle") in err


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_memory_command_measures_two_sizes_and_ends_with_xxl():
    """At a 64th and a 32nd of the dimensions; at the page's scales it is minutes, and its output stands there."""
    words = re.sub(r"--scales \d+ \d+", "--scales 64 32", _MEASURED[0]).split()
    done = subprocess.run([sys.executable, *words[1:]], cwd=_ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    small, large, *lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert small["scale"] == 64 and large["model_mb"] > small["model_mb"]
    for line in lines:
        (found,) = line.values()
        assert found["xxl_model_mb"] == pytest.approx(44541, abs=1)
    for name in ("to_t5x_peak_mb", "to_hugging_face_peak_mb"):
        assert 50 < small[name] < 1500 and 50 < large[name] < 1500


def test_the_gin_lines_complete_a_fine_tuning_configuration(followed, tmp_path):
    start, fresh = _blocks("gin")
    required = {
        "MIXTURE_OR_TASK_NAME": "'mini'",
        "TASK_FEATURE_LENGTHS": "{'inputs': 8, 'targets': 8}",
        "MODEL_DIR": "'m'",
        "TRAIN_STEPS": "1",
        "DROPOUT_RATE": "0.1",
    }
    page = (
        "from __gin__ import dynamic_registration\nfrom t5x import utils\n"
        "include 't5x/examples/t5/t5_1_1/small.gin'\ninclude 't5x/configs/runs/finetune.gin'\n"
    )
    (tmp_path / "page.gin").write_text(page + start + fresh + "".join(f"{k} = {v}\n" for k, v in required.items()))
    code = (
        "import sys, gin\nfrom t5x import gin_utils, train, utils\n"
        "gin_utils.parse_for(train, 'train', gin_files=[sys.argv[1]])\n"
        "cfg = gin.get_configurable(utils.RestoreCheckpointConfig)()\nprint(cfg.path, cfg.fallback_to_scratch)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "page.gin")], capture_output=True, text=True)
    assert done.stdout.split() == ["runs/flan_t5_small/checkpoint_0", "True"], done.stderr[-2000:]
    assert (followed[0] / "runs/flan_t5_small/checkpoint_0").is_dir()


@pytest.mark.parity
def test_transformers_loads_the_student_as_the_page_shows(followed, monkeypatch, capsys):
    monkeypatch.chdir(followed[0])
    (block,) = _blocks("python")
    exec(compile(block, "docs/checkpoints.md", "exec"), {})
    assert len(re.findall(r"\b[a-z]{3,}\b", capsys.readouterr().out)) > 2  # words: the tokenizer is the model's own
