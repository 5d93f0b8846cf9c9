"""What a base task is: rows, vocabulary, lengths and metric. Everything a user writes to add a task of their own."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from distill_or_annotate.preprocess.rows import Row

SPLITS = ("train", "validation", "test", "unlabeled")


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """A task, or one variant of it.

    Args:
      name: SeqIO name, letters, digits, `_`, `.`, `:`.
      version: raised whenever prompt, label words, split or metric change; at least 1.
      rows: split to its rows, each with `source` and `target` (empty in `unlabeled`). Called more than once, so it
        should keep what is dear to make.
      vocabulary: makes the SeqIO vocabulary of inputs and targets; it must load lazily.
      input_tokens: longest input in tokens, end of sequence included.
      target_tokens: longest target in tokens, end of sequence included.
      metric: name of the metric, a key of `distill_or_annotate.metrics.evaluation.METRICS`.
      labels: entity types, or class labels in the order of the data set's documentation.
      mode: `fair` or `paper`, for the metric.
      prefix: put before each source, such as `wlp: `; may be empty.
      splits: the splits that exist, or a function that finds out (a data folder may hold some of the files only).
      metric_fns: SeqIO metric functions beside the task's own.
      checks_labels: whether a target outside `labels` stops the reading of a split, for metrics of label words.
      several_answers: whether rows may carry `targets`; the metric then gets the list of accepted answers as target.
      pool_includes_labelled: whether the pool holds the sources of `train`: True adds them, as the paper does, False
        leaves them out; either way the pool is shuffled. None takes `unlabeled` as it is, in its order.
      base: name of the task that this one is a variant of; None for a base task.
    Raises:
      ValueError: a field out of range.
    """

    name: str
    version: int
    rows: Callable[[str], list[Row]]
    vocabulary: Callable[[], Any]
    input_tokens: int
    target_tokens: int
    metric: str
    labels: tuple[str, ...] = ()
    mode: str = "fair"
    prefix: str = ""
    splits: Sequence[str] | Callable[[], Sequence[str]] = SPLITS
    metric_fns: tuple[Callable[..., Any], ...] = ()
    checks_labels: bool = True
    several_answers: bool = False
    pool_includes_labelled: bool | None = None
    base: str | None = None

    def __post_init__(self):
        for field in ("version", "input_tokens", "target_tokens"):
            value = getattr(self, field)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{field} of task {self.name!r}: {value!r}; a whole number of at least 1 is needed")
        if self.mode not in ("fair", "paper"):
            raise ValueError(f"mode of task {self.name!r}: {self.mode!r} is neither 'fair' nor 'paper'")

    def available_splits(self) -> tuple[str, ...]:
        """Returns the splits that exist now.

        Returns:
          Some of `SPLITS`.
        Raises:
          ValueError: a split of another name.
        """
        splits = tuple(self.splits() if callable(self.splits) else self.splits)
        unknown = sorted(set(splits) - set(SPLITS))
        if unknown:
            raise ValueError(f"splits of task {self.name!r}: {unknown} are not among {SPLITS}")
        return splits

    def lengths(self) -> dict[str, int]:
        """Returns T5X's `TASK_FEATURE_LENGTHS`.

        Returns:
          Tokens of `inputs` and `targets`.
        """
        return {"inputs": self.input_tokens, "targets": self.target_tokens}
