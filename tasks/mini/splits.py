"""The parts of the tasks `mini` and `mini_cls`, as rows with `source` and `target`: same seed, same rows."""

from __future__ import annotations

import difflib
import functools
import itertools
import random
from collections.abc import Iterator

from distill_or_annotate.tasks.mini import grammar, lexicon

SIZES = {"test": 500, "validation": 300, "train": 3000, "unlabeled": 20000, "pretrain": 120000}
"""Rows of each part. Test comes first, then validation: neither changes when a later part grows."""

ADVERB_ZIPF_SHIFT = 3.0


def _check(split: str) -> None:
    if split not in SIZES:
        near = difflib.get_close_matches(split, SIZES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"split: got {split!r}, allowed are {', '.join(SIZES)}.{hint}")


def _sentences(split: str, with_adverb: bool) -> Iterator[tuple[grammar.Sentence, str | None]]:
    rng = random.Random(f"{'mini_cls' if with_adverb else 'mini'} {split} {lexicon.SEED}")
    senses = adverb_weights()
    for _ in itertools.count():
        adverb = rng.choices(list(senses), list(senses.values()))[0] if with_adverb else None
        yield grammar.sentence(rng, with_held_out=split != "pretrain", adverb=adverb), adverb


@functools.cache
def adverb_weights() -> dict[str, float]:
    """Returns each adverb's relative frequency in `mini_cls`: Zipf over an order that mixes the two senses."""
    order = list(grammar.ADVERBS)
    random.Random(f"adverbs {lexicon.SEED}").shuffle(order)
    return {adverb: 1 / (rank + 1 + ADVERB_ZIPF_SHIFT) for rank, adverb in enumerate(order)}


@functools.cache
def mini_rows(split: str) -> tuple[dict[str, str], ...]:
    """Returns the rows of one part of `mini`; no sentence occurs in two parts.

    Args:
      split: one of `SIZES`. `pretrain` holds no word of `lexicon.held_out_words()`.

    Returns:
      Rows with `source` and `target`. Targets of `unlabeled` and `pretrain` are for analysis: no strategy reads them.

    Raises:
      ValueError: if the split does not exist.
    """
    _check(split)
    earlier = itertools.takewhile(lambda name: name != split, SIZES)
    taken = {row["source"] for name in earlier for row in mini_rows(name)}
    rows = []
    for made, _ in _sentences(split, with_adverb=False):
        if made.source not in taken:
            taken.add(made.source)
            rows.append({"source": made.source, "target": made.target})
            if len(rows) == SIZES[split]:
                return tuple(rows)
    raise AssertionError("the grammar never ends")


@functools.cache
def mini_cls_rows(split: str) -> tuple[dict[str, str], ...]:
    """Returns the rows of one part of `mini_cls`: a sentence with one adverb, and `gentle` or `harsh`, its sense.

    Args:
      split: `train`, `validation`, `test` or `unlabeled`.

    Returns:
      Rows with `source` and a one-word `target`; no sentence occurs in two parts or in `mini`'s pre-training text.

    Raises:
      ValueError: if the split does not exist, or is `pretrain`: both tasks share `mini`'s pre-training.
    """
    _check(split)
    if split == "pretrain":
        raise ValueError("split: got 'pretrain', but mini_cls has none; both tasks use mini's pre-trained models.")
    earlier = itertools.takewhile(lambda name: name != split, SIZES)
    taken = {row["source"] for name in earlier for row in mini_cls_rows(name)}
    gentle = set(grammar.GENTLE_ADVERBS)
    rows = []
    for made, adverb in _sentences(split, with_adverb=True):
        if made.source not in taken:
            taken.add(made.source)
            rows.append({"source": made.source, "target": "gentle" if adverb in gentle else "harsh"})
            if len(rows) == SIZES[split]:
                return tuple(rows)
    raise AssertionError("the grammar never ends")
