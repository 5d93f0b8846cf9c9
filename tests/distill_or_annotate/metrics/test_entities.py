"""Entity F1, fair and as the reference implementation computes it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.metrics import entities
from distill_or_annotate.metrics.evaluation import Scorer

TYPES = frozenset(kind.upper() for kind in entities.WLP_TYPES)


def _score(mode, targets, predictions):
    return Scorer("entity_f1", entities.WLP_TYPES, mode).scores(targets, predictions)


def test_words_before_a_type_are_the_entity():
    parsed = entities.parse_entities("PCR tube [Location] 25 °C [Temperature] and so on", TYPES)
    assert parsed == [("PCR tube", "LOCATION"), ("25 °C", "TEMPERATURE")]


def test_brackets_that_hold_no_type_are_words():
    assert entities.parse_entities("[viral] DNA [reagent] [x] [6.2]", TYPES) == [("[viral] DNA", "REAGENT")]


def test_spurious_missing_and_repeated_entities_count():
    targets = ["Mix [Action] tube [Location] tube [Location]", "", "5 min [Time]"]
    predictions = ["mix [Action] tube [LOCATION]", "Stop [Action]", "5 min [Amount]"]
    # Found: one tube. Predicted 4, in the targets 4; case matters in words, not in types. F1 = 2 * 1 / (4 + 4) = 25.
    assert _score("fair", targets, predictions) == {
        "entity_f1": 25.0,
        "entity_precision": 25.0,
        "entity_recall": 25.0,
    }


def test_order_of_entities_does_not_count():
    assert _score("fair", ["a [Time] b [Size]"], ["b [Size] a [Time]"])["entity_f1"] == 100.0


def test_nothing_found_scores_zero():
    assert _score("fair", ["", ""], ["", ""])["entity_f1"] == 0.0
    assert _score("fair", ["a [Time]"], ["a"])["entity_f1"] == 0.0


def test_paper_drops_the_last_word_of_an_entity():
    # "PCR tube" becomes "PCR", so "PCR plate" with the same type passes for it.
    assert entities.paper_dict("PCR tube [Location]", TYPES) == {"PCR": "LOCATION"}
    assert _score("paper", ["PCR tube [Location]"], ["PCR plate [Location]"])["entity_f1"] == 100.0
    assert _score("fair", ["PCR tube [Location]"], ["PCR plate [Location]"])["entity_f1"] == 0.0


def test_paper_merges_one_word_entities_to_the_last_type():
    assert entities.paper_dict("Mix [Action] tube [Location]", TYPES) == {"": "LOCATION"}


def test_paper_closing_token_in_first_place_takes_all_tokens_but_the_last():
    assert entities.paper_dict("[Action] a b c", TYPES) == {"[Action] a b": "ACTION"}


def test_paper_reads_a_missing_entity_as_amount_and_does_not_see_spurious_ones():
    targets = ["25 μl [Amount] PCR tube [Location]"]
    assert _score("paper", targets, [""])["entity_f1"] == 50.0
    assert _score("paper", targets, ["PCR tube [Location] for 5 min [Time]"])["entity_f1"] == 100.0


def test_malformed_predictions_are_told_from_empty_ones():
    share = Scorer("entity_f1", ("Time",)).invalid_share
    assert share(["", "5 min [Time]"]) == 0.0
    assert share(["5 min", "[Time]", "5 min [Time] then", "a [Time]"]) == 0.75


WORDS = st.lists(st.sampled_from(["mix", "tube", "5", "[Action]", "[time]", "[x]", "[]", "[", "µl"]), max_size=12).map(
    " ".join
)


@settings(deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=6))
def test_laws_of_the_fair_score(pairs):
    targets, predictions = map(list, zip(*pairs, strict=True))
    scores = _score("fair", targets, predictions)
    assert all(0 <= value <= 100 for value in scores.values())
    swapped = _score("fair", predictions, targets)
    assert swapped["entity_f1"] == pytest.approx(scores["entity_f1"])
    assert swapped["entity_precision"] == scores["entity_recall"]
    gold = _score("fair", targets, targets)["entity_f1"]
    assert gold == (100.0 if any(entities.parse_entities(t, TYPES) for t in targets) else 0.0)


@settings(deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=8))
def test_fair_score_equals_scikit_learn_over_aligned_entities(pairs):
    from sklearn.metrics import f1_score

    gold, predicted = [], []
    for target, prediction in pairs:
        left, right = (sorted(entities.parse_entities(text, TYPES)) for text in (target, prediction))
        for entity in sorted({*left, *right}):
            # One column for each entity text and type; the n-th copy of an entity matches the n-th copy.
            for copy in range(max(left.count(entity), right.count(entity))):
                gold.append(int(copy < left.count(entity)))
                predicted.append(int(copy < right.count(entity)))
    if not gold:
        return
    expected = 100 * f1_score(gold, predicted, zero_division=0)
    targets, predictions = map(list, zip(*pairs, strict=True))
    assert _score("fair", targets, predictions)["entity_f1"] == pytest.approx(expected)


@settings(deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=8))
def test_paper_score_equals_scikit_learn_micro_f1_over_the_pairs(pairs):
    from sklearn.metrics import f1_score

    matched = [pair for target, prediction in pairs for pair in entities.paper_pairs(target, prediction, TYPES)]
    if not matched:
        return
    gold, predicted = zip(*matched, strict=True)
    targets, predictions = map(list, zip(*pairs, strict=True))
    expected = 100 * f1_score(gold, predicted, average="micro")
    assert _score("paper", targets, predictions)["entity_f1"] == pytest.approx(expected)
