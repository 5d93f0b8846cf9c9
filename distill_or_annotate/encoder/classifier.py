"""An encoder that classifies, as a T5X model: trained, evaluated, inferred with and captured as a T5 is.

Its targets are label words in the task's own vocabulary. `_compute_logits` says the classifier's choice in that
vocabulary, position by position (see `label_words`). So the loss of `t5x.models.BaseTransformerModel` is the softmax
cross-entropy over the labels, and any distillation objective works on an encoder as student or as teacher.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

from distill_or_annotate.encoder import config as config_lib
from distill_or_annotate.encoder import label_words, network
from distill_or_annotate.encoder.config import ClassifierConfig, EncoderError
from distill_or_annotate.encoder.wordpiece import WordPiece
from t5x import losses, models

Batch = Mapping[str, jax.Array]


class EncoderClassifier(models.BaseTransformerModel):
    """A classifier over the label words of a task.

    Args:
      module: the network; its `config` says how many labels it chooses among.
      labels: the label words, in the order of the network's labels.
      tokenizer: the encoder's.
      vocabulary: the task's SeqIO vocabulary, in which targets are written.
      optimizer_def: definition of the optimizer, or None.
      loss_normalizing_factor: what the sum of the loss over examples is divided by: None, a number such as the batch
        size, or the name of a special factor.

    Raises:
      EncoderError: as many labels as the network does not have.
    """

    def __init__(
        self,
        module: network.Classifier,
        labels: Sequence[str],
        tokenizer: WordPiece,
        vocabulary: Any,
        optimizer_def: Any = None,
        loss_normalizing_factor: float | int | str | None = None,
    ):
        super().__init__(module, vocabulary, vocabulary, optimizer_def, loss_normalizing_factor=loss_normalizing_factor)
        if len(labels) != module.config.n_labels:
            raise EncoderError(f"labels: {len(labels)} are given for a network of {module.config.n_labels}.")
        self.labels, self.tokenizer = tuple(labels), tokenizer

    @property
    def FEATURE_CONVERTER_CLS(self) -> type:
        """The feature converter class; SeqIO and TensorFlow are imported when it is asked for."""
        from distill_or_annotate.encoder import features

        return features.converter(self.tokenizer)

    @property
    def capture_pass(self) -> type:
        """What `capture.capturing` makes a store with in place of a decoder's pass."""
        from distill_or_annotate.encoder import teacher_pass

        return teacher_pass.EncoderPass

    @functools.cached_property
    def pieces_KxT(self) -> np.ndarray:
        """Ids of each label word and its end token, padded with 0; reads the vocabulary."""
        from distill_or_annotate.capture import labels

        eos_id = getattr(self.output_vocabulary, "eos_id", None) or 1
        found = labels.LabelTrie.from_words(self.labels, self.output_vocabulary.encode, eos_id).pieces_KxT
        if found.max() >= self.module.config.vocab_size:
            raise EncoderError(
                f"VOCAB_SIZE is {self.module.config.vocab_size}, but the label words reach piece {found.max()} of "
                "their vocabulary. Fix: at least the vocabulary's size."
            )
        return found

    def label_logits(self, params: Any, batch: Batch, dropout_rng: jax.Array | None = None) -> jax.Array:
        """Returns logits [B, K] of `batch` under `params`; dropout is on only with a `dropout_rng`."""
        return self.module.apply(
            {"params": params},
            batch["encoder_input_tokens"],
            enable_dropout=dropout_rng is not None,
            rngs={} if dropout_rng is None else {"dropout": dropout_rng},
        )

    def _compute_logits(self, params: Any, batch: Batch, dropout_rng: jax.Array | None = None) -> jax.Array:
        """Returns log-probabilities [B, T, V] of the label words' pieces along the targets of the batch."""
        # Of the decoder's inputs, since some objectives give networks other targets than those (`counted` padding).
        targets_BxT = jnp.pad(batch["decoder_input_tokens"][:, 1:], ((0, 0), (0, 1)))
        logits_BxK = self.label_logits(params, batch, dropout_rng)
        return label_words.token_logits(logits_BxK, self.pieces_KxT, targets_BxT, self.module.config.vocab_size)

    def predict_batch_with_aux(
        self, params: Any, batch: Batch, rng: jax.Array | None = None
    ) -> tuple[jax.Array, Mapping[str, jax.Array]]:
        """Chooses the most likely label.

        Args:
          params: parameters of the network.
          batch: `encoder_input_tokens` [B, L] and `decoder_input_tokens` [B, T], the length of predictions.
          rng: accepted for models that sample.

        Returns:
          Ids of the label word with its end token [B, T], padded with 0, and `scores` [B] (its log-probability) and
          `label_log_probabilities` [B, K].
        """
        del rng
        log_probs_BxK = jax.nn.log_softmax(self.label_logits(params, batch), axis=-1)
        best_B = jnp.argmax(log_probs_BxK, axis=-1)
        length = batch["decoder_input_tokens"].shape[1]
        pieces_KxT = self.pieces_KxT[:, :length]
        pieces_KxT = np.pad(pieces_KxT, ((0, 0), (0, length - pieces_KxT.shape[1])))
        aux = {"scores": jnp.max(log_probs_BxK, axis=-1), "label_log_probabilities": log_probs_BxK}
        return jnp.asarray(pieces_KxT)[best_B], aux

    def score_batch(self, params: Any, batch: Batch, return_intermediates: bool = False) -> Any:
        """Returns log-probabilities [B] of the targets, with an empty dict beside them if `return_intermediates`.

        Args:
          params: parameters of the network.
          batch: see `t5x.models`.
          return_intermediates: whether to return a pair.
        """
        targets_BxT = batch["decoder_target_tokens"]
        scores_BxT = -losses.integer_cross_entropy(self._compute_logits(params, batch), targets_BxT)[0]
        scores_B = jnp.sum(jnp.where(targets_BxT > 0, scores_BxT, 0.0), axis=-1)
        return (scores_B, {}) if return_intermediates else scores_B

    def get_initial_variables(
        self, rng: jax.Array, input_shapes: Mapping[str, Any], input_types: Mapping[str, Any] | None = None
    ) -> flax.core.FrozenDict:
        """Initialises the network.

        Args:
          rng: key.
          input_shapes: shape by feature name.
          input_types: accepted for compatibility.

        Returns:
          Collections `params` and `params_axes`.
        """
        del input_types
        longest, positions = input_shapes["encoder_input_tokens"][1], self.module.config.n_positions
        if longest > positions:
            raise EncoderError(
                f"TASK_FEATURE_LENGTHS['inputs'] is {longest}, but this encoder has {positions} positions. Fix: ask "
                "for at most that many."
            )
        # One row says as much about the shapes of the variables as a batch.
        return flax.core.freeze(self.module.init(rng, jnp.ones((1, longest), jnp.int32)))


def from_folder(
    folder: str | os.PathLike[str],
    task: str,
    vocabulary: Any,
    vocab_size: int,
    optimizer_def: Any = None,
    head: str | None = None,
    dropout_rate: float | None = None,
    loss_normalizing_factor: float | int | str | None = None,
) -> EncoderClassifier:
    """The classifier of a task on the encoder of a Hugging Face folder; bound in gin to `MODEL`.

    Args:
      folder: holds config.json and the tokenizer. Weights are read by `checkpoints.initial`.
      task: the base task, whose label words it chooses among.
      vocabulary: the task's SeqIO vocabulary.
      vocab_size: rows of an embedding of that vocabulary, the same for students and teachers beside it.
      optimizer_def: definition of the optimizer, or None.
      head: see `ClassifierConfig`; None takes the one of transformers' classifier of this family.
      dropout_rate: of every dropout; None takes those of config.json.
      loss_normalizing_factor: see `EncoderClassifier`.

    Returns:
      The model.

    Raises:
      EncoderError: no such encoder, or a task that does not classify.
    """
    sizes = config_lib.read(Path(folder))
    labels = task_labels(task)
    model_config = classifier_config(sizes, len(labels), vocab_size, head, dropout_rate)
    options = {"loss_normalizing_factor": loss_normalizing_factor}
    tokenizer = _tokenizer(os.fspath(folder), sizes.n_pieces)
    return EncoderClassifier(network.Classifier(model_config), labels, tokenizer, vocabulary, optimizer_def, **options)


def classifier_config(
    sizes: config_lib.EncoderConfig,
    n_labels: int,
    vocab_size: int,
    head: str | None = None,
    dropout_rate: float | None = None,
) -> ClassifierConfig:
    """The sizes of a classifier on an encoder.

    Args:
      sizes: the encoder's.
      n_labels: labels, at least 2.
      vocab_size: see `from_folder`.
      head: see `from_folder`.
      dropout_rate: see `from_folder`.

    Returns:
      Its sizes.

    Raises:
      EncoderError: a field out of range.
    """
    # transformers drops 20% before the last layer of DistilBERT, whatever its other rates.
    chosen = {"head": head or ("distilbert" if sizes.kind == "distilbert" else "pooler")}
    chosen["head_dropout_rate"] = 0.2 if sizes.kind == "distilbert" else sizes.dropout_rate
    if dropout_rate is not None:
        chosen |= dict.fromkeys(("dropout_rate", "attention_dropout_rate", "head_dropout_rate"), dropout_rate)
    known = {**dataclasses.asdict(sizes), **chosen}
    return ClassifierConfig(**known, n_labels=n_labels, vocab_size=vocab_size)


def task_labels(task: str) -> tuple[str, ...]:
    """The label words of a `task`; an EncoderError for one that does not classify."""
    from distill_or_annotate.metrics.kinds import METRICS
    from distill_or_annotate.tasks import registry

    spec = registry.get(task)
    if not METRICS[spec.metric].constant_labels:
        raise EncoderError(
            f"task {task!r} (metric {spec.metric}) does not choose one of a few labels, so an encoder can't classify "
            "it. Fix: take a classification task, such as stanceosaurus, fever or multipit_id, or a T5."
        )
    return tuple(spec.labels)


@functools.cache
def _tokenizer(folder: str, n_pieces: int) -> WordPiece:
    return WordPiece(folder, n_pieces)
