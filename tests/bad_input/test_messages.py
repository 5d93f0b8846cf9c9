"""A message may quote a damaged file; it stays a line that a terminal can show."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_or_annotate.metrics.classification import UnknownLabels, unknown_labels
from distill_or_annotate.own_tasks.tables import TableError
from distill_or_annotate.preprocess.built import BuiltError
from distill_or_annotate.preprocess.official.forms import FormError
from distill_or_annotate.preprocess.rows import RowError
from distill_or_annotate.preprocess.text import one_line

ANY_TEXT = st.text(st.characters(min_codepoint=0, max_codepoint=sys.maxunicode, categories=None), max_size=300)


@given(ANY_TEXT)
def test_any_text_becomes_one_line_that_prints(text):
    made = one_line(text, 100)
    assert made.isprintable() and made.encode("utf-8") is not None
    assert one_line(made, 10_000) == made


def test_what_prints_is_left_as_it_is_and_the_rest_is_spelt_out():
    assert one_line("Löffel “x” 💧") == "Löffel “x” 💧"
    assert one_line("a\n\tb\x00c\x1b[2J\udce9 \u2028d") == r"a b\x00c\x1b[2J\udce9 d"


def test_long_text_keeps_its_beginning_and_its_end():
    made = one_line("begin" + "x" * 5000 + "Fix: end", 100)
    assert len(made) == 100 and made.startswith("begin") and made.endswith("Fix: end") and " ... " in made


NASTY = "x\n" + "\x1b" + "y" * 100_000 + "\ud800"


@pytest.mark.parametrize(
    "error",
    [
        RowError("a.json", 3, "source", NASTY),
        TableError(f"a.csv: {NASTY}"),
        FormError(f"a.csv: {NASTY}"),
        BuiltError("folder", NASTY),
        UnknownLabels(unknown_labels([NASTY, *map(str, range(1000))], ["YES"]), ["YES"], "a.json"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_the_readers_are_such_lines(error):
    assert str(error).isprintable() and len(str(error)) < 2000
