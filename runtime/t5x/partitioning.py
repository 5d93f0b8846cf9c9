"""Device meshes, logical axis rules and partitioned functions.

Parameters and activations carry *logical* axis names (`embed`, `mlp`, `batch`, ...). A partitioner holds the mesh and
the rules that map them to the mesh axes `data` and `model`, and turns a plain function into a `jax.jit` with
`NamedSharding`s. Where upstream differs: constraints also act on CPU, so that virtual CPU meshes run the program an
accelerator would run, and a TPU mesh without a submesh is laid out by `jax.experimental.mesh_utils`.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from absl import logging
from flax.linen import partitioning as flax_partitioning
from jax.experimental import mesh_utils, multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

PyTree = Any
HardwareMesh = tuple[int, int, int, int]
LogicalAxisRules = Sequence[tuple[str, str | tuple[str, ...] | None]]


class AxisNames(tuple):
    """Logical axis names of one array; a leaf for `jax.tree`, unlike a plain tuple."""

    def __new__(cls, *names: str | None) -> AxisNames:
        """Builds `AxisNames('embed', 'mlp')` from one name (or None) per dimension."""
        return tuple.__new__(cls, names)

    def __repr__(self) -> str:
        """Names the class, so that it is not mistaken for a tuple in messages."""
        return f"AxisNames{tuple(self)!r}"


@dataclasses.dataclass(frozen=True)
class DataLayout:
    """Which part of each global batch this process loads.

    Args:
        batch_size: examples in a global batch.
        shard_id: index of the shard this process loads, in [0, num_shards).
        num_shards: number of distinct shards over all processes.
        is_first_host_in_replica_set: True for exactly one of the processes that load the same shard.
    """

    batch_size: int
    shard_id: int
    num_shards: int
    is_first_host_in_replica_set: bool


@dataclasses.dataclass(frozen=True)
class LocalChunkInfo:
    """The part of a global array that this process holds.

    Args:
        slice: one slice per dimension of the global array.
        replica_id: 0 for the first process that holds this part, 1 for the next, and so on.
    """

    slice: tuple[slice, ...]
    replica_id: int


# ---------------------------------------------------------------------------------------------------------------------
# Meshes
# ---------------------------------------------------------------------------------------------------------------------


def get_coords(device: jax.Device) -> HardwareMesh:
    """Returns the (x, y, z, core) position of a TPU core; other devices sit at (process, index in process, 0, 0)."""
    if hasattr(device, "coords"):
        return (*device.coords, device.core_on_chip)
    return (device.process_index, device.id % max(1, jax.local_device_count(device.platform)), 0, 0)


def bounds_from_last_device(last_device: jax.Device) -> HardwareMesh:
    """Returns the (x, y, z, core) extent of the hardware whose last device is given."""
    if hasattr(last_device, "coords"):
        return tuple(position + 1 for position in get_coords(last_device))
    return jax.process_count(), jax.local_device_count(last_device.platform), 1, 1


def _runs_of_neighbours(devices: Sequence[jax.Device], model_size: int, field: str) -> Mesh:
    """A (data, model) mesh whose model groups are runs of devices, inside one host where they fit."""
    if model_size < 1 or len(devices) % model_size:
        allowed = [n for n in range(1, len(devices) + 1) if len(devices) % n == 0]
        raise ValueError(
            f"{field} asks for {model_size}-way model parallelism on {len(devices)} devices; it must divide them: "
            f"use one of {allowed}."
        )
    ordered = sorted(devices, key=lambda device: (device.process_index, device.id))
    return Mesh(np.asarray(ordered, dtype=object).reshape(-1, model_size), ("data", "model"))


def get_cpu_mesh() -> Mesh:
    """Returns the (processes, local devices) mesh: all CPU devices of a process land on `model`."""
    return _runs_of_neighbours(jax.devices("cpu"), jax.local_device_count("cpu"), "get_cpu_mesh")


def get_gpu_mesh(num_partitions: int, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Returns a (data, model) mesh whose model groups stay inside one host while they fit.

    Args:
        num_partitions: size of the model axis; divides the devices of a host or is a multiple of them.
        devices: the devices to use; all of the default backend when None.

    Raises:
        ValueError: `num_partitions` neither divides nor is a multiple of the devices of a host.
    """
    devices = devices or jax.devices()
    mesh = _runs_of_neighbours(devices, num_partitions, "num_partitions")
    per_process = len(devices) // len({device.process_index for device in devices})
    if num_partitions % per_process and per_process % num_partitions:
        raise ValueError(
            f"num_partitions={num_partitions} must divide the {per_process} devices of a host, or be a multiple of "
            f"them, so that a model group does not straddle hosts."
        )
    return mesh


def get_mesh(
    model_parallel_submesh: HardwareMesh,
    input_devices: Sequence[jax.Device] = (),
    input_local_devices: Sequence[jax.Device] = (),
    tile_by_host_if_needed: bool = True,
    backend: str | None = None,
) -> Mesh:
    """Returns a (data, model) mesh whose model groups are (x, y, z, core) blocks of the hardware.

    Args:
        model_parallel_submesh: block of devices that share one copy of the model. On hardware without coordinates
            only the product matters.
        input_devices: the devices to use; all devices of `backend` when empty.
        input_local_devices: unused, kept for callers written against upstream.
        tile_by_host_if_needed: unused, kept for callers written against upstream.
        backend: JAX platform name, or None for the default.

    Raises:
        ValueError: the block does not tile the hardware.
    """
    del input_local_devices, tile_by_host_if_needed
    devices = list(input_devices) or jax.devices(backend)
    model_size = math.prod(model_parallel_submesh)
    by_number = _runs_of_neighbours(devices, model_size, "model_parallel_submesh")
    if not all(hasattr(device, "coords") for device in devices):
        return by_number
    bounds = tuple(max(get_coords(device)[i] for device in devices) + 1 for i in range(4))
    if any(bound % block for bound, block in zip(bounds, model_parallel_submesh, strict=True)):
        raise ValueError(
            f"model_parallel_submesh={model_parallel_submesh} does not tile hardware of extent {bounds} (x, y, z, "
            f"cores): each entry must divide the extent in its place."
        )
    grid = np.empty(bounds, dtype=object)
    for device in devices:
        grid[get_coords(device)] = device
    # Split each dimension into (blocks, within block), then bring all block indices to the front.
    split = [n for bound, block in zip(bounds, model_parallel_submesh, strict=True) for n in (bound // block, block)]
    blocks_first = grid.reshape(split).transpose(0, 2, 4, 6, 1, 3, 5, 7)
    return Mesh(blocks_first.reshape(-1, model_size), ("data", "model"))


def default_mesh(
    num_partitions: int | None,
    model_parallel_submesh: HardwareMesh | None = None,
    backend: str | None = None,
    ici_mesh_shape: HardwareMesh | None = None,
    dcn_mesh_shape: HardwareMesh | None = None,
) -> Mesh:
    """Chooses the mesh for the devices at hand.

    Args:
        num_partitions: size of the `model` axis. On CPU it is ignored: all devices of a process become `model`.
        model_parallel_submesh: (x, y, z, core) block; wins over `num_partitions`. On CPU, (1, k, 1, 1) gives k-way
            model parallelism and (1, 1, 1, 1) pure data parallelism.
        backend: JAX platform name, or None for the default.
        ici_mesh_shape: (replica, data, model) sizes inside a slice; used with `dcn_mesh_shape`.
        dcn_mesh_shape: (replica, data, model) sizes across slices.

    Returns:
        A mesh with axes ('data', 'model'), or ('replica', 'data', 'model') when both shapes are given.

    Raises:
        ValueError: a size does not divide the devices, or nothing was chosen.
    """
    devices = jax.devices(backend)
    if ici_mesh_shape is not None and dcn_mesh_shape is not None:
        return _hybrid_mesh(devices, tuple(ici_mesh_shape), tuple(dcn_mesh_shape))
    if model_parallel_submesh is not None:
        return get_mesh(tuple(model_parallel_submesh), backend=backend)
    if num_partitions is None:
        raise ValueError("Set num_partitions or model_parallel_submesh: the size of the model axis is not known.")
    if devices[0].platform == "cpu":
        return get_cpu_mesh()
    if devices[0].platform == "gpu":
        return get_gpu_mesh(num_partitions, devices)
    shape = _runs_of_neighbours(devices, num_partitions, "num_partitions").devices.shape
    return Mesh(mesh_utils.create_device_mesh(shape, devices), ("data", "model"))


def _hybrid_mesh(devices: list[jax.Device], ici_mesh_shape: tuple[int, ...], dcn_mesh_shape: tuple[int, ...]) -> Mesh:
    if math.prod(dcn_mesh_shape) == 1:
        array = mesh_utils.create_device_mesh(ici_mesh_shape, devices)
    else:
        by_process = not hasattr(devices[0], "slice_index")
        array = mesh_utils.create_hybrid_device_mesh(
            ici_mesh_shape, dcn_mesh_shape, devices=devices, process_is_granule=by_process
        )
    return Mesh(array, ("replica", "data", "model"))


class LocalChunker:
    """Says which part of the mesh, and of arrays sharded over it, belongs to this process.

    Args:
        global_mesh: mesh over the devices of all processes.
    """

    def __init__(self, global_mesh: Mesh):
        """Locates the devices of this process in the mesh."""
        self.global_mesh = global_mesh
        owners = np.vectorize(lambda device: device.process_index)(global_mesh.devices)
        mine = np.argwhere(owners == jax.process_index())
        local_sizes = {axis: len(set(mine[:, i])) for i, axis in enumerate(global_mesh.axis_names)}
        self.num_chunks = {axis: size // local_sizes[axis] for axis, size in global_mesh.shape.items()}
        self.chunk_ids = {
            axis: int(mine[:, i].min()) // local_sizes[axis] for i, axis in enumerate(global_mesh.axis_names)
        }

    def get_local_chunk_info(
        self, global_shape: tuple[int, ...], mesh_axes: Sequence[str | tuple[str, ...] | None]
    ) -> LocalChunkInfo:
        """Returns the bounding slice of an array that this process holds, and which replica of it this is.

        Args:
            global_shape: shape of the global array.
            mesh_axes: a PartitionSpec, or one mesh axis (tuple of axes, or None) per dimension.
        """
        sharding = NamedSharding(self.global_mesh, PartitionSpec(*mesh_axes))
        bounds: dict[int, list[tuple[int, int]]] = {}
        for device, index in sharding.devices_indices_map(global_shape).items():
            ranges = [part.indices(size)[:2] for part, size in zip(index, global_shape, strict=True)]
            known = bounds.setdefault(device.process_index, ranges)
            merged = [(min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(known, ranges, strict=True)]
            bounds[device.process_index] = merged
        mine = bounds[jax.process_index()]
        replica_id = sum(1 for process in bounds if process < jax.process_index() and bounds[process] == mine)
        return LocalChunkInfo(slice=tuple(slice(start, stop) for start, stop in mine), replica_id=replica_id)


# ---------------------------------------------------------------------------------------------------------------------
# Rules and constraints
# ---------------------------------------------------------------------------------------------------------------------


def standard_logical_axis_rules(
    activation_partitioning_dims: int = 1,
    parameter_partitioning_dims: int = 1,
    additional_rules: LogicalAxisRules | None = None,
) -> LogicalAxisRules:
    """Returns the ordered (logical axis, mesh axis) rules for T5-like models.

    Args:
        activation_partitioning_dims: 1 or 2 mesh axes for activations; 2 also splits `embed` over `model`.
        parameter_partitioning_dims: 1 or 2 mesh axes for parameters; 2 also splits `embed` over `data`.
        additional_rules: rules appended at the end.

    Raises:
        ValueError: a number of dimensions other than 1 or 2.
    """
    embed_rules = {
        (1, 1): (("embed", None),),
        (2, 1): (("embed", "model"),),
        (1, 2): (("embed", "data"),),
        (2, 2): (("embed", "model"), ("embed", "data")),
    }
    dims = (activation_partitioning_dims, parameter_partitioning_dims)
    if dims not in embed_rules:
        raise ValueError(
            f"activation_partitioning_dims={dims[0]}, parameter_partitioning_dims={dims[1]}: each must be 1 or 2."
        )
    # A mesh axis is given out once per array, in this order, so `embed` comes after the axes that should win `model`.
    split = [("mlp", "model"), ("heads", "model"), ("kv", None), ("joined_kv", "model")]
    embed = list(embed_rules[dims])
    rules = [("batch", "data"), ("vocab", "model"), *(embed + split if dims == (1, 1) else split + embed)]
    replicated = ("relpos_buckets", "abspos_buckets", "length", "layers", "stack", "mlp_activations")
    return (*rules, *((name, None) for name in replicated), *(additional_rules or ()))


def global_mesh_defined() -> bool:
    """Returns whether a mesh is in effect (inside a partitioned function or `jax.set_mesh`)."""
    return not jax.sharding.get_abstract_mesh().empty


def with_sharding_constraint(x: PyTree, axis_resources: PartitionSpec | None) -> PyTree:
    """Constrains the layout of `x` to the mesh axes `axis_resources`; does nothing outside a mesh."""
    if axis_resources is None or not global_mesh_defined():
        return x
    return jax.lax.with_sharding_constraint(x, axis_resources)


def host_local_array_to_global_array(arr_tree: PyTree, mesh: Mesh, pspecs: PyTree) -> PyTree:
    """Joins the arrays that each process holds into global arrays.

    Args:
        arr_tree: arrays (or nested arrays) of this process: its part of each global array.
        mesh: mesh over the devices of all processes.
        pspecs: PartitionSpec of each array, or one for all; None means replicated.

    Returns:
        The same nesting of global `jax.Array`s.
    """
    pspecs = jax.tree.map(lambda s: PartitionSpec() if s is None else s, pspecs, is_leaf=lambda leaf: leaf is None)
    return multihost_utils.host_local_array_to_global_array(arr_tree, mesh, pspecs)


# ---------------------------------------------------------------------------------------------------------------------
# Partitioners
# ---------------------------------------------------------------------------------------------------------------------


class PjittedFnWithContext:
    """A jitted function that enters its mesh and its axis rules whenever it is called or lowered."""

    def __init__(self, pjitted_fn: Any, partition_mesh: Mesh, logical_axis_rules: LogicalAxisRules = ()):
        """Wraps `pjitted_fn` with the mesh and the rules under which it must be traced."""
        self._pjitted_fn = pjitted_fn
        self._mesh = partition_mesh
        self._logical_axis_rules = logical_axis_rules

    def __call__(self, *args: Any) -> Any:
        """Runs the function, tracing it on first use."""
        with jax.set_mesh(self._mesh), flax_partitioning.axis_rules(self._logical_axis_rules):
            return self._pjitted_fn(*args)

    def lower(self, *args: Any) -> Any:
        """Returns the lowered function; its `.compile()` is callable with the same arguments."""
        with jax.set_mesh(self._mesh), flax_partitioning.axis_rules(self._logical_axis_rules):
            return self._pjitted_fn.lower(*args)


class PjitPartitioner:
    """Knows how arrays are laid out over devices, by logical axis rules, and builds functions that respect it.

    Upstream's base classes are this class too: `BasePartitioner`, `BasePjitPartitioner`.

    Args:
        num_partitions: size of the `model` axis (ignored on CPU, where all local devices become `model`).
        model_parallel_submesh: (x, y, z, core) block; wins over `num_partitions`.
        params_on_devices: keep parameters on the devices between steps.
        backend: JAX platform name, or None for the default.
        ici_mesh_shape: (replica, data, model) sizes inside a slice; used with `dcn_mesh_shape`. With a replica axis,
            the rule of `batch` also covers it.
        dcn_mesh_shape: (replica, data, model) sizes across slices.
        logical_axis_rules: ordered (logical axis, mesh axis, tuple of mesh axes, or None) pairs;
            `standard_logical_axis_rules()` when None.

    Raises:
        ValueError: no size of the `model` axis is given.
    """

    def __init__(
        self,
        num_partitions: int | None = None,
        model_parallel_submesh: HardwareMesh | None = None,
        params_on_devices: bool = True,
        backend: str | None = None,
        ici_mesh_shape: HardwareMesh | None = None,
        dcn_mesh_shape: HardwareMesh | None = None,
        logical_axis_rules: LogicalAxisRules | None = None,
    ):
        """Checks the sizes; the mesh itself is built on first use."""
        has_hybrid_shape = ici_mesh_shape is not None and dcn_mesh_shape is not None
        if not num_partitions and not model_parallel_submesh and not has_hybrid_shape:
            raise ValueError("Set PjitPartitioner.num_partitions (such as 1) or .model_parallel_submesh (1, k, 1, 1).")
        if num_partitions and model_parallel_submesh:
            logging.error("num_partitions=%s is ignored: model_parallel_submesh wins.", num_partitions)
        self.params_on_devices = params_on_devices
        self._mesh_args = (num_partitions, model_parallel_submesh, backend, ici_mesh_shape, dcn_mesh_shape)
        self._data_axes = ("replica", "data") if has_hybrid_shape else ("data",)
        rules = standard_logical_axis_rules() if logical_axis_rules is None else logical_axis_rules
        if has_hybrid_shape:
            rules = (("batch", self._data_axes), *((name, axis) for name, axis in rules if name != "batch"))
        self.logical_axis_rules = tuple((name, tuple(axis) if isinstance(axis, list) else axis) for name, axis in rules)

    @functools.cached_property
    def mesh(self) -> Mesh:
        """The device mesh, built once."""
        return default_mesh(*self._mesh_args)

    @functools.cached_property
    def _local_chunker(self) -> LocalChunker:
        return LocalChunker(self.mesh)

    @property
    def use_shardy_partitioner(self) -> bool:
        """Whether XLA partitions with Shardy; follows JAX's own setting."""
        return bool(jax.config.jax_use_shardy_partitioner)

    @property
    def data_partition_spec(self) -> PartitionSpec:
        """How axis 0 of each batch entry is laid out."""
        return PartitionSpec(self._data_axes if len(self._data_axes) > 1 else "data")

    @property
    def data_mesh_size(self) -> int:
        """Number of ways in which a batch is split."""
        return math.prod(self.mesh.shape[axis] for axis in self._data_axes)

    @property
    def data_shards(self) -> int:
        """Number of distinct batch shards over all processes."""
        return math.prod(self._local_chunker.num_chunks[axis] for axis in self._data_axes)

    @property
    def data_shard_id(self) -> int:
        """Index of the batch shard this process loads."""
        shard_id = 0
        for axis in self._data_axes:
            shard_id = shard_id * self._local_chunker.num_chunks[axis] + self._local_chunker.chunk_ids[axis]
        return shard_id

    def get_data_layout(self, batch_size: int | None = None, host_index: int | None = None) -> DataLayout:
        """Returns which part of a global batch this process loads.

        Args:
            batch_size: examples in a global batch, divisible by `data_mesh_size`; that size when None.
            host_index: only None, this process, is supported.

        Raises:
            NotImplementedError: `host_index` is given.
            ValueError: `batch_size` does not divide.
        """
        if host_index is not None:
            raise NotImplementedError("host_index: only None (this process) is supported.")
        size = batch_size or self.data_mesh_size
        if size % self.data_mesh_size:
            raise ValueError(
                f"batch_size={size} must be a multiple of the data axis of the mesh, {self.data_mesh_size}: use "
                f"{max(1, size // self.data_mesh_size) * self.data_mesh_size}, or put fewer devices on `data`."
            )
        first = self.get_local_chunk_info((size,), self.data_partition_spec).replica_id == 0
        return DataLayout(size, self.data_shard_id, self.data_shards, first)

    def get_local_chunk_info(
        self, global_shape: tuple[int, ...], mesh_axes: Sequence[str | tuple[str, ...] | None]
    ) -> LocalChunkInfo:
        """Returns this process's part of an array [`global_shape`] laid out over `mesh_axes` (see `LocalChunker`)."""
        return self._local_chunker.get_local_chunk_info(global_shape, mesh_axes)

    def move_params_to_devices(self, train_state: PyTree, train_state_axes: PyTree) -> PyTree:
        """Places `train_state` (host or device arrays) in the layout of `train_state_axes`."""
        return self.partition(lambda state: state, (None,), train_state_axes)(train_state)

    def get_logical_axes(self, train_state: Any) -> Any:
        """Returns the train state with logical axis names in place of its arrays."""
        return train_state.as_logical_axes()

    def get_mesh_axes(self, train_state: Any) -> Any:
        """Returns the train state with PartitionSpecs (or None) in place of its arrays.

        Args:
            train_state: a train state that knows its logical axes.

        Returns:
            The same structure: a PartitionSpec where axis names are known, None (replicated) elsewhere.

        Raises:
            ValueError: an array names an axis for which there is no rule.
        """
        known = {name for name, _ in self.logical_axis_rules}

        def mesh_axes(path: tuple[Any, ...], names: Any) -> PartitionSpec | None:
            if names is None:
                return None
            unknown = [name for name in names if isinstance(name, str) and name not in known]
            if unknown:
                raise ValueError(
                    f"No logical axis rule for {unknown} of {jax.tree_util.keystr(path)}; rules exist for "
                    f"{sorted(known)}. Add one, such as ({unknown[0]!r}, None), through additional_rules."
                )
            return flax_partitioning.logical_to_mesh_axes(tuple(names), self.logical_axis_rules)

        return jax.tree_util.tree_map_with_path(mesh_axes, self.get_logical_axes(train_state))

    def partition(
        self,
        fn: Callable[..., Any],
        in_axis_resources: PyTree,
        out_axis_resources: PyTree,
        static_argnums: int | Sequence[int] = (),
        donate_argnums: int | Sequence[int] = (),
    ) -> PjittedFnWithContext:
        """Builds a jitted function over the mesh.

        Args:
            fn: pure function of positional arguments.
            in_axis_resources: per argument, a pytree prefix with PartitionSpec or None leaves. None for a whole
                argument leaves its layout to the caller; None inside an argument means replicated. A value that is
                not a tuple holds for each argument.
            out_axis_resources: the same for the results; None means replicated.
            static_argnums: arguments that are compile-time constants; they have no entry in `in_axis_resources`.
            donate_argnums: arguments whose buffers the results may take over.

        Returns:
            A callable with `.lower(*args)`; both enter the mesh and the axis rules.
        """
        if isinstance(in_axis_resources, tuple) and not isinstance(in_axis_resources, AxisNames):
            in_shardings = tuple(None if arg is None else self._shardings(arg) for arg in in_axis_resources)
        else:
            in_shardings = None if in_axis_resources is None else self._shardings(in_axis_resources)

        # A function object of its own: JAX remembers traces by function, and the axis rules are not part of the key.
        @functools.wraps(fn)
        def under_these_rules(*args: Any) -> Any:
            return fn(*args)

        jitted = jax.jit(
            under_these_rules,
            in_shardings=in_shardings,
            out_shardings=self._shardings(out_axis_resources),
            static_argnums=static_argnums,
            donate_argnums=donate_argnums,
        )
        return PjittedFnWithContext(jitted, self.mesh, self.logical_axis_rules)

    def _shardings(self, axis_resources: PyTree) -> PyTree:
        def sharding(spec: PartitionSpec | None) -> NamedSharding:
            return NamedSharding(self.mesh, PartitionSpec() if spec is None else PartitionSpec(*spec))

        return jax.tree.map(sharding, axis_resources, is_leaf=lambda leaf: leaf is None)

    def compile(self, partitioned_fn: PjittedFnWithContext, *args: Any) -> Callable[..., Any]:
        """Compiles `partitioned_fn` for the shapes of `args`: lower, then compile."""
        return partitioned_fn.lower(*args).compile()


BasePartitioner = BasePjitPartitioner = PjitPartitioner
