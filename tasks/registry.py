"""From `TaskSpec` to SeqIO task: one way of registering, and one place to look a task up by name."""

import difflib
import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import seqio
import tensorflow as tf

from distill_or_annotate.metrics.classification import UnknownLabels, unknown_labels
from distill_or_annotate.metrics.evaluation import METRICS, Scorer
from distill_or_annotate.preprocess.lengths import Truncations, count_truncations
from distill_or_annotate.preprocess.rows import Row
from distill_or_annotate.tasks import similarity_models
from distill_or_annotate.tasks.sources import RowsDataSource
from distill_or_annotate.tasks.spec import TaskSpec

# Modules of ours that register a base task when imported, so that a name suffices.
_PUBLISHED = ("fever", "multipit_gen", "multipit_id", "natural_questions", "stanceosaurus", "wlp")
HOMES = {
    "mini": "distill_or_annotate.tasks.mini.task",
    "mini_cls": "distill_or_annotate.tasks.mini.task",
    **dict.fromkeys(("mini_pooled", "mini_prefixed"), "distill_or_annotate.tasks.mini.as_in_paper"),
    "wlp_mini": "distill_or_annotate.tasks.wlp",
    **{f"{name}_mini": "distill_or_annotate.tasks.released_mini" for name in ("fever", "multipit_id", "stanceosaurus")},
    **{
        f"{name}{mode}": f"distill_or_annotate.tasks.{name}"
        for name in _PUBLISHED
        for mode in ("", "_pooled", "_paper")
    },
}

# What two registrations under one name must agree in.
_IDENTITY = ("version", "base", "metric", "mode", "labels", "prefix", "input_tokens", "target_tokens")

_SPECS: dict[str, TaskSpec] = {}

similarity_models.offer()


class UnknownTask(KeyError):
    """No task of this name is registered."""

    def __str__(self) -> str:
        return str(self.args[0])


def register(spec: TaskSpec) -> str:
    """Registers a task with SeqIO; a second registration of an equal task changes nothing.

    Args:
      spec: the task or variant.
    Returns:
      Its name, for `MIXTURE_OR_TASK_NAME`.
    Raises:
      ValueError: another task has the name.
    """
    known = _SPECS.get(spec.name)
    differing = [field for field in _IDENTITY if known is not None and getattr(known, field) != getattr(spec, field)]
    if differing:
        was = ", ".join(f"{field} {getattr(known, field)!r}" for field in differing)
        raise ValueError(f"task {spec.name!r} is registered already, with {was}; give the new one another name")
    if known is None and spec.name in seqio.TaskRegistry.names():
        raise ValueError(f"SeqIO has a task {spec.name!r} that is not ours; give the new one another name")
    if spec.name not in seqio.TaskRegistry.names():
        # First, as it refuses an unknown metric.
        postprocess_fn = _postprocess_fn(spec)
        feature = seqio.Feature(vocabulary=spec.vocabulary(), add_eos=True)
        seqio.TaskRegistry.add(
            spec.name,
            source=RowsDataSource(_checked_rows(spec), spec.available_splits, spec.several_answers),
            preprocessors=[
                functools.partial(_to_features, prefix=spec.prefix, several_answers=spec.several_answers),
                seqio.preprocessors.tokenize,
                seqio.CacheDatasetPlaceholder(),
                # After trimming, so that a cut sequence still ends.
                seqio.preprocessors.append_eos_after_trim,
            ],
            output_features={"inputs": feature, "targets": feature},
            postprocess_fn=postprocess_fn,
            metric_fns=[_metric_fn(spec), *spec.metric_fns],
        )
        _SPECS[spec.name] = spec
    return spec.name


def get(name: str) -> TaskSpec:
    """Looks a task up, importing the module of ours that registers it if need be.

    Args:
      name: a base task or a registered variant.
    Returns:
      Its description.
    Raises:
      UnknownTask: no such task; near names are listed.
    """
    if name not in _SPECS and name in HOMES:
        importlib.import_module(HOMES[name])
    if name not in _SPECS:
        # Base tasks first: each has hundreds of variants, whose names are all alike.
        near = difflib.get_close_matches(name, base_names(), n=5) or difflib.get_close_matches(name, _SPECS, n=5)
        listed = f"Near names: {', '.join(near)}" if near else f"Base tasks: {', '.join(base_names())}"
        raise UnknownTask(
            f"task {name!r} is not registered. {listed}. A task of one's own is registered by importing its module "
            "(MIXTURE_OR_TASK_MODULE in gin)."
        )
    return _SPECS[name]


def base_names() -> list[str]:
    """Lists the base tasks: those registered, and those of ours that importing would register.

    Returns:
      Names, sorted.
    """
    return sorted({*HOMES, *(name for name, spec in _SPECS.items() if spec.base is None)})


def rows(name: str, split: str) -> Sequence[Row]:
    """Returns the rows of a task or variant, as its data source gives them.

    Args:
      name: a registered task.
      split: one of its splits.
    Returns:
      Rows with `source` (without prefix) and `target`.
    Raises:
      UnknownTask: no such task.
      ValueError: no such split.
    """
    spec = get(name)
    splits = spec.available_splits()
    # Where there is no data at all, the reader says which files are missing.
    if splits and split not in splits:
        raise ValueError(f"split: {split!r} of task {name!r} is not one of {splits}")
    return spec.rows(split)


def vocabulary(task: str) -> seqio.Vocabulary:
    """Returns a task's vocabulary; bound in gin to `VOCABULARY`, so that model and task cannot disagree.

    Args:
      task: a registered task.
    Returns:
      A vocabulary that loads on first use.
    Raises:
      UnknownTask: no such task.
    """
    return get(task).vocabulary()


def scorer(name: str, mode: str | None = None) -> Scorer:
    """Returns the metric of a task.

    Args:
      name: a registered task.
      mode: fair or paper; None takes the mode that it was registered with.
    Returns:
      What the SeqIO task, the pipeline and `doa evaluate` score with.
    Raises:
      UnknownTask: no such task.
    """
    spec = get(name)
    return Scorer(spec.metric, labels=spec.labels, mode=mode or spec.mode)


def truncations(name: str, split: str = "train") -> Truncations:
    """Counts what the task's lengths cut off in a split.

    Args:
      name: a registered task.
      split: one of its splits.
    Returns:
      The counts; `summary()` is a line for the report.
    Raises:
      UnknownTask: no such task.
      ValueError: no such split.
    """
    spec = get(name)
    return count_truncations(
        rows(name, split), spec.vocabulary().encode, spec.input_tokens, spec.target_tokens, spec.prefix
    )


def accepted_answers(text: str, example: Mapping[str, Any] | None = None, is_target: bool = False) -> str | list[str]:
    """Gives the metric all accepted answers in place of the one target (SeqIO's `postprocess_fn`).

    Args:
      text: a decoded prediction or target.
      example: the example, with its `answers`.
      is_target: whether `text` is the target.
    Returns:
      A prediction as it is; of a target, the list of accepted answers.
    """
    if not is_target or not example or "answers" not in example:
        return text
    return [tf.compat.as_text(answer) for answer in example["answers"]]


def scored_row(
    text: str, example: Mapping[str, Any] | None = None, is_target: bool = False, prefix: str = ""
) -> str | dict[str, Any]:
    """Gives a metric that compares with the source the whole row in place of the target (SeqIO's `postprocess_fn`).

    Args:
      text: a decoded prediction or target.
      example: the example, with its `inputs_pretokenized`.
      is_target: whether `text` is the target.
      prefix: the task's prefix, which is no part of the source.
    Returns:
      A prediction as it is; of a target, a row.
    """
    if not is_target or not example:
        return text
    source = tf.compat.as_text(example["inputs_pretokenized"]).removeprefix(prefix)
    answers = accepted_answers(text, example, is_target)
    return {"source": source, "target": text, "targets": [text] if isinstance(answers, str) else answers}


def _checked_rows(spec: TaskSpec) -> Callable[[str], Sequence[Row]]:
    """A misspelt label would be trained on as one more class, and stop the run only when it is scored."""
    if not (spec.checks_labels and METRICS[spec.metric].constant_labels):
        return spec.rows
    checked: dict[str, Sequence[Row]] = {}

    def rows(split: str) -> Sequence[Row]:
        found = spec.rows(split)
        if split != "unlabeled" and checked.get(split) is not found:
            if unknown := unknown_labels([row["target"] for row in found], spec.labels):
                raise UnknownLabels(unknown, spec.labels, f"split {split!r} of task {spec.name!r}")
            checked[split] = found
        return found

    return rows


def _postprocess_fn(spec: TaskSpec):
    if Scorer(spec.metric, labels=spec.labels, mode=spec.mode).needs_sources:
        return functools.partial(scored_row, prefix=spec.prefix)
    return accepted_answers if spec.several_answers else None


def _to_features(dataset: tf.data.Dataset, prefix: str, several_answers: bool) -> tf.data.Dataset:
    def features(row):
        answers = {"answers": row["answers"]} if several_answers else {}
        return {"inputs": tf.strings.join([prefix, row["source"]]), "targets": row["target"], **answers}

    return dataset.map(features, num_parallel_calls=tf.data.AUTOTUNE)


def _metric_fn(spec: TaskSpec):
    task_scorer = Scorer(spec.metric, labels=spec.labels, mode=spec.mode)

    # SeqIO tells a metric's kind by the names of its arguments.
    def task_metric(targets, predictions):
        return task_scorer.scores(targets, predictions)

    return task_metric
