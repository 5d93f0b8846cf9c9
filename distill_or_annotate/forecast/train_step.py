"""From a training configuration to its train step on a mesh, with no parameter made and no data read.

What `python -m t5x.train` would compile is traced with shapes in place of arrays: the state from the model, the batch
from the task's feature lengths and the batch size. The mesh may be of devices that are not there (a compiler's).
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.linen import partitioning as flax_partitioning
from jax.sharding import Mesh, NamedSharding, PartitionSpec

PyTree = Any


@dataclasses.dataclass(frozen=True)
class TrainStep:
    """A train step that was traced for a mesh.

    Attributes:
      traced: the traced step; `.jaxpr` is what FLOP counters walk.
      arguments: shapes of the step's arguments, each leaf with its sharding: the train state, with distillation the
        teacher's parameters, the batch.
      mesh: the devices.
    """

    traced: jax.stages.Traced
    arguments: tuple[PyTree, ...]
    mesh: Mesh

    def lower(self) -> jax.stages.Lowered:
        """Lowers the step for the mesh's platform.

        Returns:
          The lowered step; its `.compile()` needs a compiler for the mesh's devices, not the devices.
        """
        with jax.set_mesh(self.mesh):
            return self.traced.lower()

    @property
    def state(self) -> Any:
        """The train state's shapes."""
        return self.arguments[0]

    @property
    def batch(self) -> Mapping[str, jax.ShapeDtypeStruct]:
        """The batch's global shapes."""
        return self.arguments[-1]

    @property
    def teacher_params(self) -> PyTree | None:
        """The teacher's parameters' shapes, or None where no teacher is in the step."""
        return self.arguments[1] if len(self.arguments) == 3 else None


def train_step(
    gin_files: Sequence[str],
    gin_bindings: Sequence[str] = (),
    *,
    mesh: Mesh | Callable[[Any], Mesh] | None = None,
    batch: Mapping[str, jax.ShapeDtypeStruct] | None = None,
    gin_search_paths: Sequence[str] = (".",),
) -> TrainStep:
    """Traces the step that `python -m t5x.train` would run with this configuration.

    Gin's configuration is replaced, and cleared at the end.

    Args:
      gin_files: as `--gin_file`.
      gin_bindings: as `--gin_bindings`, `NAME = VALUE`; they come after all files.
      mesh: devices by `data` and `model`, real or a compiler's, or a function that makes one for the configured
        partitioner, such as `mesh_of`; None takes the partitioner's own choice among the devices at hand.
      batch: global shapes of a batch, for feature converters whose features have more than one dimension; None takes
        them from the task's feature lengths and the batch size.
      gin_search_paths: as `--gin_search_paths`.

    Returns:
      The traced step.

    Raises:
      ValueError: the configuration is incomplete, has no feature lengths, or does not fit the mesh.
    """
    import gin
    from t5x import gin_utils, train

    entry_point = gin_utils.parse_for(
        train, "train", gin_files=gin_files, gin_bindings=gin_bindings, gin_search_paths=gin_search_paths
    )
    try:
        return _traced(gin.get_bindings(entry_point, resolve_references=False), mesh, batch)
    finally:
        gin.clear_config()


def mesh_of(devices: Sequence[Any], partitioner: Any, model_parallel: int | None = None) -> Mesh:
    """Lays devices out as an accelerator's would be, also those of a CPU, where T5X puts all of them on `model`.

    Args:
      devices: the devices, in the order in which neighbours share a copy of the model.
      partitioner: its `num_partitions` or `model_parallel_submesh` says in how many ways the model is split.
      model_parallel: ways that replace these, at least 1; None keeps them.

    Returns:
      A mesh of `data` and `model`.

    Raises:
      ValueError: the ways do not divide the number of devices.
    """
    num_partitions, submesh, *_ = partitioner._mesh_args
    ways = model_parallel or (math.prod(submesh) if submesh else num_partitions) or 1
    if ways < 1 or len(devices) % ways:
        fitting = [n for n in range(1, len(devices) + 1) if len(devices) % n == 0]
        raise ValueError(f"{ways}-way model parallelism on {len(devices)} devices. Fix: one of {fitting}.")
    return Mesh(np.asarray(devices, dtype=object).reshape(-1, ways), ("data", "model"))


def bytes_per_device(tree: PyTree) -> int:
    """What one device holds of arrays in their shards.

    Args:
      tree: shapes with shardings.

    Returns:
      Bytes on the device that holds the most; each device holds the same where all shardings are even.
    """
    sizes = (
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * np.dtype(leaf.dtype).itemsize
        for leaf in jax.tree.leaves(tree)
    )
    return sum(sizes)


def parameter_count(params: PyTree) -> int:
    """How many numbers a tree of arrays or shapes holds.

    Args:
      params: arrays or shapes.

    Returns:
      The sum of their sizes.
    """
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def _traced(bound: Mapping[str, Any], mesh: Any, batch: Mapping[str, Any] | None) -> TrainStep:
    """The step of `t5x.train.train` with these arguments, references among them unresolved."""
    # A deep copy is how gin resolves references: only of what the step needs, since others may ask for files.
    wanted = ("model", "partitioner", "trainer_cls", "random_seed", "use_hardware_rng")
    given = {name: copy.deepcopy(bound[name]) for name in wanted if name in bound}
    model, partitioner = given["model"], given["partitioner"]
    if mesh is not None:
        partitioner.mesh = mesh if isinstance(mesh, Mesh) else mesh(partitioner)
    batch = dict(batch or _batch_shapes(bound["train_dataset_cfg"], model.FEATURE_CONVERTER_CLS))
    _check_batch(batch, partitioner)
    with contextlib.ExitStack() as stack:
        seed = given.get("random_seed")
        if seed is None or given.get("use_hardware_rng"):
            stack.enter_context(jax.default_prng_impl("unsafe_rbg"))  # as training does: it is part of the program
        state, axes = _abstract_state(model, model.optimizer_def, partitioner, batch)
        trainer = given["trainer_cls"](
            model=model,
            train_state=state,
            partitioner=partitioner,
            train_state_axes=axes,
            eval_names=[],
            summary_dir=None,
            rng=jax.random.split(jax.random.PRNGKey(seed or 0))[1],
        )
        stack.callback(trainer.close)
        placement = NamedSharding(partitioner.mesh, partitioner.data_partition_spec)
        batch = {name: jax.ShapeDtypeStruct(spec.shape, spec.dtype, sharding=placement) for name, spec in batch.items()}
        arguments: tuple[PyTree, ...] = (state, batch)
        if hasattr(trainer, "teacher"):
            _describe_teacher(trainer.teacher, batch, partitioner.mesh)
            arguments = (state, trainer.teacher.params, batch)
        step = trainer._partitioned_train_step
        partitioned = step if len(arguments) == 2 else step._step  # below the two-argument face of distillation
        rules = partitioner.logical_axis_rules
        with jax.set_mesh(partitioner.mesh), flax_partitioning.axis_rules(tuple(rules)):
            traced = partitioned._pjitted_fn.trace(*arguments)
    return TrainStep(traced, arguments, partitioner.mesh)


def _batch_shapes(dataset_cfg: Any, converter_cls: Callable[..., Any]) -> dict[str, jax.ShapeDtypeStruct]:
    """Global shapes of a batch, from a data set's configuration or gin's reference to one."""
    import gin

    if isinstance(dataset_cfg, gin.config.ConfigurableReference) and dataset_cfg.selector != "gin.macro":
        cfg = gin.get_bindings(dataset_cfg.scoped_selector, resolve_references=False)
        # The task's name stays unresolved: a function may make it from files of an earlier stage.
        names = ("task_feature_lengths", "batch_size", "pack")
        cfg = {name: copy.deepcopy(cfg[name]) for name in names if name in cfg}
    else:
        cfg = vars(copy.deepcopy(dataset_cfg))
    lengths, batch_size, pack = cfg.get("task_feature_lengths"), cfg["batch_size"], bool(cfg.get("pack"))
    if not lengths:
        raise ValueError(
            f"train/utils.DatasetConfig.task_feature_lengths is {lengths!r}: the batch's shape is unknown. "
            "Fix: set TASK_FEATURE_LENGTHS, such as {'inputs': 128, 'targets': 128}."
        )
    converter = converter_cls(pack=pack)
    types = {name: (spec.dtype, spec.rank) for name, spec in converter.MODEL_FEATURES.items()}
    if pack:
        types |= {name: (dtype, 1) for name, dtype in converter.PACKING_FEATURE_DTYPES.items()}
    deeper = sorted(name for name, (_, rank) in types.items() if rank != 1)
    if deeper:
        raise ValueError(
            f"{converter_cls.__name__} makes features of more than one dimension, {deeper}, whose shapes do not follow "
            "from TASK_FEATURE_LENGTHS. Fix: pass train_step(batch=...)."
        )
    return {
        name: jax.ShapeDtypeStruct((batch_size, length), types[name][0].as_numpy_dtype)
        for name, length in converter.get_model_feature_lengths(lengths).items()
    }


def _check_batch(batch: Mapping[str, Any], partitioner: Any) -> None:
    ways = partitioner.data_mesh_size
    sizes = {spec.shape[0] for spec in batch.values()}
    if any(size % ways for size in sizes):
        raise ValueError(
            f"BATCH_SIZE is {sorted(sizes)[0]}, which the data axis of the mesh, {ways}, does not divide. "
            f"Fix: a multiple of {ways}, or fewer devices on `data`."
        )


def _abstract_state(model: Any, optimizer_def: Any | None, partitioner: Any, batch: Mapping[str, Any]) -> Any:
    """Shapes of a state in their shards, and its axes."""
    from t5x import utils

    initializer = utils.TrainStateInitializer(
        optimizer_def=optimizer_def,
        init_fn=model.get_initial_variables,
        input_shapes={name: spec.shape for name, spec in batch.items()},
        input_types={name: spec.dtype for name, spec in batch.items()},
        partitioner=partitioner,
    )
    shapes, axes = initializer.global_train_state_shape, initializer.train_state_axes
    _check_fits(shapes, axes, partitioner.mesh)
    return _placed(shapes, axes, partitioner.mesh), axes


def _placed(shapes: PyTree, axes: PyTree, mesh: Mesh) -> PyTree:
    def place(spec: PartitionSpec | None, shape: Any) -> Any:
        sharding = NamedSharding(mesh, spec or PartitionSpec())
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shape)

    return jax.tree.map(place, axes, shapes, is_leaf=lambda leaf: leaf is None)


def _check_fits(shapes: Any, axes: Any, mesh: Mesh) -> None:
    """Refuses a mesh whose axes do not divide what they split, naming the leaf and the sizes that would."""
    from t5x import state_utils

    flat_shapes = state_utils.flatten_state_dict(shapes.state_dict())
    flat_axes = state_utils.flatten_state_dict(axes.state_dict())
    split = [
        (name, leaf.shape, i, axis)
        for name, leaf in flat_shapes.items()
        for i, part in enumerate(flat_axes.get(name) or ())
        for axis in ((part,) if isinstance(part, str) else part or ())
    ]
    for name, shape, i, axis in split:
        size = mesh.shape[axis]
        if shape[i] % size:
            dims = [shape[i] for _, shape, i, other in split if other == axis]
            fitting = [n for n in range(1, mesh.size + 1) if mesh.size % n == 0 and not any(d % n for d in dims)]
            raise ValueError(
                f"The mesh {dict(mesh.shape)} splits {name} {list(shape)} {size} ways over `{axis}`, which does not "
                f"divide its dimension {i}, {shape[i]}. Fix: a `{axis}` axis of one of {fitting} "
                "(PjitPartitioner.num_partitions), or logical_axis_rules that leave this array whole."
            )


def _describe_teacher(teacher: Any, batch: Mapping[str, Any], mesh: Mesh) -> None:
    """Gives a frozen teacher shapes in place of what it would restore."""
    teacher._partitioner.mesh = mesh
    state, axes = _abstract_state(teacher._model, None, teacher._partitioner, batch)
    stored = teacher._restore_cfg.dtype

    def restored(leaf: Any) -> Any:
        is_cast = stored and jnp.issubdtype(leaf.dtype, jnp.floating)
        return jax.ShapeDtypeStruct(leaf.shape, jnp.dtype(stored) if is_cast else leaf.dtype, sharding=leaf.sharding)

    teacher.params = jax.tree.map(restored, state.params)
    teacher.axes = axes.params
