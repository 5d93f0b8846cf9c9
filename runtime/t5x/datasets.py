"""SeqIO data sets as a `DatasetConfig` names them, in model features and batched, one shard a process.

SeqIO and TensorFlow are imported inside functions: they take seconds, and the step itself needs neither.
"""

import dataclasses
import difflib
import importlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from absl import logging

from t5x.run_configs import DatasetConfig

# What `train.train` takes as `get_dataset_fn`; signature and meaning of `get_dataset`.
GetDatasetCallable = Callable[..., Any]
# What `train.train` takes as `train_eval_get_dataset_fn`; as `get_training_eval_datasets`.
GetEvalDatasetCallable = Callable[..., Mapping[str, Any]]


def import_module(module: str) -> None:
    """Imports the module that registers a task.

    Args:
      module: dotted name.

    Raises:
      RuntimeError: when the module registers gin configurables, for which it is too late.
    """
    try:
        importlib.import_module(module)
    except RuntimeError as error:
        if "after the config was locked" not in str(error):
            raise
        raise RuntimeError(
            f"Module {module} registers gin configurables, but the configuration is locked already. Import it in the "
            f"gin file that is parsed first (`import {module}`), instead of naming it only as the data set's module."
        ) from error


def wall_clock_seed() -> int:
    """A seed from the wall clock, the same on all processes.

    Returns:
      An integer below 2**31.
    """
    seed = np.int32(time.time() * 1000 % 2**31)
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        seed = multihost_utils.broadcast_one_to_all(seed)
    return int(seed)


def find_provider(name: Any) -> Any:
    """The registered task or mixture of a name.

    Args:
      name: registered name; a Task or Mixture is returned as it is.

    Returns:
      The `seqio.Task` or `seqio.Mixture`.

    Raises:
      ValueError: with near names, when there is none.
    """
    import seqio

    if not isinstance(name, str):
        return name
    known = [*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        raise ValueError(
            f"No task or mixture named {name!r} is registered. Near names: {', '.join(near) or 'none'}. A task is "
            "registered by importing its module: bind MIXTURE_OR_TASK_MODULE, or import it in the gin file."
        )
    return seqio.get_mixture_or_task(name)


def _shard_batch_size(cfg: DatasetConfig, num_shards: int) -> int:
    if cfg.batch_size % num_shards:
        raise ValueError(
            f"DatasetConfig.batch_size is {cfg.batch_size}, which does not divide by the {num_shards} data shards."
        )
    return cfg.batch_size // num_shards


def get_dataset_inner(
    cfg: DatasetConfig,
    shard_info: Any,
    feature_converter_cls: Callable[..., Any],
    seed: int | None,
    num_epochs: int | None,
) -> Any:
    """One shard of a data set, in model features, batched.

    Args:
      cfg: what to read.
      shard_info: `seqio.ShardInfo`.
      feature_converter_cls: SeqIO feature converter, called with `pack` and `use_custom_packing_ops`.
      seed: seed of shuffling and preprocessing.
      num_epochs: passes over the data; None repeats for ever.

    Returns:
      A `tf.data.Dataset` of batches of `batch_size / num_shards`.
    """
    import seqio

    ds = seqio.get_dataset(
        mixture_or_task_name=find_provider(cfg.mixture_or_task_name),
        task_feature_lengths=cfg.task_feature_lengths,
        dataset_split=cfg.split,
        shuffle=cfg.shuffle,
        num_epochs=num_epochs,
        feature_converter=feature_converter_cls(pack=cfg.pack, use_custom_packing_ops=cfg.use_custom_packing_ops),
        shard_info=shard_info,
        use_cached=cfg.use_cached,
        seed=seed,
        trim_output_features=cfg.trim_output_features,
    )
    return ds.batch(_shard_batch_size(cfg, shard_info.num_shards), drop_remainder=True)


def get_dataset(
    cfg: DatasetConfig,
    shard_id: int,
    num_shards: int,
    feature_converter_cls: Callable[..., Any],
    num_epochs: int | None = None,
    continue_from_last_checkpoint: bool = False,
) -> Any:
    """One shard of a data set through `seqio.get_dataset`, batched.

    Args:
      cfg: what to read; `seed=None` takes the wall clock.
      shard_id: index of the shard.
      num_shards: number of shards, which divides the batch size.
      feature_converter_cls: SeqIO feature converter.
      num_epochs: passes over the data; None repeats for ever.
      continue_from_last_checkpoint: not offered (as upstream).

    Returns:
      A `tf.data.Dataset` of batches of `batch_size / num_shards`.

    Raises:
      ValueError: for an unknown task, or a batch size that does not divide.
    """
    import seqio

    if continue_from_last_checkpoint:
        raise ValueError("continue_from_last_checkpoint is not offered for tf.data; bind save_dataset=True instead.")
    _shard_batch_size(cfg, num_shards)
    if cfg.module:
        import_module(cfg.module)
    seed = wall_clock_seed() if cfg.seed is None else cfg.seed
    shard_info = seqio.ShardInfo(index=shard_id, num_shards=num_shards)
    return get_dataset_inner(cfg, shard_info, feature_converter_cls, seed, num_epochs)


def get_training_eval_datasets(
    cfg: DatasetConfig,
    shard_id: int,
    num_shards: int,
    eval_steps: int,
    feature_converter_cls: Callable[..., Any],
    deterministic: bool = False,
    model_dir: str | None = None,
    start_step: int = 0,
) -> dict[str, Any]:
    """Data sets of the teacher-forced evaluation: one per subtask that has the split, plus the mixture itself.

    Args:
      cfg: what to read.
      shard_id: index of the shard.
      num_shards: number of shards.
      eval_steps: batches per evaluation; the data repeats to fill them.
      feature_converter_cls: SeqIO feature converter.
      deterministic: not offered.
      model_dir, start_step: accepted for compatibility.

    Returns:
      Task name to `tf.data.Dataset` of at most `eval_steps` batches; empty when no subtask has the split.

    Raises:
      ValueError: for `deterministic=True` or an unknown task.
    """
    del model_dir, start_step
    if deterministic:
        raise ValueError("get_training_eval_datasets(deterministic=True) is not offered.")
    import seqio

    if cfg.module:
        import_module(cfg.module)
    provider = find_provider(cfg.mixture_or_task_name)
    tasks = [task for task in seqio.get_subtasks(provider) if cfg.split in task.splits]
    if not tasks:
        logging.warning("No subtask of %s has split %r: no training evaluation.", provider.name, cfg.split)
        return {}
    named = {task.name: task for task in tasks}
    if isinstance(provider, seqio.Mixture):
        named[provider.name] = provider
    shard_info, datasets = seqio.ShardInfo(index=shard_id, num_shards=num_shards), {}
    for name, task in named.items():
        task_cfg = dataclasses.replace(cfg, mixture_or_task_name=task, module=None)
        ds = get_dataset_inner(task_cfg, shard_info, feature_converter_cls, cfg.seed or 0, num_epochs=None)
        datasets[name] = ds.take(eval_steps).cache() if cfg.use_memory_cache else ds.take(eval_steps)
    return datasets
