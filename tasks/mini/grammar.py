"""Sentences of the grammar, with their entities: procedural text of one or two commands, 8 to 12 words.

    then galate some tulol with the fully dorous lurcap        (invented words, English closed-class words)
    galate [Action] tulol [Reagent] dorous [Modifier] lurcap [Seal]

What makes unlabeled text worth reading: most slots allow every noun class, so a word's type shows in one sentence only
now and then (a suffix, a classifier as in `drops of`, a verb whose family is known), but over many sentences it does.
What makes labels alone a slow way: 2,400 words, of which 300 labelled sentences show few.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import itertools
import random

from distill_or_annotate.tasks.mini import lexicon

MIN_WORDS, MAX_WORDS = 8, 12
MAX_OPEN_WORDS = 8
MAX_ENTITIES = 6

AGREEMENT = 0.7
"""Share of objects whose type is that of the verb's family; the rest is drawn from all noun classes alike."""

CLASSIFIERS = {
    "Reagent": ("drops", "splash", "pinch"),
    "Device": ("pair", "make", "brand"),
    "Location": ("side", "corner", "floor"),
    "Method": ("round", "course", "cycle"),
    "Measure": ("level", "degree", "rate"),
    "Seal": ("layer", "strip", "sheet"),
    lexicon.NO_TYPE: ("kind", "sort", "sense"),
}
"""Words that, before `of`, tell the class of the noun after it."""
PREPOSITIONS = ("with", "in", "on", "from", "under", "by")
EXCLUSIONS = ("without", "unlike", "despite")
"""Prepositions whose noun is mentioned but not used: it is no entity."""
DETERMINERS = ("the", "a", "each", "one")
CONNECTIVES = ("and", "then", "before", "after")
OPENERS = ("first", "now", "next", "again")
MODIFIER_DEGREES = ("fully", "freshly", "half")
PLAIN_DEGREES = ("very", "quite", "rather")
# fmt: off
GENTLE_ADVERBS = (
    "slowly", "gently", "softly", "calmly", "lightly", "smoothly", "patiently", "carefully", "quietly", "tenderly",
    "mildly", "kindly", "steadily", "evenly", "loosely", "warmly", "neatly", "gradually", "delicately", "cautiously",
    "lazily", "thinly", "sparingly", "serenely", "easily", "coolly", "silently", "safely", "sweetly", "slightly",
    "finely", "gingerly",
)
HARSH_ADVERBS = (
    "quickly", "roughly", "loudly", "wildly", "heavily", "abruptly", "hastily", "rashly", "noisily", "fiercely",
    "sharply", "bluntly", "rapidly", "crudely", "tightly", "hotly", "messily", "suddenly", "brutally", "boldly",
    "briskly", "thickly", "lavishly", "madly", "hardly", "coldly", "openly", "riskily", "sourly", "greatly",
    "coarsely", "violently",
)
# fmt: on
ADVERBS = tuple(word for pair in zip(GENTLE_ADVERBS, HARSH_ADVERBS, strict=True) for word in pair)
"""Adverbs stand in one slot and depend on nothing else: unlabeled text says nothing about their sense."""
CLOSED_WORDS = tuple(
    dict.fromkeys(
        itertools.chain(
            *CLASSIFIERS.values(), ("of",), PREPOSITIONS, EXCLUSIONS, DETERMINERS, CONNECTIVES, OPENERS,
            MODIFIER_DEGREES, PLAIN_DEGREES, ADVERBS,
        )
    )
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Sentence:
    """One sentence of the grammar.

    Attributes:
      tokens: its words.
      entities: for each entity, in order, the words' text and the type.
    """

    tokens: tuple[str, ...]
    entities: tuple[tuple[str, str], ...]

    @property
    def source(self) -> str:
        """The sentence as text."""
        return " ".join(self.tokens)

    @property
    def target(self) -> str:
        """Each entity's words followed by `[Type]`, in WLP's format."""
        return " ".join(f"{text} [{entity_type}]" for text, entity_type in self.entities)


class _Sampler:
    """Draws words of one group by weight."""

    def __init__(self, candidates: list[lexicon.Word]):
        self._candidates = candidates
        self._cumulative = list(itertools.accumulate(word.weight for word in candidates))

    def draw(self, rng: random.Random) -> lexicon.Word:
        point = rng.random() * self._cumulative[-1]
        return self._candidates[min(bisect.bisect_right(self._cumulative, point), len(self._candidates) - 1)]


@functools.cache
def _sampler(kind: str, role: str, family: str | None, with_held_out: bool) -> _Sampler:
    chosen = []
    for word in lexicon.words():
        if word.kind != kind or (word.held_out and not with_held_out):
            continue
        if (word.role_under(family) if family is not None else word.role) == role:
            chosen.append(word)
    return _Sampler(chosen)


class _Draft:
    """A sentence under construction."""

    def __init__(self, rng: random.Random, with_held_out: bool):
        self.rng = rng
        self.with_held_out = with_held_out
        self.tokens: list[str] = []
        self.entities: list[tuple[str, str]] = []
        self.n_open = 0

    def word(self, kind: str, role: str, family: str | None = None) -> lexicon.Word:
        self.n_open += 1
        return _sampler(kind, role, family, self.with_held_out).draw(self.rng)

    def closed(self, choices: tuple[str, ...]) -> None:
        self.tokens.append(self.rng.choice(choices))

    def entity(self, text: str, entity_type: str, named: bool = True) -> None:
        self.tokens += text.split()
        if named and entity_type != lexicon.NO_TYPE:
            self.entities.append((text, entity_type))

    def noun_phrase(self, role: str, family: str, named: bool = True) -> None:
        """Appends `the [degree adjective] noun [noun]` or `drops of noun`; the types are those under `family`."""
        rng = self.rng
        if rng.random() < 0.3:
            self.closed(CLASSIFIERS[role])
            self.tokens.append("of")
        else:
            self.closed(DETERMINERS)
            if rng.random() < 0.4:
                plain = rng.random() < 0.4
                if rng.random() < 0.4:
                    self.closed(PLAIN_DEGREES if plain else MODIFIER_DEGREES)
                adjective_role = lexicon.NO_TYPE if plain else "Modifier"
                self.entity(self.word("adjective", adjective_role).text, adjective_role, named)
        text = self.word("noun", role, family).text
        if rng.random() < 0.12:
            text += " " + self.word("noun", role, family).text
        self.entity(text, role, named)

    def command(self, fronted: bool) -> None:
        """Appends `[in the noun] verb the noun [with the noun]`."""
        rng = self.rng
        family = rng.choice(lexicon.NOUN_CLASSES)
        if fronted:
            self.prepositional_phrase(family)
        self.entity(self.word("verb", family).text, "Action")
        role = family if rng.random() < AGREEMENT else rng.choice(lexicon.NOUN_CLASSES)
        self.noun_phrase(role, family)
        if not fronted and rng.random() < 0.5:
            self.prepositional_phrase(family)

    def prepositional_phrase(self, family: str) -> None:
        named = self.rng.random() >= 0.15
        self.closed(PREPOSITIONS if named else EXCLUSIONS)
        self.noun_phrase(self.rng.choice(lexicon.NOUN_CLASSES), family, named)


def sentence(rng: random.Random, with_held_out: bool = True, adverb: str | None = None) -> Sentence:
    """Returns a random sentence.

    Args:
      rng: source of randomness; equal states give equal sentences.
      with_held_out: False leaves out the words that pre-training must not see.
      adverb: put this adverb into the sentence; None puts a random one into three sentences of ten.

    Returns:
      A sentence of `MIN_WORDS` to `MAX_WORDS` words with at most `MAX_ENTITIES` entities.
    """
    while True:
        draft = _Draft(rng, with_held_out)
        if rng.random() < 0.2:
            draft.closed(OPENERS)
        draft.command(fronted=rng.random() < 0.2)
        if adverb is not None:
            draft.tokens.append(adverb)
        elif rng.random() < 0.3:
            draft.closed(ADVERBS)
        if rng.random() < 0.6:
            draft.closed(CONNECTIVES)
            draft.command(fronted=False)
        fits = MIN_WORDS <= len(draft.tokens) <= MAX_WORDS and draft.n_open <= MAX_OPEN_WORDS
        if fits and 1 <= len(draft.entities) <= MAX_ENTITIES:
            return Sentence(tuple(draft.tokens), tuple(draft.entities))
