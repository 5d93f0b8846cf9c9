"""An encoder classifier from disk: what `t5x.train` left of one, and what its `config.gin` says of its folder.

The network's sizes and the tokenizer stand in the Hugging Face folder that it was trained from, not in its checkpoint.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from distill_or_annotate.interop import conversion
from distill_or_annotate.serving import recorded as recorded_lib
from distill_or_annotate.serving.recorded import Called

_UNCUT = 1 << 30
_MARKS = {"encoder/word_embedding", "classifier/kernel"}


class EncoderModelError(ValueError):
    """An encoder classifier whose folder, labels or sizes are not known."""


class Pieces:
    """WordPiece ids in the form in which a T5's vocabulary gives its own.

    Args:
      tokenizer: an `encoder.wordpiece.WordPiece`.

    Attributes:
      eos_id: what ends an input.
      sha256: hash of the tokenizer's file.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.eos_id, self.sha256 = tokenizer.sep_id, tokenizer.file_hash()

    def encode(self, text: str) -> list[int]:
        """Ids of `text` behind the token that begins an input, without the one that ends it."""
        return self._tokenizer.ids(text, _UNCUT).tolist()[:-1]


def is_encoder(names: Collection[str]) -> bool:
    """Whether tensors of these `names` are an encoder classifier's."""
    return set(names) >= _MARKS


def load(stored: conversion.Model) -> dict[str, Any]:
    """What `models.LoadedModel` is made of, but for the parameters.

    Args:
      stored: an opened T5X checkpoint of an encoder classifier.

    Returns:
      Its fields `model` (an `EncoderClassifier`), `vocabulary`, `config`, `recorded` and `labels`.

    Raises:
      EncoderModelError: no `config.gin` beside it, or one that does not tell folder or task, or a task with other
        labels.
      EncoderError: the folder is not there or damaged.
    """
    from distill_or_annotate.encoder import classifier, config, network, wordpiece
    from distill_or_annotate.serving import task_facts

    gin_file = stored.path.parent / "config.gin"
    if not gin_file.is_file():
        raise EncoderModelError(
            f"{stored.path} is an encoder, and no {gin_file} says of which. Fix: bring the config.gin that t5x.train "
            "wrote beside its checkpoints."
        )
    known = recorded_lib.read(gin_file, None)
    folder = Path(_folder(known.encoder, gin_file))
    if not known.task:
        raise EncoderModelError(f"{gin_file} names no task, whose labels the encoder chooses among. Fix: restore it.")
    labels = task_facts.facts(known.task, known.task_module).labels
    n_labels = stored.tensors["classifier/kernel"].shape[-1]
    if len(labels) != n_labels:
        raise EncoderModelError(
            f"{stored.path} chooses among {n_labels} labels, and task {known.task!r} has {len(labels)}. Fix: load it "
            "with the task as it was when the model was trained."
        )
    sizes = classifier.classifier_config(config.read(folder), n_labels, 0, known.head)
    tokenizer = wordpiece.WordPiece(folder, sizes.n_pieces)
    model = classifier.EncoderClassifier(network.Classifier(sizes), labels, tokenizer, None)
    return {
        "model": model,
        "vocabulary": Pieces(tokenizer),
        "config": sizes,
        "recorded": known,
        "labels": labels,
    }


def _folder(given: Any, gin_file: Path) -> str:
    """The encoder's folder: a path, or one of the two functions of ours that give one."""
    from distill_or_annotate.encoder import folders, shortened

    if isinstance(given, str):
        return os.fspath(given)
    if isinstance(given, Called) and given.name == "folders.minilm":
        return folders.minilm()
    if isinstance(given, Called) and given.name == "shortened.first_layers":
        return shortened.first_layers(_folder(given.arguments.get("folder"), gin_file), given.arguments["n_layers"])
    raise EncoderModelError(
        f"{gin_file} gives the encoder as {given!r}; known: a folder's path, folders.minilm and "
        "shortened.first_layers. Fix: write the folder into it, as classifier.from_folder.folder = 'FOLDER'."
    )
