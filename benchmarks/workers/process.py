"""A system under the clock, in a process of its own that answers questions with JSON."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path


class Worker:
    """A process that stays alive, on cores of its own.

    Args:
      script: a file of this folder, such as `ours.py`.
      python: interpreter that has its packages.
      threads: cores that it may use; thread pools size themselves by them.
      variables: added to its environment; an empty value takes one away.

    Attributes:
      about: what it said of itself.
    """

    def __init__(self, script: str, python: str, threads: int, variables: Mapping[str, str] | None = None):
        cores = sorted(os.sched_getaffinity(0))[:threads]
        added = {"OMP_NUM_THREADS": str(len(cores)), **(variables or {})}
        kept = {name: value for name, value in os.environ.items() if name not in added}
        self.process = subprocess.Popen(
            [python, str(Path(__file__).parent / script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if not os.environ.get("DOA_DEBUG") else None,
            text=True,
            env=kept | {name: value for name, value in added.items() if value},
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        self.about = self._answer()

    def ask(self, *words: str) -> dict:
        """`seconds` of each repetition of the work that the `words` name, and whatever facts it brings."""
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(
                f"{self.process.args[1]} ended with status {self.process.wait()}. DOA_DEBUG=1 shows what it said. The "
                "peer hf needs torch and transformers: pip install '.[parity]', or name an interpreter that has them "
                "with --peer-python; the peer t5x needs an interpreter with upstream T5X."
            )
        return json.loads(line)
