"""What a task tells of the texts that its models read and write."""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys
from pathlib import Path
from typing import Any


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
    """Looks a task up; imports SeqIO and TensorFlow, which takes seconds.

    Args:
      name: a base task or one of its variants.
      module: the module that registers it, for a task of one's own.

    Returns:
      Its facts.

    Raises:
      TaskError: no such task, or no such module.
    """
    from distill_or_annotate.metrics.kinds import METRICS

    spec = _spec(name, module)
    labels = spec.labels if METRICS[spec.metric].constant_labels else ()
    return TaskFacts(spec.name, spec.prefix, tuple(labels), spec.input_tokens, spec.target_tokens)


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
