"""BERTScore F1 with idf weights, on any encoder that this room loads.

As the `bert-score` library computes it: each token is matched with the most similar one of the other text, by the
cosine of their hidden states at one layer; matches are averaged with the tokens' inverse document frequency among the
references, log((M + 1) / (df + 1)) for M references, df of which hold the token. `[CLS]` and `[SEP]` stand in every
reference, so that they weigh nothing, but they can be matched. Of several references the best counts.

Letters: B batch, L length, E width.
"""

from __future__ import annotations

import collections
import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from distill_or_annotate.encoder import config as config_lib
from distill_or_annotate.encoder import folders, network
from distill_or_annotate.encoder.config import EncoderError
from distill_or_annotate.encoder.wordpiece import WordPiece

# Lengths that batches are padded to, each of which is one compiled program, and the tokens of a batch.
_LENGTHS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)
_BATCH_TOKENS = 4096
# Pairs whose hidden states are in memory at once: about 100 MB at MiniLM's width and 60 tokens a text.
_CHUNK_PAIRS = 512
# Of the layers of a BERT of so many, the one that the bert-score library takes for bert-base, bert-large and
# distilbert, as its authors found it to agree best with people.
_BEST_LAYER = {6: 5, 12: 9, 24: 18}


def load(folder: str | Path | None = None, layer: int | None = None) -> BertScore:
    """Loads an encoder to score with.

    Args:
      folder: a Hugging Face folder of a BERT or DistilBERT; None takes the packaged MiniLM.
      layer: whose hidden states are compared, 1 to the encoder's number of layers. None takes 5 of 6, 9 of 12, 18 of
        24, and of another number the one nearest to 80%.

    Returns:
      What scores, with `name` and `f1`.

    Raises:
      EncoderError: no such folder or package, or a layer out of range.
    """
    path = Path(folder or folders.minilm())
    sizes = config_lib.read(path)
    if layer is None:
        layer = _BEST_LAYER.get(sizes.num_layers) or max(1, round(0.8 * sizes.num_layers))
    if not 1 <= layer <= sizes.num_layers:
        raise EncoderError(f"layer is {layer}; this encoder has 1 to {sizes.num_layers}.")
    params, _ = folders.read_params(path, sizes)
    return BertScore(
        f"{folders.name(path)}_L{layer}_idf", sizes, params["encoder"], WordPiece(path, sizes.n_pieces), layer
    )


class BertScore:
    """Scores texts against references.

    Args:
      name: stands beside every score: encoder, layer and weighting.
      sizes: of the encoder.
      params: of the encoder.
      tokenizer: the encoder's.
      layer: whose hidden states are compared.
    """

    def __init__(self, name: str, sizes: config_lib.EncoderConfig, params: Any, tokenizer: WordPiece, layer: int):
        self.name = name
        self._tokenizer, self._longest = tokenizer, sizes.n_positions
        self._params = jax.device_put(params)
        self._lengths = (*(length for length in _LENGTHS if length < sizes.n_positions), sizes.n_positions)
        encoder = network.Encoder(sizes)

        def unit_states(params: Any, tokens_BxL: jax.Array) -> jax.Array:
            hidden_BxLxE = encoder.apply({"params": params}, tokens_BxL, layers=layer)[-1]
            norm_BxLx1 = jnp.linalg.norm(hidden_BxLxE, axis=-1, keepdims=True)
            return hidden_BxLxE / norm_BxLx1

        self._unit_states = jax.jit(unit_states)

    def f1(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
        """Scores predictions.

        Args:
          predictions: texts, [n]; an empty one scores 0.
          references: one or more references of each, [n]; idf comes from all of them.

        Returns:
          F1 in 0 to 1 (to rounding), float64 [n]; 0 where all that a text holds weighs nothing.

        Raises:
          ValueError: other numbers of predictions than of references, or none for a prediction.
        """
        if len(predictions) != len(references):
            raise ValueError(f"received {len(predictions)} predictions and {len(references)} lists of references.")
        if any(isinstance(answers, str) or not answers for answers in references):
            raise ValueError("references: each prediction needs a list of at least one reference.")
        tokens = self._tokens([*predictions, *(text for answers in references for text in answers)])
        weigh = idf([tokens[text.strip()] for answers in references for text in answers])
        pairs = [
            (place, prediction.strip(), answer.strip())
            for place, (prediction, answers) in enumerate(zip(predictions, references, strict=True))
            for answer in answers
        ]
        scores = np.full(len(predictions), -np.inf)
        for start in range(0, len(pairs), _CHUNK_PAIRS):
            chunk = pairs[start : start + _CHUNK_PAIRS]
            states = self._states({text: tokens[text] for _, *texts in chunk for text in texts})
            for place, *texts in chunk:
                sides = [(states[text], weigh(tokens[text])) for text in texts]
                scores[place] = max(scores[place], match_f1(*sides[0], *sides[1]))
        return scores

    def _tokens(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        distinct = list(dict.fromkeys(text.strip() for text in texts))
        return dict(zip(distinct, self._tokenizer.batch(distinct, self._longest), strict=True))

    def _states(self, tokens: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Unit hidden states [length, E] of each text, batched by length."""
        by_length = collections.defaultdict(list)
        for text, ids in tokens.items():
            by_length[next(length for length in self._lengths if length >= len(ids))].append(text)
        found = {}
        for length, texts in by_length.items():
            # A power of two, so that few texts are few rows and the programs stay few.
            rows = min(max(1, _BATCH_TOKENS // length), 1 << (len(texts) - 1).bit_length())
            for start in range(0, len(texts), rows):
                batch = texts[start : start + rows]
                table = np.zeros((rows, length), np.int32)
                table[:, 0] = self._tokenizer.cls_id  # rows that are not needed must have something to attend to
                for row, text in zip(table, batch, strict=False):
                    row[: len(tokens[text])] = tokens[text]
                states = np.asarray(self._unit_states(self._params, table))
                found |= {text: states[row, : len(tokens[text])] for row, text in enumerate(batch)}
        return found


def idf(references: Sequence[np.ndarray]) -> Any:
    """Inverse document frequencies among references.

    Args:
      references: ids of each.

    Returns:
      A function of ids [length] that returns their float64 weights; an id that no reference holds weighs most.
    """
    counts = collections.Counter(int(token) for ids in references for token in set(ids.tolist()))
    weight = functools.cache(lambda token: math.log((len(references) + 1) / (counts[token] + 1)))
    return lambda ids: np.array([weight(token) for token in ids.tolist()])


def match_f1(states: np.ndarray, weights: np.ndarray, other_states: np.ndarray, other_weights: np.ndarray) -> float:
    """F1 of the greedy matching of two texts.

    Args:
      states: unit hidden states of the prediction [length, E].
      weights: of its tokens [length].
      other_states: those of the reference.
      other_weights: of its tokens.

    Returns:
      F1; 0 where one side weighs nothing or holds no tokens but `[CLS]` and `[SEP]`.
    """
    if min(len(weights), len(other_weights)) <= 2 or weights.sum() <= 0 or other_weights.sum() <= 0:
        return 0.0
    cosines = states @ other_states.T
    precision = float(cosines.max(1) @ weights / weights.sum())
    recall = float(cosines.max(0) @ other_weights / other_weights.sum())
    total = precision + recall
    return 2 * precision * recall / total if total else 0.0
