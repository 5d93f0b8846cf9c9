"""Hints of personal data and odd characters: what is found, what is left alone, what is shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_or_annotate.data.checking import characters as check_characters
from distill_or_annotate.data.checking import privacy as check_privacy


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("thanks @ann_b !", "handle"),
        ("write to ann.b+x@lab.example.org", "email"),
        ("see https://example.org/a?b=c for more", "link"),
        ("see www.example.org", "link"),
        ("call +49 30 1234567", "phone"),
        ("call (212) 555-0123", "phone"),
        ("call 1-212-555-0123 now", "phone"),
    ],
)
def test_a_hint_is_found_as_its_kind_alone_and_masked(text, kind):
    found = check_privacy.find(text)
    assert list(found) == [kind]
    shown = check_privacy.masked(text)
    assert found[kind][0] not in shown and "***" in shown
    assert check_privacy.find(shown) == {}


@pytest.mark.parametrize(
    "text",
    [
        "@USER @user said HTTPURL",
        "Incubate @4C, then @ 37C",
        "Use 120-150 ul of 1.5 M buffer at 12.000 x g, 10-15 min",
        "ratio 100-200-300, 2015-10-12, 3.14159265",
        "+5 V and -80 C",
    ],
)
def test_placeholders_and_laboratory_numbers_are_left_alone(text):
    assert check_privacy.find(text) == {}


def test_rows_are_counted_once_and_strings_by_case():
    rows = [
        {"source": "@Ann and @ann", "target": "x"},
        {"source": "x", "target": "@bob"},
        {"source": "@bob again", "target": "@bob again"},
        {"source": "nothing", "target": ""},
    ]
    handles = next(hint for hint in check_privacy.count(rows) if hint.kind == "handle")
    assert (handles.n_rows, handles.n_distinct, handles.examples) == (3, 2, ("@A***", "@b***"))


@given(st.text())
def test_masking_leaves_nothing_to_mask(text):
    once = check_privacy.masked(text)
    assert check_privacy.masked(once) == once or check_privacy.find(text)


@pytest.mark.parametrize(
    ("text", "kind", "shown"),
    [
        ("a\x00b", "control", "U+0000 unnamed"),
        ("5 \ufffdl", "replacement", "U+FFFD REPLACEMENT CHARACTER"),
        ("5 Âµl", "mojibake", r"'\xc2\xb5' for µ"),
        ("itâ€™s", "mojibake", r"'\xe2\u20ac\u2122' for ’"),
        ("R&amp;D", "html_entity", "&amp;"),
        ("soft\u00adhyphen", "invisible", "U+00AD SOFT HYPHEN"),
        ("a\tb", "line_break", "U+0009 unnamed"),
        ("e\u0301", "not_nfc", "combining characters apart from their letters"),
    ],
)
def test_an_odd_character_is_found_as_its_kind_alone(text, kind, shown):
    assert check_characters.find(text) == {kind: [shown]}


@pytest.mark.parametrize(
    "text",
    [
        "µ-slide at 37 °C",
        "mærßœž",
        "Ãlex & Âme",
        "naïve – “quoted” …",
        "दिल्ली",
        "👩\u200d🔬",
        "non\u00a0breaking",
        "ÅÄÖ",
    ],
)
def test_letters_that_only_look_odd_are_left_alone(text):
    assert check_characters.find(text) == {}


@given(st.characters(min_codepoint=0xA1, max_codepoint=0x6FF, categories=["L", "S", "P"]))
def test_torn_characters_are_put_together(character):
    torn = character.encode("utf-8").decode("cp1252", errors="ignore")
    if len(torn) == 2:
        assert check_characters.repaired(torn) == character


def test_rows_with_odd_characters_are_counted():
    rows = [{"source": "a\x00\x00", "target": "\x00"}, {"source": "a", "target": "b"}]
    control = next(odd for odd in check_characters.count(rows) if odd.kind == "control")
    assert (control.n_rows, control.examples) == (1, ("U+0000 unnamed",))
