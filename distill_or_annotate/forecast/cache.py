"""Forecasts that were made before: one file per program and mesh, so that a broken-off forecast goes on.

Two keys. The first is what was asked: gin files with all they include, bindings, mesh, versions, our own sources. The
second is what was found: the lowered program itself, so that two tasks of one shape are compiled once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import os
import re
from pathlib import Path

from distill_or_annotate.forecast import gin_text, hlo
from distill_or_annotate.forecast.devices import MeshFacts
from distill_or_annotate.forecast.programs import Costs, Program

_PACKAGES = ("jax", "jaxlib", "libtpu", "flax", "optax")
# Rooms whose code is in the programs, and the modules here that make and count them.
_ROOMS = ("capture", "losses", "model", "teacher", "trainer")
_OWN = ("capture_step", "captured_step", "flops", "hlo", "programs", "train_step")


def folder() -> Path:
    """Where forecasts are kept: under `DOA_CACHE_DIR`, or `~/.cache/distill_or_annotate`."""
    root = os.environ.get("DOA_CACHE_DIR") or Path.home() / ".cache" / "distill_or_annotate"
    return Path(root) / "forecast"


def request_key(program: Program, facts: MeshFacts) -> str:
    """Key of a program on a mesh as it was asked for.

    Args:
      program: the program.
      facts: the mesh.

    Returns:
      Hexadecimal.

    Raises:
      FileNotFoundError: a gin file is missing.
    """
    files = [gin_text.digest(name) for name in (*program.gin_files, facts.gin_file)]
    asked = [program.kind, files, program.bindings, program.examples, dataclasses.astuple(facts), _versions(), _code()]
    return _hash(repr(asked))


def program_key(lowered_text: str, facts: MeshFacts) -> str:
    """Key of a lowered program on a mesh.

    Args:
      lowered_text: the program as text, without its sources' places.
      facts: the mesh.

    Returns:
      Hexadecimal.
    """
    text = re.sub(r"module @\S+", "module", lowered_text)
    counted_by = Path(hlo.__file__).read_text(encoding="utf-8")
    return _hash(
        repr([text, facts.topology or facts.stand_in, facts.chip_config, facts.chips, _versions(), counted_by])
    )


def read(key: str) -> Costs | None:
    """The costs kept under a key.

    Args:
      key: of `request_key` or `program_key`.

    Returns:
      The costs; None where there are none, or of another form.
    """
    try:
        return Costs(**json.loads((folder() / f"{key}.json").read_text(encoding="utf-8")))
    except (FileNotFoundError, TypeError, ValueError):
        return None


def write(key: str, costs: Costs) -> None:
    """Keeps costs under a key; a reader never sees half a file.

    Args:
      key: of `request_key` or `program_key`.
      costs: what to keep.
    """
    path = folder() / f"{key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(f".{os.getpid()}.part")
    half.write_text(json.dumps(dataclasses.asdict(costs)), encoding="utf-8")
    half.replace(path)


@functools.cache
def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


@functools.cache
def _code() -> str:
    """Digest of the sources that a program is made from."""
    import distill_or_annotate
    import t5x

    ours = Path(distill_or_annotate.__file__).parent
    sources = [path for room in _ROOMS for path in sorted((ours / room).rglob("*.py"))]
    sources += [ours / "forecast" / f"{name}.py" for name in _OWN]
    sources += sorted(Path(t5x.__file__).parent.rglob("*.py"))
    digest = hashlib.sha256()
    for path in sources:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Versions of the packages that programs are made and compiled with, by name."""
    return dict(_versions())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
