"""A model from disk, whatever its form, ready to predict: network, parameters and vocabulary in one object."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from distill_or_annotate.interop import conversion, shipped, t5x_folders, tokenizer_files
from distill_or_annotate.interop.naming import Sizes
from distill_or_annotate.serving import encoders
from distill_or_annotate.serving import recorded as recorded_lib
from distill_or_annotate.serving.vocabularies import Vocabulary

SHIPPED = ("mini_student", "mini_teacher")
_MINI_TASKS = ("mini", "mini_cls")
_COMPUTE = ("float32", "bfloat16")


class ModelError(ValueError):
    """What was asked for is no model that can be loaded."""


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A model in memory.

    Attributes:
      model: a `t5x.models.EncoderDecoderModel` that decodes greedily, or an `EncoderClassifier`.
      params: its parameters, nested dict of float32 arrays on the first device.
      vocabulary: what it reads texts with.
      config: its `network.T5Config`, or its `ClassifierConfig`.
      sizes: its sizes; None for an encoder.
      form: `hugging_face`, `t5x` or `safetensors`.
      path: the folder or file that was read.
      step: steps that it was trained for, as far as the form knows.
      recorded: what the `config.gin` beside it says; None where there is none.
      labels: the labels that an encoder chooses among, in the order of its last layer; empty for a T5, which writes.
    """

    model: Any
    params: Any
    vocabulary: Vocabulary | encoders.Pieces
    config: Any
    sizes: Sizes | None
    form: str
    path: Path
    step: int
    recorded: recorded_lib.Recorded | None
    labels: tuple[str, ...] = ()

    def fingerprint(self) -> str:
        """SHA-256 of parameters, network and vocabulary: equal for one model in two forms of equal precision."""
        import jax

        digest = hashlib.sha256(f"{self.config} {self.vocabulary.sha256}".encode())
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.params):
            digest.update(jax.tree_util.keystr(path).encode())
            digest.update(np.ascontiguousarray(leaf).data)
        return digest.hexdigest()


def load(
    directory: str | os.PathLike[str], vocabulary: str | os.PathLike[str] | None = None, dtype: str | None = None
) -> LoadedModel:
    """Loads a model.

    Args:
      directory: a folder of a stage or of `t5x.train` (its newest whole checkpoint is read), one `checkpoint_<step>`, a
        Hugging Face folder, a `.safetensors` file with T5X's names, or the name of a shipped model (`SHIPPED`).
      vocabulary: a SentencePiece model; None takes the one that the folder holds or its `config.gin` names.
      dtype: type of the computation, `float32` or `bfloat16`; None takes what `config.gin` says, else `float32`.

    Returns:
      The model.

    Raises:
      ValueError: naming the file and what is wrong with it, when it is damaged, no T5, or has no known vocabulary.
      OSError: if there is no such file.
    """
    if dtype not in (None, *_COMPUTE):
        raise ModelError(f"dtype is {dtype!r}; allowed: {', '.join(_COMPUTE)}.")
    stored = conversion.open_model(_place(directory))
    if encoders.is_encoder(stored.tensors):
        if vocabulary or dtype == "bfloat16":
            given = f"vocabulary {vocabulary}" if vocabulary else f"dtype {dtype}"
            raise ModelError(
                f"{given} was given for {stored.path}, an encoder: it reads with the tokenizer of its folder and "
                "computes in float32. Fix: leave it out."
            )
        made = encoders.load(stored)
        return LoadedModel(
            params=_params(stored), sizes=None, form=stored.form, path=stored.path, step=stored.step, **made
        )
    sizes = stored.sizes()
    gin_file = stored.path.parent / "config.gin"
    known = None
    if stored.form == conversion.T5X and gin_file.is_file():
        known = recorded_lib.read(gin_file, sizes)
    pieces = Vocabulary(Path(vocabulary) if vocabulary else _vocabulary_file(stored, known), sizes.vocab_size)

    from t5x import models
    from t5x.examples.t5 import network

    config = network.T5Config(
        vocab_size=sizes.vocab_size,
        emb_dim=sizes.emb_dim,
        num_heads=sizes.num_heads,
        head_dim=sizes.head_dim,
        mlp_dim=sizes.mlp_dim,
        num_encoder_layers=sizes.num_encoder_layers,
        num_decoder_layers=sizes.num_decoder_layers,
        logits_via_embedding=sizes.tied,
        **{"dtype": "float32", "mlp_activations": ("gelu", "linear") if sizes.gated else ("relu",)}
        | (dict(known.network) if known else {})
        | ({"dtype": dtype} if dtype else {}),
    )
    model = models.EncoderDecoderModel(network.Transformer(config), pieces, pieces, None, decode_fn=_greedy())
    return LoadedModel(model, _params(stored), pieces, config, sizes, stored.form, stored.path, stored.step, known)


def _greedy() -> Any:
    import functools

    from t5x import decoding

    # The network's own log-probabilities: among the one token that top-1 leaves, each would be certain.
    return functools.partial(decoding.temperature_sample, topk=1, rescale_log_probs=False)


def _params(stored: conversion.Model) -> dict[str, Any]:
    """On one device: a compact model is copied, not cut."""
    import jax
    from flax import traverse_util

    flat = {name: tensor.whole() for name, tensor in stored.tensors.items()}
    return jax.device_put(traverse_util.unflatten_dict(flat, sep="/"), jax.devices()[0])


def _place(directory: str | os.PathLike[str]) -> Path:
    """What `conversion.open_model` can open."""
    path = Path(directory)
    if not path.exists():
        name = os.fspath(directory)
        if name in SHIPPED:
            return shipped.weights_file(name)
        near = difflib.get_close_matches(name, SHIPPED, n=2)
        hint = f"near names: {', '.join(near)}" if near else f"shipped models: {', '.join(SHIPPED)}"
        raise FileNotFoundError(
            f"no model at {name!r} ({hint}). Fix: give a stage's or T5X model folder, a Hugging Face folder or a "
            ".safetensors file."
        )
    if path.is_file() or (path / "config.json").is_file() or re.fullmatch(r"checkpoint_\d+", path.name):
        return path
    for folder in (path, path / "model"):
        steps = [step for step in folder.glob("checkpoint_*") if re.fullmatch(r"checkpoint_\d+", step.name)]
        whole = [step for step in steps if any((step / name).is_file() for name in _MARKS)]
        if whole:
            return max(whole, key=lambda step: int(step.name.split("_")[1]))
        if steps:
            raise ModelError(f"{folder} holds {steps[0].name} and no whole checkpoint. Fix: train on, or remove it.")
    trained = sorted(str(stage.parent) for stage in path.glob("stages/*/model"))
    if trained:
        raise ModelError(f"{path} is a run of {len(trained)} models. Fix: name one of {', '.join(trained)}.")
    return t5x_folders.find(path)


# A file that a whole checkpoint holds, in Orbax's and in the older layout.
_MARKS = ("state/_METADATA", "checkpoint")


def _vocabulary_file(stored: conversion.Model, known: recorded_lib.Recorded | None) -> Path:
    """The vocabulary that came with a model, or that of the task it was trained on."""
    folder = stored.path if stored.form == conversion.HUGGING_FACE else stored.path.parent
    for place in (folder / tokenizer_files.SPIECE, folder / conversion.KEPT / tokenizer_files.SPIECE):
        if place.is_file():
            return place
    if stored.path in {shipped.weights_file(name) for name in SHIPPED}:
        return _mini_file()
    if known and known.task:
        return _vocabulary_of_task(known.task, known.task_module)
    beside = f"{folder / tokenizer_files.SPIECE} is missing"
    told = "" if stored.form == conversion.HUGGING_FACE else f", and no config.gin in {folder} names a task"
    raise ModelError(f"the vocabulary of {stored.path} is not known: {beside}{told}. Fix: --vocabulary PATH.")


def _mini_file() -> Path:
    from distill_or_annotate import tasks

    return Path(tasks.__file__).parent / "mini" / "vocab.model"


def _vocabulary_of_task(task: str, module: str | None) -> Path:
    """Known without importing the task where that can be: SeqIO and TensorFlow take longer to start than the model."""
    base = re.sub(r"_n\d+_s\d+$|_u\d+$|_pseudo_u\d+_.*$", "", task)
    if base in _MINI_TASKS:
        return _mini_file()
    from distill_or_annotate.serving import task_facts

    return task_facts.vocabulary_file(base, module)
