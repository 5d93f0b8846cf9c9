"""Brat standoff gives one row a sentence, in the released form, whatever its spans do."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill_or_annotate.preprocess.official import wlp_brat
from distill_or_annotate.preprocess.rows import RowError

TEXT = "Tea for two\nWarm\u00a050 µl milk  gently .\n\nWait.\n"
ANN = (
    "T1\tAction 12 16\tWarm\nE1\tAction:T1 Acts-on:T3\nT3\tReagent 23 27\tmilk\n"
    "T2\tAmount 17 22\t50 µl\nR1\tMeasure Arg1:T3 Arg2:T2\n"
)


def _read(write, text=TEXT, ann=ANN, on_bad_row="stop"):
    path = write("protocol_7.txt", text)
    if ann is not None:
        write("protocol_7.ann", ann)
    return wlp_brat.read([path], on_bad_row)


def test_a_sentence_a_row_with_single_spaces_and_entities_in_the_order_of_the_text(write):
    reading = _read(write)
    assert [(row.source, row.target, row.group) for row in reading.rows] == [
        ("Tea for two", "", "protocol_7"),
        ("Warm 50 µl milk gently .", "Warm [Action] 50 µl [Amount] milk [Reagent]", "protocol_7"),
        ("Wait.", "", "protocol_7"),
    ]
    assert not reading.noted and not reading.left_out


def test_overlapping_entities_are_kept_the_longer_first_and_counted(write):
    reading = _read(
        write, "warm oat milk", "T1\tReagent 9 13\tmilk\nT2\tReagent 5 13\toat milk\nT3\tModifier 5 8\toat\n"
    )
    assert reading.rows[0].target == "oat milk [Reagent] oat [Modifier] milk [Reagent]"
    assert reading.noted == {"overlapping entities: all kept, the longer first": 1}


def test_pieces_of_a_discontinuous_entity_are_joined_and_counted(write):
    reading = _read(write, "turn it off", "T1\tAction 0 4;8 11\tturn off\n")
    assert reading.rows[0].target == "turn off [Action]"
    assert reading.noted == {"discontinuous entity: its pieces joined": 1}


def test_an_entity_across_lines_is_left_out_of_the_target_and_counted(write):
    reading = _read(write, "add oat\nmilk now", "T1\tReagent 4 12\toat milk\nT2\tAction 0 3\tadd\n")
    assert [row.target for row in reading.rows] == ["add [Action]", ""]
    assert reading.noted == {"entity beyond the end of its line: left out of the target": 1}


@pytest.mark.parametrize(
    ("annotation", "field", "problem", "n_kept"),
    [
        ("T1\tAktion 12 16\tWarm", "type", "unknown label 'Aktion'.*did you mean 'Action'", 2),
        ("T1\tAction 12 16\tCool", "text", "'Cool' does not stand at .12, 16., but 'Warm'", 2),
        ("T1\tAction 12 999\tWarm", "offsets", "'12 999' does not fit a text of 45 characters", 0),
        ("T1\tAction x y\tWarm", "offsets", "TYPE START END", 0),
        ("T1 Action", "offsets", "TYPE START END", 0),
    ],
)
def test_a_bad_annotation_is_named_and_takes_no_more_with_it_than_it_must(write, annotation, field, problem, n_kept):
    with pytest.raises(RowError, match=problem) as error:
        _read(write, ann="\n" + annotation + "\n")
    assert error.value.path.endswith("protocol_7.ann") and (error.value.line, error.value.field) == (2, field)
    reading = _read(write, ann="\n" + annotation + "\n", on_bad_row="skip")
    assert len(reading.rows) == n_kept and len(reading.skipped) == 1


def test_a_missing_annotation_file_is_said(write):
    with pytest.raises(RowError, match=r"no protocol_7\.ann beside it"):
        _read(write, ann=None)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 200), cut=st.integers(0, 8), junk=st.binary(max_size=5), in_text=st.booleans())
def test_no_damage_gives_anything_but_a_named_error(write, place, cut, junk, in_text):
    raw = (TEXT if in_text else ANN).encode()
    damaged = raw[: place % len(raw)] + junk + raw[place % len(raw) + cut :]
    text, ann = (damaged, ANN) if in_text else (TEXT, damaged)
    skipping = _read(write, text, ann, "skip")
    try:
        stopping = _read(write, text, ann)
    except RowError as error:
        assert skipping.skipped and "protocol_7." in error.path
    else:
        assert not skipping.skipped and stopping.rows == skipping.rows
