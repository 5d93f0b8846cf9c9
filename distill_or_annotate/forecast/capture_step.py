"""From a capture's configuration to its programs on a mesh, with no parameter made and no data read.

`encode` is the teacher's encoder over a batch; `capture` is what runs: encoder, cache, and the decoding loop that keeps
the teacher's distribution at each position.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax.linen import partitioning as flax_partitioning
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from distill_or_annotate.forecast import gin_text

PyTree = Any


@dataclasses.dataclass(frozen=True)
class CaptureStep:
    """A capture program that was traced for a mesh.

    Attributes:
      traced: the traced function; `.jaxpr` is what FLOP counters walk.
      arguments: shapes with shardings: the teacher's parameters and the encoder's tokens.
      mesh: the devices.
      n_positions: the most positions that are decoded; 0 for the encoder alone.
    """

    traced: jax.stages.Traced
    arguments: tuple[PyTree, ...]
    mesh: Mesh
    n_positions: int

    def lower(self) -> jax.stages.Lowered:
        """Lowers the program for the mesh's platform."""
        with jax.set_mesh(self.mesh):
            return self.traced.lower()


def capture_step(
    gin_files: Sequence[str],
    gin_bindings: Sequence[str] = (),
    *,
    mesh: Mesh,
    encode_only: bool = False,
    kind: str = "topk",
    k: int = 32,
    temperature: float = 2.0,
    padding: str = "counted",
) -> CaptureStep:
    """Traces a capture program of a configuration that `python -m t5x.infer` or `doa capture` takes.

    Gin's configuration is replaced, and cleared at the end.

    Args:
      gin_files: as `--gin_file`.
      gin_bindings: as `--gin_bindings`, after all files.
      mesh: devices by `data` and `model`.
      encode_only: trace the encoder alone.
      kind: what is kept of a position: `hidden`, `topk` or `full`; a capture's own configuration wins.
      k: tokens that `topk` keeps; likewise.
      temperature: softmax temperature of what `topk` keeps; likewise.
      padding: `counted` decodes one position more than `masked`; likewise.

    Returns:
      The traced program.

    Raises:
      ValueError: the configuration is incomplete, or does not fit the mesh.
    """
    import gin
    from distill_or_annotate.capture import collecting
    from distill_or_annotate.forecast import train_step

    bound = _bound(gin_files, gin_bindings)
    try:
        # Copied out of gin's references: only what the program needs, since others may ask for files.
        names = ("model", "partitioner", "restore_checkpoint_cfg")
        model, partitioner, restore_cfg = (copy.deepcopy(bound[name]) for name in names)
        kind, k, temperature, padding = (
            copy.deepcopy(bound.get(name, default))
            for name, default in (("kind", kind), ("k", k), ("temperature", temperature), ("padding", padding))
        )
        lengths, batch_size = _batch(bound["dataset_cfg"])
    finally:
        gin.clear_config()
    partitioner.mesh = mesh
    shapes = {"encoder_input_tokens": lengths["inputs"], "decoder_input_tokens": lengths["targets"]}
    batch = {name: jax.ShapeDtypeStruct((batch_size, length), jnp.int32) for name, length in shapes.items()}
    train_step._check_batch(batch, partitioner)
    state, axes = train_step._abstract_state(model, None, partitioner, batch)
    params = jax.tree.map(lambda leaf: _stored(leaf, restore_cfg.dtype), state.params)
    rows = NamedSharding(mesh, partitioner.data_partition_spec)
    tokens = jax.ShapeDtypeStruct((batch_size, lengths["inputs"]), jnp.int32, sharding=rows)
    n_positions = lengths["targets"]
    function = _encoder(model) if encode_only else _whole(model, n_positions, padding, kind, k, temperature, collecting)
    jitted = jax.jit(function, in_shardings=(_shardings(axes.params, mesh), rows))
    with jax.set_mesh(mesh), flax_partitioning.axis_rules(tuple(partitioner.logical_axis_rules)):
        traced = jitted.trace(params, tokens)
    return CaptureStep(traced, (params, tokens), mesh, 0 if encode_only else n_positions)


def _bound(gin_files: Sequence[str], gin_bindings: Sequence[str]) -> Mapping[str, Any]:
    """Arguments of the configured entry point, references among them unresolved."""
    import gin
    from t5x import gin_utils, infer

    module, function = (infer, "infer")
    texts = (own for name in gin_files for own in gin_text.with_includes(name))
    if any("capture_script.capture" in own for own in texts):
        from distill_or_annotate.capture import main

        module, function = main, "capture"
    entry_point = gin_utils.parse_for(module, function, gin_files=gin_files, gin_bindings=gin_bindings)
    return gin.get_bindings(entry_point, resolve_references=False)


def _batch(dataset_cfg: Any) -> tuple[Mapping[str, int], int]:
    import gin

    cfg = gin.get_bindings(dataset_cfg.scoped_selector, resolve_references=False)
    # The task's name stays unresolved: a function may make it from files of an earlier stage.
    return copy.deepcopy(cfg["task_feature_lengths"]), copy.deepcopy(cfg["batch_size"])


def _stored(leaf: Any, dtype: str | None) -> Any:
    is_cast = dtype and jnp.issubdtype(leaf.dtype, jnp.floating)
    return jax.ShapeDtypeStruct(leaf.shape, jnp.dtype(dtype) if is_cast else leaf.dtype, sharding=leaf.sharding)


def _shardings(axes: PyTree, mesh: Mesh) -> PyTree:
    def sharding(spec: PartitionSpec | None) -> NamedSharding:
        return NamedSharding(mesh, spec or PartitionSpec())

    return jax.tree.map(sharding, axes, is_leaf=lambda leaf: leaf is None or isinstance(leaf, PartitionSpec))


def _encoder(model: Any) -> Any:
    def encode(params: PyTree, inputs_BxL: jax.Array) -> jax.Array:
        return model.module.apply({"params": params}, inputs_BxL, enable_dropout=False, method=model.module.encode)

    return encode


def _whole(model: Any, n_positions: int, padding: str, kind: str, k: int, temperature: float, collecting: Any) -> Any:
    from distill_or_annotate.capture import decoding

    collect = collecting.collector(kind, k, temperature, collecting.stored_dtype(kind))

    def capture(params: PyTree, inputs_BxL: jax.Array) -> Any:
        return decoding.decode(model, params, inputs_BxL, n_positions=n_positions, collect=collect, padding=padding)

    return capture
