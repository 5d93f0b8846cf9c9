"""The lookup tagger finds what the labels named, longest first."""

from distill_or_annotate.metrics.lookup import LookupTagger

SOURCES = ["Mix the PCR tube and buffer.", "Place the tube on ice.", "Mix buffer.", "The mix is on the buffer."]
TARGETS = [
    "Mix [Action] PCR tube [Location] buffer [Reagent]",
    "Place [Action] tube [Device] ice [Location]",
    "Mix [Action] buffer [Reagent]",
    "buffer [Device]",
]
TYPES = ("Action", "Location", "Reagent", "Device")


def test_longest_match_wins_and_words_stand_as_in_the_source():
    tagger = LookupTagger(SOURCES, TARGETS, TYPES)
    assert tagger.tag("MIX, then place pcr  TUBE!") == "MIX [Action] place [Action] pcr  TUBE [Location]"
    assert tagger.tag("a tube") == "tube [Device]"


def test_most_frequent_type_is_written():
    assert LookupTagger(SOURCES, TARGETS, TYPES).tag("buffer") == "buffer [Reagent]"


def test_words_that_are_seldom_entities_are_left_alone():
    sources = ["on ice"] + ["on the bench"] * 9
    targets = ["on [Action] ice [Location]"] + [""] * 9
    assert LookupTagger(sources, targets, TYPES).tag("on ice") == "ice [Location]"
    assert LookupTagger(sources, targets, TYPES, least_share=0.0).tag("on ice") == "on [Action] ice [Location]"


def test_no_labels_no_entities():
    assert LookupTagger(["a"], [""], TYPES).tag("a b") == ""
