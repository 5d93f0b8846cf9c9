"""Orders, splits and names depend on content and seed alone."""

from hypothesis import given
from hypothesis import strategies as st

from distill_or_annotate.preprocess import text


@given(st.text(), st.text())
def test_prefix_is_taken_off_again(source, prefix):
    assert text.without_prefix(text.with_prefix(source, prefix), prefix) == source


def test_sources_that_differ_in_case_or_spaces_are_one():
    assert text.source_key(" Mix  THE\ttube ") == text.source_key("mix the tube")
    assert text.distinct(["b", "A ", "B", "a", "c"]) == ["b", "A ", "c"]


@given(st.integers(0, 300), st.integers())
def test_permutation_holds_each_index_once(n_items, seed):
    assert sorted(text.permutation(n_items, seed)) == list(range(n_items))


def test_permutation_and_fraction_are_the_same_everywhere():
    # Written down: results name subsets by seed, so another order would give the same name to other data.
    assert text.permutation(8, 0) == [6, 4, 5, 2, 3, 1, 7, 0]
    assert round(text.fraction("Mix reagents.", 2023), 6) == 0.913975


def test_fractions_spread_evenly():
    placed = [text.fraction(f"sentence {i}", 1) for i in range(4000)]
    # 400 expected in each tenth, standard deviation sqrt(4000 * 0.1 * 0.9) = 19.
    counts = [sum(k / 10 <= x < (k + 1) / 10 for x in placed) for k in range(10)]
    assert sum(counts) == 4000 and all(320 < count < 480 for count in counts)


@given(st.lists(st.one_of(st.text(), st.integers(), st.none()), max_size=4), st.lists(st.text(), max_size=4))
def test_hash_tells_different_parts_apart(a, b):
    assert (text.content_hash(a) == text.content_hash(b)) == (a == b)


def test_hash_sees_where_one_part_ends():
    assert text.content_hash(["ab", "c"]) != text.content_hash(["a", "bc"])
    assert text.content_hash(["1"]) != text.content_hash([1])
