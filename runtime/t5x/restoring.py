"""Reading an Orbax checkpoint into the leaves, dtypes and shards of a model, with errors that name the leaf.

Names are slash-joined: `target/encoder/encoder_norm/scale`, `state/param_states/...`, `state/step`.
"""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from t5x import checkpoint_utils, legacy_checkpoints, state_utils
from t5x.state_utils import flatten_state_dict, unflatten_state_dict

FallbackState = Mapping[str, Any] | Callable[[frozenset[str]], Mapping[str, Any]] | None
_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class StoredLeaf:
    """Stands for an array that is still in a checkpoint.

    Attributes:
      name: its name there.
      shape: its shape.
      dtype: its stored dtype.
      checkpoint_dir: the checkpoint.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Any
    checkpoint_dir: str


def _state_folder(checkpoint_dir: str) -> epath.Path:
    kind = checkpoint_utils.detect_checkpoint_type(checkpoint_dir)
    if kind is not checkpoint_utils.CheckpointTypes.ORBAX:
        raise ValueError(
            f"{checkpoint_dir} is a {kind.value} checkpoint, which this version of the runtime does not read; it reads "
            "those of Orbax (a folder that holds _CHECKPOINT_METADATA) and T5X's older ones."
        )
    folder = epath.Path(checkpoint_dir).absolute() / "state"
    if not folder.is_dir():
        found = sorted(os.listdir(checkpoint_dir))
        raise ValueError(
            f"{checkpoint_dir} holds no item 'state'; found {found}. It is no checkpoint of a train state."
        )
    return folder


@contextlib.contextmanager
def _damage_named(checkpoint_dir: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Orbax raises many kinds here, none of which names the folder
        raise ValueError(f"Checkpoint {checkpoint_dir} can't be read; it is cut short or damaged: {error}") from error


def read_leaves(checkpoint_dir: str) -> dict[str, StoredLeaf]:
    """Lists the arrays of a checkpoint without reading them.

    Args:
      checkpoint_dir: path of one checkpoint.

    Returns:
      Name to `StoredLeaf`.

    Raises:
      ValueError: naming the folder, when it is of another format or damaged.
    """
    if legacy_checkpoints.is_legacy(checkpoint_dir):
        arrays = legacy_checkpoints.open_arrays(checkpoint_dir)
        return {name: StoredLeaf(name, x.shape, jnp.dtype(x.dtype), checkpoint_dir) for name, x in arrays.items()}
    folder = _state_folder(checkpoint_dir)
    with _damage_named(checkpoint_dir):
        flat = flatten_state_dict(ocp.PyTreeCheckpointHandler().metadata(folder).tree)
    arrays = {name: meta for name, meta in flat.items() if getattr(meta, "shape", None) is not None}
    return {name: StoredLeaf(name, tuple(x.shape), jnp.dtype(x.dtype), checkpoint_dir) for name, x in arrays.items()}


def read_arrays(
    checkpoint_dir: str, restore_args: Mapping[str, ocp.RestoreArgs], shapes: Mapping[str, Any]
) -> dict[str, Any]:
    """Reads some leaves of a checkpoint.

    Args:
      checkpoint_dir: path of one checkpoint.
      restore_args: name to type, dtype and sharding of the array that is wanted.
      shapes: name to an object with the array's shape and dtype.

    Returns:
      Name to array.

    Raises:
      ValueError: naming the folder, when it is damaged.
    """
    if not restore_args:
        return {}
    if legacy_checkpoints.is_legacy(checkpoint_dir):
        return legacy_checkpoints.read_arrays(checkpoint_dir, restore_args)
    args = ocp.args.PyTreeRestore(
        item=unflatten_state_dict(shapes), restore_args=unflatten_state_dict(restore_args), partial_restore=True
    )
    with _damage_named(checkpoint_dir):
        return flatten_state_dict(ocp.PyTreeCheckpointHandler().restore(_state_folder(checkpoint_dir), args=args))


def read_whole(checkpoint_dir: str) -> dict[str, Any]:
    """Reads a whole checkpoint into host memory.

    Args:
      checkpoint_dir: path of one checkpoint.

    Returns:
      The nested state dict with NumPy leaves, in their stored dtypes.

    Raises:
      ValueError: naming the folder, when it is of another format or damaged.
    """
    leaves = read_leaves(checkpoint_dir)
    args = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in leaves}
    shapes = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in leaves.items()}
    return unflatten_state_dict(read_arrays(checkpoint_dir, args, shapes))


def _only_renames(fn: Callable[..., Any]) -> bool:
    """Whether a transformation never looks at values: an assignment map, or a function that says so of itself."""
    inner = fn.func if isinstance(fn, functools.partial) else fn
    return inner is state_utils.apply_assignment_map or getattr(inner, "only_renames", False)


def _transformed(
    checkpoint_dir: str, target: Mapping[str, Any], transformations: Sequence[Callable[..., Any]], is_resuming: bool
) -> dict[str, Any]:
    """Leaves by model name after all transformations: `StoredLeaf` where nothing had to be read yet."""
    if all(map(_only_renames, transformations)):
        state = unflatten_state_dict(read_leaves(checkpoint_dir))
    else:
        state = read_whole(checkpoint_dir)
    for fn in transformations:
        try:
            state = fn(state, dict(target), is_resuming=is_resuming)
        except ValueError as error:
            raise ValueError(f"While restoring {checkpoint_dir}: {error}") from error
    return flatten_state_dict(state)


def _listing(items: Sequence[str]) -> str:
    return "; ".join(items[:_SHOWN]) + (f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else "")


def restore_state_dict(
    checkpoint_dir: str,
    *,
    target: Mapping[str, Any],
    specs: Mapping[str, Any],
    mesh: Mesh,
    restore_dtype: Any | None = None,
    fallback_state: FallbackState = None,
    state_transformation_fns: Sequence[Callable[..., Any]] = (),
    is_resuming: bool = False,
) -> dict[str, Any]:
    """Restores a state dict, each leaf straight into its shards.

    Args:
      checkpoint_dir: path of one checkpoint.
      target: nested state dict of the model, whose leaves have `shape` and `dtype`.
      specs: PartitionSpec (or None) of each leaf, nested like `target`.
      mesh: device mesh.
      restore_dtype: dtype of floating-point leaves under `target/`; None keeps the stored one.
      fallback_state: nested state dict for leaves that are missing, or a function from their names to one.
      state_transformation_fns: `fn(state_dict, target_state_dict, *, is_resuming) -> state_dict`.
      is_resuming: passed to them; parameters then take the dtype of `target`.

    Returns:
      A nested state dict with exactly the leaves of `target`.

    Raises:
      ValueError: naming folder, leaf and both shapes, when the checkpoint does not fit the model.
    """
    flat_target, flat_specs = flatten_state_dict(target), flatten_state_dict(specs)
    found = _transformed(checkpoint_dir, target, state_transformation_fns, is_resuming)
    missing = [name for name in flat_target if name not in found]
    if missing and fallback_state is None:
        extra = [name for name in found if name not in flat_target]
        raise ValueError(
            f"Checkpoint {checkpoint_dir} lacks {len(missing)} of the model's {len(flat_target)} leaves: "
            f"{_listing(missing)}. Leaves that only the checkpoint has: {_listing(extra) or 'none'}. Use the model it "
            "was made with, or an assignment_map (with fallback_to_scratch=True for leaves to be initialised)."
        )
    wrong = [
        f"{name}: checkpoint {tuple(found[name].shape)}, model {tuple(leaf.shape)}"
        for name, leaf in flat_target.items()
        if name in found and tuple(found[name].shape) != tuple(leaf.shape)
    ]
    if wrong:
        raise ValueError(f"Checkpoint {checkpoint_dir} does not fit the model; shapes differ in {_listing(wrong)}.")

    def sharding(name: str) -> NamedSharding:
        return NamedSharding(mesh, flat_specs.get(name) or PartitionSpec())

    def dtype(name: str) -> Any:
        stored = found[name].dtype
        wanted = flat_target[name].dtype if is_resuming else restore_dtype
        castable = wanted is not None and name.startswith("target/") and jnp.issubdtype(stored, jnp.floating)
        return jnp.dtype(wanted) if castable else stored

    readers: dict[str, list[str]] = {}
    result: dict[str, Any] = {}
    for name in flat_target:
        if isinstance(found.get(name), StoredLeaf):
            readers.setdefault(found[name].name, []).append(name)
        elif name in found:
            result[name] = jax.device_put(jnp.asarray(found[name], dtype(name)), sharding(name))
    args, shapes = {}, {}
    for stored, (name, *_) in readers.items():
        shapes[stored] = jax.ShapeDtypeStruct(found[name].shape, dtype(name))
        args[stored] = ocp.ArrayRestoreArgs(
            restore_type=jax.Array, sharding=sharding(name), dtype=dtype(name), global_shape=found[name].shape
        )
    arrays = read_arrays(checkpoint_dir, args, shapes)
    for stored, (name, *others) in readers.items():
        result[name] = arrays[stored]
        for other in others:
            # A copy: a train state is donated to the step, so no buffer may occur in it twice.
            result[other] = jax.device_put(jnp.copy(arrays[stored]).astype(dtype(other)), sharding(other))
    if missing:
        fallback = fallback_state(frozenset(missing)) if callable(fallback_state) else fallback_state
        flat_fallback = flatten_state_dict(fallback)
        absent = [name for name in missing if name not in flat_fallback]
        if absent:
            raise ValueError(f"Neither checkpoint {checkpoint_dir} nor the fallback state holds {_listing(absent)}.")
        result |= {name: flat_fallback[name] for name in missing}
    return unflatten_state_dict({name: result[name] for name in flat_target})
