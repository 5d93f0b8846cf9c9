"""The folder that holds stages, a run's own or one that several runs share.

A stage's name says all that determines its output but the data, so the store keeps the hashes of each task's data and
refuses other data. A stage that another run finished is taken as it is: it costs no time here, and this run's ledger is
charged for it, since each study pays for all it needs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill_or_annotate.pipeline.locks import folder_lock
from distill_or_annotate.pipeline.manifest import write_json

DONE = "done.json"
_DATA = "store.json"
ENVIRONMENT = "DOA_STAGES_DIR"


def stages_folder(run_dir: Path, asked: Path | None) -> Path:
    """The folder of a run's stages.

    Args:
      run_dir: the run's folder.
      asked: the one asked for on the command line, if any; else `DOA_STAGES_DIR` is looked at.
    """
    return asked or Path(os.environ.get(ENVIRONMENT) or run_dir / "stages")


class Store:
    """Stages on disk, as one run sees them.

    Args:
      folder: holds each stage's folder under its name.
      ledger_path: the run's ledger, which tells its own stages from others'.
    """

    def __init__(self, folder: Path, ledger_path: Path):
        self.folder = folder
        self._ledger = str(ledger_path.absolute())

    def mark(self, name: str) -> Mapping[str, Any] | None:
        """A stage's end mark, or None where it is not finished.

        Args:
          name: the stage.
        """
        try:
            return json.loads((self.folder / name / DONE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def is_finished(self, name: str) -> bool:
        """Whether a stage's work is complete on disk, whoever did it.

        Args:
          name: the stage.
        """
        return (self.folder / name / DONE).exists()

    def is_ours(self, name: str) -> bool:
        """Whether this run finished the stage.

        Args:
          name: the stage.
        """
        mark = self.mark(name)
        return mark is not None and mark.get("ledger", self._ledger) == self._ledger

    def finish(self, name: str, **facts: Any) -> None:
        """Write a stage's end mark, after which it is never run again.

        Args:
          name: the stage.
          **facts: what others may want to know of it; JSON-ready.
        """
        write_json(self.folder / name / DONE, {**facts, "ledger": self._ledger})

    def claim(self, hashes: Mapping[str, str]) -> None:
        """Note the data that this run's stages are made of.

        Args:
          hashes: name -> SHA-256 of each split's rows.

        Raises:
          ValueError: the store holds stages made of other data under these names.
        """
        with folder_lock(self.folder, wait_seconds=60):
            path = self.folder / _DATA
            known = json.loads(path.read_text(encoding="utf-8"))["data"] if path.exists() else {}
            changed = sorted(name for name, value in hashes.items() if known.get(name, value) != value)
            if changed:
                raise ValueError(
                    f"{self.folder} holds stages made of other data ({', '.join(changed)} changed since). "
                    "Fix: give --stages-dir another folder, or restore the data (DOA_DATA_DIR)."
                )
            if not hashes.items() <= known.items():
                write_json(path, {"data": {**known, **hashes}})
