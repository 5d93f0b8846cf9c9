"""Operations on nested state dictionaries, by the slash-joined name of each leaf."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging
from flax import traverse_util

_TENSORSTORE_SPEC_KEYS = frozenset({"driver", "kvstore", "metadata"})


def tensorstore_leaf(_: Any, value: Any) -> bool:
    """Returns whether `value` is a TensorStore spec, which is a leaf although it is a dictionary."""
    return isinstance(value, Mapping) and set(value.keys()) >= _TENSORSTORE_SPEC_KEYS


def flatten_state_dict(state_dict: Mapping[str, Any], keep_empty_nodes: bool = False) -> dict[str, Any]:
    """`state_dict` as `{"a/b/c": leaf}`, with empty nodes if `keep_empty_nodes`; a TensorStore spec is a leaf."""
    return traverse_util.flatten_dict(
        _plain(state_dict), is_leaf=tensorstore_leaf, keep_empty_nodes=keep_empty_nodes, sep="/"
    )


def unflatten_state_dict(flat: Mapping[str, Any]) -> dict[str, Any]:
    """`{"a/b/c": leaf}` as nested dictionaries."""
    return traverse_util.unflatten_dict(dict(flat), sep="/")


def get_name_tree(state_dict: Mapping[str, Any], keep_empty_nodes: bool = False) -> dict[str, Any]:
    """Returns `state_dict` with each leaf (empty nodes too if `keep_empty_nodes`) replaced by its slash-joined name."""
    flat = flatten_state_dict(state_dict, keep_empty_nodes)
    named = {key: value if value is traverse_util.empty_node else key for key, value in flat.items()}
    return unflatten_state_dict(named)


def intersect_state(state_dict: Mapping[str, Any], intersect_state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Keeps the leaves of `state_dict` whose names also occur in `intersect_state_dict`."""
    flat = flatten_state_dict(state_dict)
    wanted = flatten_state_dict(intersect_state_dict)
    for key in sorted(flat.keys() - wanted.keys()):
        logging.info("Ignoring %s: it is not part of the model.", key)
    return unflatten_state_dict({key: value for key, value in flat.items() if key in wanted})


def merge_state(
    state_dict: Mapping[str, Any], from_scratch_state: Mapping[str, Any], overwrite: bool = False
) -> dict[str, Any]:
    """Fills leaves that `state_dict` lacks from `from_scratch_state`; with `overwrite` the latter wins everywhere."""
    flat = flatten_state_dict(state_dict)
    fallback = flatten_state_dict(from_scratch_state)
    for key in sorted(fallback.keys() - flat.keys()):
        logging.info("Initializing %s from scratch: the restored state lacks it.", key)
    return unflatten_state_dict({**flat, **fallback} if overwrite else {**fallback, **flat})


def apply_assignment_map(
    ckpt_optimizer_state: Mapping[str, Any],
    optimizer_state: Mapping[str, Any],
    assignment_map: Sequence[tuple[str, str | None]],
    require_all_rules_match: bool = True,
    *,
    is_resuming: bool = False,
) -> dict[str, Any]:
    """Renames checkpoint leaves to the names of the model.

    Args:
        ckpt_optimizer_state: state dictionary of the checkpoint.
        optimizer_state: state dictionary of the model; only its names are read.
        assignment_map: ordered (pattern, replacement) pairs. The first pattern that matches the whole name of a model
            leaf decides: its replacement, with group references, names the checkpoint leaf to read; None drops the
            leaf. A leaf that no pattern matches reads its own name.
        require_all_rules_match: refuse a pattern that decided nothing.
        is_resuming: True when a run continues from its own checkpoint; the map is skipped then.

    Returns:
        A nested dictionary with model names and checkpoint values.

    Raises:
        ValueError: a pattern decided nothing, or a named checkpoint leaf does not exist.
    """
    if is_resuming:
        return dict(ckpt_optimizer_state)
    flat_ckpt = flatten_state_dict(ckpt_optimizer_state)
    flat_model = flatten_state_dict(optimizer_state)
    used_rules: set[int] = set()
    result: dict[str, Any] = {}
    for key in flat_model:
        source: str | None = key
        for index, (pattern, replacement) in enumerate(assignment_map):
            match = re.fullmatch(pattern, key)
            if match:
                used_rules.add(index)
                source = None if replacement is None else match.expand(replacement)
                break
        if source is None:
            logging.info("Skipping %s as the assignment map asks.", key)
            continue
        if source not in flat_ckpt:
            raise ValueError(
                f"assignment_map: parameter {key!r} should be read from {source!r}, which the checkpoint lacks. "
                f"Checkpoint leaves near it: {_near(source, flat_ckpt)}. Correct the rule, or map {key!r} to None."
            )
        result[key] = flat_ckpt[source]
    if require_all_rules_match:
        unused = [assignment_map[i] for i in range(len(assignment_map)) if i not in used_rules]
        if unused:
            raise ValueError(
                f"assignment_map: these rules matched no model parameter: {unused}. Model parameters look like "
                f"{sorted(flat_model)[:3]}; patterns must match the whole name."
            )
    return unflatten_state_dict(result)


def _near(name: str, candidates: Mapping[str, Any]) -> list[str]:
    import difflib  # here, because only an error needs it

    return difflib.get_close_matches(name, list(candidates), n=3, cutoff=0.5) or sorted(candidates)[:3]


def _plain(tree: Any) -> Any:
    """Turns FrozenDict and other mappings into plain dictionaries."""
    if isinstance(tree, Mapping):
        return {str(key): _plain(value) for key, value in tree.items()}
    return tree
