"""The weights of a Hugging Face folder as a T5X checkpoint to train from."""

from __future__ import annotations

import os
from pathlib import Path

from distill_or_annotate.encoder import config, folders
from distill_or_annotate.interop import parameters, shipped
from distill_or_annotate.interop.safetensors_files import file_hash


def initial(folder: str | os.PathLike[str], n_labels: int | None = None) -> str:
    """Path of a T5X checkpoint with an encoder's weights; made on first use, in the cache folder.

    Bound in gin to `INITIAL_CHECKPOINT_PATH`. What the folder lacks (the last layer of a new classifier) is initialised
    at the start of training.

    Args:
      folder: holds config.json and model.safetensors.
      n_labels: take the file's own last layer if it has as many labels; None leaves it out.

    Returns:
      The path of `checkpoint_0`, which holds parameters and no optimizer state.

    Raises:
      EncoderError: no such encoder, or damaged files.
    """
    sizes = config.read(Path(folder))
    weights = Path(folder) / "model.safetensors"
    digest = file_hash(weights)[:12] if weights.is_file() else "none"
    suffix = "" if n_labels is None else f"-{n_labels}"
    place = shipped.cache_dir() / "checkpoints" / f"{folders.name(folder)}-{digest}{suffix}"
    if not (place / "checkpoint_0").exists():
        params, _ = folders.read_params(folder, sizes, n_labels)
        parameters.write_checkpoint(params, place)
    return str(place / "checkpoint_0")
