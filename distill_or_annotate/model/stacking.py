"""Between trees with a subtree per layer (`layers_0`, `layers_1`, ...) and trees with one stacked subtree (`layers`).

Checkpoints hold the first kind, whichever network wrote them, so that all tools read them and a run may change its
network between stages. In gin:

    utils.SaveCheckpointConfig.state_transformation_fns = [@stacking.unstack_on_save]
    utils.RestoreCheckpointConfig.state_transformation_fns = [@stacking.stack_on_restore]

The state of an optimizer is treated like the parameters: whatever it keeps for a layer's parameter has that parameter's
name inside its own (`param_states/0/mu/decoder/layers_3/mlp/wo/kernel`). Adafactor's parts that a parameter does not
use, shape `(1,)` for all layers together, become one such part for each layer.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax.sharding import NamedSharding, PartitionSpec

_STACKED = re.compile(r"(^|/)layers/")
_OF_ONE_LAYER = re.compile(r"(^|/)layers_(\d+)/")
_UNUSED = (1,)


def stack_layers(params: Mapping[str, Any]) -> dict[str, Any]:
    """Stacks a tree in memory: `encoder/layers_0/...` to `encoder/layers/...` with a leading axis.

    Args:
      params: nested parameters, gradients or state; leaves are arrays or have `shape` and `dtype`.

    Returns:
      The nested stacked tree; leaves outside the layers are the same objects.

    Raises:
      ValueError: naming the leaf, if a layer is missing or its shape is not the others'.
    """
    flat = _flatten(params)
    groups, rest = _groups(flat), {name: leaf for name, leaf in flat.items() if not _OF_ONE_LAYER.search(name)}
    stacked = {name: _stack([flat[part] for part in parts], name) for name, parts in groups.items()}
    return _unflatten({**rest, **stacked})


def unstack_layers(params: Mapping[str, Any]) -> dict[str, Any]:
    """Unstacks a tree in memory: `encoder/layers/...` with a leading axis to `encoder/layers_0/...`.

    Args:
      params: nested parameters, gradients or state; leaves are arrays or have `shape` and `dtype`.

    Returns:
      The nested tree with a subtree per layer; leaves outside the layers are the same objects.

    Raises:
      ValueError: naming the leaf, if a stacked one's leading axis is not that of the others of its stack.
    """
    flat = _flatten(params)
    counts = _depths(flat)
    return _unflatten(dict(pair for name, leaf in flat.items() for pair in _unstacked(name, leaf, counts)))


def unstack_on_save(state_dict: Mapping[str, Any], parameter_infos: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Gives a checkpoint a subtree per layer; a transformation for `SaveCheckpointConfig`.

    On an accelerator the parts go to host memory one by one as they are cut, unless several processes hold the state.

    Args:
      state_dict: nested state of a run, stacked or not.
      parameter_infos: what the checkpointer knows of each leaf, nested like the state; copied to each layer.

    Returns:
      State and infos, nested as on disk.

    Raises:
      ValueError: see `unstack_layers`.
    """
    flat, infos = _flatten(state_dict), _flatten(parameter_infos)
    counts = _depths(flat)
    parts = {name: [part for part, _ in _unstacked(name, None, counts)] for name in flat}
    state = {part: _off_device(leaf) for name, x in flat.items() for part, leaf in _unstacked(name, x, counts)}
    return _unflatten(state), _unflatten({part: info for name, info in infos.items() for part in parts[name]})


def stack_on_restore(
    state_dict: Mapping[str, Any], target_state_dict: Mapping[str, Any], *, is_resuming: bool = False
) -> dict[str, Any]:
    """Stacks the layers of a checkpoint for a scanned network; a transformation for `RestoreCheckpointConfig`.

    With our runtime nothing is read here: a stacked leaf is read and put together when its turn comes.

    Args:
      state_dict: nested state of the checkpoint: arrays, or what stands for them.
      target_state_dict: nested state of the model; a model whose layers are not stacked gets the state as it is.
      is_resuming: accepted and unused: the tree on disk is the same for a run's own checkpoints.

    Returns:
      The nested state with the model's stacked leaves in place of the checkpoint's layers.

    Raises:
      ValueError: naming the leaf, if the checkpoint has more or fewer layers than the model.
    """
    del is_resuming
    target = _flatten(target_state_dict)
    if not any(map(_STACKED.search, target)):
        return dict(state_dict)
    flat = _flatten(state_dict)
    result = {name: leaf for name, leaf in flat.items() if not _OF_ONE_LAYER.search(name)}
    counts = _depths(target)
    for name, parts in _groups(flat).items():
        depth = counts.get(_stack_of(name))
        if depth is not None and depth != len(parts):
            raise ValueError(
                f"The checkpoint has {len(parts)} layers of {name} and the model {depth}. Fix: restore with the "
                f"model's own size: set T5Config.num_encoder_layers and .num_decoder_layers."
            )
        result[name] = _stack([flat[part] for part in parts], name)
    return _unflatten(result)


# Read by the runtime: values are not looked at, so that it need not read the checkpoint first.
stack_on_restore.only_renames = True


@dataclasses.dataclass(frozen=True)
class StackedLeaf:
    """Leaves of a checkpoint that become one array when they are asked for as an array.

    Attributes:
      parts: one `t5x.restoring.StoredLeaf` for each layer.
    """

    parts: tuple[Any, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the stacked array."""
        return (len(self.parts), *self.parts[0].shape)

    @property
    def dtype(self) -> Any:
        """Stored dtype."""
        return self.parts[0].dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Reads the parts."""
        import orbax.checkpoint as ocp  # here, because the step needs no checkpoints

        from t5x import restoring

        del copy  # it is always a new array
        args = {part.name: ocp.RestoreArgs(restore_type=np.ndarray) for part in self.parts}
        shapes = {part.name: jax.ShapeDtypeStruct(part.shape, part.dtype) for part in self.parts}
        arrays = restoring.read_arrays(self.parts[0].checkpoint_dir, args, shapes)
        return np.stack([arrays[part.name] for part in self.parts]).astype(dtype or self.dtype, copy=False)


def _flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    return traverse_util.flatten_dict(_plain(tree), sep="/")


def _plain(tree: Any) -> Any:
    return {str(key): _plain(value) for key, value in tree.items()} if isinstance(tree, Mapping) else tree


def _unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    return traverse_util.unflatten_dict(dict(flat), sep="/")


def _groups(flat: Mapping[str, Any]) -> dict[str, list[str]]:
    """Stacked name to the names of its parts in the order of the layers, which must be all there."""
    found: dict[str, dict[int, str]] = {}
    for name in flat:
        match = _OF_ONE_LAYER.search(name)
        if match:
            found.setdefault(_OF_ONE_LAYER.sub(r"\1layers/", name), {})[int(match[2])] = name
    for name, parts in found.items():
        missing = sorted(set(range(max(parts) + 1)) - parts.keys())
        if missing:
            raise ValueError(
                f"{name} can't be stacked: layers {missing} of {max(parts) + 1} are missing. Fix: a tree with all its "
                "layers, numbered from 0."
            )
    return {name: [parts[i] for i in range(len(parts))] for name, parts in found.items()}


def _stack_of(name: str) -> str:
    """Which stack of layers a leaf belongs to: the path of its parameter up to `layers` (`encoder`, `decoder`)."""
    return name[: _STACKED.search(name).start()].rpartition("/")[2]


def _depths(flat: Mapping[str, Any]) -> dict[str, int]:
    """Number of layers of each stack, as the leading axes of its leaves say."""
    depths: dict[str, tuple[int, str]] = {}
    for name, leaf in flat.items():
        if not _STACKED.search(name) or tuple(leaf.shape) == _UNUSED:
            continue
        stack = _stack_of(name)
        depth, first = depths.setdefault(stack, (leaf.shape[0] if leaf.shape else 0, name))
        if not leaf.shape or leaf.shape[0] != depth:
            raise ValueError(
                f"{name} has shape {tuple(leaf.shape)} while {first} is of {depth} layers: the leading axis of a "
                "stacked leaf counts the layers. Fix: stack both from trees of one depth."
            )
    return {stack: depth for stack, (depth, _) in depths.items()}


def _stack(parts: list[Any], name: str) -> Any:
    shapes = sorted({tuple(part.shape) for part in parts})
    if len(shapes) > 1:
        raise ValueError(f"{name} can't be stacked: its layers have shapes {shapes}. Fix: layers of one size.")
    first = parts[0]
    if shapes[0] == _UNUSED:
        return first
    if isinstance(first, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct((len(parts), *first.shape), first.dtype)
    if isinstance(first, np.ndarray):
        return np.stack(parts)
    return StackedLeaf(tuple(parts)) if hasattr(first, "checkpoint_dir") else jnp.stack(parts)


def _unstacked(name: str, leaf: Any, depths: Mapping[str, int]) -> Iterator[tuple[str, Any]]:
    """Pairs of name and leaf for each layer, or the one pair itself outside the layers."""
    if not _STACKED.search(name):
        yield name, leaf
        return
    for i in range(depths[_stack_of(name)]):
        yield _STACKED.sub(rf"\1layers_{i}/", name), None if leaf is None else _layer(leaf, i)


def _layer(leaf: Any, index: int) -> Any:
    if tuple(leaf.shape) == _UNUSED:
        return leaf
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype)
    if isinstance(leaf, jax.Array) and isinstance(leaf.sharding, NamedSharding):
        spec = PartitionSpec(*leaf.sharding.spec[1:])
        return _cutter(NamedSharding(leaf.sharding.mesh, spec))(leaf, index)
    return leaf[index]


@functools.lru_cache(maxsize=256)
def _cutter(sharding: NamedSharding) -> Any:
    """A function from a stacked array and an index to that layer, in its shards (compiled once for all indices)."""
    return jax.jit(
        lambda stacked, index: jax.lax.dynamic_index_in_dim(stacked, index, keepdims=False), out_shardings=sharding
    )


def _off_device(leaf: Any) -> Any:
    """A leaf cut for a checkpoint, in host memory where that is possible."""
    if not isinstance(leaf, jax.Array) or not leaf.is_fully_addressable:
        return leaf
    if next(iter(leaf.devices())).platform == "cpu":
        return leaf
    try:
        return jax.device_put(leaf, jax.local_devices(backend="cpu")[0])
    except RuntimeError:  # JAX_PLATFORMS leaves the CPU out: the copy stays on the device until it is written
        return leaf
