"""Saving and restoring train states with Orbax, in folders `checkpoint_<step>`.

A checkpoint holds the item `state` (the nested state dict) and the item `dataset` (how many batches were consumed, and
the iterator's state when asked for). Arrays are written and read shard by shard.
"""

import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from absl import logging
from flax import traverse_util

from t5x import checkpoint_utils
from t5x.checkpoint_utils import (  # noqa: F401  (public names of this module)
    all_steps,
    find_checkpoint,
    get_checkpoint_dir,
    get_checkpoint_prefix,
    get_step_from_checkpoint_dir,
    latest_step,
)
from t5x.restoring import FallbackState, read_whole, restore_state_dict

Transformations = Sequence[Callable[..., Any]]
_STATE_ITEM = "state"
_DATASET_ITEM = "dataset"


def _dataset_prefix(directory: str) -> str:
    """Path prefix of this process's data state inside the item's folder."""
    index, count = jax.process_index(), jax.process_count()
    folder = os.fspath(directory)
    if count > 1:
        folder = os.path.join(folder, f"process_{index}-of-{count}")
    return os.path.join(folder, f"train_ds-{index:03d}-of-{count:03d}")


class DatasetCheckpointHandler(ocp.CheckpointHandler):
    """Writes and reads the position of the training data; each process keeps its own."""

    def save(self, directory: Any, args: "DatasetArgs") -> None:
        """Writes the iterator's position.

        Args:
          directory: folder of the item.
          args: the iterator, which offers `save(path prefix)`.
        """
        prefix = _dataset_prefix(directory)
        os.makedirs(os.path.dirname(prefix), exist_ok=True)
        if args.item is not None:
            args.item.save(prefix)

    def restore(self, directory: Any, args: "DatasetArgs") -> Any:
        """Moves an iterator to the stored position.

        Args:
          directory: folder of the item.
          args: the iterator, which offers `restore(path prefix)`.

        Returns:
          The same iterator.
        """
        args.item.restore(_dataset_prefix(directory))
        return args.item


@ocp.args.register_with_handler(DatasetCheckpointHandler, for_save=True, for_restore=True)
@dataclasses.dataclass
class DatasetArgs(ocp.args.CheckpointArgs):
    """Orbax arguments that carry a data iterator (or None).

    Attributes:
      item: the iterator.
    """

    item: Any = None


def read_dataset_position(checkpoint_dir: str) -> dict | None:
    """What a checkpoint says about the training data it had consumed.

    Args:
      checkpoint_dir: path of one checkpoint.

    Returns:
      The JSON object that `TrainIterator.save` wrote for this process, or None when the checkpoint has none.

    Raises:
      ValueError: naming the file, when it is damaged.
    """
    path = _dataset_prefix(os.path.join(checkpoint_dir, _DATASET_ITEM)) + ".json"
    if not os.path.isfile(path):
        return None
    with open(path, encoding="utf-8") as file:
        try:
            return json.load(file)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} holds no valid JSON: {error}.") from error


def _cast_target(state_dict: Mapping[str, Any], dtype: Any) -> dict[str, Any]:
    """Casts floating-point leaves under `target`; optimizer state keeps its precision."""

    def cast(leaf: Any) -> Any:
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return {**state_dict, "target": jax.tree.map(cast, state_dict["target"])}


@dataclasses.dataclass
class OrbaxCheckpointManagerInterface:
    """Saves, finds, restores and prunes the checkpoints of one folder.

    Saving copies the arrays to host memory and writes them in the background; `wait_until_finished` or the next save
    waits. A folder gets its final name only when complete, so a killed process leaves nothing that looks whole.

    Attributes:
      directory: folder of checkpoints.
      train_state: a train state, or its shapes.
      partitioner: gives each leaf its sharding.
      dataset_iterator: saved with each checkpoint when given; offers `save(path)` and `restore(path)`.
      save_dtype: dtype in which parameters are stored; None keeps theirs.
      restore_dtype: dtype in which parameters are restored; None keeps the stored one.
      keep: number of newest checkpoints to keep; None keeps all. Pinned ones are never removed or counted.
      period: `should_save` is true at multiples of it.
      checkpoint_steps: further steps at which `should_save` is true.
      keep_dataset_checkpoints: number of newest checkpoints whose iterator state is kept; None keeps all.
      force_keep_period: checkpoints at multiples of it are never removed.
    """

    directory: str
    train_state: Any
    partitioner: Any
    dataset_iterator: Any | None = None
    save_dtype: Any | None = None
    restore_dtype: Any | None = None
    keep: int | None = None
    period: int | None = 1
    checkpoint_steps: Sequence[int] | None = None
    keep_dataset_checkpoints: int | None = None
    force_keep_period: int | None = None

    def __post_init__(self) -> None:
        self.directory = os.path.abspath(os.fspath(self.directory))
        self._checkpointer: ocp.AsyncCheckpointer | None = None
        self._prunable = False

    def all_steps(self) -> list[int]:
        """Ascending steps of the complete checkpoints."""
        return all_steps(self.directory)

    def latest_step(self) -> int | None:
        """Newest complete step, or None."""
        return latest_step(self.directory)

    def should_save(self, step: int) -> bool:
        """Whether the save policy asks for a checkpoint at a step.

        Args:
          step: step number.

        Returns:
          True at multiples of the period and at `checkpoint_steps`.
        """
        return bool(self.period and step % self.period == 0) or step in (self.checkpoint_steps or ())

    def save(self, train_state: Any, state_transformation_fns: Transformations = (), force: bool = True) -> bool:
        """Starts to write a checkpoint; returns once the arrays have been copied.

        Args:
          train_state: the state to save.
          state_transformation_fns: `fn(state_dict, parameter_infos) -> (state_dict, parameter_infos)`.
          force: save although the policy does not ask for this step.

        Returns:
          False when the policy does not ask for it or the step exists already.
        """
        step = int(jax.device_get(train_state.step))
        if not force and not self.should_save(step):
            return False
        self.wait_until_finished()
        if checkpoint_utils.is_complete(get_checkpoint_dir(self.directory, step)):
            logging.info("Checkpoint of step %d exists already; not saved again.", step)
            return False
        state_dict = train_state.state_dict()
        infos = traverse_util.unflatten_dict(dict.fromkeys(traverse_util.flatten_dict(state_dict)))
        for fn in state_transformation_fns:
            state_dict, infos = fn(state_dict, infos)
        if self.save_dtype is not None:
            state_dict = _cast_target(state_dict, self.save_dtype)
        if self._checkpointer is None:
            self._checkpointer = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler())
        items = {
            _STATE_ITEM: ocp.args.PyTreeSave(jax.tree.map(jnp.asarray, state_dict)),
            _DATASET_ITEM: DatasetArgs(self.dataset_iterator),
        }
        self._checkpointer.save(get_checkpoint_dir(self.directory, step), args=ocp.args.Composite(**items))
        self._prunable = True
        return True

    def wait_until_finished(self) -> None:
        """Waits for the write in progress, if any, and then removes checkpoints that the policy does not keep."""
        if self._checkpointer is None:
            return
        self._checkpointer.wait_until_finished()
        if self._prunable:
            self._prunable = False
            if jax.process_index() == 0:
                self._prune()

    def _prune(self) -> None:
        steps = [s for s in self.all_steps() if not checkpoint_utils.is_pinned_checkpoint(self._path(s))]
        if self.keep_dataset_checkpoints is not None:
            for step in steps[: -self.keep_dataset_checkpoints]:
                checkpoint_utils.remove_dataset_checkpoint(os.path.join(self._path(step), _DATASET_ITEM))
        if self.keep is None:
            return
        candidates = [s for s in steps if not (self.force_keep_period and s % self.force_keep_period == 0)]
        for step in candidates[: -self.keep]:
            logging.info("Removing checkpoint %s.", self._path(step))
            checkpoint_utils.remove_checkpoint_dir(self._path(step))

    def _path(self, step: int) -> str:
        return get_checkpoint_dir(self.directory, step)

    def restore(
        self,
        step: int | None = None,
        path: str | None = None,
        fallback_state: FallbackState = None,
        state_transformation_fns: Transformations = (),
        lazy_parameters: bool = False,
        is_resuming: bool = False,
    ) -> Any:
        """Restores one checkpoint straight into the model's shards.

        Args:
          step: step in this folder; None takes the newest.
          path: another checkpoint's path, which ends in `checkpoint_<step>`; wins over `step`.
          fallback_state: state dict (or a function from missing names to one) for leaves that the checkpoint lacks.
          state_transformation_fns: `fn(state_dict, target_state_dict, *, is_resuming) -> state_dict`.
          lazy_parameters: accepted for compatibility; arrays are always read at once.
          is_resuming: passed to the transformations; parameters then take the model's own dtype, so that a run which
            saves bfloat16 does not go on training in it.

        Returns:
          A train state of the same type as the one given to the constructor.

        Raises:
          ValueError: naming folder, leaf and shapes when the checkpoint is missing, cut short or of another model.
        """
        del lazy_parameters
        self.wait_until_finished()
        if path is None:
            path = find_checkpoint(self.directory, step)
        get_step_from_checkpoint_dir(path)  # refuses other names
        state_dict = restore_state_dict(
            path,
            target=self.train_state.state_dict(),
            specs=self.partitioner.get_mesh_axes(self.train_state).state_dict(),
            mesh=self.partitioner.mesh,
            restore_dtype=self.restore_dtype,
            fallback_state=fallback_state,
            state_transformation_fns=state_transformation_fns,
            is_resuming=is_resuming,
        )
        return self.train_state.restore_state(state_dict)

    def restore_dataset(self, path: str) -> bool:
        """Moves the data iterator to the position stored in a checkpoint.

        Args:
          path: the checkpoint.

        Returns:
          False when there is no iterator or the checkpoint stores no position.
        """
        if self.dataset_iterator is None or read_dataset_position(path) is None:
            return False
        DatasetCheckpointHandler().restore(os.path.join(path, _DATASET_ITEM), DatasetArgs(self.dataset_iterator))
        return True

    def close(self) -> None:
        """Waits for the write in progress and ends the background threads."""
        self.wait_until_finished()
        if self._checkpointer is not None:
            self._checkpointer.close()
            self._checkpointer = None


class Checkpointer(OrbaxCheckpointManagerInterface):
    """T5X's older class name and constructor order, over the same Orbax format.

    Args:
      train_state: a train state, or its shapes.
      partitioner: gives each leaf its sharding.
      checkpoints_dir: folder of checkpoints.
      dataset_iterator: saved with each checkpoint when given.
      save_dtype: dtype in which parameters are stored.
      **options: further arguments of `OrbaxCheckpointManagerInterface`, by name.
    """

    def __init__(
        self,
        train_state: Any,
        partitioner: Any,
        checkpoints_dir: str,
        dataset_iterator: Any | None = None,
        *,
        save_dtype: Any | None = jnp.float32,
        **options: Any,
    ) -> None:
        super().__init__(checkpoints_dir, train_state, partitioner, dataset_iterator, save_dtype=save_dtype, **options)

    def save(
        self, train_state: Any, state_transformation_fns: Transformations = (), force: bool = True, **ignored: Any
    ) -> bool:
        """Writes a checkpoint and waits for it.

        Args:
          train_state: the state to save.
          state_transformation_fns: see `OrbaxCheckpointManagerInterface.save`.
          force: see `OrbaxCheckpointManagerInterface.save`.
          **ignored: accepted for compatibility, such as `concurrent_gb`.

        Returns:
          False when the step exists already.
        """
        saved = super().save(train_state, state_transformation_fns, force)
        self.wait_until_finished()
        return saved


def load_t5x_checkpoint(
    path: str,
    step: int | None = None,
    state_transformation_fns: Transformations = (),
    remap: bool = True,
    restore_dtype: Any | None = None,
    lazy_parameters: bool = False,
) -> dict[str, Any]:
    """Reads a checkpoint into host memory without a model.

    Args:
      path: a checkpoint, or a folder of checkpoints.
      step: wanted step when `path` is such a folder.
      state_transformation_fns: `fn(state_dict, target_state_dict, *, is_resuming) -> state_dict`.
      remap, lazy_parameters: accepted for compatibility.
      restore_dtype: dtype of the parameters; None keeps the stored one.

    Returns:
      The nested state dict with NumPy leaves.

    Raises:
      ValueError: when there is no complete checkpoint of a format that this runtime reads.
    """
    del remap, lazy_parameters
    state_dict = read_whole(find_checkpoint(path, step))
    for fn in state_transformation_fns:
        state_dict = fn(state_dict, state_dict, is_resuming=False)
    return state_dict if restore_dtype is None else _cast_target(state_dict, restore_dtype)
