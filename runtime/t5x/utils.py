"""T5X's `utils`: its parts live in modules of their own and are gathered here under the names gin files use."""

from collections.abc import Callable, Mapping
from typing import Any

import flax
import jax
import numpy as np
from absl import logging
from flax import traverse_util

from t5x import checkpoint_utils, datasets, gin_utils
from t5x.batches import *  # noqa: F403
from t5x.datasets import *  # noqa: F403
from t5x.inference_fn import *  # noqa: F403
from t5x.initialization import *  # noqa: F403
from t5x.run_configs import *  # noqa: F403
from t5x.run_configs import DatasetConfig
from t5x.schedules import *  # noqa: F403

EvaluatorConstructor = Callable[..., Any]


def __getattr__(name: str) -> Any:
    if name == "TensorBoardLogger":  # imports TensorFlow
        import seqio

        return seqio.TensorBoardLogger
    raise AttributeError(f"module 't5x.utils' has no attribute {name!r}")


def hide_gpus_from_tensorflow() -> None:
    """Keeps TensorFlow, which only reads data here, from taking memory of the GPUs."""
    import tensorflow as tf

    try:
        tf.config.experimental.set_visible_devices([], "GPU")
    except RuntimeError as error:  # TensorFlow has started already, in this process's earlier stage
        logging.warning("Could not hide GPUs from TensorFlow: %s", error)


def get_vocabulary(cfg: DatasetConfig) -> tuple[Any, Any]:
    """The vocabularies of a task's inputs and targets.

    Args:
      cfg: names the task; its module is imported first.

    Returns:
      Input and output vocabulary; the same one twice when the task has no `inputs`.
    """
    if cfg.module:
        datasets.import_module(cfg.module)
    features = datasets.find_provider(cfg.mixture_or_task_name).output_features
    output = features.get("targets") or next(iter(features.values()))
    return features.get("inputs", output).vocabulary, output.vocabulary


def verify_matching_vocabs(cfg: DatasetConfig, model: Any) -> None:
    """Checks that a task and a model agree on their vocabularies.

    Args:
      cfg: names the task.
      model: a `BaseTransformerModel`.

    Raises:
      ValueError: naming the task and both vocabularies.
    """
    pairs = zip(
        ("input", "output"), get_vocabulary(cfg), (model.input_vocabulary, model.output_vocabulary), strict=True
    )
    for side, of_task, of_model in pairs:
        if of_task != of_model:
            raise ValueError(
                f"The {side} vocabularies differ: task {cfg.mixture_or_task_name!r} has {of_task}, the model has "
                f"{of_model}. Bind VOCABULARY to the task's, or choose a task made for this model."
            )


def round_vocab_size_to_multiple(vocabulary: Any, divisor: int = 128) -> int:
    """Size of an embedding table that holds a vocabulary and divides evenly.

    Args:
      vocabulary: SeqIO vocabulary.
      divisor: the size is a multiple of it.

    Returns:
      The smallest such multiple that is at least `vocabulary.vocab_size`.
    """
    return -(-vocabulary.vocab_size // divisor) * divisor


def flatten_dict_string_keys(x: Mapping[str, Any]) -> dict[str, Any]:
    """Flattens a nested mapping to slash-joined names.

    Args:
      x: nested mapping.

    Returns:
      Name to leaf.
    """
    return traverse_util.flatten_dict(flax.core.unfreeze(x), sep="/")


def set_hardware_rng_ops() -> None:
    """Switches JAX to `unsafe_rbg` keys: faster on TPU, and other numbers than the default's."""
    jax.config.update("jax_default_prng_impl", "unsafe_rbg")
    logging.info("Random numbers come from the hardware generator.")


def sync_global_devices(name: str) -> None:
    """Waits until all processes have come to this point; nothing to do in a single process.

    Args:
      name: the same on all processes.
    """
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def multihost_assert_equal(input_tree: Any, fail_message: str = "") -> None:
    """Checks that all processes hold the same values.

    Args:
      input_tree: tree of arrays or numbers.
      fail_message: beginning of the error's message.
    """
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.assert_equal(input_tree, fail_message)


def get_local_data(x: Any) -> Any:
    """The value of a replicated array on this process.

    Args:
      x: a `jax.Array`, or anything else, which is returned as it is.

    Returns:
      A NumPy array, or `x`.
    """
    return np.asarray(x.addressable_data(0)) if isinstance(x, jax.Array) else x


def find_first_checkpoint_step(model_dir: str) -> int | None:
    """Oldest complete step in a folder, or None.

    Args:
      model_dir: folder of checkpoints.

    Returns:
      The smallest step.
    """
    return min(checkpoint_utils.all_steps(model_dir), default=None)


def find_next_checkpoint_step(model_dir: str, prev_step: int) -> int | None:
    """Oldest complete step after another, or None.

    Args:
      model_dir: folder of checkpoints.
      prev_step: a step.

    Returns:
      The smallest step above it.
    """
    return min((s for s in checkpoint_utils.all_steps(model_dir) if s > prev_step), default=None)


def run_main(main: Callable[..., Any]) -> None:
    """Runs a program under absl with gin's arguments rewritten; see `gin_utils.run`.

    Args:
      main: receives the arguments that are left over.
    """
    gin_utils.run(main)
