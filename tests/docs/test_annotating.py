"""docs/annotating.md, followed literally: its commands run against the server that it starts, on another port."""

import importlib
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

_PAGE = (Path(__file__).parents[2] / "docs" / "annotating.md").read_text(encoding="utf-8")
_COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", _PAGE, re.DOTALL) for line in block.splitlines()]
_ROWS = [{"source": f"Mix sample {i} well .", "target": f"Mix [Action] sample {i} [Reagent]"} for i in range(40)]


def _words(command, port):
    words = [word.replace("8765", str(port)) for word in shlex.split(command)]
    return [sys.executable, *(["-m", "distill_or_annotate", *words[1:]] if words[0] == "doa" else words[1:])]


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """What each command printed."""
    folder, port = tmp_path_factory.mktemp("user"), _free_port()
    (folder / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _ROWS))
    (folder / "group.toml").write_text(re.search(r"```toml\n(.*?)```", _PAGE, re.DOTALL)[1])
    server_command, export, *commands = _COMMANDS
    environment = {**os.environ, **dict(pair.split("=", 1) for pair in export.replace("8765", str(port)).split()[1:])}
    server = subprocess.Popen(_words(server_command, port), cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        assert "40 answers at" in server.stdout.readline()
        printed = {}
        for command in commands:
            done = subprocess.run(_words(command, port), cwd=folder, capture_output=True, text=True, env=environment)
            printed[command] = (done.returncode, done.stdout, done.stderr)
        yield folder, printed
    finally:
        server.terminate()
        server.wait()


def test_the_page_shows_six_commands():
    assert len(_COMMANDS) == 6


def test_each_command_does_what_the_page_says(followed):
    folder, printed = followed
    estimate, labelled, batched, simulated = printed.values()
    assert estimate[0] == labelled[0] == batched[0] == 0, [told[2] for told in printed.values()]
    assert "40 items: about $" in estimate[1]
    assert "40 of 40 items labelled" in labelled[1] and "accuracy 100.0%" in labelled[1]
    assert "40 of 40 items labelled" in batched[1]
    assert simulated[0] == 0 and "Mistakes are assumed" in simulated[1]
    for name in ("labels.jsonl", "batched.jsonl", "simulated.jsonl"):
        assert len((folder / name).read_text().splitlines()) == 40


def test_the_python_of_the_page_names_what_there_is():
    code = re.search(r"```python\n(.*?)```", _PAGE, re.DOTALL)[1]
    imports = re.findall(r"^from ([\w.]+) import (.+)$", code, re.MULTILINE)
    found = {
        name: getattr(importlib.import_module(module), name, None) or importlib.import_module(f"{module}.{name}")
        for module, names in imports
        for name in names.split(", ")
    }
    calls = re.findall(r"\b(forms|labelling|prompts)\.(\w+)\(", code)
    assert len(calls) == 3 and all(hasattr(found[module], name) for module, name in calls)
