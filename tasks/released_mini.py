"""FEVER, MultiPIT-Id and Stanceosaurus for mini models: all labelled rows at hand, split here, a small vocabulary.

The released training files of these tasks are not always at hand; their test and dev files are. `{task}_mini` takes all
labelled rows that DOA_DATA_DIR holds of a task and splits them 75/10/15 into train, validation and test:

  rows that share a text stay together: a claim (Stanceosaurus), a sentence of a pair (MultiPIT-Id), a source (FEVER);
  the place of such a group is a hash of its first text, so that files in any order give the same split;
  one row for each source, with its most frequent target (of equally frequent ones the first by the alphabet);
  the pool is the sources of `train`, in an order of its own: a study's first N labels lie inside it, as in the paper.

Text, labels and metric are those of the task itself (`tasks/fever.py`, `tasks/multipit_id.py`,
`tasks/stanceosaurus.py`). The vocabulary is learnt from the three pools by `python -m
distill_or_annotate.tasks.released_pretraining`.

Change log: 1 first version.
"""

import functools
import os
import pathlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from distill_or_annotate.preprocess import rows as rows_lib
from distill_or_annotate.preprocess import text as text_lib
from distill_or_annotate.tasks import fever, multipit_id, registry, stanceosaurus, variants
from distill_or_annotate.tasks.sources import cache_dir
from distill_or_annotate.tasks.spec import TaskSpec
from distill_or_annotate.tasks.vocabularies import LazyVocabulary

SPLIT_SEED, N_SENTINELS = 2023, 24
TEST_SHARE, VALIDATION_SHARE = 0.15, 0.10
TASKS = ("fever", "multipit_id", "stanceosaurus")
SIZES = {"n_labels": (100, 500, 1000, 1500, 2000), "n_unlabeled": (500, 1000, 2000, 4000)}
_CLAIM = re.compile(r"claim: (.*?) tweet: ", re.DOTALL)
_PAIR = re.compile(r"sentence1: (.*?) sentence2: (.*)", re.DOTALL)


class ReleasedVocabulary(LazyVocabulary):
    """The vocabulary of the three tasks, learnt from the text at hand."""

    remedy = "Make it with `make pretrain-released`, or set DOA_RELEASED_VOCAB to it."


def vocabulary() -> ReleasedVocabulary:
    """Makes the vocabulary of the three tasks, also for `models.EncoderDecoderModel` in gin.

    Returns:
      The file that `DOA_RELEASED_VOCAB` names, by default pretrained/released/vocab.model in the cache folder; read on
      first use.
    """
    default = cache_dir() / "pretrained" / "released" / "vocab.model"
    return ReleasedVocabulary(os.environ.get("DOA_RELEASED_VOCAB") or os.fspath(default), extra_ids=N_SENTINELS)


def shared_texts(task: str, source: str) -> list[str]:
    """Lists the texts that no two splits may share.

    Args:
      task: one of TASKS.
      source: a source of it.

    Returns:
      Keys, at least one.
    """
    if task == "stanceosaurus" and (found := _CLAIM.match(source)):
        return [text_lib.source_key(found[1])]
    if task == "multipit_id" and (found := _PAIR.fullmatch(source)):
        return [text_lib.source_key(sentence) for sentence in found.groups()]
    return [text_lib.source_key(source)]


def split_rows(task: str, rows: Sequence[rows_lib.Row]) -> dict[str, list[rows_lib.Row]]:
    """Splits labelled rows, and takes the sources of `train` as the pool.

    Args:
      task: one of TASKS.
      rows: labelled rows, in any order.

    Returns:
      Split -> rows, in an order that depends on their text alone.
    """
    group_of = _groups(shared_texts(task, row["source"]) for row in rows)
    parts: dict[str, list[rows_lib.Row]] = {"train": [], "validation": [], "test": []}
    for row in _one_row_a_source(rows):
        place = text_lib.fraction(group_of[shared_texts(task, row["source"])[0]], SPLIT_SEED)
        held_out = "validation" if place < TEST_SHARE + VALIDATION_SHARE else "train"
        parts["test" if place < TEST_SHARE else held_out].append(row)
    pool = sorted(
        (row["source"] for row in parts["train"]), key=lambda source: text_lib.fraction(source, SPLIT_SEED + 1)
    )
    return {**parts, "unlabeled": [{"source": source, "target": ""} for source in pool]}


def _groups(keys_of_rows: Iterable[list[str]]) -> dict[str, str]:
    """Text -> the first text, by the alphabet, of all that rows tie it to."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for first, *others in keys_of_rows:
        for key in (first, *others):
            low, high = sorted((root(first), root(key)))
            parent[high] = low
    return {key: root(key) for key in parent}


def _one_row_a_source(rows: Sequence[rows_lib.Row]) -> list[rows_lib.Row]:
    targets: dict[str, Counter[str]] = {}
    spelt: dict[str, list[str]] = {}
    for row in rows:
        key = text_lib.source_key(row["source"])
        targets.setdefault(key, Counter())[row["target"]] += 1
        spelt.setdefault(key, []).append(row["source"])
    return [
        {"source": min(spelt[key]), "target": min(targets[key], key=lambda target: (-targets[key][target], target))}
        for key in sorted(targets)
    ]


def _rows(task: str) -> Callable[[str], list[rows_lib.Row]]:
    return lambda split: _splits(task, os.fspath(rows_lib.data_dir()))[split]


@functools.lru_cache(maxsize=6)
def _splits(task: str, folder: str) -> dict[str, list[rows_lib.Row]]:
    prefix = rows_lib.RELEASED_PREFIXES[task]
    present = [
        split for split in ("train", "validation", "test") if rows_lib.find_files(pathlib.Path(folder), prefix, split)
    ]
    # Where there is none, the reader says which files are missing.
    rows = [row for split in present or ["test"] for row in rows_lib.read_split(prefix, split)]
    return split_rows(task, rows)


for _module, _tokens in ((fever, 40), (multipit_id, 64), (stanceosaurus, 128)):
    _task = _module.__name__.rpartition(".")[2]
    _base = registry.get(_task)
    registry.register(
        TaskSpec(f"{_task}_mini", version=1, rows=_rows(_task), vocabulary=vocabulary, input_tokens=_tokens,
                 target_tokens=8, metric=_base.metric, labels=_base.labels)
    )  # fmt: skip
    variants.register_defaults(f"{_task}_mini", **SIZES)
