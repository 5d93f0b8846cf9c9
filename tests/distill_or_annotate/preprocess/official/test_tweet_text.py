"""Tweets are set as the released rows set them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_or_annotate.preprocess.official.tweet_text import released_words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("COVID-19 in the UK.", "COVID - 19 in the UK ."),
        ("Don’t! It's Ann's, they're", "Do n't ! It 's Ann 's , they 're"),
        ("I can't, cannot, ain't", "I can't , can not , ain't"),
        ("SPOON'S", "SPOON'S"),
        ("@ann_b and me@here.example", "@USER and me@here.example"),
        ("see (https://a.example/x?y=1), www.b.example!", "see ( HTTPURL ) , HTTPURL !"),
        ("forty-three at 17:30, 1,200 or 3.5 (1/3)", "forty-three at 17:30 , 1,200 or 3.5 ( 1/3 )"),
        ("#Spoon_Day!!!!!!", "#Spoon_Day ! ! !"),
        ("well… no..", "well ... no .."),
        ('"bent" -> 50% of $3', '" bent " -> 50 % of $ 3'),
        ("ok 👍🏼 :thumbs_up:", "ok 👍🏼 :thumbs_up:"),
        ("spoons.example.org said so", "spoons.example.org said so"),
    ],
)
def test_words_and_marks_stand_apart_and_names_are_masked(text, expected):
    assert released_words(text) == expected


@given(st.text())
def test_no_letter_or_digit_is_lost_where_nothing_is_masked(text):
    def kept(value):
        return [character for character in value if character.isalnum()]

    if not any(mark in text.lower() for mark in ("@", "http", "www.")):
        assert kept(released_words(text)) == kept(text)
