"""Variants of a task by name: how many labels, how much of the pool, or the pool as a teacher labelled it.

  {task}_n{N}_s{K}          train: the first N of shuffle K of the labelled rows, so that 1K lie inside 5K
  {task}_u{U}               unlabeled (and train): the first U of the pool, evaluation sources left out
  {task}_pseudo_u{U}_{hash} train: the same U sources with a teacher's predictions, and gold rows if asked for
  {task}_answered_u{U}_{hash} train: those of the U sources that a language model labelled, and gold rows if asked for
  {pseudo}_mix_{hash}       a SeqIO mixture of that task and one of gold labels, at a rate

`validation` and `test` are the base task's. Every function registers with SeqIO, idempotently, and returns the name, so
each works in gin as a value (`MIXTURE_OR_TASK_NAME = @variants.labelled()`) and, once registered, as a plain string.
"""

import dataclasses
import glob
import json
import operator
import os
import re
from collections.abc import Callable, Iterable, Sequence

import seqio

from distill_or_annotate.preprocess.rows import Row
from distill_or_annotate.preprocess.text import (
    content_hash,
    distinct,
    fraction,
    permutation,
    source_key,
    without_prefix,
)
from distill_or_annotate.tasks import registry

_LABELLED = re.compile(r"(?P<task>.+)_n(?P<n>\d+)_s(?P<seed>\d+)")
_UNLABELED = re.compile(r"(?P<task>.+)_u(?P<n>\d+)")
EVALUATION_SPLITS = ("validation", "test")
POOL_SEED = 2023


class PredictionsError(ValueError):
    """A teacher's predictions cannot be read, or do not cover the pool."""


@dataclasses.dataclass(frozen=True)
class Pool:
    """The unlabeled pool of a task.

    Args:
      rows: sources with empty targets, in the pool's order.
      n_excluded: sources left out because they occur in `validation` or `test`.
      n_labelled_excluded: sources left out because they occur in `train`, where the task asks for that.
    """

    rows: list[Row]
    n_excluded: int
    n_labelled_excluded: int = 0


def labelled(task: str, n_labels: int, seed: int = 0) -> str:
    """Registers the first N labels of a seeded shuffle.

    Args:
      task: a base task.
      n_labels: N, at least 1 and at most the rows of `train` (checked when the rows are read).
      seed: K, at least 0.
    Returns:
      `{task}_n{N}_s{K}`.
    Raises:
      UnknownTask: no such base task.
      ValueError: a number out of range.
    """
    _check("n_labels", n_labels, 1)
    _check("seed", seed, 0)
    name = f"{task}_n{n_labels}_s{seed}"

    def train() -> list[Row]:
        rows = registry.rows(task, "train")
        _check_enough("n_labels", n_labels, len(rows), f"labelled rows of {task!r}")
        return [rows[i] for i in permutation(len(rows), seed)[:n_labels]]

    return _register(task, name, {"train": train}, checks_labels=True)


def unlabeled(task: str, n_unlabeled: int) -> str:
    """Registers the first U sources of the pool, as split `unlabeled` and, the same, as `train`.

    Args:
      task: a base task with a split `unlabeled`.
      n_unlabeled: U, at least 1 and at most the pool (checked when the rows are read).
    Returns:
      `{task}_u{U}`.
    Raises:
      UnknownTask: no such base task.
      ValueError: a number out of range.
    """
    _check("n_unlabeled", n_unlabeled, 1)

    def first() -> list[Row]:
        return _first_of_pool(task, n_unlabeled)

    return _register(task, f"{task}_u{n_unlabeled}", {"train": first, "unlabeled": first})


def pseudo(
    task: str,
    predictions: str | os.PathLike | Sequence[str | os.PathLike],
    n_unlabeled: int,
    gold: str | None = None,
    gold_repeats: int = 1,
    seed: int = 0,
) -> str:
    """Registers the pool as a teacher labelled it.

    The predictions may cover more of the pool than U: those on 100K serve for 10K too.

    Args:
      task: a base task with a split `unlabeled`.
      predictions: JSON lines of `t5x.infer` in mode predict: a file, several, or a glob pattern (an inference over
        several shards leaves several files). A line is `{"inputs": {"inputs_pretokenized": ...}, "prediction": ...}`.
      n_unlabeled: U, at least 1.
      gold: a labelled variant whose rows are mixed in, as fair mode does; None for none.
      gold_repeats: how many times each gold row occurs, at least 1.
      seed: seed of the order in which pseudo-labelled and gold rows are mixed, at least 0.
    Returns:
      `{task}_pseudo_u{U}_{hash}`; the hash is of all that determines the rows, the predictions' content included.
    Raises:
      UnknownTask: no such base task or gold variant.
      PredictionsError: no predictions, unreadable ones, or some of the first U sources missing from them.
      ValueError: a number out of range.
    """
    for field, value, least in (("n_unlabeled", n_unlabeled, 1), ("gold_repeats", gold_repeats, 1), ("seed", seed, 0)):
        _check(field, value, least)
    spec = registry.get(task)
    labels = read_predictions(predictions, spec.prefix)
    pool = _first_of_pool(task, n_unlabeled)
    missing = [row["source"] for row in pool if row["source"] not in labels]
    if missing:
        raise PredictionsError(
            f"predictions: {predictions!r} lack {len(missing)} of the first {n_unlabeled} sources of the pool of "
            f"{task!r}, such as {missing[0]!r}. Run t5x.infer on {task}_u{n_unlabeled}, split 'unlabeled', and give "
            "its file."
        )
    rows = [{"source": row["source"], "target": labels[row["source"]]} for row in pool]
    gold_rows = registry.rows(variant(gold), "train") if gold else []
    rows += [row for row in gold_rows for _ in range(gold_repeats)]
    if gold_rows:
        rows = [rows[i] for i in permutation(len(rows), seed)]
    content = content_hash(text for row in rows for text in (row["source"], row["target"]))
    name_hash = content_hash([task, spec.version, n_unlabeled, gold, gold_repeats if gold else 0, content])
    return _register(task, f"{task}_pseudo_u{n_unlabeled}_{name_hash}", {"train": lambda: rows})


def answered(task: str, answers: str | os.PathLike, n_unlabeled: int, gold: str | None = None, seed: int = 0) -> str:
    """Registers the part of the pool that a language model labelled; what it was asked and set aside is left out.

    Args:
      task: a base task with a pool.
      answers: JSON lines of `doa annotate`.
      n_unlabeled: U, how many sources it was asked for, at least 1.
      gold: a labelled variant whose rows are mixed in; None for none.
      seed: seed of the order in which they are mixed, at least 0.
    Returns:
      `{task}_answered_u{U}_{hash}`; the hash is of all that determines the rows.
    Raises:
      UnknownTask: no such base task or gold variant.
      PredictionsError: no file of answers, an unreadable one, or no answer to any of the first U sources.
      ValueError: a number out of range.
    """
    _check("n_unlabeled", n_unlabeled, 1)
    _check("seed", seed, 0)
    spec = registry.get(task)
    labels = read_predictions(answers, spec.prefix)
    pool = _first_of_pool(task, n_unlabeled)
    rows = [{"source": row["source"], "target": labels[row["source"]]} for row in pool if row["source"] in labels]
    if not rows:
        raise PredictionsError(
            f"answers: {answers!r} hold none of the first {n_unlabeled} sources of the pool of {task!r}. Fix: label "
            "that pool with `doa annotate`."
        )
    if gold:
        known = registry.rows(variant(gold), "train")
        # A pool may hold the labelled sources: one that a person labelled has that label alone.
        sources = {row["source"] for row in known}
        rows = [row for row in rows if row["source"] not in sources] + known
        rows = [rows[i] for i in permutation(len(rows), seed)]
    name_hash = content_hash([task, spec.version, *(text for row in rows for text in (row["source"], row["target"]))])
    return _register(task, f"{task}_answered_u{n_unlabeled}_{name_hash}", {"train": lambda: rows})


def mixture(pseudo_task: str, gold: str, gold_rate: float = 0.1) -> str:
    """Registers a SeqIO mixture of pseudo-labelled and gold rows, so that the gold share is a rate and not a count.

    In gin: `MIXTURE_OR_TASK_NAME = @variants.mixture()`, with `variants.mixture.pseudo_task = @variants.pseudo()` and
    `variants.mixture.gold = @variants.labelled()`. Evaluate on the base task (`infer_eval/utils.DatasetConfig.
    mixture_or_task_name = %TASK`): a mixture evaluates each of its tasks, and both have the same test.

    Args:
      pseudo_task: what `pseudo` returned, without gold rows of its own.
      gold: a labelled variant or a base task.
      gold_rate: share of training examples that are gold, above 0 and below 1.
    Returns:
      `{pseudo_task}_mix_{hash}`; the hash is of the gold task and the rate.
    Raises:
      UnknownTask: no such pseudo-labelled or gold task.
      ValueError: a rate out of range, or tasks of different base tasks.
    """
    if not isinstance(gold_rate, (int, float)) or not 0 < gold_rate < 1:
        raise ValueError(f"gold_rate: {gold_rate!r}; a number above 0 and below 1 is needed")
    bases = [registry.get(name).base or name for name in (variant(pseudo_task), variant(gold))]
    if bases[0] != bases[1]:
        raise ValueError(f"gold: {gold!r} belongs to {bases[1]!r}, but {pseudo_task!r} to {bases[0]!r}; take one task")
    name = f"{pseudo_task}_mix_{content_hash([gold, float(gold_rate)])}"
    if name not in seqio.MixtureRegistry.names():
        seqio.MixtureRegistry.add(name, [(pseudo_task, 1 - gold_rate), (gold, gold_rate)])
    return name


def variant(name: str) -> str:
    """Registers a labelled or unlabeled variant by its name alone.

    Args:
      name: a base task, a registered variant, `{task}_n{N}_s{K}` or `{task}_u{U}`.
    Returns:
      The name.
    Raises:
      UnknownTask: none of these; near names are listed.
    """
    try:
        return registry.get(name).name
    except registry.UnknownTask:
        if match := _LABELLED.fullmatch(name):
            return labelled(match["task"], int(match["n"]), int(match["seed"]))
        if match := _UNLABELED.fullmatch(name):
            return unlabeled(match["task"], int(match["n"]))
        raise


def register_defaults(
    task: str, n_labels: Iterable[int], n_unlabeled: Iterable[int], seeds: Iterable[int] = range(5)
) -> list[str]:
    """Registers the usual sizes, so that their names work as plain strings. Reads no data.

    Args:
      task: a base task.
      n_labels: numbers of labels, each at least 1.
      n_unlabeled: sizes of the pool, each at least 1.
      seeds: data seeds, each at least 0.
    Returns:
      The names.
    Raises:
      UnknownTask: no such base task.
      ValueError: a number out of range.
    """
    seeds = tuple(seeds)
    names = [labelled(task, n, seed) for n in n_labels for seed in seeds]
    return names + [unlabeled(task, n) for n in n_unlabeled]


def pool(task: str) -> Pool:
    """Returns a task's pool without the sources on which models are evaluated.

    Whether it holds the sources of `train` is the task's to say (`TaskSpec.pool_includes_labelled`).

    Args:
      task: a base task with a split `unlabeled`, or one whose pool includes the sources of `train`.
    Returns:
      The pool, and how many sources were left out.
    Raises:
      UnknownTask: no such base task.
      ValueError: the task has no pool.
    """
    spec = registry.get(task)
    splits = spec.available_splits()
    held_out = _keys(task, [split for split in EVALUATION_SPLITS if split in splits])
    if "unlabeled" not in splits and not (spec.pool_includes_labelled and "train" in splits):
        raise ValueError(
            f"task {task!r} has no unlabeled text (its splits: {', '.join(splits) or 'none'}). Give it some, such as "
            f"`doa data build {task} --unlabeled FILES`, or take the sources of `train` for a pool: "
            "pool_includes_labelled=True, which the paper's tasks have under the names {task}_pooled and {task}_paper."
        )
    sources = [row["source"] for row in registry.rows(task, "unlabeled")] if "unlabeled" in splits else []
    n_labelled_excluded = 0
    if spec.pool_includes_labelled is not None:
        if spec.pool_includes_labelled:
            sources += [row["source"] for row in registry.rows(task, "train")] if "train" in splits else []
        else:
            n_before, labelled_keys = len(sources), _keys(task, ["train"] if "train" in splits else [])
            sources = [source for source in sources if source_key(source) not in labelled_keys]
            n_labelled_excluded = n_before - len(sources)
        # By content, so that a prefix is a sample whatever order the files had, and the same one in each mode.
        sources = sorted(distinct(sources), key=lambda source: fraction(source_key(source), POOL_SEED))
    # Without targets: an embedded task knows them, but no strategy may.
    kept = [{"source": source, "target": ""} for source in sources if source_key(source) not in held_out]
    return Pool(kept, len(sources) - len(kept), n_labelled_excluded)


def read_predictions(predictions: str | os.PathLike | Sequence[str | os.PathLike], prefix: str = "") -> dict[str, str]:
    """Reads what `t5x.infer` wrote in mode predict.

    Args:
      predictions: a file, several, or a glob pattern.
      prefix: the task's prefix, which the inputs carry.
    Returns:
      Source to prediction; of several predictions for one source the first.
    Raises:
      PredictionsError: no file, or a line of another form.
    """
    patterns = [predictions] if isinstance(predictions, (str, os.PathLike)) else list(predictions)
    files = []
    for pattern in map(os.fspath, patterns):
        found = [pattern] if os.path.isfile(pattern) else sorted(glob.glob(pattern))
        files += [path for path in found if not path.endswith(".COMPLETED")]
        if not found:
            raise PredictionsError(f"predictions: {pattern!r} is no file and matches none; run t5x.infer first")
    labels: dict[str, str] = {}
    for path in files:
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    record = json.loads(line)
                    source, prediction = record["inputs"]["inputs_pretokenized"], record["prediction"]
                except (ValueError, KeyError, TypeError) as error:
                    raise PredictionsError(
                        f"{path}, line {number}: inputs.inputs_pretokenized and prediction are needed, as t5x.infer "
                        f"writes in mode 'predict' ({type(error).__name__}: {error})"
                    ) from error
                if not isinstance(source, str) or not isinstance(prediction, str):
                    raise PredictionsError(f"{path}, line {number}: inputs_pretokenized and prediction must be strings")
                labels.setdefault(without_prefix(source, prefix), prediction)
    return labels


def _keys(task: str, splits: Iterable[str]) -> set[str]:
    return {source_key(row["source"]) for split in splits for row in registry.rows(task, split)}


def _first_of_pool(task: str, n_unlabeled: int) -> list[Row]:
    available = pool(task)
    _check_enough(
        "n_unlabeled", n_unlabeled, len(available.rows),
        f"sources in the pool of {task!r} ({available.n_excluded} left out, being in validation or test)",
    )  # fmt: skip
    return available.rows[:n_unlabeled]


def _register(task: str, name: str, own_rows: dict[str, Callable[[], list[Row]]], checks_labels: bool = False) -> str:
    base = registry.get(task)

    def rows(split: str) -> list[Row]:
        return own_rows[split]() if split in own_rows else base.rows(split)

    def splits() -> tuple[str, ...]:
        return (*own_rows, *(split for split in EVALUATION_SPLITS if split in base.available_splits()))

    # What a teacher wrote may be no label, and the sources of a pool have none.
    return registry.register(
        dataclasses.replace(base, name=name, rows=rows, splits=splits, base=task, checks_labels=checks_labels)
    )


def _check(field: str, value: int, least: int) -> None:
    try:
        in_range = not isinstance(value, bool) and operator.index(value) >= least
    except TypeError:
        in_range = False
    if not in_range:
        raise ValueError(f"{field}: {value!r}; a whole number of at least {least} is needed")


def _check_enough(field: str, wanted: int, available: int, of_what: str) -> None:
    if wanted > available:
        raise ValueError(
            f"{field}: {wanted} are asked for, but there are {available} {of_what}; ask for at most that many"
        )
