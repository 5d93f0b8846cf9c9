"""An encoder's pass over a pool: the same records that a T5 teacher leaves, for students of either kind.

A record's `inputs` are the task's own ids, which a T5 student reads; the encoder reads the record's text. What is
stored of a position are the label words' log-probabilities over the task's vocabulary (see `label_words`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from distill_or_annotate.capture import collecting, decoding
from distill_or_annotate.capture import teacher_pass as capture_pass
from distill_or_annotate.capture.header import StoreError
from distill_or_annotate.capture.records import Example, Record
from distill_or_annotate.encoder import label_words


class EncoderPass(capture_pass.TeacherPass):
    """Turns examples into records with an `EncoderClassifier`; arguments as in `capture.teacher_pass.TeacherPass`.

    Raises:
      StoreError: for hidden states, padding `counted`, or targets that are not chosen among the task's labels.
    """

    def __init__(self, model: Any, *args: Any, **kwargs: Any):
        super().__init__(model, *args, **kwargs)
        store = self._store
        if store.kind == "hidden" or store.padding != "masked":
            raise StoreError(
                f"kind is {store.kind!r} and padding {store.padding!r}, but an encoder has no decoder to take them "
                "from. Fix: KIND = 'full' or 'topk', and PADDING = 'masked'."
            )
        if tuple(store.labels) != model.labels:
            raise StoreError(
                f"targets are to be chosen among {store.labels or None}, the encoder's labels are {model.labels}. Fix: "
                "TARGETS_RULE = 'labels', and the labels of the task."
            )

    def _program(self, forced: bool) -> Any:
        if forced not in self._programs:
            store, model = self._store, self._model
            collect = collecting.collector(store.kind, store.k, store.temperature, store.dtype)

            def step(params: Any, batch: dict[str, jax.Array]) -> decoding.Captured:
                return captured(model, params, batch["inputs"], collect, store.target_tokens, batch.get("forced"))

            data = self._partitioner.data_partition_spec
            self._programs[forced] = self._partitioner.partition(step, (self._params_axes, data), PartitionSpec())
        return self._programs[forced]

    def _capture(self, examples: list[Example], index: list[int], forced: bool) -> Iterator[tuple[int, Record]]:
        longest = self._store.input_tokens
        own = self._model.tokenizer.batch([example.text for example in examples], longest) if examples else []
        read = [dataclasses.replace(example, inputs=ids) for example, ids in zip(examples, own, strict=True)]
        for place, record in super()._capture(read, index, forced):
            yield place, dataclasses.replace(record, inputs=examples[place].inputs[:longest])


def captured(
    model: Any,
    params: Any,
    inputs_BxL: jax.Array,
    collect: collecting.Collect,
    n_positions: int,
    forced_BxT: jax.Array | None = None,
) -> decoding.Captured:
    """Chooses each example's label and keeps the distributions along it.

    Args:
      model: an `EncoderClassifier`.
      params: its parameters.
      inputs_BxL: the encoder's tokens, 0 for padding.
      collect: keeps what is stored of a position, see `collecting.collector`.
      n_positions: positions of the result, at least the labels'.
      forced_BxT: given targets `[batch, n_positions]`; None chooses them.

    Returns:
      Targets and what was collected at their positions.
    """
    logits_BxK = model.label_logits(params, {"encoder_input_tokens": inputs_BxL})
    targets_BxT = forced_BxT
    if targets_BxT is None:
        pieces_KxT = jnp.asarray(model.pieces_KxT)
        targets_BxT = pieces_KxT[jnp.argmax(logits_BxK, axis=-1)][:, :n_positions]
        targets_BxT = jnp.pad(targets_BxT, ((0, 0), (0, n_positions - targets_BxT.shape[1])))
    vocab_size = model.module.config.vocab_size
    logits_BxTxV = label_words.token_logits(logits_BxK, model.pieces_KxT, targets_BxT, vocab_size)
    log_probs_BxTxV = jax.nn.log_softmax(logits_BxTxV, axis=-1)
    real_BxT = targets_BxT > 0
    chosen_BxT = jnp.take_along_axis(log_probs_BxTxV, targets_BxT[..., None], axis=-1)[..., 0]
    flat = collect(None, logits_BxTxV.reshape(-1, vocab_size))

    def ragged(x: jax.Array) -> jax.Array:
        x = x.reshape(*real_BxT.shape, *x.shape[1:])
        return jnp.where(real_BxT.reshape(*real_BxT.shape, *(1,) * (x.ndim - 2)), x, jnp.zeros_like(x))

    n_targets_B = jnp.sum(real_BxT, axis=1, dtype=jnp.int32)
    return decoding.Captured(
        targets=targets_BxT,
        n_targets=n_targets_B,
        n_positions=n_targets_B,
        batch_length=jnp.full(n_targets_B.shape, 1, jnp.int32) + jnp.max(n_targets_B),
        log_probability=jnp.sum(jnp.where(real_BxT, chosen_BxT, 0.0), axis=1),
        kept=jax.tree.map(ragged, flat),
    )
