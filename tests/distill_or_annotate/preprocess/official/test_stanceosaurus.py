"""Threads give one row a tweet with a text; its parent is its context."""

import json

import pytest

from distill_or_annotate.preprocess.official import stanceosaurus
from distill_or_annotate.preprocess.rows import RowError


def _tweet(text, stance="Discussing", *children):
    return {"id": 1, "text": text, "stance": stance, "leaning": "", "children": list(children)}


def _thread(root, claim="Spoons bend at night"):
    return {"claim": claim, "id": 7, "source": "Invented", "root_tweet": root}


def _file(write, *threads):
    return write("dev/Invented/spoons.json", "[" + ",\n".join(json.dumps(thread) for thread in threads) + "]")


def test_each_tweet_is_a_row_with_its_parent_behind_a_separator(write):
    deep = _tweet("hm", "Querying")
    reply = _tweet("@ann_b No, see https://a.example/x?y=1 !", "Refuting", deep)
    reading = stanceosaurus.read([_file(write, _thread(_tweet("They\nbend.", "Supporting", reply)))])
    assert [(row.source, row.target) for row in reading.rows] == [
        ("claim: Spoons bend at night tweet: They bend .", "Supporting"),
        ("claim: Spoons bend at night tweet: @USER No , see HTTPURL ! [SEP] They bend .", "Refuting"),
        ("claim: Spoons bend at night tweet: hm [SEP] @USER No , see HTTPURL !", "Querying"),
    ]
    assert {row.group for row in reading.rows} == {"Spoons bend at night"}


def test_blank_and_deleted_tweets_are_left_out_and_counted_but_their_replies_are_not(write):
    root = _tweet("", "Supporting", _tweet("[DELETED]"), _tweet("well", "Irrelevant"))
    reading = stanceosaurus.read([_file(write, _thread(root))])
    assert [row.source for row in reading.rows] == ["claim: Spoons bend at night tweet: well"]
    assert reading.left_out == {stanceosaurus.BLANK: 2}
    assert reading.noted == {"parent tweet blank: row without context": 1}


def test_a_pool_needs_no_stance(write):
    path = _file(write, _thread({"text": "they do"}))
    assert stanceosaurus.read([path], labelled=False).rows[0].target == ""
    with pytest.raises(RowError, match="'stance': missing"):
        stanceosaurus.read([path])


def test_an_unknown_stance_is_named_with_the_nearest_and_its_line(write):
    path = _file(write, _thread(_tweet("a")), _thread(_tweet("b", "Suporting")), _thread(_tweet("c")))
    with pytest.raises(RowError, match=r"unknown label 'Suporting'.*did you mean 'Supporting'") as error:
        stanceosaurus.read([path])
    assert (error.value.line, error.value.field) == (2, "stance")
    reading = stanceosaurus.read([path], "skip")
    assert len(reading.rows) == 2 and len(reading.skipped) == 1


def test_a_broken_thread_does_not_take_the_others_along(write):
    good = json.dumps(_thread(_tweet("a")))
    path = write("t.json", f"[{good},\n{good[:-20]},\n{good}]")
    with pytest.raises(RowError, match="not JSON") as error:
        stanceosaurus.read([path])
    assert error.value.line == 2
    reading = stanceosaurus.read([path], "skip")
    assert len(reading.rows) == 2 and len(reading.skipped) == 1


def test_a_thread_deeper_than_python_recurses_is_named(write):
    path = write("t.json", '[{"claim": "c", "root_tweet": ' + '{"text": "a", "children": [' * 100_000)
    with pytest.raises(RowError, match="not JSON"):
        stanceosaurus.read([path])
