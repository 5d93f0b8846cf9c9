"""What a task tells of the texts that its models read and write."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import distill_or_annotate
from distill_or_annotate import tasks
from distill_or_annotate.interop import shipped

_PACKAGE = "distill_or_annotate"


class TaskError(ValueError):
    """A task, or the module that registers it, cannot be found."""


@dataclasses.dataclass(frozen=True)
class TaskFacts:
    """A task as a served model needs it.

    Attributes:
      name: its name.
      prefix: what stands before each source; may be empty.
      labels: the label words, one of which is the answer; empty for tasks that write text.
      input_tokens: longest input, end of sequence included.
      target_tokens: longest target, end of sequence included.
    """

    name: str
    prefix: str
    labels: tuple[str, ...]
    input_tokens: int
    target_tokens: int


def facts(name: str, module: str | None = None) -> TaskFacts:
    """Looks a task up.

    That imports SeqIO and TensorFlow, which takes seconds; what the package's own tasks say is therefore kept in the
    cache folder, until a file that could say something else changes.

    Args:
      name: a base task or one of its variants.
      module: the module that registers it, for a task of one's own.

    Returns:
      Its facts.

    Raises:
      TaskError: no such task, or no such module.
    """
    # A task of one's own may import anything, so nothing is known of what would change it.
    kept = _kept_file(name) if module is None or module.startswith(f"{_PACKAGE}.") else None
    if kept and (known := _read(kept)):
        return known
    from distill_or_annotate.metrics.kinds import METRICS

    spec = _spec(name, module)
    labels = spec.labels if METRICS[spec.metric].constant_labels else ()
    found = TaskFacts(spec.name, spec.prefix, tuple(labels), spec.input_tokens, spec.target_tokens)
    from distill_or_annotate.tasks import registry

    if kept and (spec.base or spec.name) in registry.HOMES:
        _write(kept, found)
    return found


def _kept_file(name: str) -> Path:
    package = Path(distill_or_annotate.__file__).parent
    digest = hashlib.sha256(name.encode())
    for folder in (package / "paper", package / "metrics", Path(tasks.__file__).parent):
        for file in sorted([*folder.rglob("*.py"), *folder.rglob("*.json")]):
            digest.update(f"{file}\n".encode() + file.read_bytes())
    return shipped.cache_dir() / "task_facts" / f"{digest.hexdigest()[:32]}.json"


def _read(path: Path) -> TaskFacts | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return TaskFacts(**{**value, "labels": tuple(value["labels"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None  # not there, or damaged: found out again


def _write(path: Path, found: TaskFacts) -> None:
    with contextlib.suppress(OSError):  # a cache that cannot be written costs seconds, no more
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f"{path.name}.tmp-{os.getpid()}")
        scratch.write_text(json.dumps(dataclasses.asdict(found)), encoding="utf-8")
        scratch.replace(path)


def vocabulary_file(name: str, module: str | None = None) -> Path:
    """The SentencePiece model of a task; one on a server is fetched into the cache folder.

    Args:
      name: a base task or one of its variants.
      module: the module that registers it, for a task of one's own.

    Returns:
      A path.

    Raises:
      TaskError: no such task or module, or a vocabulary that cannot be had.
    """
    spec = _spec(name, module)
    from distill_or_annotate.tasks import vocabularies

    address = spec.vocabulary().sentencepiece_model_file
    try:
        path = vocabularies.local_copy(address)
    except OSError as error:
        raise TaskError(
            f"the vocabulary {address} of task {name!r} cannot be had ({error}). Fix: --vocabulary PATH."
        ) from error
    if not path.is_file():
        raise TaskError(f"the vocabulary {address} of task {name!r} is no file. Fix: --vocabulary PATH.")
    return path


def _spec(name: str, module: str | None) -> Any:
    from distill_or_annotate import quiet

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    quiet.import_quietly("tensorflow", "seqio")
    from distill_or_annotate.tasks import registry, variants

    if module:
        _import(module, name)
    try:
        return registry.get(variants.variant(name))
    except registry.UnknownTask as error:
        raise TaskError(f"{error} On the command line: --task-module.") from error


def _import(module: str, task: str) -> None:
    # Last, so that a task named like a library takes nothing away from it; `doa` itself has no working directory there.
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise TaskError(
            f"the module {module!r} of task {task!r} cannot be imported: {error}. Fix: run from the folder that the "
            "model was trained in, or name the module."
        ) from error
