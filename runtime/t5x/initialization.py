"""Making train states: from scratch or from a checkpoint, always straight into their shards."""

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from t5x import checkpoint_utils, checkpoints, state_utils
from t5x import train_state as train_state_lib
from t5x.run_configs import RestoreCheckpointConfig, SaveCheckpointConfig

RestoreConfigs = Sequence[RestoreCheckpointConfig | None]
# A model's `get_initial_variables(rng, input_shapes, input_types=None)`.
InitFnCallable = Callable[..., Any]


def get_first_valid_restore_config_and_paths(
    restore_cfgs: RestoreConfigs,
) -> tuple[RestoreCheckpointConfig | None, list[str]]:
    """Picks the first configuration that leads to a checkpoint.

    Args:
      restore_cfgs: candidates, in order.

    Returns:
      The configuration and the checkpoints it names, in order; (None, []) when none leads anywhere.

    Raises:
      ValueError: when a folder of mode `latest` or `all` does not exist.
    """
    for cfg in restore_cfgs:
        if cfg is None or not cfg.path:
            continue
        given = [cfg.path] if isinstance(cfg.path, str) else list(cfg.path)
        if cfg.mode == "specific":
            return cfg, given
        paths = []
        for folder in given:
            checkpoint_utils.require_mounted(folder, "RestoreCheckpointConfig.path")
            if not os.path.isdir(folder):
                raise ValueError(f"RestoreCheckpointConfig.path {folder} is no folder (mode {cfg.mode!r} needs one).")
            steps = checkpoint_utils.all_steps(folder)
            wanted = steps[-1:] if cfg.mode == "latest" else steps
            paths += [checkpoint_utils.get_checkpoint_dir(folder, step) for step in wanted]
        if paths:
            return cfg, paths
    return None, []


def create_orbax_checkpoint_manager(
    *,
    save_cfg: SaveCheckpointConfig | None = None,
    restore_cfg: RestoreCheckpointConfig | None = None,
    train_state: Any,
    partitioner: Any,
    ds_iter: Any | None = None,
    model_dir: str | None = None,
) -> checkpoints.OrbaxCheckpointManagerInterface:
    """Builds the manager of a folder of checkpoints.

    Args:
      save_cfg: saving policy; None for a manager that only restores.
      restore_cfg: its dtype is used when restoring.
      train_state: a train state, or its shapes.
      partitioner: gives each leaf its sharding.
      ds_iter: training data iterator, stored with each checkpoint.
      model_dir: folder of checkpoints.

    Returns:
      The manager.
    """
    options: dict[str, Any] = {"dataset_iterator": ds_iter}
    cls = checkpoints.OrbaxCheckpointManagerInterface
    if save_cfg is not None:
        cls = save_cfg.checkpoint_manager_cls
        options["save_dtype"] = save_cfg.dtype and jnp.dtype(save_cfg.dtype)
        for name in ("keep", "period", "checkpoint_steps", "keep_dataset_checkpoints"):
            options[name] = getattr(save_cfg, name)
    elif restore_cfg is not None:
        cls = restore_cfg.checkpoint_manager_cls
    if restore_cfg is not None and restore_cfg.dtype:
        options["restore_dtype"] = jnp.dtype(restore_cfg.dtype)
    return cls(directory=model_dir or ".", train_state=train_state, partitioner=partitioner, **options)


def restore(
    checkpoint_manager: checkpoints.OrbaxCheckpointManagerInterface,
    restore_paths: str | Sequence[str],
    restore_cfg: RestoreCheckpointConfig,
    fallback_state: Any = None,
) -> Any:
    """Restores one state, or a list of them.

    Args:
      checkpoint_manager: does the reading.
      restore_paths: one checkpoint, or several.
      restore_cfg: its transformations are applied.
      fallback_state: for leaves that a checkpoint lacks, see `OrbaxCheckpointManagerInterface.restore`.

    Returns:
      A train state, or a list of them when a list of paths was given.
    """
    if not isinstance(restore_paths, str):
        return [restore(checkpoint_manager, path, restore_cfg, fallback_state) for path in restore_paths]
    fns = list(restore_cfg.state_transformation_fns)
    if restore_cfg.assignment_map:
        fns.append(functools.partial(state_utils.apply_assignment_map, assignment_map=restore_cfg.assignment_map))
    state = checkpoint_manager.restore(path=restore_paths, fallback_state=fallback_state, state_transformation_fns=fns)
    if restore_cfg.restore_dataset:
        checkpoint_manager.restore_dataset(restore_paths)
    return state


class TrainStateInitializer:
    """Knows the shapes and placement of a model's train state, and makes one.

    Args:
      optimizer_def: the optimizer; None makes an `InferenceState`.
      init_fn: a model's `get_initial_variables`.
      input_shapes: model feature to global shape.
      partitioner: gives each leaf its sharding.
      input_types: model feature to dtype.

    Attributes:
      global_train_state_shape: the train state with shapes in place of arrays.
      train_state_axes: the train state with PartitionSpecs in place of arrays.
    """

    def __init__(
        self,
        optimizer_def: Any | None,
        init_fn: InitFnCallable,
        input_shapes: Mapping[str, Any],
        partitioner: Any,
        input_types: Mapping[str, Any] | None = None,
    ) -> None:
        def initialize(rng: jax.Array) -> Any:
            variables = init_fn(rng=rng, input_shapes=input_shapes, input_types=input_types)
            if optimizer_def is None:
                return train_state_lib.InferenceState.create(variables)
            return train_state_lib.FlaxOptimTrainState.create(optimizer_def, variables)

        self._initialize = initialize
        self._partitioner = partitioner
        self.global_train_state_shape = jax.eval_shape(initialize, jax.random.PRNGKey(0))
        self.train_state_axes = partitioner.get_mesh_axes(self.global_train_state_shape)

    def from_scratch(self, init_rng: jax.Array) -> Any:
        """Initialises a state in its shards.

        Args:
          init_rng: PRNG key.

        Returns:
          The train state.
        """
        fn = self._partitioner.partition(self._initialize, (None,), self.train_state_axes)
        return fn(init_rng)

    def fallback_leaves(self, init_rng: jax.Array) -> Callable[[frozenset[str]], dict[str, Any]]:
        """Initialises some leaves only, so that the rest of a second state never exists.

        Args:
          init_rng: PRNG key.

        Returns:
          A function from slash-joined leaf names to a nested state dict that holds exactly those.
        """

        def some(names: frozenset[str]) -> dict[str, Any]:
            def pick(state: Any) -> dict[str, Any]:
                flat = state_utils.flatten_state_dict(state.state_dict())
                return {name: flat.get(name) for name in sorted(names)}  # replicated leaves have no axes

            fn = self._partitioner.partition(
                lambda rng: pick(self._initialize(rng)), (None,), pick(self.train_state_axes)
            )
            return state_utils.unflatten_state_dict(fn(init_rng))

        return some

    def from_checkpoints(
        self, restore_cfgs: RestoreConfigs, ds_iter: Any | None = None, init_rng: jax.Array | None = None
    ) -> Iterator[tuple[Any, str]]:
        """Restores every checkpoint that the first valid configuration names.

        Args:
          restore_cfgs: candidates, in order.
          ds_iter: restored too when the configuration asks for it.
          init_rng: PRNG key for `fallback_to_scratch`.

        Yields:
          Train state and path.
        """
        cfg, paths = get_first_valid_restore_config_and_paths(restore_cfgs)
        for path in paths:
            yield self._from_path(cfg, path, ds_iter, init_rng), path

    def _from_path(
        self, cfg: RestoreCheckpointConfig, path: str, ds_iter: Any | None, init_rng: jax.Array | None
    ) -> Any:
        path = checkpoint_utils.find_checkpoint(path)
        logging.info("Restoring %s.", path)
        return create_checkpoint_manager_and_restore(self, self._partitioner, cfg, path, init_rng, ds_iter=ds_iter)[0]

    def from_checkpoint(
        self, restore_cfgs: RestoreConfigs, *, ds_iter: Any | None = None, init_rng: jax.Array | None = None
    ) -> Any | None:
        """Restores the one checkpoint that the first valid configuration names.

        Args:
          restore_cfgs: candidates, in order.
          ds_iter: restored too when the configuration asks for it.
          init_rng: PRNG key for `fallback_to_scratch`.

        Returns:
          The train state, or None when no configuration leads to a checkpoint.

        Raises:
          ValueError: when there are several.
        """
        cfg, paths = get_first_valid_restore_config_and_paths(restore_cfgs)
        if not paths:
            return None
        if len(paths) > 1:
            raise ValueError(f"Expected one checkpoint, but the restore configuration names {len(paths)}: {paths}.")
        return self._from_path(cfg, paths[0], ds_iter, init_rng)

    def from_checkpoint_or_scratch(
        self, restore_cfgs: RestoreConfigs, *, init_rng: jax.Array, ds_iter: Any | None = None
    ) -> Any:
        """Restores the one checkpoint that is named, or else initialises a state.

        Args:
          restore_cfgs: candidates, in order.
          init_rng: PRNG key.
          ds_iter: restored too when the configuration asks for it.

        Returns:
          The train state.
        """
        state = self.from_checkpoint(restore_cfgs, ds_iter=ds_iter, init_rng=init_rng)
        return self.from_scratch(init_rng) if state is None else state


def get_fallback_state(
    restore_cfg: RestoreCheckpointConfig, initializer: TrainStateInitializer, init_rng: jax.Array | None
) -> Callable[[frozenset[str]], dict[str, Any]] | None:
    """What stands in for leaves that a checkpoint lacks.

    Args:
      restore_cfg: its `fallback_to_scratch` decides.
      initializer: makes the leaves.
      init_rng: PRNG key.

    Returns:
      A function from leaf names to a state dict, or None.

    Raises:
      ValueError: when a fallback is wanted and no key was given.
    """
    if not restore_cfg.fallback_to_scratch:
        return None
    if init_rng is None:
        raise ValueError("fallback_to_scratch=True needs a random key; bind fallback_init_rng.")
    return initializer.fallback_leaves(init_rng)


def create_checkpoint_manager_and_restore(
    train_state_initializer: TrainStateInitializer,
    partitioner: Any,
    restore_checkpoint_cfg: RestoreCheckpointConfig | None,
    restore_path: str | None,
    fallback_init_rng: jax.Array | None,
    save_checkpoint_cfg: SaveCheckpointConfig | None = None,
    model_dir: str | None = None,
    ds_iter: Any | None = None,
    use_orbax: bool = True,
) -> tuple[Any | None, checkpoints.OrbaxCheckpointManagerInterface]:
    """Restores a state, when a path is given, and builds the manager that will save its successors.

    Args:
      train_state_initializer: knows shapes and placement.
      partitioner: gives each leaf its sharding.
      restore_checkpoint_cfg: how to restore.
      restore_path: checkpoint to restore; None restores nothing.
      fallback_init_rng: PRNG key for `fallback_to_scratch`.
      save_checkpoint_cfg: saving policy.
      model_dir: folder to save to.
      ds_iter: training data iterator.
      use_orbax: accepted for compatibility; Orbax is always used.

    Returns:
      The state (or None) and the manager.
    """
    del use_orbax
    manager = create_orbax_checkpoint_manager(
        save_cfg=save_checkpoint_cfg,
        restore_cfg=restore_checkpoint_cfg,
        train_state=train_state_initializer.global_train_state_shape,
        partitioner=partitioner,
        ds_iter=ds_iter,
        model_dir=model_dir or (restore_path and os.path.dirname(restore_path)),
    )
    if restore_path is None or restore_checkpoint_cfg is None:
        return None, manager
    fallback = get_fallback_state(restore_checkpoint_cfg, train_state_initializer, fallback_init_rng)
    return restore(manager, restore_path, restore_checkpoint_cfg, fallback), manager


def log_model_info(log_file: str | None, full_train_state: Any, partitioner: Any) -> None:
    """Writes one line per variable, with its size, named axes and placement; process 0 only.

    Args:
      log_file: path, whose folder is created when missing; None only logs the total.
      full_train_state: a train state, or its shapes.
      partitioner: gives names and PartitionSpecs.
    """
    if jax.process_index() != 0:
        return

    axes, specs = partitioner.get_logical_axes(full_train_state), partitioner.get_mesh_axes(full_train_state)
    shapes, names, specs = (
        state_utils.flatten_state_dict(state.state_dict()) for state in (full_train_state, axes, specs)
    )

    def line(name: str, label: str) -> str:
        shape = tuple(shapes[name].shape)
        axes = names.get(name)
        axes = tuple(axes) if axes and len(axes) == len(shape) else (None,) * len(shape)
        named = ", ".join(f"{axis}={dim}" if axis else str(dim) for axis, dim in zip(axes, shape, strict=True))
        size = int(np.prod(shape, dtype=np.int64))
        spec = tuple(specs.get(name) or ())
        return f"Variable {label:<80} size {size:<12} shape {f'({named})':<40} partition spec {spec}"

    target = sorted(name for name in shapes if name.startswith("target/"))
    total = sum(int(np.prod(shapes[name].shape, dtype=np.int64)) for name in target)
    summary = f"Total number of parameters: {total}"
    logging.info(summary)
    if log_file is None:
        return
    lines = [line(name, name.removeprefix("target/")) for name in target] + [summary, ""]
    lines += [line(name, name) for name in sorted(shapes) if not name.startswith("target/")]
    os.makedirs(os.path.dirname(log_file) or ".", exist_ok=True)
    with open(log_file, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
