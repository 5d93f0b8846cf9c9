"""Closeness in meaning for BERT-iBLEU, by name: what computes it stands outside this room and is registered here.

A similarity is BERTScore F1 with idf weights from the references. Whoever has an encoder registers a loader under a
name; it is called when the first pair is scored. The reference's own encoder is registered here, since the library
`bert-score` that computes it brings all it needs.
"""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

DEFAULT = "minilm"
# Of the reference implementation: which encoder, and which of its layers.
REFERENCE, REFERENCE_LAYER = "microsoft/deberta-xlarge-mnli", 40
VARIABLE = "DOA_SIMILARITY_MODEL"


class Similarity(Protocol):
    """What compares texts by their meaning.

    Attributes:
      name: of its encoder, as it stands beside every score.
    """

    name: str

    def f1(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
        """BERTScore F1, [n], 0 to 1: of each prediction with the best of its references, at least one."""


class SimilarityError(ValueError):
    """A similarity that is not registered, or whose packages or weights are not here."""


_LOADERS: dict[str, Callable[[], Similarity]] = {}
_LOADED: dict[str, Similarity] = {}
_FOLDER_LOADERS: list[Callable[[Path], Similarity]] = []


def register(name: str, loader: Callable[[], Similarity]) -> None:
    """Registers a similarity; the last one under a name counts.

    Args:
      name: what `--similarity-model` and DOA_SIMILARITY_MODEL call it.
      loader: makes it; called once, when it is first needed.
    """
    _LOADERS[name] = loader
    _LOADED.pop(name, None)


def register_folders(loader: Callable[[Path], Similarity]) -> None:
    """Registers what loads an encoder from a folder; the last one counts.

    Args:
      loader: a Hugging Face folder to a similarity; called once a folder.
    """
    _FOLDER_LOADERS[:] = [loader]


def names() -> list[str]:
    """Lists what is registered.

    Returns:
      Names, sorted.
    """
    return sorted(_LOADERS)


def chosen() -> str:
    """Returns the name that is used where none is given.

    Returns:
      The value of DOA_SIMILARITY_MODEL, else `DEFAULT`.
    """
    return os.environ.get(VARIABLE) or DEFAULT


def get(name: str) -> Similarity:
    """Loads a similarity; the same object from the second time on.

    Args:
      name: a registered name, or the path of a folder with an encoder.
    Returns:
      What computes it.
    Raises:
      SimilarityError: no such name, or what it needs is not installed.
    """
    if name not in _LOADED:
        if name in _LOADERS:
            _LOADED[name] = _LOADERS[name]()
        elif _FOLDER_LOADERS and Path(name).expanduser().is_dir():
            _LOADED[name] = _FOLDER_LOADERS[0](Path(name).expanduser())
        else:
            near = difflib.get_close_matches(name, _LOADERS, n=3)
            hint = f"Near: {', '.join(near)}. " if near else ""
            raise SimilarityError(
                f"similarity model {name!r} is neither a folder nor one of {', '.join(names())}. {hint}"
                f"Fix: --similarity-model or {VARIABLE} with one of them."
            )
    return _LOADED[name]


class BertScoreLibrary:
    """BERTScore by the library `bert-score`, as the reference implementation calls it.

    Args:
      model: a Hugging Face name; its weights are downloaded when they are not cached.
      layer: the layer whose states are compared, from 1.
    Raises:
      SimilarityError: the library is not installed.
    """

    def __init__(self, model: str = REFERENCE, layer: int = REFERENCE_LAYER):
        try:
            import bert_score
        except ImportError as error:
            raise SimilarityError(
                f"similarity model {model!r} needs the library bert-score ({error}). "
                "Fix: pip install 'distill-or-annotate[bert-score]'."
            ) from error
        self.name = f"{model} layer {layer}"
        self._scorer = bert_score.BERTScorer(model_type=model, num_layers=layer, idf=True)

    def f1(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
        """Compares predictions with their references.

        Args:
          predictions: predictions, [n].
          references: the texts that each may resemble, [n], each at least one; the best counts.
        Returns:
          [n] float64, idf taken from all references given; 0 where the library has no number, since nothing weighs.
        """
        with warnings.catch_warnings():
            # It warns when weights are replaced by those of other references.
            warnings.simplefilter("ignore")
            self._scorer.compute_idf([text for texts in references for text in texts])
        found = self._scorer.score(list(predictions), [list(texts) for texts in references])
        return np.nan_to_num(np.asarray(found[2], dtype=np.float64), nan=0.0)


register(REFERENCE, BertScoreLibrary)
