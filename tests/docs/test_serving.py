"""docs/serving.md, followed literally: each command runs, and the example where nothing of ours can be imported."""

import contextlib
import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from distill_or_annotate import cli
from distill_or_annotate.tasks.mini import splits

_PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
_COMMANDS = [c for block in re.findall(r"```bash\n(.*?)```", _PAGE, re.DOTALL) for c in block.splitlines()]
_EXPORTS = [c for c in _COMMANDS if c.startswith("doa export")]
_BENCHES = [c for c in _COMMANDS if c.startswith("doa bench-model")]
(_EXAMPLE,) = re.findall(r"```python\n(.*?)```", _PAGE, re.DOTALL)
_SMALL = " --input-tokens 8 --output-tokens 3 --runs 2 --max-batch 1"

# The last lines stand outside the page: they ask for predictions as the page's function gives them.
_STRANGER = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("distill_or_annotate", "t5x", "seqio", "tensorflow", "flax"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
{example}
import json
texts = json.load(sys.stdin)
print(json.dumps([answer for i in range(0, len(texts), 25) for answer in predict(texts[i:i + 25])]))
absent = ("distill_or_annotate", "t5x", "seqio", "tensorflow", "flax")
assert not [name for name in sys.modules if name.partition(".")[0] in absent]
"""


def _captured(command, folder):
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.chdir(folder)
        status = cli.main(shlex.split(command)[1:])
    assert status == 0, f"{command}: {err.getvalue()}"
    return out.getvalue()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The user's folder after the exports of the page, and what each printed."""
    folder = tmp_path_factory.mktemp("user")
    return folder, {command: json.loads(_captured(command, folder)) for command in _EXPORTS}


def test_every_command_of_the_page_is_run_by_this_file():
    assert sorted([*_EXPORTS, *_BENCHES]) == sorted(_COMMANDS)
    assert len(_EXPORTS) == 2 and len(_BENCHES) >= 2


def test_the_exports_are_checked_and_say_so(exported):
    hugging_face, programs = (exported[1][command] for command in _EXPORTS)
    assert hugging_face["largest_difference"] == 0 and "tokenizer_config.json" in hugging_face["tokenizer"]
    assert programs["checked_on"] == "cpu" and programs["largest_log_likelihood_difference"] < 1e-4
    manifest = json.loads((exported[0] / "my_export" / "manifest.json").read_text())
    assert (manifest["task"], manifest["prefix"], manifest["labels"]) == ("mini", "", [])
    assert manifest["max_output_tokens"] == manifest["trained_lengths"]["targets"] == 20
    named = set(re.findall(r"^\| `([\w.]+)` \|", _PAGE, re.MULTILINE))
    assert named == {path.name for path in (exported[0] / "my_export").iterdir()}


def test_a_stranger_s_predictions_are_those_of_doa_predict(exported):
    folder = exported[0]
    texts = [row["source"] for row in splits.mini_rows("test")][:100]
    assert len(set(texts)) > 90
    (folder / "rows.jsonl").write_text("".join(json.dumps({"source": text}) + "\n" for text in texts))
    _captured("doa predict --model mini_student --input rows.jsonl --output ours.jsonl --max-output-tokens 20", folder)
    ours = [json.loads(line)["prediction"] for line in (folder / "ours.jsonl").read_text().splitlines()]
    done = subprocess.run(
        [sys.executable, "-c", _STRANGER.format(example=_EXAMPLE)],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    assert json.loads(lines[-1]) == ours and len(lines) == 2
    assert len(set(ours)) > 20, "the model tells the texts apart"


@pytest.mark.parametrize("command", _BENCHES)
def test_a_bench_command_answers(command, tmp_path):
    printed = _captured(command + _SMALL, tmp_path)
    if "--json" in command:
        report = json.loads(printed)
        assert report["price"]["name"] == "a100_40gb" and report["models"][0]["compute_dtype"] == "bfloat16"
    else:
        assert "$ per million predictions" in printed and "mini_student" in printed
