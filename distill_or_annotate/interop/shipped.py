"""The pre-trained models that come with the package, as checkpoints that T5X can restore."""

from __future__ import annotations

import os
from pathlib import Path

from distill_or_annotate.interop import parameters

_SHIPPED = ("mini_teacher", "mini_student")


def cache_dir() -> Path:
    """The folder for what can be made again: `DOA_CACHE_DIR`, or `~/.cache/distill_or_annotate`."""
    return Path(os.environ.get("DOA_CACHE_DIR") or Path.home() / ".cache" / "distill_or_annotate")


def checkpoint(model: str, corpus: str = "mini") -> str:
    """Path of a pre-trained mini model's T5X checkpoint; written from its safetensors file on first use.

    Bound in gin to `INITIAL_CHECKPOINT_PATH`. The shipped models of the embedded tasks are files of the package; those
    of other corpora are what `make pretrain-<corpus>` left in the cache.

    Args:
      model: `mini_teacher` or `mini_student`.
      corpus: the text it was pre-trained on, `mini` or `wlp`.

    Returns:
      The path of `checkpoint_0`, which holds parameters and no optimizer state.

    Raises:
      ValueError: if there is no such model.
      FileNotFoundError: if its weights have not been made yet.
    """
    if model not in _SHIPPED:
        raise ValueError(f"shipped.checkpoint.model is {model!r}; allowed: {', '.join(_SHIPPED)}.")
    weights = weights_file(model, corpus)
    if not weights.exists():
        raise FileNotFoundError(f"no pre-trained {model} at {weights}. Fix: `make pretrain-{corpus}` makes it.")
    folder = cache_dir() / "checkpoints" / f"{corpus}-{model}-{parameters.file_hash(weights)[:12]}"
    target = folder / "checkpoint_0"
    if not target.exists():
        params, _ = parameters.read_safetensors(weights)
        parameters.write_checkpoint(params, folder)
    return str(target)


def weights_file(model: str, corpus: str = "mini") -> Path:
    """Where the safetensors file of `model`, pre-trained on the text of `corpus`, stands if there is one."""
    if corpus == "mini":
        from distill_or_annotate import tasks

        return Path(tasks.__file__).parent / "mini" / f"{model}.safetensors"
    return cache_dir() / "pretrained" / corpus / f"{model}.safetensors"
