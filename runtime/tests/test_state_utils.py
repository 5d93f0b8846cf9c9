"""Nested state dictionaries by name."""

import flax.core
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5x import state_utils

KEYS = st.text(alphabet="abcxyz_", min_size=1, max_size=3)
TREES = st.recursive(st.integers(), lambda inner: st.dictionaries(KEYS, inner, min_size=1, max_size=3), max_leaves=8)
SPEC = {"driver": "zarr", "kvstore": {"driver": "file"}, "metadata": {"shape": [2]}}


@given(st.dictionaries(KEYS, TREES, min_size=1, max_size=3))
def test_an_empty_map_and_a_merge_with_itself_change_nothing(tree):
    assert state_utils.apply_assignment_map(tree, tree, []) == tree
    assert state_utils.merge_state(tree, tree) == tree
    assert state_utils.intersect_state(tree, tree) == tree


def test_names_are_slash_joined_and_tensorstore_specs_stay_whole():
    tree = flax.core.freeze({"a": {"b": 1, "c": {}}, "d": SPEC})
    assert state_utils.flatten_state_dict(tree) == {"a/b": 1, "d": SPEC}
    assert state_utils.get_name_tree(tree) == {"a": {"b": "a/b"}, "d": "d"}
    assert state_utils.get_name_tree(tree, keep_empty_nodes=True) == {"a": {"b": "a/b", "c": {}}, "d": "d"}
    assert state_utils.tensorstore_leaf("d", SPEC) and not state_utils.tensorstore_leaf("a", {"driver": 1})


def test_intersection_drops_and_merge_fills():
    restored, model = {"a": 1, "old": {"x": 2}}, {"a": 10, "new": 3}
    assert state_utils.intersect_state(restored, model) == {"a": 1}
    assert state_utils.merge_state(restored, model) == {"a": 1, "old": {"x": 2}, "new": 3}
    assert state_utils.merge_state(restored, model, overwrite=True) == {"a": 10, "old": {"x": 2}, "new": 3}


CHECKPOINT = {"target": {"enc": {"l0": 1, "l1": 2}, "head": 3}}


def test_the_first_full_match_decides_and_others_keep_their_name():
    model = {"target": {"tower": {"l0": 0, "l1": 0}, "head": 0, "extra": 0}}
    rules = [(r"target/extra", None), (r"target/tower/(l\d)", r"target/enc/\1"), (r"target/.*", "target/head")]
    assert state_utils.apply_assignment_map(CHECKPOINT, model, rules) == {
        "target": {"tower": {"l0": 1, "l1": 2}, "head": 3}
    }


def test_one_checkpoint_leaf_may_serve_several_parameters():
    model = {"target": {"a": 0, "b": 0}}
    got = state_utils.apply_assignment_map(CHECKPOINT, model, [(r"target/[ab]", "target/head")])
    assert got == {"target": {"a": 3, "b": 3}}


def test_missing_leaves_and_idle_rules_are_refused():
    with pytest.raises(ValueError, match=r"'target/haed'.*lacks.*target/head"):
        state_utils.apply_assignment_map(CHECKPOINT, {"target": {"haed": 0}}, [])
    model = {"target": {"head": 0}}
    with pytest.raises(ValueError, match=r"matched no model parameter.*head_"):
        state_utils.apply_assignment_map(CHECKPOINT, model, [("head_", "x")])
    assert state_utils.apply_assignment_map(
        CHECKPOINT, model, [("head_", "x")], require_all_rules_match=False
    ) == model | {"target": {"head": 3}}


def test_a_resumed_run_keeps_its_own_names():
    assert state_utils.apply_assignment_map(CHECKPOINT, {}, [("a", "b")], is_resuming=True) == CHECKPOINT
