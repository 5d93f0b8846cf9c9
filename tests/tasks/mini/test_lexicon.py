"""The lexicon has the make-up that its documentation promises."""

import collections

from distill_or_annotate.tasks.mini import grammar, lexicon


def _suffixes():
    return {ending for endings in lexicon.SUFFIXES.values() for ending in endings}


def test_there_are_2400_words_spelt_differently():
    assert len(lexicon.words()) == len(lexicon.by_text()) == 2400
    assert not set(lexicon.by_text()) & set(grammar.CLOSED_WORDS)


def test_forty_percent_have_a_suffix_that_names_their_type():
    suffixed = [word for word in lexicon.words() if word.suffixed]
    assert len(suffixed) == 960
    for word in suffixed:
        key = (word.kind, None if word.kind == "verb" else word.role)
        assert word.text.endswith(lexicon.SUFFIXES[key])
        assert word.second_role is None


def test_endings_of_the_other_words_tell_nothing():
    assert not set(lexicon.OPAQUE_ENDINGS) & _suffixes()
    roles = collections.defaultdict(set)
    for word in lexicon.words():
        if not word.suffixed:
            ending = next(e for e in lexicon.OPAQUE_ENDINGS if word.text == word.text[: -len(e)] + e)
            roles[ending].add((word.kind, word.role))
    assert min(len(found) for found in roles.values()) >= 7


def test_a_quarter_of_the_words_have_a_second_role_that_only_its_verbs_call():
    dual = [word for word in lexicon.words() if word.second_role is not None]
    assert len(dual) == 600
    for word in dual:
        assert word.kind == "noun" and word.second_role != word.role
        called = {family: word.role_under(family) for family in lexicon.NOUN_CLASSES}
        assert {family for family, role in called.items() if role == word.second_role} == {word.second_role}


def test_a_tenth_is_held_out_evenly_over_groups_and_frequencies():
    held_out = lexicon.held_out_words()
    assert abs(len(held_out) - 240) <= 12
    groups = collections.defaultdict(list)
    for word in lexicon.words():
        groups[word.kind, word.role].append(word)
    for words in groups.values():
        half = len(words) // 2
        for part in (words[:half], words[half:]):
            assert 0.05 <= sum(word.held_out for word in part) / len(part) <= 0.15


def test_frequencies_fall_with_rank_in_each_group():
    groups = collections.defaultdict(list)
    for word in lexicon.words():
        groups[word.kind, word.role].append(word.weight)
    for weights in groups.values():
        assert weights == sorted(weights, reverse=True)
        assert weights[0] == (1 + lexicon.ZIPF_SHIFT) ** -lexicon.ZIPF_EXPONENT
