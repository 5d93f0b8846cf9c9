"""Sources shared by two splits, word for word and nearly; the comparison is symmetric."""

from hypothesis import given
from hypothesis import strategies as st

from distill_or_annotate.data.checking.overlaps import index, near_key, overlap, overlaps


def _rows(*sources, target="x"):
    return [{"source": source, "target": target} for source in sources]


def test_shared_sources_are_found_whatever_their_case_and_spacing():
    train = index(_rows("Mix well.", "Spin.", "Spin."))
    test = index(
        [{"source": "MIX  well.", "target": "x"}, {"source": "spin.", "target": "y"}, *_rows("Cool.", "Heat.")]
    )
    found = overlap("train", train, "test", test)
    assert (found.n_sources, found.n_same_answer, found.first_share, found.second_share) == (2, 1, 1.0, 0.5)
    assert found.examples == ("Mix well.", "Spin.") and not found.same_rows


def test_near_duplicates_differ_in_punctuation_handles_and_links():
    train = index(_rows("@ann Jags win!", "Jags win?", "Cool 5 min."))
    test = index(_rows("jags win https://t.co/x", "Jags win?", "Cool 15 min."))
    found = overlap("train", train, "test", test)
    assert found.n_sources == 1
    # One of train that is not in test word for word, and one of test; another number is another sentence.
    assert (found.n_near, found.n_near_of_second) == (1, 1)
    assert train.n_near_duplicates() == 1


def test_a_source_without_words_is_near_itself_only():
    assert near_key("?!") == "?!" and near_key("...") == "..."


def test_examples_are_few_short_and_masked():
    sources = [f"{i} write to ann@lab.org " + "very " * 40 for i in range(9)]
    found = overlap("train", index(_rows(*sources)), "test", index(_rows(*sources)))
    assert len(found.examples) == 3 and all(len(example) <= 90 for example in found.examples)
    assert "ann@lab.org" not in "".join(found.examples) and found.same_rows


def test_each_pair_is_compared_once():
    indices = {name: index(_rows("a")) for name in ("train", "validation", "test")}
    pairs = [(found.first, found.second) for found in overlaps(indices)]
    assert pairs == [("train", "validation"), ("train", "test"), ("validation", "test")]


_SOURCES = st.lists(st.text(alphabet="ab .!@", min_size=1).filter(str.strip), max_size=8)


@given(_SOURCES, _SOURCES)
def test_exchanging_the_splits_exchanges_the_numbers(first, second):
    one, other = index(_rows(*first)), index(_rows(*second))
    there, back = overlap("a", one, "b", other), overlap("b", other, "a", one)
    assert (there.n_sources, there.n_same_answer) == (back.n_sources, back.n_same_answer)
    assert (there.n_near, there.n_near_of_second) == (back.n_near_of_second, back.n_near)
    assert (there.first_share, there.second_share) == (back.second_share, back.first_share)
    assert there.same_rows == back.same_rows


@given(_SOURCES)
def test_a_split_shares_all_with_itself(sources):
    one = index(_rows(*sources))
    found = overlap("a", one, "b", one)
    assert found.n_sources == len(one.sources) and found.n_near == 0 and found.same_rows
