"""Texts to predictions: decoding or the scoring of label words, in batches of texts of like length.

The score of a text is the sum of the log-probabilities of its tokens, the end of sequence included.
Dimension letters: B batch, L input length, T output length.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from distill_or_annotate.serving.models import LoadedModel

_SHORTEST = 16
"""Inputs are padded to this many tokens at least; every further length is twice the one before."""


class SettingError(ValueError):
    """A number or a label that predictions cannot be made with."""


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What the model says of one text.

    Attributes:
      text: the decoded output, or the best label.
      log_probability: sum of the log-probabilities of its tokens, end of sequence included where one was written.
      tokens: number of these tokens.
      probability: of labels the softmax over all labels' sums; of decoded text the probability of the whole text.
      scores: of each label its sum of log-probabilities; None for decoded text.
      truncated: whether the input was cut.
      ended: whether the output has an end of sequence; without one it stopped at the longest output.
    """

    text: str
    log_probability: float
    tokens: int
    probability: float
    scores: Mapping[str, float] | None
    truncated: bool
    ended: bool


class Predictor:
    """A model with settings.

    Args:
      loaded: the model.
      input_tokens: longest input, end of sequence included, at least 1; longer ones are cut.
      output_tokens: longest output, end of sequence included, at least 1; labels may be longer.
      labels: texts to choose among; empty to decode.
      prefix: put before each text.
      beams: beams of the search; 1 decodes greedily.
      batch_size: texts at once, at least 1.

    Raises:
      SettingError: a number out of range, or labels that are one or none to the model.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        input_tokens: int = 512,
        output_tokens: int = 128,
        labels: Sequence[str] = (),
        prefix: str = "",
        beams: int = 1,
        batch_size: int = 32,
    ) -> None:
        for name, value in (
            ("input_tokens", input_tokens),
            ("output_tokens", output_tokens),
            ("beams", beams),
            ("batch_size", batch_size),
        ):
            if value < 1:
                raise SettingError(f"{name} is {value}; allowed: 1 and more.")
        self.loaded, self.labels, self.batch_size = loaded, tuple(labels), batch_size
        if loaded.labels and (sorted(labels) != sorted(loaded.labels) or beams > 1):
            raise SettingError(
                f"{loaded.path} is an encoder, which chooses among {', '.join(loaded.labels)} and writes nothing; "
                f"labels are {', '.join(labels) or 'none'}, beams {beams}. Fix: leave labels, beams and decoding out."
            )
        if loaded.labels and input_tokens > loaded.config.n_positions:
            raise SettingError(
                f"input_tokens is {input_tokens}; allowed: up to {loaded.config.n_positions}, this encoder's positions."
            )
        self.input_tokens, self.output_tokens = input_tokens, output_tokens
        self._prefix, self._beams = prefix, beams
        self._label_ids = self._tokenized(self.labels)
        self._run = self._choosing() if loaded.labels else self._scoring() if labels else self._decoding()

    def predict(self, texts: Sequence[str], advance: Callable[[int], Any] | None = None) -> list[Prediction]:
        """Predicts.

        Args:
          texts: any number; what a text gets does not depend on the others.
          advance: called with the number of texts after each batch; None does nothing.

        Returns:
          A prediction for each, in order.
        """
        ids, cut = zip(*map(self._encoded, texts), strict=True) if texts else ((), ())
        # Longest first: the first batch tells whether the memory suffices.
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        found: list[Prediction | None] = [None] * len(ids)
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            for i, prediction in zip(chosen, self._batch([ids[i] for i in chosen]), strict=True):
                found[i] = dataclasses.replace(prediction, truncated=cut[i])
            if advance:
                advance(len(chosen))
        return found

    def _encoded(self, text: str) -> tuple[list[int], bool]:
        ids = self.loaded.vocabulary.encode(self._prefix + text)
        kept = ids[: self.input_tokens - 1]
        return [*kept, self.loaded.vocabulary.eos_id], len(kept) < len(ids)

    def _batch(self, ids: Sequence[Sequence[int]]) -> list[Prediction]:
        length = _SHORTEST
        while length < max(map(len, ids)):
            length *= 2
        inputs_BxL = np.zeros((self.batch_size, min(length, self.input_tokens)), np.int32)
        # The rows that fill the batch are copies: empty ones would not end, and keep the others waiting.
        for row, tokens in zip(inputs_BxL, [*ids, *[ids[0]] * (self.batch_size - len(ids))], strict=True):
            row[: len(tokens)] = tokens
        outputs, log_probabilities = (np.asarray(found) for found in self._run(self.loaded.params, inputs_BxL))
        if self.labels:
            return [self._chosen(row) for row in log_probabilities[: len(ids)].astype(np.float64)]
        return [
            self._decoded(row, float(value))
            for row, value in zip(outputs[: len(ids)], log_probabilities[: len(ids)], strict=True)
        ]

    def _chosen(self, scores: np.ndarray) -> Prediction:
        best = int(np.argmax(scores))
        weights = np.exp(scores - scores.max())
        return Prediction(
            text=self.labels[best],
            log_probability=float(scores[best]),
            tokens=len(self._label_ids[best]),
            probability=float(weights[best] / weights.sum()),
            scores=dict(zip(self.labels, scores.tolist(), strict=True)),
            truncated=False,
            ended=True,
        )

    def _decoded(self, ids: np.ndarray, log_probability: float) -> Prediction:
        ends = np.flatnonzero(ids == self.loaded.vocabulary.eos_id)
        n_tokens = int(ends[0]) + 1 if len(ends) else len(ids)
        return Prediction(
            text=self.loaded.vocabulary.decode(ids[:n_tokens].tolist()),
            log_probability=log_probability,
            tokens=n_tokens,
            probability=math.exp(log_probability),
            scores=None,
            truncated=False,
            ended=bool(len(ends)),
        )

    def _tokenized(self, labels: Sequence[str]) -> list[list[int]]:
        vocabulary = self.loaded.vocabulary
        if self.loaded.labels:  # classes, which it never reads
            return [[vocabulary.eos_id]] * len(labels)
        ids = [[*vocabulary.encode(label), vocabulary.eos_id] for label in labels]
        first: dict[tuple[int, ...], str] = {}
        for label, tokens in zip(labels, ids, strict=True):
            if not label.strip():
                raise SettingError(f"labels hold {label!r}, which is empty. Fix: --labels a,b,c without empty places.")
            if (other := first.setdefault(tuple(tokens), label)) != label or labels.count(label) > 1:
                raise SettingError(
                    f"labels {other!r} and {label!r} are the same tokens to this model. Fix: leave one out."
                )
        if len(labels) == 1:
            raise SettingError(f"labels are {list(labels)}; at least two are needed to choose among.")
        return ids

    def _decoding(self) -> Callable[..., Any]:
        import jax
        import jax.numpy as jnp

        from t5x import decoding

        model, length = self.loaded.model, self.output_tokens
        if self._beams == 1:

            def greedy(params: Any, inputs_BxL: Any) -> tuple[Any, Any]:
                batch = _request(inputs_BxL, length)
                outputs_BxT, aux = model.predict_batch_with_aux(params, batch, num_decodes=1, return_all_decodes=False)
                return outputs_BxT, aux["scores"]

            return jax.jit(greedy)

        searching = type(model)(
            model.module, model.input_vocabulary, model.output_vocabulary, None, decoding.beam_search
        )

        def search(params: Any, inputs_BxL: Any) -> tuple[Any, Any]:
            batch = _request(inputs_BxL, length)
            outputs_BxT, _ = searching.predict_batch_with_aux(
                params, batch, num_decodes=self._beams, return_all_decodes=False
            )
            # The search's own scores are divided by a power of the length.
            upto_end = jnp.cumsum(outputs_BxT == model.output_vocabulary.eos_id, axis=1)
            kept_BxT = jnp.where(upto_end - (outputs_BxT == model.output_vocabulary.eos_id) == 0, outputs_BxT, 0)
            encoded = _encode(model, params, inputs_BxL)
            return outputs_BxT, _log_probability(model, params, encoded, inputs_BxL, kept_BxT)

        return jax.jit(search)

    def _choosing(self) -> Callable[..., Any]:
        import jax

        model = self.loaded.model
        order_K = np.array([self.loaded.labels.index(label) for label in self.labels])

        def choose(params: Any, inputs_BxL: Any) -> tuple[Any, Any]:
            logits_BxK = model.label_logits(params, {"encoder_input_tokens": inputs_BxL})
            return inputs_BxL, jax.nn.log_softmax(logits_BxK, axis=-1)[:, order_K]

        return jax.jit(choose)

    def _scoring(self) -> Callable[..., Any]:
        import jax

        model = self.loaded.model
        longest = max(map(len, self._label_ids))
        labels_KxT = np.array([[*ids, *[0] * (longest - len(ids))] for ids in self._label_ids], np.int32)

        def score(params: Any, inputs_BxL: Any) -> tuple[Any, Any]:
            import jax.numpy as jnp

            encoded = _encode(model, params, inputs_BxL)

            def one(label_T: Any) -> Any:
                targets_BxT = jnp.broadcast_to(label_T, (inputs_BxL.shape[0], longest))
                return _log_probability(model, params, encoded, inputs_BxL, targets_BxT)

            # One label after the other: all at once would need their logits all at once.
            scores_KxB = jax.lax.map(one, labels_KxT)
            return inputs_BxL, scores_KxB.T

        return jax.jit(score)


def _request(inputs_BxL: Any, length: int) -> dict[str, Any]:
    import jax.numpy as jnp

    outputs = jnp.zeros((inputs_BxL.shape[0], length), jnp.int32)
    return {"encoder_input_tokens": inputs_BxL, "decoder_input_tokens": outputs}


def _encode(model: Any, params: Any, inputs_BxL: Any) -> Any:
    return model.module.apply({"params": params}, inputs_BxL, enable_dropout=False, method=model.module.encode)


def _log_probability(model: Any, params: Any, encoded: Any, inputs_BxL: Any, targets_BxT: Any) -> Any:
    """Sum of the log-probabilities of the targets that are no padding, [B]."""
    import jax.numpy as jnp

    from t5x import losses

    shifted_BxT = jnp.pad(targets_BxT[:, :-1], ((0, 0), (1, 0)))
    decode = functools.partial(model.module.apply, method=model.module.decode, enable_dropout=False)
    logits_BxTxV = decode({"params": params}, encoded, inputs_BxL, shifted_BxT, targets_BxT)
    loss_BxT = losses.integer_cross_entropy(logits_BxTxV, targets_BxT)[0]
    return -jnp.sum(jnp.where(targets_BxT > 0, loss_BxT, 0), axis=1)
