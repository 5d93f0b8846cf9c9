"""BERTScore F1 with idf weights from a BERT in plain numpy, read from a Hugging Face folder: to check the real one by.

Slow and short on purpose: one text at a time, no padding, no batches, nothing of `distill_or_annotate`.
"""

from __future__ import annotations

import collections
import functools
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

_EPSILON_FIELD = "layer_norm_eps"


class NumpyBertScore:
    """Compares texts by the hidden states of one layer.

    Args:
      folder: holds config.json, model.safetensors and tokenizer.json of a BERT.
      layer: whose states are compared, from 1.
    """

    def __init__(self, folder: Path, layer: int):
        import safetensors.numpy
        import tokenizers

        self._config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        weights = safetensors.numpy.load_file(folder / "model.safetensors")
        self._weights = {name.removeprefix("bert."): np.asarray(value, np.float64) for name, value in weights.items()}
        self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self._config["max_position_embeddings"])
        self._layer = layer
        self._states = functools.cache(self._states_of)

    def __call__(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
        """Scores predictions.

        Args:
          predictions: predictions, [n].
          references: the texts that each is compared with, [n]; the best counts.

        Returns:
          F1, [n]; 0 for a text without a token.
        """
        every = [text for texts in references for text in texts]
        seen = collections.Counter(token for text in every for token in set(self._ids(text)))
        idf = {token: math.log((len(every) + 1) / (count + 1)) for token, count in seen.items()}
        unseen = math.log(len(every) + 1)

        def weights(text: str) -> np.ndarray:
            return np.array([idf.get(token, unseen) for token in self._ids(text)])

        def f1(text: str, other: str) -> float:
            left, right = weights(text), weights(other)
            if left.sum() <= 0 or right.sum() <= 0:
                return 0.0
            cosines = self._states(text) @ self._states(other).T
            precision = (cosines.max(1) * left).sum() / left.sum()
            recall = (cosines.max(0) * right).sum() / right.sum()
            return 2 * precision * recall / (precision + recall)

        return np.array(
            [max(f1(text, other) for other in texts) for text, texts in zip(predictions, references, strict=True)]
        )

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer.encode(text.strip()).ids

    def _states_of(self, text: str) -> np.ndarray:
        from scipy.special import erf

        ids = np.array(self._ids(text))
        name = "embeddings.{}_embeddings.weight"
        states = self._weights[name.format("word")][ids] + self._weights[name.format("position")][: len(ids)]
        states = self._norm("embeddings", states + self._weights[name.format("token_type")][0])
        heads = self._config["num_attention_heads"]
        for number in range(self._layer):
            prefix = f"encoder.layer.{number}."
            query, key, value = (
                self._dense(f"{prefix}attention.self.{part}", states).reshape(len(ids), heads, -1).swapaxes(0, 1)
                for part in ("query", "key", "value")
            )
            scores = query @ key.swapaxes(1, 2) / math.sqrt(query.shape[-1])
            shares = np.exp(scores - scores.max(-1, keepdims=True))
            mixed = (shares / shares.sum(-1, keepdims=True)) @ value
            mixed = mixed.swapaxes(0, 1).reshape(states.shape)
            out = self._dense(f"{prefix}attention.output.dense", mixed)
            states = self._norm(f"{prefix}attention.output", states + out)
            inner = self._dense(f"{prefix}intermediate.dense", states)
            inner = inner * (1 + erf(inner / math.sqrt(2))) / 2
            states = self._norm(f"{prefix}output", states + self._dense(f"{prefix}output.dense", inner))
        return states / np.linalg.norm(states, axis=-1, keepdims=True)

    def _dense(self, name: str, states: np.ndarray) -> np.ndarray:
        return states @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _norm(self, name: str, states: np.ndarray) -> np.ndarray:
        centred = states - states.mean(-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(-1, keepdims=True) + self._config[_EPSILON_FIELD])
        return centred / scale * self._weights[f"{name}.LayerNorm.weight"] + self._weights[f"{name}.LayerNorm.bias"]
