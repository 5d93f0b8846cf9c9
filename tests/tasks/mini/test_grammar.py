"""Every sentence keeps the grammar's rules, whatever the seed."""

import collections
import random
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.tasks.mini import grammar, lexicon

SEEDS = st.integers(0, 2**32)


def _verb_before(tokens, position):
    """The verb that governs a noun: the last before it or, in a fronted phrase, the first after it."""
    lexicon_by_text = lexicon.by_text()
    verbs = [i for i, token in enumerate(tokens) if token in lexicon_by_text and lexicon_by_text[token].kind == "verb"]
    before = [i for i in verbs if i < position]
    return before[-1] if before else verbs[0]


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_lengths_and_words_are_the_promised_ones(seed):
    made = grammar.sentence(random.Random(seed))
    assert grammar.MIN_WORDS <= len(made.tokens) <= grammar.MAX_WORDS
    assert 1 <= len(made.entities) <= grammar.MAX_ENTITIES
    assert all(token in lexicon.by_text() or token in grammar.CLOSED_WORDS for token in made.tokens)


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_entities_follow_the_sentence_and_their_words_roles(seed):
    made = grammar.sentence(random.Random(seed))
    position = 0
    for text, entity_type in made.entities:
        words = text.split()
        while list(made.tokens[position : position + len(words)]) != words:
            position += 1
            assert position < len(made.tokens), f"{text} is not in {made.source} where it should be"
        for offset, token in enumerate(words):
            word = lexicon.by_text()[token]
            if word.kind == "verb":
                assert entity_type == "Action"
            elif word.kind == "adjective":
                assert entity_type == word.role == "Modifier"
            else:
                verb = _verb_before(made.tokens, position + offset)
                assert entity_type == word.role_under(lexicon.by_text()[made.tokens[verb]].role)
        position += len(words)


def test_the_verb_that_settles_a_second_role_is_within_six_words_in_nearly_all_cases():
    distances = collections.Counter()
    for seed in range(3000):
        made = grammar.sentence(random.Random(seed))
        for position, token in enumerate(made.tokens):
            word = lexicon.by_text().get(token)
            if word is not None and word.second_role is not None:
                distances[abs(position - _verb_before(made.tokens, position))] += 1
    within = sum(count for distance, count in distances.items() if distance <= 6)
    assert sum(distances.values()) > 1000
    assert within / sum(distances.values()) > 0.9


def test_second_roles_are_really_used():
    second = sum(
        lexicon.by_text()[text].second_role == entity_type
        for seed in range(1000)
        for text, entity_type in grammar.sentence(random.Random(seed)).entities
        if " " not in text
    )
    assert second > 100


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_a_classifier_agrees_with_its_noun(seed):
    made = grammar.sentence(random.Random(seed))
    class_of = {classifier: role for role, group in grammar.CLASSIFIERS.items() for classifier in group}
    for position, token in enumerate(made.tokens):
        if token in class_of:
            noun = lexicon.by_text()[made.tokens[position + 2]]
            assert made.tokens[position + 1] == "of"
            assert class_of[token] in (noun.role, noun.second_role)


def test_what_is_excluded_or_plain_is_no_entity():
    seen = collections.Counter()
    for seed in range(2000):
        made = grammar.sentence(random.Random(seed))
        named = [word for text, _ in made.entities for word in text.split()]
        for position, token in enumerate(made.tokens):
            word = lexicon.by_text().get(token)
            if word is not None and word.kind == "adjective" and word.role == lexicon.NO_TYPE:
                seen["plain"] += 1
                assert token not in named
            if token in grammar.EXCLUSIONS:
                seen["excluded"] += 1
                nouns = [t for t in made.tokens[position:] if t in lexicon.by_text()]
                nouns = [t for t in nouns if lexicon.by_text()[t].kind == "noun"]
                assert nouns and made.tokens.count(nouns[0]) > named.count(nouns[0])
    assert min(seen["plain"], seen["excluded"]) > 100


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_held_out_words_stay_out_when_asked(seed):
    made = grammar.sentence(random.Random(seed), with_held_out=False)
    assert not lexicon.held_out_words() & set(made.tokens)


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.sampled_from(grammar.ADVERBS))
def test_an_asked_for_adverb_is_the_only_one(seed, adverb):
    made = grammar.sentence(random.Random(seed), adverb=adverb)
    assert [token for token in made.tokens if token in grammar.ADVERBS] == [adverb]


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_equal_seeds_give_equal_sentences(seed):
    assert grammar.sentence(random.Random(seed)) == grammar.sentence(random.Random(seed))


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_target_has_the_wlp_format(seed):
    made = grammar.sentence(random.Random(seed))
    found = re.findall(r"(\S.*?) \[(\w+)\]", made.target)
    assert tuple(found) == made.entities
    assert {entity_type for _, entity_type in found} <= set(lexicon.TYPES)
