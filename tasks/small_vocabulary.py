"""Learns a small vocabulary of T5's form from the rows of tasks: for trials where T5's own cannot be had.

  python -m distill_or_annotate.tasks.small_vocabulary vocab.model fever wlp
  export DOA_T5_VOCAB=vocab.model

A model with it reads these tasks only, and no published checkpoint fits it.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from distill_or_annotate.preprocess.text import with_prefix
from distill_or_annotate.tasks import registry, vocabularies

N_PIECES, N_SENTINELS = 1000, 100


def texts(task: str) -> list[str]:
    """Returns what a vocabulary of a task is learnt from: its training inputs and targets.

    Args:
      task: a registered task with a split `train`, without which its first split serves.
    Returns:
      Texts, none of them empty.
    Raises:
      UnknownTask: no such task.
      ValueError: no data.
    """
    spec = registry.get(task)
    splits = spec.available_splits()
    rows = registry.rows(task, splits[0] if splits and "train" not in splits else "train")
    return [text for row in rows for text in (with_prefix(row["source"], f"{task}: "), row["target"]) if text]


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes a vocabulary and prints its number of pieces.

    Args:
      arguments: the command line's words; None takes those of this process.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="the file to write")
    parser.add_argument("tasks", nargs="+", metavar="TASK", help="tasks to learn from, such as fever")
    parser.add_argument("--pieces", type=int, default=N_PIECES, help="pieces without sentinels (default: %(default)s)")
    given = parser.parse_args(arguments)
    model = vocabularies.learn([text for task in given.tasks for text in texts(task)], given.pieces, N_SENTINELS)
    given.path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = given.path.with_name(f"{given.path.name}.tmp-{os.getpid()}")
    unfinished.write_bytes(model)
    unfinished.replace(given.path)
    print(vocabularies.T5Vocabulary(os.fspath(given.path)).vocab_size)


if __name__ == "__main__":
    main()
