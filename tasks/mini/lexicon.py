"""The invented open-class words of the grammar: 2,400 of them, with Zipf frequencies, types and second roles.

A word is an onset and an ending. 40% of the words end in a suffix that tells their type; the endings of the other 60%
tell nothing, so only the company they keep (or a label) reveals what they are.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import random

SEED = 20230714
"""Seed of the lexicon. Another seed is another language: vocabulary and models would have to be made again."""

NOUN_TYPES = ("Reagent", "Device", "Location", "Method", "Measure", "Seal")
TYPES = ("Action", *NOUN_TYPES, "Modifier")
NO_TYPE = "-"
"""Class of open-class words that are never an entity."""
NOUN_CLASSES = (*NOUN_TYPES, NO_TYPE)

SUFFIXED_SHARE = 0.4
HELD_OUT_SHARE = 0.1
DUAL_WORDS = 600
ZIPF_EXPONENT = 1.0
ZIPF_SHIFT = 20.0
"""Frequency of the word of rank r in its group is proportional to 1 / (r + shift) ** exponent (Zipf-Mandelbrot)."""

_VERBS_PER_FAMILY = 80
_MODIFIERS = 200
_PLAIN_ADJECTIVES = 120
_NOUNS_PER_TYPE = 220
_PLAIN_NOUNS = 200

SUFFIXES = {
    ("verb", None): ("ate", "ify", "ize"),
    ("adjective", "Modifier"): ("ous", "ish"),
    ("adjective", NO_TYPE): ("ive",),
    ("noun", "Reagent"): ("ine", "ol"),
    ("noun", "Device"): ("scope", "tron"),
    ("noun", "Location"): ("ery", "ium"),
    ("noun", "Method"): ("ysis", "ance"),
    ("noun", "Measure"): ("gram", "ity"),
    ("noun", "Seal"): ("film", "cap"),
    ("noun", NO_TYPE): ("ness",),
}
OPAQUE_ENDINGS = tuple(v + c for v in "aeiou" for c in ("b", "d", "k", "m", "n", "p", "r", "st", "t", "x"))
ONSETS = tuple(a + v + b for a in "bdfgklmnprstvz" for v in "aeiou" for b in "lmnrt")


@dataclasses.dataclass(frozen=True)
class Word:
    """One open-class word.

    Attributes:
      text: its spelling.
      kind: `verb`, `adjective` or `noun`.
      role: its type, or `NO_TYPE`. For a verb, the noun class that it mostly governs (all verbs are `Action`).
      second_role: the type of a noun under a verb of that type's family; None for a word with one role.
      suffixed: whether its ending tells its type.
      held_out: whether it is kept out of pre-training.
      weight: relative frequency in its group (kind and role).
    """

    text: str
    kind: str
    role: str
    second_role: str | None
    suffixed: bool
    held_out: bool
    weight: float

    def role_under(self, family: str) -> str:
        """Returns the word's type when a verb of `family` governs it."""
        return family if self.second_role == family else self.role


def _group_sizes() -> list[tuple[str, str, int]]:
    sizes = [("verb", family, _VERBS_PER_FAMILY) for family in NOUN_CLASSES]
    sizes += [("adjective", "Modifier", _MODIFIERS), ("adjective", NO_TYPE, _PLAIN_ADJECTIVES)]
    sizes += [("noun", role, _NOUNS_PER_TYPE) for role in NOUN_TYPES]
    return [*sizes, ("noun", NO_TYPE, _PLAIN_NOUNS)]


def _spread(rng: random.Random, size: int, share: float) -> list[bool]:
    """Returns `size` flags, `share` of them true, one draw per block of ranks so that no frequency band is favoured."""
    block = round(1 / share * 2)
    flags: list[bool] = []
    while len(flags) < size:
        part = [True] * round(block * share) + [False] * (block - round(block * share))
        rng.shuffle(part)
        flags += part
    return flags[:size]


@functools.cache
def words() -> tuple[Word, ...]:
    """Returns the 2,400 open-class words, group by group, the most frequent of each group first."""
    rng = random.Random(f"lexicon {SEED}")
    opaque = [a + b for a, b in itertools.product(ONSETS, OPAQUE_ENDINGS)]
    rng.shuffle(opaque)
    opaque_forms = iter(opaque)
    suffixed_forms = {}
    for key, endings in SUFFIXES.items():
        forms = [a + b for a, b in itertools.product(ONSETS, endings)]
        rng.shuffle(forms)
        suffixed_forms[key] = iter(forms)
    drafts = []
    for kind, role, size in _group_sizes():
        forms = suffixed_forms[(kind, None if kind == "verb" else role)]
        suffixed = _spread(rng, size, SUFFIXED_SHARE)
        held_out = _spread(rng, size, HELD_OUT_SHARE)
        for rank in range(size):
            text = next(forms) if suffixed[rank] else next(opaque_forms)
            weight = (rank + 1 + ZIPF_SHIFT) ** -ZIPF_EXPONENT
            drafts.append(Word(text, kind, role, None, suffixed[rank], held_out[rank], weight))
    # Only opaque nouns have a second role: a suffix that names one role would be a lie about the other.
    nouns = [i for i, word in enumerate(drafts) if word.kind == "noun" and not word.suffixed]
    for i in rng.sample(nouns, DUAL_WORDS):
        others = [role for role in NOUN_CLASSES if role != drafts[i].role]
        drafts[i] = dataclasses.replace(drafts[i], second_role=rng.choice(others))
    return tuple(drafts)


@functools.cache
def by_text() -> dict[str, Word]:
    """Returns the lexicon as a mapping from spelling to word."""
    return {word.text: word for word in words()}


def held_out_words() -> frozenset[str]:
    """Returns the spellings that pre-training never shows."""
    return frozenset(word.text for word in words() if word.held_out)
