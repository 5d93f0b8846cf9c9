"""Span F1: entities find their places from left to right, and are scored there as conlleval does."""

import os
import pathlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.metrics import entities, spans
from distill_or_annotate.metrics.evaluation import Scorer

TYPES = frozenset(kind.upper() for kind in entities.WLP_TYPES)
_RELEASED = pathlib.Path(
    os.environ.get("DOA_DATA_DIR") or pathlib.Path(__file__).parents[4] / "shared" / "data" / "released"
)
CONLL = _RELEASED.parent / "raw" / "wlp" / "conll"


def _places(source, target):
    return spans.align(source, entities.parse_entities(target, TYPES))


def _texts(source, target):
    squeezed = "".join(source.split())
    return [place and squeezed[slice(*place)] for place in _places(source, target)]


def _score(rows, predictions):
    return Scorer("entity_f1", entities.WLP_TYPES).scores(rows, predictions)


def test_entities_take_their_places_one_after_the_other():
    # The second `mix` is the noun; white space is not counted.
    assert _places("Mix mix, then mix it", "mix [Action] mix [Reagent]") == [(3, 6), (11, 14)]
    assert _places("Add 5 ml.", "5 ml [Amount]") == _places("Add 5ml.", "5ml [Amount]") == [(3, 6)]


def test_whole_words_come_first_and_runs_without_spaces_still_align():
    assert _places("Retrieve the vial in ice", "in [Location] ice [Reagent]") == [(15, 17), (17, 20)]
    assert _texts("VOLUMEFINAL CONC10 ml", "VOLUME [Misc] FINAL [Modifier] CONC [Misc] 10 ml [Amount]") == [
        "VOLUME", "FINAL", "CONC", "10ml",
    ]  # fmt: skip


def test_an_entity_out_of_order_takes_a_free_place_and_an_invented_one_takes_none():
    assert _places("Heat the tube", "tube [Location] Heat [Action]") == [(7, 11), (0, 4)]
    assert _places("Heat the tube", "heat [Action] tube [Location] tube [Location]") == [None, (7, 11), None]
    assert _places("Heat", "[Action]") == [None]


def test_an_entity_in_another_place_is_wrong_though_its_text_is_right():
    row = {"source": "mix the mix", "target": "mix [Action] mix [Reagent]"}
    assert _score([row], ["mix [Reagent]"])["entity_f1"] == pytest.approx(200 / 3)
    # The only `mix` of the prediction aligns with the first place, which has another type.
    assert _score([row], ["mix [Reagent]"])["span_f1"] == 0.0


def test_an_invented_entity_costs_precision():
    row = {"source": "Heat the tube", "target": "Heat [Action] tube [Location]"}
    scores = _score([row], ["Heat [Action] water [Reagent]"])
    assert (scores["span_f1"], scores["span_precision"], scores["span_recall"]) == (50.0, 50.0, 50.0)


def test_without_sources_there_are_no_spans():
    assert "span_f1" not in _score(["Heat [Action]"], ["Heat [Action]"])


WORDS = ["mix", "tube", "5", "ml", "the", "µl", "tubes"]
SOURCES = st.lists(st.sampled_from([*WORDS, "5ml", "mix,"]), min_size=1, max_size=10).map(" ".join)
TARGETS = st.lists(
    st.tuples(st.lists(st.sampled_from(WORDS), max_size=2).map(" ".join), st.sampled_from(["Action", "Unit"])),
    max_size=5,
).map(lambda found: " ".join(f"{text} [{kind}]" for text, kind in found))


@settings(deadline=None)
@given(SOURCES, TARGETS)
def test_places_hold_their_entities_and_never_overlap(source, target):
    squeezed = "".join(source.split())
    found = [place for place in _places(source, target) if place]
    assert sum(end - start for start, end in found) == len({i for place in found for i in range(*place)})
    for place, (text, _) in zip(_places(source, target), entities.parse_entities(target, TYPES), strict=True):
        assert place is None or squeezed[slice(*place)] == "".join(text.split()) != ""


@settings(deadline=None)
@given(st.lists(st.tuples(SOURCES, TARGETS, TARGETS), min_size=1, max_size=4))
def test_laws_of_span_scores(examples):
    rows = [{"source": source, "target": target} for source, target, _ in examples]
    guesses = [guess for _, _, guess in examples]
    scores = _score(rows, guesses)
    assert 0 <= scores["span_f1"] <= 100
    swapped = _score([{**row, "target": guess} for row, guess in zip(rows, guesses, strict=True)],
                     [row["target"] for row in rows])  # fmt: skip
    assert swapped["span_precision"] == scores["span_recall"]
    # Of the targets themselves every entity with a place is found.
    placed = [place for row in rows for place in _places(row["source"], row["target"])]
    share = sum(place is not None for place in placed) / max(1, len(placed))
    assert _score(rows, [row["target"] for row in rows])["span_recall"] == pytest.approx(100 * share)


def _conll_sentences():
    for file in sorted(CONLL.glob("*.txt")):
        for block in file.read_text(encoding="utf-8").split("\n\n"):
            pairs = [line.split("\t") for line in block.split("\n") if line.strip()]
            found, place, before = [], 0, "O"
            for word, tag in pairs:
                kind = tag[2:]
                if tag.startswith("B-") or (tag.startswith("I-") and before[2:] != kind):
                    found.append([[word], kind, place, place + len(word)])
                elif tag.startswith("I-"):
                    found[-1][0].append(word)
                    found[-1][3] = place + len(word)
                place, before = place + len(word), tag
            if found:
                yield " ".join(word for word, _ in pairs), found


@pytest.mark.skipif(not CONLL.is_dir(), reason=f"REAL DATA MISSING: {CONLL} (set DOA_DATA_DIR)")
def test_places_are_those_that_the_corpus_itself_marks():
    n_entities = 0
    for source, found in _conll_sentences():
        target = " ".join(f"{' '.join(words)} [{kind}]" for words, kind, _, _ in found)
        assert _places(source, target) == [(start, end) for _, _, start, end in found], source
        n_entities += len(found)
    assert n_entities == 2464
