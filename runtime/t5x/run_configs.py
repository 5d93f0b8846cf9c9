"""Configuration dataclasses of data sets and checkpoints, as gin files bind them through `t5x.utils`."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from t5x import checkpoints

_MODES = ("specific", "latest", "all")
_SAVE_DTYPES = (None, "float32", "bfloat16")
_RESTORE_DTYPES = (*_SAVE_DTYPES, "float16")


@dataclasses.dataclass
class DatasetConfig:
    """What to read and how to batch it.

    Attributes:
      mixture_or_task_name: a registered SeqIO name, or a Task or Mixture object.
      task_feature_lengths: maximum length of each task feature, in tokens.
      split: split name.
      batch_size: global batch size, in examples (packed rows when `pack`).
      shuffle: whether to shuffle.
      seed: seed of shuffling and preprocessing; None takes the wall clock.
      use_cached: read the offline cache of SeqIO.
      pack: pack several examples into one row.
      use_custom_packing_ops: SeqIO's own packing operations.
      module: module imported first, for tasks registered at import.
      use_memory_cache: cache evaluation data in memory.
      trim_output_features: cut features at their maximum length.
      runtime_preprocessors, num_prefetch_threads, num_workers: for AirIO only; accepted and unused.
    """

    mixture_or_task_name: Any
    task_feature_lengths: Mapping[str, int] | None
    split: str
    batch_size: int
    shuffle: bool
    seed: int | None
    use_cached: bool = False
    pack: bool = False
    use_custom_packing_ops: bool = False
    module: str | None = None
    use_memory_cache: bool = True
    trim_output_features: bool = True
    runtime_preprocessors: Sequence[Any] | None = None
    num_prefetch_threads: int | None = None
    num_workers: int | None = 0


@dataclasses.dataclass
class SaveCheckpointConfig:
    """When and how to save.

    Attributes:
      dtype: stored dtype of the parameters (None keeps theirs); optimizer state is never cast.
      period: steps between checkpoints; None or 0 saves only at the end (and at `checkpoint_steps`).
      checkpoint_steps: further steps at which to save; needs no `period`.
      keep: number of newest checkpoints to keep; None keeps all.
      keep_dataset_checkpoints: number of newest data set states to keep; None keeps them with their checkpoint.
      save_dataset: store the state of the training data iterator, so that a resumed run need not skip through the data.
      checkpointer_cls: accepted for compatibility; Orbax writes all checkpoints.
      state_transformation_fns: `fn(state_dict, parameter_infos) -> (state_dict, parameter_infos)`, before saving.
      checkpoint_manager_cls: class (or partial) that manages the folder.
    """

    dtype: str | None = "float32"
    period: int | None = None
    checkpoint_steps: Sequence[int] | None = None
    keep: int | None = None
    keep_dataset_checkpoints: int | None = None
    save_dataset: bool = False
    checkpointer_cls: Any = checkpoints.Checkpointer
    state_transformation_fns: Sequence[Callable[..., Any]] = dataclasses.field(default_factory=list)
    checkpoint_manager_cls: Any = checkpoints.OrbaxCheckpointManagerInterface

    def __post_init__(self) -> None:
        if self.dtype not in _SAVE_DTYPES:
            raise ValueError(f"SaveCheckpointConfig.dtype is {self.dtype!r}; allowed: {_SAVE_DTYPES}.")
        for name, least in (("period", 0), ("keep", 1), ("keep_dataset_checkpoints", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"SaveCheckpointConfig.{name} is {value}; allowed: None or a number >= {least}.")


@dataclasses.dataclass
class RestoreCheckpointConfig:
    """What to restore and how.

    Attributes:
      path: a checkpoint folder (mode `specific`) or a folder of checkpoints; empty or None starts from scratch.
      mode: `specific`, `latest` (newest in the folder) or `all` (every one; evaluation only).
      assignment_map: (regex, replacement or None) pairs: a regex that fully matches a model key such as
        `target/encoder/...` names the checkpoint key to read, or drops the key.
      strict: accepted for compatibility (TensorFlow checkpoints).
      fallback_to_scratch: initialise keys that the checkpoint lacks or the map drops; needs a transformation.
      dtype: dtype of the restored parameters; None keeps the stored one. Optimizer state is never cast.
      restore_dataset: restore the data iterator too.
      checkpointer_cls: accepted for compatibility.
      state_transformation_fns: `fn(state_dict, target_state_dict, *, is_resuming) -> state_dict`.
      checkpoint_manager_cls: class (or partial) that reads the folder.
    """

    path: str | Sequence[str] | None
    mode: str = "latest"
    assignment_map: Sequence[tuple[str, str | None]] | None = None
    strict: bool = True
    fallback_to_scratch: bool = False
    dtype: str | None = None
    restore_dataset: bool = False
    checkpointer_cls: Any = checkpoints.Checkpointer
    state_transformation_fns: Sequence[Callable[..., Any]] = ()
    checkpoint_manager_cls: Any = checkpoints.OrbaxCheckpointManagerInterface

    def __post_init__(self) -> None:
        if self.mode not in _MODES:
            raise ValueError(f"RestoreCheckpointConfig.mode is {self.mode!r}; allowed: {_MODES}.")
        if self.dtype not in _RESTORE_DTYPES:
            raise ValueError(f"RestoreCheckpointConfig.dtype is {self.dtype!r}; allowed: {_RESTORE_DTYPES}.")
        if self.fallback_to_scratch and not (self.assignment_map or self.state_transformation_fns):
            raise ValueError(
                "RestoreCheckpointConfig.fallback_to_scratch needs a transformation; set assignment_map, for example "
                "((r'state/param_states.*', None),) for a fresh optimizer state."
            )


@dataclasses.dataclass
class CheckpointConfig:
    """Saving and restoring of one training run; None switches either off.

    Attributes:
      save: when and how to save.
      restore: where to start from when the run's own folder holds no checkpoint.
    """

    save: SaveCheckpointConfig | None = None
    restore: RestoreCheckpointConfig | None = None
