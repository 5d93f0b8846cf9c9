"""Training a student on a live teacher: `t5x.trainer.Trainer` with one more, non-donated argument in its step.

The jitted step is a pure function of (train state, teacher parameters, batch). The T5X contract is a two-argument step,
so what the trainer hands out hides the middle argument.

Order of work, and why it must be so:
  1. `compile_train(batch)` restores the teacher: only the batch knows the global shapes.
  2. The vocabulary gate runs before that: it is free, restoring is not.
  3. The step is partitioned once the teacher's axes are known, and compiled with its real arrays.
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any

import jax

from distill_or_annotate.model import DistillationObjective, DistillationOptions
from distill_or_annotate.teacher import FrozenTeacher
from distill_or_annotate.teacher.frozen import spread
from distill_or_annotate.trainer.progress import ProgressTrainer
from t5x import trainer as t5x_trainer


class _Compiled:
    """A compiled three-argument step, called with two."""

    def __init__(self, step: Any, teacher_params: Any):
        self._step = step
        self._teacher_params = teacher_params

    def __call__(self, train_state: Any, batch: Any) -> Any:
        return self._step(train_state, self._teacher_params, batch)


class _Lowered:
    """What `partitioner.compile` needs of a lowered step."""

    def __init__(self, lowered: Any, teacher_params: Any):
        self._lowered = lowered
        self._teacher_params = teacher_params

    def compile(self) -> _Compiled:
        return _Compiled(self._lowered.compile(), self._teacher_params)


class _PartitionedStep(_Compiled):
    """A partitioned three-argument step behind the two-argument contract of `PartitionedTrainCallable`."""

    def lower(self, train_state: Any, batch: Any) -> _Lowered:
        return _Lowered(self._step.lower(train_state, self._teacher_params, batch), self._teacher_params)


class DistillTrainer(ProgressTrainer):
    """Trains the model on a teacher's distributions; all else is `t5x.trainer.Trainer`'s.

    Args:
      teacher_model: the teacher, a T5X encoder-decoder model.
      teacher_restore_cfg: `t5x.utils.RestoreCheckpointConfig` of its parameters.
      teacher_partitioner: partitioner with the teacher's logical axis rules, over the same devices.
      options: what is minimised; None is `KL(teacher || student)` at temperature 2 over real target tokens.
      spread_batch: shard the student's batch over every mesh axis, not over `data` alone. The student's own
        logical axis rules must then map `batch` likewise and split no parameter.
      **trainer_args: the arguments of `t5x.trainer.Trainer`.

    Raises:
      ValueError: if the two models have different vocabularies.
    """

    def __init__(
        self,
        *,
        teacher_model: Any,
        teacher_restore_cfg: Any,
        teacher_partitioner: Any,
        options: DistillationOptions | None = None,
        spread_batch: bool = True,
        **trainer_args: Any,
    ):
        super().__init__(**trainer_args)
        self.teacher = FrozenTeacher(teacher_model, teacher_restore_cfg, teacher_partitioner)
        self.teacher.check_vocabulary(self._model)
        self._options = options
        self._spread_batch = spread_batch

    def compile_train(self, batch: Any) -> None:
        """Restore the teacher, then compile the step for batches of this shape.

        Args:
          batch: features with their global shapes.
        """
        shapes = {name: tuple(array.shape) for name, array in batch.items()}
        types = {name: array.dtype for name, array in batch.items()}
        self.teacher.restore(shapes, types)
        super().compile_train(batch)

    @cached_property
    def _partitioned_train_step(self) -> _PartitionedStep:
        data_spec = self._partitioner.data_partition_spec
        step = self._partitioner.partition(
            partial(self.step, num_microbatches=self._num_microbatches),
            in_axis_resources=(self._train_state_axes, self.teacher.axes, data_spec),
            out_axis_resources=(self._train_state_axes, None),
            donate_argnums=(0,),
        )
        return _PartitionedStep(step, self.teacher.params)

    def step(self, train_state: Any, teacher_params: Any, batch: Any, num_microbatches: int | None = None) -> Any:
        """One optimizer step: a pure function of its three array arguments.

        Args:
          train_state: the student's train state.
          teacher_params: the teacher's parameters; read only.
          batch: features `[batch, length]`.
          num_microbatches: slices over which gradients are accumulated; None for one.

        Returns:
          The new train state and the metrics.
        """
        objective = self.objective(teacher_params)
        return t5x_trainer.train_with_lr(
            train_state,
            batch,
            learning_rate=self._learning_rate_fn(train_state.step),
            dropout_rng=self._step_rng(train_state.step),
            model=objective,
            num_microbatches=num_microbatches,
            weight_metrics_computer=self._weight_metrics_computer,
            data_partition_spec=self._partitioner.data_partition_spec,
        )

    def objective(self, teacher_params: Any) -> DistillationObjective:
        """The student's loss, closed over these teacher parameters."""
        mesh = self._partitioner.mesh
        constrain = partial(spread, mesh=mesh) if self._spread_batch else (lambda array: array)
        return DistillationObjective(
            self._model,
            partial(self.teacher.logits, teacher_params),
            options=self._options,
            constrain=constrain,
        )

    def _step_rng(self, step: jax.Array) -> jax.Array:
        return jax.random.fold_in(self._base_rng, step)
