"""Training a student on a store of the teacher's distributions: no teacher in memory, and none at each step.

The step is a pure function of (train state, head, batch): the batch brings the distributions. Only a store of hidden
states needs an array beside it, the teacher's head, which turns a state into logits.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from distill_or_annotate.capture import collecting, reading, writer
from distill_or_annotate.capture.header import Header, StoreError
from distill_or_annotate.losses import TeacherHidden, TeacherLogits, TeacherTopK
from distill_or_annotate.model.distillation import DistillationObjective, DistillationOptions
from distill_or_annotate.teacher.frozen import spread
from distill_or_annotate.trainer.distill import _PartitionedStep
from distill_or_annotate.trainer.progress import ProgressTrainer
from t5x import trainer as t5x_trainer


class CapturedTrainer(ProgressTrainer):
    """Trains the model on a store; all else is `t5x.trainer.Trainer`'s.

    Args:
      store: the store's folder.
      options: what is minimised; None is `KL(teacher || student)` at the store's temperature, over its padding.
      spread_batch: shard the batch over every mesh axis, as `distill.DistillTrainer` does.
      **trainer_args: the arguments of `t5x.trainer.Trainer`.

    Raises:
      StoreError: no finished store, or one that does not fit the student or the options.
    """

    def __init__(
        self,
        *,
        store: str | os.PathLike,
        options: DistillationOptions | None = None,
        spread_batch: bool = True,
        **trainer_args: Any,
    ):
        super().__init__(**trainer_args)
        self._store = reading.finished(store)
        self._options = options or DistillationOptions(temperature=self._store.temperature, padding=self._store.padding)
        check(self._store, self._options, self._model.module.config.vocab_size)
        self._spread_batch = spread_batch
        self.head = {"head": self._on_every_device(read_head(store))} if self._store.kind == "hidden" else {}

    def _on_every_device(self, head: np.ndarray) -> jax.Array:
        """A replicated copy, 263 MB at most (XXL in bfloat16): an array of the host would travel at each step."""
        sharding = NamedSharding(self._partitioner.mesh, PartitionSpec())
        return jax.make_array_from_callback(head.shape, sharding, lambda index: head[index])

    @cached_property
    def _partitioned_train_step(self) -> _PartitionedStep:
        step = self._partitioner.partition(
            partial(self.step, num_microbatches=self._num_microbatches),
            in_axis_resources=(self._train_state_axes, PartitionSpec(), self._partitioner.data_partition_spec),
            out_axis_resources=(self._train_state_axes, None),
            donate_argnums=(0,),
        )
        return _PartitionedStep(step, self.head)

    def step(self, train_state: Any, head: Any, batch: Any, num_microbatches: int | None = None) -> Any:
        """One optimizer step: a pure function of its three array arguments.

        Args:
          train_state: the student's train state.
          head: `{"head": [width, vocab]}` for a store of hidden states, else empty.
          batch: features `[batch, length]` and the teacher's `[batch, length, ...]`.
          num_microbatches: slices over which gradients are accumulated; None for one.

        Returns:
          The new train state and the metrics.
        """
        return t5x_trainer.train_with_lr(
            train_state,
            batch,
            learning_rate=self._learning_rate_fn(train_state.step),
            dropout_rng=jax.random.fold_in(self._base_rng, train_state.step),
            model=self.objective(head),
            num_microbatches=num_microbatches,
            weight_metrics_computer=self._weight_metrics_computer,
            data_partition_spec=self._partitioner.data_partition_spec,
        )

    def objective(self, head: Mapping[str, jax.Array]) -> DistillationObjective:
        """The student's loss, closed over the teacher's `head` where the store needs one."""
        constrain = partial(spread, mesh=self._partitioner.mesh) if self._spread_batch else (lambda array: array)
        return DistillationObjective(
            self._model, partial(teacher_of, self._store, head), options=self._options, constrain=constrain
        )


def teacher_of(store: Header, head: Mapping[str, jax.Array], batch: Mapping[str, jax.Array]) -> Any:
    """What a batch knows of the teacher, in the form that the objective compares with.

    Args:
      store: header of the store that the batch was read from.
      head: `{"head": [width, vocab]}` for a store of hidden states, else empty.
      batch: features, the teacher's among them.

    Returns:
      `losses.TeacherHidden`, `TeacherTopK` or `TeacherLogits`.

    Raises:
      StoreError: if the batch lacks the teacher's features.
    """
    names = collecting.FEATURES[store.kind]
    if missing := [name for name in names if name not in batch]:
        raise StoreError(
            f"the batch lacks {', '.join(missing)} of a store of kind {store.kind!r}. Fix: "
            "models.EncoderDecoderModel.feature_converter_cls = @reading.feature_converter(), and a task of "
            "@reading.captured()."
        )
    arrays = [batch[name] for name in names]
    if store.kind == "hidden":
        return TeacherHidden(arrays[0], head["head"], store.logit_scale)
    return TeacherTopK(*arrays) if store.kind == "topk" else TeacherLogits(arrays[0])


def check(store: Header, options: DistillationOptions, vocab_size: int) -> None:
    """Refuses to train on a store that was made for another objective or another student.

    Args:
      store: its header.
      options: what is minimised.
      vocab_size: rows of the student's embedding.

    Raises:
      StoreError: naming what does not fit.
    """
    store.check_temperature(options.temperature)
    if options.padding == "counted" and store.padding != "counted":
        raise StoreError(
            "padding is 'counted', but this store ends with each row's end token: it has no pads to count. Fix: "
            "capture with PADDING = 'counted', or train with 'masked'."
        )
    if vocab_size != store.vocab_size:
        raise StoreError(
            f"network.T5Config.vocab_size is {store.vocab_size} for the captured teacher and {vocab_size} for the "
            "student; distillation needs one vocabulary. Fix: use two models of one family."
        )


def read_head(store: str | os.PathLike) -> np.ndarray:
    """Reads the teacher's head from `store`, `[width, vocab]` in its own type."""
    from distill_or_annotate.interop import safetensors_files

    tensors, _ = safetensors_files.open_file(Path(store) / writer.HEAD)
    return tensors["head"].read(0, 0, tensors["head"].shape[0])
