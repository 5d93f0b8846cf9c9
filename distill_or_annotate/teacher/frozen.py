"""A teacher that is read and never written: restored into its own shards, applied under its own axis rules.

The teacher is in no optimizer, no train state and no checkpoint of the student. Its partitioner may carry other logical
axis rules than the student's: a large teacher must be split over `model`, where a compact student (T5-Small has 6
heads) cannot be and is better served by a batch that is sharded over both mesh axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
from flax.linen import partitioning as flax_partitioning
from jax.sharding import NamedSharding, PartitionSpec


def spread(array: jax.Array, mesh: jax.sharding.Mesh) -> jax.Array:
    """Shard the first axis of an array over every axis of the mesh, so that no device repeats another's work.

    Args:
      array: `[batch, ...]`; the batch must divide by the number of devices.
      mesh: the device mesh of the train step.

    Returns:
      The array under that constraint; untouched on one device.
    """
    if mesh.size == 1:
        return array
    spec = PartitionSpec(mesh.axis_names, *([None] * (array.ndim - 1)))
    return jax.lax.with_sharding_constraint(array, NamedSharding(mesh, spec))


class FrozenTeacher:
    """The teacher's model, parameters and placement.

    Args:
      model: a T5X encoder-decoder model; its optimizer is never used.
      restore_cfg: a `t5x.utils.RestoreCheckpointConfig` for its parameters.
      partitioner: a `t5x.partitioning` partitioner over the student's devices, with the teacher's own
        `logical_axis_rules`.
    """

    def __init__(self, model: Any, restore_cfg: Any, partitioner: Any):
        self._model = model
        self._restore_cfg = restore_cfg
        self._partitioner = partitioner
        self.params: Any = None
        self.axes: Any = None

    def check_vocabulary(self, student: Any) -> None:
        """Refuse a student whose logits mean other tokens than the teacher's.

        Raises:
          ValueError: naming both sizes.
        """
        sizes = [model.module.config.vocab_size for model in (self._model, student)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"network.T5Config.vocab_size is {sizes[0]} for the teacher and {sizes[1]} for the student; "
                "distillation needs one vocabulary. Fix: use two models of one family."
            )

    def restore(self, input_shapes: Mapping[str, tuple[int, ...]], input_types: Mapping[str, Any]) -> None:
        """Read the parameters straight into their shards.

        Args:
          input_shapes: global shape of each feature of a batch.
          input_types: dtype of each feature.

        Raises:
          ValueError: if there is no checkpoint to restore.
        """
        from t5x import utils as t5x_utils  # imports of checkpoint libraries, not needed by the step itself

        initializer = t5x_utils.TrainStateInitializer(
            optimizer_def=None,
            init_fn=self._model.get_initial_variables,
            input_shapes=dict(input_shapes),
            input_types=dict(input_types),
            partitioner=self._partitioner,
        )
        cfg, paths = t5x_utils.get_first_valid_restore_config_and_paths([self._restore_cfg])
        if cfg is None or not paths:
            raise ValueError(
                f"no checkpoint of the teacher at {self._restore_cfg.path!r}. Fix: train the teacher first, or set "
                "TEACHER_PATH to its model folder."
            )
        state, manager = t5x_utils.create_checkpoint_manager_and_restore(
            initializer, self._partitioner, cfg, paths[0], fallback_init_rng=None, use_orbax=True
        )
        if manager is not None:
            manager.close()
        self.params = state.params
        self.axes = initializer.train_state_axes.params

    def logits(self, params: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
        """Teacher logits for the batch's decoder inputs, the batch spread over the whole mesh.

        What is resharded between the teacher's placement and the student's is the hidden states after the final norm
        (8 KB a token at XXL), not the logits, wherever the network offers the two halves apart.

        Args:
          params: the teacher's parameters, as traced by the step.
          batch: encoder and decoder tokens, int32 `[batch, length]`.

        Returns:
          `[batch, length, vocab]`; no dropout.
        """
        module = self._model.module
        with flax_partitioning.axis_rules(tuple(self._partitioner.logical_axis_rules)):
            if not hasattr(module, "decode_hidden"):
                return self._model._compute_logits(params, batch, None)
            tokens = [batch[f"{name}_tokens"] for name in ("encoder_input", "decoder_input", "decoder_target")]
            encoded = module.apply({"params": params}, tokens[0], enable_dropout=False, method=module.encode)
            hidden_BxTxE = module.apply(
                {"params": params}, encoded, *tokens, enable_dropout=False, method=module.decode_hidden
            )
            hidden_BxTxE = spread(hidden_BxTxE, self._partitioner.mesh)
            return module.apply({"params": params}, hidden_BxTxE, method=module.head)
