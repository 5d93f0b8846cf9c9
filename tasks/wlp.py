"""Wet Lab Protocols: entities of laboratory protocols, as text to text.

A raw row of the released `wlp_train_all.json` (JSON lines):
  {"source": "Mix reagents completely.", "target": "Mix [Action] reagents [Reagent] completely [Modifier]"}
Input:  `Mix reagents completely.` (in `wlp_paper` `wlp: Mix reagents completely.`)
Target: `Mix [Action] reagents [Reagent] completely [Modifier]`; empty for a sentence without entities.
Score:  the prediction `Mix [Action] reagents [Device]` finds 1 of 3 entities with 2 guesses: entity F1 2/5 = 40.0.

Sizes (Kang et al. 2023, Table 5): 11,966 train, 2,861 dev, 3,562 test, 111,000 unlabeled; lengths 128/128 (Table 8).
The released training file has 14,271 rows, 9,958 distinct sources and 139 empty targets. Data: Kulkarni et al. 2018,
"An Annotated Corpus for Machine Reading of Instructions in Wet Lab Protocols"; licence: see the WLP corpus repository.

`wlp`: the official splits, T5's own vocabulary (`tasks/published.py`). `wlp_mini`: the training file alone, split
80/10/10 by source, and a vocabulary of its own. Sources repeat, 1,324 with several targets; its dev and test keep one
row for each, with the most frequent target. At 64/64, 2,048 pieces truncate 1.8% of the sources and 2.3% of the targets
of the labelled pool.

Change log: 1 first version. 2 `wlp` without prefix, `wlp_pooled` and `wlp_paper` added; `wlp_mini` unchanged, still 1.
"""

import functools
import os
from collections import Counter

from distill_or_annotate.preprocess import rows as rows_lib
from distill_or_annotate.preprocess import text as text_lib
from distill_or_annotate.tasks import published, registry, scoring, variants
from distill_or_annotate.tasks.sources import cache_dir
from distill_or_annotate.tasks.spec import TaskSpec
from distill_or_annotate.tasks.vocabularies import LazyVocabulary

SPLIT_SEED, N_SENTINELS = 2023, 24
SIZES = {"n_labels": (100, 300, 500, 1000, 3000, 5000, 8000, 10000), "n_unlabeled": (1000, 2000, 4000, 10000, 100000)}


class MiniVocabulary(LazyVocabulary):
    """The vocabulary that `make pretrain-wlp` makes from the unlabeled text at hand."""

    remedy = "Make it with `make pretrain-wlp`, or set DOA_WLP_VOCAB to it."


def mini_vocabulary() -> MiniVocabulary:
    """Makes the vocabulary of `wlp_mini`, also for `models.EncoderDecoderModel` in gin.

    Returns:
      The file that `DOA_WLP_VOCAB` names, by default pretrained/wlp/vocab.model in the cache folder; read on first use.
    """
    default = cache_dir() / "pretrained" / "wlp" / "vocab.model"
    return MiniVocabulary(os.environ.get("DOA_WLP_VOCAB") or os.fspath(default), extra_ids=N_SENTINELS)


def _mini_rows(split: str) -> list[rows_lib.Row]:
    return _mini_splits(os.fspath(rows_lib.data_dir()))[split]


@functools.lru_cache(maxsize=2)
def _mini_splits(folder: str) -> dict[str, list[rows_lib.Row]]:
    del folder  # The key of the cache: what `read_split` reads from.
    parts = {"train": [], "validation": [], "test": []}
    for row in rows_lib.read_split("wlp", "train"):
        place = text_lib.fraction(text_lib.source_key(row["source"]), SPLIT_SEED)
        parts["test" if place < 0.1 else "validation" if place < 0.2 else "train"].append(row)
    # Further unlabeled text, if there is any: one sentence a line.
    extra = sorted(rows_lib.data_dir().glob("wlp_unlabeled*.txt"))
    lines = [line.strip() for path in extra for line in path.read_text("utf-8").split("\n") if line.strip()]
    pool = text_lib.distinct([row["source"] for row in parts["train"]] + lines)
    held_out = {text_lib.source_key(row["source"]) for name in ("validation", "test") for row in parts[name]}
    # In an order of its own: the file goes protocol by protocol, and a prefix of the pool should be a sample of it.
    pool = sorted(
        (source for source in pool if text_lib.source_key(source) not in held_out),
        key=lambda source: text_lib.fraction(source, SPLIT_SEED + 1),
    )
    return {
        "train": parts["train"],
        "validation": _one_row_a_source(parts["validation"]),
        "test": _one_row_a_source(parts["test"]),
        "unlabeled": [{"source": source, "target": ""} for source in pool],
    }


def _one_row_a_source(rows: list[rows_lib.Row]) -> list[rows_lib.Row]:
    targets: dict[str, Counter[str]] = {}
    for row in rows:
        targets.setdefault(text_lib.source_key(row["source"]), Counter())[row["target"]] += 1
    firsts = {text_lib.source_key(row["source"]): row["source"] for row in reversed(rows)}
    return [{"source": firsts[key], "target": counter.most_common(1)[0][0]} for key, counter in targets.items()]


published.register("wlp", version=2)
registry.register(
    TaskSpec("wlp_mini", version=1, rows=_mini_rows, vocabulary=mini_vocabulary, input_tokens=64, target_tokens=64,
             **scoring.OTHERS["wlp_mini"].fields())
)  # fmt: skip
variants.register_defaults("wlp_mini", **SIZES)
