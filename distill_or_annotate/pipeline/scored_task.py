"""How a task is scored, found without SeqIO for our own tasks; a task of the user's has to be imported."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import os
import sys

from distill_or_annotate.metrics.kinds import Row


class TaskNotFound(ValueError):
    """No task of this name, or its module cannot be imported."""


@dataclasses.dataclass(frozen=True)
class ScoredTask:
    """What scoring needs of a task.

    Attributes:
      name: as it was asked for.
      metric: a key of `metrics.evaluation.METRICS`.
      labels: label words or entity types; empty for free text.
      mode: the mode that the task is registered in, `fair` or `paper`.
      prefixes: what may stand before a source in what T5X wrote.
    """

    name: str
    metric: str
    labels: tuple[str, ...]
    mode: str
    prefixes: tuple[str, ...]


def find(name: str, module: str | None = None) -> ScoredTask:
    """Look a task up.

    Args:
      name: a base task, a form or a variant of one.
      module: the module that registers it, for a task of one's own; None for ours.

    Raises:
      TaskNotFound: near names are listed.
    """
    from distill_or_annotate.tasks import scoring, similarity_models

    similarity_models.offer()
    found = scoring.find(name) if module is None else None
    if found is not None:
        prefixes = tuple(f"{task}: " for task in scoring.PUBLISHED if name.startswith(task))
        return ScoredTask(name, found[0].metric, found[0].labels, found[1], prefixes)
    # What begins like one of ours may be a variant that only the registry knows.
    if module is None and not name.startswith(tuple(scoring.names())):
        near = difflib.get_close_matches(name, scoring.names(), n=3)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise TaskNotFound(
            f"--task: received {name!r}; {hint}ours: {', '.join(scoring.names())}, the paper's six also with "
            "_paper or _pooled. A task of your own: --task-module MODULE."
        )
    spec = _registered(name, module)
    return ScoredTask(name, spec.metric, tuple(spec.labels), spec.mode, (spec.prefix,))


def labelled_rows(name: str, n_labels: int, seed: int, module: str | None = None) -> list[Row]:
    """The rows of a labelled variant, as a model with that many labels was trained on; needs SeqIO and the data.

    Args:
      name: a task, or a variant, whose base task counts.
      n_labels: N, at least 1.
      seed: data seed, at least 0.
      module: the module that registers it, for a task of one's own.

    Raises:
      TaskNotFound: no such task.
      ValueError: more labels than there are.
      OSError: no data folder.
    """
    spec = _registered(name, module)
    from distill_or_annotate.tasks import registry, variants

    return list(registry.rows(variants.labelled(spec.base or spec.name, n_labels, seed), "train"))


def _registered(name: str, module: str | None):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from distill_or_annotate import quiet

    try:
        quiet.import_quietly("tensorflow", "seqio")
    except ImportError as error:
        raise TaskNotFound(
            f"task {name!r} has to be imported, which needs SeqIO and TensorFlow ({error}). Fix: install them; for "
            "--train, give a file of labelled rows instead of their number."
        ) from error
    from distill_or_annotate.tasks import registry, variants

    if module:
        # Last, so that a task named like a library takes nothing away from it.
        sys.path += [] if os.getcwd() in sys.path else [os.getcwd()]
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise TaskNotFound(
                f"--task-module {module!r} cannot be imported: {error}. Fix: run from the folder that holds it."
            ) from error
    try:
        return registry.get(variants.variant(name))
    except registry.UnknownTask as error:
        raise TaskNotFound(f"{error} On the command line: --task-module.") from error
