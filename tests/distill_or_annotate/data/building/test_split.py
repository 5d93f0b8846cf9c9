"""Splits by hash: no group and no source is in two of them, and nothing depends on the order of the rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_or_annotate.data.building import split as build_split
from distill_or_annotate.preprocess.official.reading import OfficialRow
from distill_or_annotate.preprocess.text import source_key

SOURCES = st.sampled_from(["ab", "Ab", "c", "d", "e", "f", "g", "h"])
GROUPS = st.sampled_from([f"g{n}" for n in range(8)] + ["G1"])
ROWS = st.lists(st.builds(OfficialRow, source=SOURCES, target=st.text("xy", max_size=1), group=GROUPS), max_size=40)


@given(
    rows=ROWS, ratios=st.sampled_from([(80, 10, 10), (34, 33, 33), (50, 0, 50), (90, 10, 0)]), seed=st.integers(0, 50)
)
def test_neither_a_group_nor_a_source_is_in_two_splits_and_every_row_is_accounted_for(rows, ratios, seed):
    try:
        parts, left_out = build_split.by_group(rows, ratios, seed)
    except build_split.SplitError:
        return
    for key in (lambda row: source_key(row.group), lambda row: source_key(row.source)):
        seen = [{key(row) for row in part} for part in parts.values()]
        assert sum(len(keys) for keys in seen) == len(set().union(*seen))
    assert sum(map(len, parts.values())) + sum(left_out.values()) == len(rows)
    backwards, _ = build_split.by_group(rows[::-1], ratios, seed)
    assert {split: sorted(part) for split, part in backwards.items()} == {s: sorted(part) for s, part in parts.items()}


def test_a_sentence_shared_by_protocols_stays_where_it_is_scored():
    groups = [f"p{n}" for n in range(40)]
    rows = [OfficialRow(text, "", group) for group in groups for text in (f"only {group}", "Mix well.")]
    parts, left_out = build_split.by_group(rows, (50, 25, 25), 3)
    shared = {split: sum(row.source == "Mix well." for row in part) for split, part in parts.items()}
    assert shared["test"] > 1 and shared["train"] == shared["validation"] == 0
    assert left_out == {
        "train": 40 - shared["test"] - left_out["validation"],
        "validation": left_out["validation"],
        "test": 0,
    }


def test_a_seed_makes_another_split_and_shares_are_about_right():
    rows = [OfficialRow(str(n), "", str(n)) for n in range(2000)]
    first, second = (build_split.by_group(rows, (80, 10, 10), seed)[0] for seed in (0, 1))
    assert first != second
    assert 0.77 < len(first["train"]) / 2000 < 0.83


def test_a_split_that_gets_nothing_is_refused():
    with pytest.raises(build_split.SplitError, match=r"split '.*' should have .*there are 1 groups"):
        build_split.by_group([OfficialRow("a", "", "g")], (80, 10, 10), 0)


@pytest.mark.parametrize("text", ["80/20", "80/10/5", "0/50/50", "a/b/c", "-1/1/100", "", "100"])
def test_shares_that_make_no_split_are_refused(text):
    with pytest.raises(build_split.SplitError, match="such as 80/10/10"):
        build_split.parse_ratios(text)
    assert build_split.parse_ratios(" 90/0/10 ") == (90, 0, 10)


def test_a_pool_holds_each_source_once_and_none_of_the_evaluation():
    rows = [OfficialRow(source, "", "") for source in ("a", "A ", "b", "c", "c")]
    kept, n_excluded, n_repeated = build_split.pool(rows, {"b"})
    assert ([row.source for row in kept], n_excluded, n_repeated) == (["a", "c"], 1, 2)
