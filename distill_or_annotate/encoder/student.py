"""An encoder as the student of a store of label probabilities, whichever kind of teacher left it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from distill_or_annotate.capture import collecting
from distill_or_annotate.capture.header import Header, StoreError
from distill_or_annotate.encoder import label_words
from distill_or_annotate.losses import TeacherLogits
from distill_or_annotate.model.distillation import DistillationObjective
from distill_or_annotate.teacher.frozen import spread
from distill_or_annotate.trainer import distill_captured


class EncoderCapturedTrainer(distill_captured.CapturedTrainer):
    """Trains an `EncoderClassifier` on a store; arguments as in `distill_captured.CapturedTrainer`.

    A T5 teacher may give some probability to what is no label. A classifier cannot, so the teacher is taken as it is
    among the label words: at each position the pieces with which a label goes on, and no others.

    Raises:
      StoreError: a store of hidden states, whose head would be needed at each step.
    """

    def __init__(self, **trainer_args: Any):
        super().__init__(**trainer_args)
        if self._store.kind == "hidden":
            raise StoreError(
                "an encoder learns from stores of kind 'full' or 'topk'; this one is of kind 'hidden'. Fix: capture "
                "with KIND = 'full' and TARGETS_RULE = 'labels'."
            )

    def objective(self, head: Mapping[str, jax.Array]) -> DistillationObjective:
        """The student's loss; `head` is empty for the kinds of store that an encoder reads."""
        constrain = partial(spread, mesh=self._partitioner.mesh) if self._spread_batch else (lambda array: array)
        teacher_fn = partial(among_labels, self._store, self._model.pieces_KxT)
        return DistillationObjective(self._model, teacher_fn, options=self._options, constrain=constrain)


def among_labels(store: Header, pieces_KxT: Any, batch: Mapping[str, jax.Array]) -> TeacherLogits:
    """A store's distributions with nothing but label words in them.

    Args:
      store: header of the store that the batch was read from, of kind `full` or `topk`.
      pieces_KxT: the label words' ids, see `label_words`.
      batch: features, the teacher's among them.

    Returns:
      Logits [B, T, V], `label_words.LEAST` below the rest where no label goes on.
    """
    teacher = distill_captured.teacher_of(store, {}, batch)
    logits_BxTxV = teacher.logits_BxTxV if store.kind == "full" else _from_top(store, batch)
    targets_BxT = jnp.pad(batch["decoder_input_tokens"][:, 1:], ((0, 0), (0, 1)))
    allowed_BxTxV = label_words.allowed(pieces_KxT, targets_BxT, store.vocab_size)
    best_BxTx1 = jnp.max(jnp.where(allowed_BxTxV, logits_BxTxV, -jnp.inf), axis=-1, keepdims=True)
    lowest_BxTx1 = best_BxTx1 + label_words.LEAST
    return TeacherLogits(jnp.where(allowed_BxTxV, jnp.maximum(logits_BxTxV, lowest_BxTx1), lowest_BxTx1))


def _from_top(store: Header, batch: Mapping[str, jax.Array]) -> jax.Array:
    """Logits that have the stored log-probabilities at the store's temperature; the rest share the tail."""
    ids_BxTxk, log_probs_BxTxk, tail_BxT = (batch[name] for name in collecting.FEATURES["topk"])
    others = max(1, store.vocab_size - store.k)
    each_BxTx1 = (tail_BxT.astype(jnp.float32) - jnp.log(others))[..., None]
    table_BxTxV = jnp.broadcast_to(each_BxTx1, (*tail_BxT.shape, store.vocab_size))
    rows, positions = jnp.indices(tail_BxT.shape)
    table_BxTxV = table_BxTxV.at[rows[..., None], positions[..., None], ids_BxTxk].set(
        log_probs_BxTxk.astype(jnp.float32)
    )
    return store.temperature * table_BxTxV
