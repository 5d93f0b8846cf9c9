"""Launchers run for real against stand-ins of `gcloud`, `sbatch`, ... on PATH, which write down how they are called."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# A stand-in notes its words, fails when FAIL_ON is one of them, and prints what ANSWER_WORD holds for each.
_STAND_IN = f"""#!{sys.executable}
import json, os, sys
words = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps(words) + "\\n")
if os.environ.get("FAIL_ON") in words:
    sys.exit(7)
for word in words:
    print(end=os.environ.get("ANSWER_" + word.replace("-", "_"), ""))
sys.exit(int(os.environ.get("STATUS_" + words[0], 0)))
"""


class Machine:
    """A PATH whose cloud and cluster commands only take notes.

    Args:
      folder: an empty folder for them.
      commands: their names.
    """

    def __init__(self, folder: Path, commands=("gcloud", "sbatch", "scontrol", "srun", "docker", "uv")):
        self.folder, self._calls = folder, folder / "calls.jsonl"
        for name in commands:
            path = folder / name
            path.write_text(_STAND_IN)
            path.chmod(0o755)

    def run(self, script, *words: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess:
        """Run a script of `launch/`, or one of a path of its own."""
        return subprocess.run(
            ["bash", str(ROOT / "launch" / script), *words],
            cwd=cwd,
            env={
                **os.environ,
                "PATH": f"{self.folder}{os.pathsep}{os.environ['PATH']}",
                "CALLS": str(self._calls),
                "POLL_SECONDS": "0",
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=120,
        )

    def calls(self) -> list[list[str]]:
        """Each call's words, the command's name first."""
        return [json.loads(line) for line in self._calls.read_text().splitlines()] if self._calls.exists() else []


@pytest.fixture
def machine(tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    return Machine(folder)
