"""What a run was made with: `manifest.json`."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import distill_or_annotate

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "seqio", "tensorflow", "gin-config", "numpy")


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all.

    Args:
      path: the file; replaced when it exists.
      value: anything that `json` takes.
    """
    scratch = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    with scratch.open("w", encoding="utf-8") as handle:
        json.dump(value, handle, indent=1, sort_keys=True, ensure_ascii=False)
        handle.write("\n")
        handle.flush()
        os.fsync(handle.fileno())
    scratch.replace(path)


def manifest(scenario: Mapping[str, Any], command: str, data: Mapping[str, str]) -> dict[str, Any]:
    """Versions, seeds, hashes and the command of a run.

    Args:
      scenario: the scenario's fields.
      command: the command line that started the run.
      data: name -> SHA-256 of each data file the run reads.

    Returns:
      The content of `manifest.json`; no time of day, so that a resumed run writes the same file.
    """
    import t5x

    return {
        "version": distill_or_annotate.__version__,
        "commit": _commit(),
        "t5x": {"file": t5x.__file__, "runtime": getattr(t5x, "__runtime__", "upstream")},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} logical CPUs",
        "packages": {name: _version(name) for name in _PACKAGES},
        "command": command,
        "scenario": dict(scenario),
        "data": dict(data),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Commit of the checkout that the package stands in; None when it was installed from a wheel."""
    here = Path(distill_or_annotate.__file__).parent.parent
    if not (here / ".git").exists():
        return None
    done = subprocess.run(["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None
