"""What there is to know in `mini`: rule taggers that know more or less of the lexicon, and lookup taggers.

`pytest -s tests/tasks/mini/test_headroom.py` prints the figures of tasks/mini/MODEL_CARD.md.
"""

import pytest

from distill_or_annotate.metrics import floors
from distill_or_annotate.metrics.evaluation import Scorer
from distill_or_annotate.tasks import registry, variants
from distill_or_annotate.tasks.mini import grammar, lexicon, splits

ROLE_OF = {word: role for role, group in grammar.CLASSIFIERS.items() for word in group}
GUESS = "Reagent"
"""What a tagger says about a noun of which it knows nothing."""


def _role(word, family, knows, minds_verbs):
    if not knows(word):
        return None
    return word.role_under(family) if minds_verbs else word.role


def _tag(source, knows, minds_verbs=True):
    """Tags by the grammar's rules, with the types of those nouns that `knows` accepts."""
    tokens = source.split()
    words = [lexicon.by_text().get(token) for token in tokens]
    verbs = [i for i, word in enumerate(words) if word is not None and word.kind == "verb"]
    entities, excluded, i = [], False, 0
    while i < len(tokens):
        start, word, role = i, words[i], None
        if word is None:
            if tokens[i] in (*grammar.EXCLUSIONS, *grammar.PREPOSITIONS, *grammar.CONNECTIVES):
                excluded = tokens[i] in grammar.EXCLUSIONS
        elif word.kind == "verb":
            excluded, role = False, "Action"
        elif word.kind == "adjective":
            role = word.role
        else:
            family = words[([j for j in verbs if j < i] or verbs)[-1 if verbs[0] < i else 0]].role
            role = _role(word, family, knows, minds_verbs)
            if i + 1 < len(tokens) and words[i + 1] is not None and words[i + 1].kind == "noun":
                i += 1
                role = role or _role(words[i], family, knows, minds_verbs)
            if start >= 2 and tokens[start - 2] in ROLE_OF:
                role = ROLE_OF[tokens[start - 2]]
            role = role or GUESS
        if role not in (None, lexicon.NO_TYPE) and not excluded:
            entities.append(f"{' '.join(tokens[start : i + 1])} [{role}]")
        i += 1
    return " ".join(entities)


def _f1(predictions):
    targets = [row["target"] for row in splits.mini_rows("test")]
    return Scorer("entity_f1", lexicon.TYPES).scores(targets, predictions)["entity_f1"]


@pytest.mark.parametrize(
    ("knowledge", "knows", "minds_verbs", "expected"),
    [
        ("every word", lambda word: True, True, 100.0),
        ("all but the held-out nouns", lambda word: not word.held_out, True, 97.3),
        ("second roles ignored", lambda word: True, False, 94.2),
        ("no opaque noun", lambda word: word.suffixed, True, 80.0),
    ],
)
def test_knowing_more_words_is_worth_the_recorded_points(knowledge, knows, minds_verbs, expected):
    made = _f1([_tag(row["source"], knows, minds_verbs) for row in splits.mini_rows("test")])
    print(f"\n{knowledge}: {made:.1f}")
    assert made == pytest.approx(expected, abs=0.051)


@pytest.mark.parametrize(("n_labels", "expected"), [(100, 32), (200, 49), (300, 57), (1000, 76), (3000, 81)])
def test_lookup_taggers_leave_room_above_them(n_labels, expected):
    made = []
    for seed in range(3):
        train = registry.rows(variants.labelled("mini", n_labels, seed), "train")
        made.append(_f1(floors.lookup_floor(splits.mini_rows("test"), train, lexicon.TYPES)))
    print(f"\nlookup from {n_labels} labels: {sum(made) / 3:.1f}")
    # Between shuffles the score moves by about one point.
    assert sum(made) / 3 == pytest.approx(expected, abs=2)
