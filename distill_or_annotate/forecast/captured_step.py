"""The step of a student that trains on a captured teacher: a distillation's configuration without its teacher.

No store is needed: its batch brings, at each position, the teacher's k best tokens with their log-probabilities and the
log-mass of the rest, whose shapes follow from the configuration.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax.linen import partitioning as flax_partitioning
from jax.sharding import Mesh, NamedSharding

from distill_or_annotate.forecast import train_step
from distill_or_annotate.losses import TeacherTopK
from distill_or_annotate.model.distillation import DistillationObjective
from distill_or_annotate.teacher.frozen import spread

PyTree = Any


def captured_step(
    gin_files: Sequence[str], gin_bindings: Sequence[str] = (), *, mesh: Mesh, k: int = 32
) -> train_step.TrainStep:
    """Traces the step of a distillation's student on a store of kind `topk`.

    Gin's configuration is replaced, and cleared at the end.

    Args:
      gin_files: of a distillation with a live teacher, as `--gin_file`.
      gin_bindings: as `--gin_bindings`, after all files.
      mesh: devices by `data` and `model`.
      k: tokens that the store keeps of each position, at least 1.

    Returns:
      The traced step.

    Raises:
      ValueError: the configuration is incomplete, or does not fit the mesh.
    """
    import gin
    from distill_or_annotate.capture import collecting
    from t5x import gin_utils, train

    entry = gin_utils.parse_for(train, "train", gin_files=gin_files, gin_bindings=gin_bindings)
    try:
        bound = gin.get_bindings(entry, resolve_references=False)
        # A deep copy is how gin resolves references: only of what the step needs, since others may ask for files.
        model, partitioner = copy.deepcopy(bound["model"]), copy.deepcopy(bound["partitioner"])
        batch = train_step._batch_shapes(bound["train_dataset_cfg"], model.FEATURE_CONVERTER_CLS)
    finally:
        gin.clear_config()
    partitioner.mesh = mesh
    train_step._check_batch(batch, partitioner)
    state, axes = train_step._abstract_state(model, model.optimizer_def, partitioner, batch)
    rows, length = batch["decoder_target_tokens"].shape
    number = jnp.dtype(collecting.stored_dtype("topk"))
    batch |= {
        collecting.TOPK_IDS: jax.ShapeDtypeStruct((rows, length, k), jnp.int32),
        collecting.TOPK_LOGPROBS: jax.ShapeDtypeStruct((rows, length, k), number),
        collecting.TAIL_LOGMASS: jax.ShapeDtypeStruct((rows, length), number),
    }
    placement = NamedSharding(mesh, partitioner.data_partition_spec)
    batch = {name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=placement) for name, x in batch.items()}
    partitioned = partitioner.partition(
        partial(
            _step, model=model, names=collecting.FEATURES["topk"], mesh=mesh, data_spec=partitioner.data_partition_spec
        ),
        in_axis_resources=(axes, partitioner.data_partition_spec),
        out_axis_resources=(axes, None),
        donate_argnums=(0,),
    )
    with jax.set_mesh(mesh), flax_partitioning.axis_rules(tuple(partitioner.logical_axis_rules)):
        traced = partitioned._pjitted_fn.trace(state, batch)
    return train_step.TrainStep(traced, (state, batch), mesh)


def _step(state: PyTree, batch: Any, *, model: Any, names: Sequence[str], mesh: Mesh, data_spec: Any) -> Any:
    from t5x import trainer as t5x_trainer

    def teacher(batch: Any) -> TeacherTopK:
        return TeacherTopK(*(batch[name] for name in names))

    return t5x_trainer.train_with_lr(
        state,
        batch,
        learning_rate=jnp.float32(1e-3),
        dropout_rng=jax.random.fold_in(jax.random.PRNGKey(0), state.step),
        model=DistillationObjective(model, teacher, constrain=partial(spread, mesh=mesh)),
        num_microbatches=None,
        weight_metrics_computer=None,
        data_partition_spec=data_spec,
    )
