"""docs/predicting.md, followed literally on a tiny model: every command runs, in order, in a user's folder."""

import io
import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from distill_or_annotate import cli
from distill_or_annotate.interop import conversion, peak_memory
from distill_or_annotate.tasks.mini import vocabulary

_PAGE = (Path(__file__).parents[2] / "docs" / "predicting.md").read_text(encoding="utf-8")
_COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", _PAGE, re.DOTALL) for line in block.splitlines()]
_SIZES = peak_memory.Sizes(1024, 16, 2, 8, 24, 1, 1, gated=True, tied=False)
_TEXTS = ["galate some tulol", "now galate a dorous tulol, slowly", "", "the lurcap"]
_LABELS = {"rated.jsonl": {"good", "bad"}, "judged.jsonl": {"gentle", "harsh"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the page supposes: a trained model in two forms, and the user's texts."""
    here = tmp_path_factory.mktemp("user")
    peak_memory.write_synthetic(here / "my_student_hf", _SIZES)
    (here / "my_student_hf" / "spiece.model").write_bytes(vocabulary.PATH.read_bytes())
    conversion.convert(here / "my_student_hf", here / "runs" / "my_student" / "model")
    lengths = "TASK_FEATURE_LENGTHS = {'inputs': 16, 'targets': 6}\n"
    (here / "runs" / "my_student" / "model" / "config.gin").write_text(f"TASK = 'mini_cls'\n{lengths}")
    (here / "reviews.csv").write_text("id,text\n" + "".join(f'{i},"{text}"\n' for i, text in enumerate(_TEXTS)))
    (here / "claims.tsv").write_text("source\tid\n" + "".join(f"{text}\t{i}\n" for i, text in enumerate(_TEXTS)))
    rows = ({"source": text, "id": i} for i, text in enumerate(_TEXTS))
    (here / "notes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (here / "notes.txt").write_text("".join(f"{text}\n" for text in _TEXTS if text))
    return here


@pytest.mark.parametrize("command", _COMMANDS)
def test_every_command_of_the_page_runs(folder, command, monkeypatch, capsysbinary):
    monkeypatch.chdir(folder)
    words, _, shell = command.partition(" < ")
    if shell:
        read, written = shell.split(" > ")
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path(read).read_bytes())))
    arguments = shlex.split(words)
    assert arguments[0] == "doa" and cli.main(arguments[1:]) == 0
    if shell:
        Path(written).write_bytes(capsysbinary.readouterr().out)
    name = written if shell else arguments[arguments.index("--output") + 1]
    rows = [json.loads(line) for line in Path(name).read_text(encoding="utf-8").splitlines()]
    assert [row.get("text", row.get("source")) for row in rows] == [text for text in _TEXTS if text or not shell]
    for row in rows:
        assert 0 <= row["confidence"] <= 1
        assert row["prediction"] in _LABELS.get(name, {row["prediction"]})
        assert set(row.get("scores", ())) == (_LABELS[name] if "--scores" in arguments else set())


def test_the_python_of_the_page_runs(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (block,) = re.findall(r"```python\n(.*?)```", _PAGE, re.DOTALL)
    exec(compile(block, "docs/predicting.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all(line.split()[0] in ("good", "bad") for line in lines)


def test_the_page_has_commands_for_each_form_of_input():
    assert len(_COMMANDS) >= 4 and all(command.startswith("doa predict --model ") for command in _COMMANDS)
