"""What the six tasks of the paper share: where their rows come from, and their two modes.

Rows come from the folder that `doa data build` wrote, where there is one, else from the released files in DOA_DATA_DIR.
Each task is registered under three names:

  {task}         fair: no prefix, official metrics; the pool holds no source of `train`
  {task}_pooled  fair, and the pool holds the sources of `train` too: for who has no other unlabeled text
  {task}_paper   paper: prefix `{task}: `, the reference's metrics; the pool holds the sources of `train` (Appendix D)

Two data sets have no public test (`dev_is_test`): their dev file is what is scored. In paper mode it is `validation`
too; in fair mode `validation` is 5% of the training sources, which `train` then lacks. Data built with a test of its
own is used as it was built, in both modes.
"""

import dataclasses
import functools
import os
from collections.abc import Sequence

from distill_or_annotate import paper
from distill_or_annotate.preprocess import built
from distill_or_annotate.preprocess import rows as rows_lib
from distill_or_annotate.preprocess.text import fraction, source_key
from distill_or_annotate.tasks import registry, scoring, variants
from distill_or_annotate.tasks.spec import SPLITS, TaskSpec
from distill_or_annotate.tasks.vocabularies import t5_vocabulary

HELD_OUT_SHARE, HELD_OUT_SEED = 0.05, 2023
# Sizes beside those of the paper's tables.
N_LABELS, N_UNLABELED = (100, 300, 500, 1000, 2000, 3000, 5000, 8000, 10000), (1000, 2000, 4000, 10000, 100000)

# What a split was read from: path, time of change and size of each file, so that changed files are read again.
_Files = tuple[tuple[str, int, int], ...]


@dataclasses.dataclass(frozen=True)
class PublishedRows:
    """The rows of a published task in one mode.

    Args:
      task: the task's name, in either mode.
      mode: `fair` or `paper`.
      dev_is_test: whether the dev file is scored, there being no public test.
    """

    task: str
    mode: str
    dev_is_test: bool = False

    def splits(self) -> tuple[str, ...]:
        """Returns the splits that the data at hand gives.

        Returns:
          Some of `SPLITS`.
        Raises:
          DataFolderError: no data folder.
          BuiltError: a built folder that cannot be read.
        """
        return tuple(split for split in SPLITS if self._origin(split, self._present()) is not None)

    def rows(self, split: str) -> list[rows_lib.Row]:
        """Returns the rows of a split; the same list while its files stay as they are.

        Args:
          split: one of `splits()`.
        Returns:
          Rows with `source`, `target` and, where several answers are accepted, `targets`.
        Raises:
          DataFolderError: no data folder, or not this split in it.
          RowError: a malformed row in a released file.
          BuiltError: a built folder that cannot be read.
        """
        present = self._present()
        # Of a split that is not there the reader says what is, and how to get it.
        origin, part = self._origin(split, present) or (split, None)
        return _read(self.task, origin, part, self._files(origin))

    def _present(self) -> Sequence[str]:
        return built.splits(self.task) or tuple(split for split in SPLITS if self._released(split))

    def _origin(self, split: str, present: Sequence[str]) -> tuple[str, str | None] | None:
        """Names the stored split that holds `split`, and which part of it; None where there is none."""
        if self.dev_is_test and "test" not in present and split != "unlabeled":
            if split == "test" or (split == "validation" and self.mode == "paper"):
                return ("validation", None) if "validation" in present else None
            part = {"fair": split, "paper": None}[self.mode]
            return ("train", part) if "train" in present else None
        return (split, None) if split in present else None

    def _released(self, split: str):
        return rows_lib.find_files(rows_lib.data_dir(), rows_lib.RELEASED_PREFIXES[self.task], split)

    def _files(self, split: str) -> _Files:
        folder = built.folder(self.task)
        files = sorted(folder.iterdir()) if folder.is_dir() else self._released(split)
        return tuple((os.fspath(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files)


def register(
    task: str,
    *,
    version: int,
    dev_is_test: bool = False,
    several_answers: bool = False,
) -> None:
    """Registers a task of the paper under its three names, each with the usual variants. Reads no data.

    How it is scored stands in `tasks/scoring.py`.

    Args:
      task: the task's name, as in the paper's facts, which give its lengths.
      version: see `TaskSpec`.
      dev_is_test: see `PublishedRows`.
      several_answers: see `TaskSpec`.
    """
    facts = paper.task(task)
    for name, mode, prefix, pool_includes_labelled in (
        (task, "fair", "", False),
        (f"{task}_pooled", "fair", "", True),
        (f"{task}_paper", "paper", f"{task}: ", True),
    ):
        source = PublishedRows(task, mode, dev_is_test)
        spec = TaskSpec(
            name,
            version,
            rows=source.rows,
            vocabulary=t5_vocabulary,
            input_tokens=facts["max_source_tokens"]["value"],
            target_tokens=facts["max_target_tokens"]["value"],
            mode=mode,
            prefix=prefix,
            splits=source.splits,
            several_answers=several_answers,
            pool_includes_labelled=pool_includes_labelled,
            **scoring.PUBLISHED[task].fields(),
        )
        registry.register(spec)
        variants.register_defaults(name, *sizes(task))


def sizes(task: str) -> tuple[list[int], list[int]]:
    """Lists the sizes at which the paper has a number for a task, and round ones.

    Args:
      task: the task's name.
    Returns:
      Numbers of labels (those of Tables 2 and 11, with what the additional budget adds to them), and sizes of the pool.
    """
    n_labels, n_unlabeled = set(N_LABELS), set(N_UNLABELED)
    for table in ("table2", "table11"):
        for block in paper.facts()[table]["rows"]:
            if block["task"] == task:
                n_labels |= {block["n_labels"] + extra for extra in block["extra_labels"]}
                n_unlabeled |= {1000 * thousands for thousands in block["unlabeled_k"] if thousands}
    return sorted(n_labels), sorted(n_unlabeled)


@functools.lru_cache(maxsize=32)
def _read(task: str, split: str, part: str | None, files: _Files) -> list[rows_lib.Row]:
    if part is not None:
        held_out = part == "validation"
        return [row for row in _read(task, split, None, files) if _is_held_out(row["source"]) == held_out]
    if built.splits(task):
        return built.read_split(task, split)
    return rows_lib.read_split(rows_lib.RELEASED_PREFIXES[task], split)


def _is_held_out(source: str) -> bool:
    return fraction(source_key(source), HELD_OUT_SEED) < HELD_OUT_SHARE
