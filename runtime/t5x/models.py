"""Models: a network, its vocabularies and its optimizer, with the loss, prediction and scoring that trainers call.

A batch is a mapping of int32 arrays: `encoder_input_tokens` [B, L], `decoder_input_tokens`, `decoder_target_tokens` and
`decoder_loss_weights` [B, T]; packed batches add `encoder_segment_ids`, `decoder_segment_ids`, `encoder_positions`,
`decoder_positions`. SeqIO (and with it TensorFlow) is imported only when a feature converter is asked for.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import clu.metrics as clu_metrics
import flax.core
import flax.linen as nn
import jax
import jax.numpy as jnp

from t5x import decoding, losses, optimizers
from t5x import metrics as metrics_lib

Array = jax.Array
PyTree = Any
Vocabulary = Any  # `seqio.Vocabulary`
Batch = Mapping[str, Array]
MetricsMap = MutableMapping[str, clu_metrics.Metric]
_FACTOR = "loss_normalizing_factor"


# Maps a decoding state to (logits [rows, V], new cache).
TokensIdsToLogitsCallable = Callable[[decoding.DecodingState], tuple[Array, PyTree]]
# Generates (decodes [B, num_decodes, T], scores [B, num_decodes]), the best last; see `decoding.beam_search`.
DecodeFnCallable = Callable[..., tuple[Array, Array]]


@dataclasses.dataclass(frozen=True)
class DecoderParams:
    """Defaults of `predict_batch_with_aux`.

    Attributes:
      return_all_decodes: return every decode rather than the best.
      num_decodes: decodes per example.
    """

    return_all_decodes: bool = False
    num_decodes: int = 1


class BaseModel(abc.ABC):
    """What trainers, evaluators and inference ask of a model.

    Args:
      optimizer_def: definition of the optimizer, or None for a model that is not trained.
    """

    FEATURE_CONVERTER_CLS: Any = None

    def __init__(self, optimizer_def: optimizers.OptimizerDefType | None):
        self.optimizer_def = optimizer_def

    @abc.abstractmethod
    def loss_fn(self, params: PyTree, batch: Batch, dropout_rng: Array | None) -> tuple[Array, MetricsMap]:
        """Returns (scalar loss, metrics) of `batch` under `params`; a `dropout_rng` of None switches dropout off."""

    def eval_fn(self, params: PyTree, batch: Batch) -> tuple[Array, MetricsMap]:
        """Returns the loss and metrics of `batch` under `params`, without dropout."""
        return self.loss_fn(params=params, batch=batch, dropout_rng=None)

    def predict_batch(self, params: PyTree, batch: Batch, rng: Array | None = None) -> Array:
        """Returns predictions only; `params`, `batch` and `rng` as in `predict_batch_with_aux`."""
        return self.predict_batch_with_aux(params=params, batch=batch, rng=rng)[0]

    @abc.abstractmethod
    def predict_batch_with_aux(self, params: PyTree, batch: Batch, rng: Array | None = None) -> tuple[Array, Any]:
        """Returns (predictions, auxiliary outputs) for `batch` under `params`; `rng` is for decoding that samples."""

    @abc.abstractmethod
    def score_batch(self, params: PyTree, batch: Batch, return_intermediates: bool = False) -> Any:
        """Returns a score per example of `batch` [B] under `params`; with intermediates if `return_intermediates`."""

    @abc.abstractmethod
    def get_initial_variables(
        self, rng: Array, input_shapes: Mapping[str, Any], input_types: Mapping[str, Any] | None = None
    ) -> flax.core.FrozenDict:
        """Fresh variables: collections `params` and `params_axes`, and others a network may have.

        Args:
          rng: key of the initialisers.
          input_shapes: shape of each feature of a batch, by name.
          input_types: dtype of each feature; the model chooses where it is not given.
        """


class BaseTransformerModel(BaseModel):
    """A model trained with cross-entropy on `decoder_target_tokens`.

    Args:
      module: the Flax network.
      input_vocabulary: vocabulary of the inputs.
      output_vocabulary: vocabulary of the targets.
      optimizer_def: definition of the optimizer.
      decode_fn: how to generate.
      label_smoothing: in [0, 1).
      z_loss: weight of logZ^2, at least 0.
      loss_normalizing_factor: None (the loss is a sum over tokens), a number, or the name of a special factor.
    """

    def __init__(
        self,
        module: nn.Module,
        input_vocabulary: Vocabulary,
        output_vocabulary: Vocabulary,
        optimizer_def: optimizers.OptimizerDefType | None,
        decode_fn: DecodeFnCallable | None = None,
        label_smoothing: float = 0.0,
        z_loss: float = 0.0,
        loss_normalizing_factor: float | int | str | losses.SpecialLossNormalizingFactor | None = None,
    ):
        super().__init__(optimizer_def=optimizer_def)
        self.module = module
        self.input_vocabulary = input_vocabulary
        self.output_vocabulary = output_vocabulary
        self.decode_fn = decode_fn
        self._label_smoothing = label_smoothing
        self._z_loss = z_loss
        self._loss_normalizing_factor = loss_normalizing_factor

    @abc.abstractmethod
    def _compute_logits(self, params: PyTree, batch: Batch, dropout_rng: Array | None = None) -> Array:
        """Returns logits [B, T, V] under teacher forcing; dropout is on only with a key."""

    def loss_fn(self, params: PyTree, batch: Batch, dropout_rng: Array | None) -> tuple[Array, MetricsMap]:
        """Returns the summed cross-entropy (divided only by the normalising factor, if any) and metrics.

        Args:
          params: parameters of the network.
          batch: see the module.
          dropout_rng: key, or None for no dropout.

        Returns:
          (scalar loss including z-loss, metrics).
        """
        logits = self._compute_logits(params, batch, dropout_rng)
        factor, weights = losses.get_loss_normalizing_factor_and_weights(self._loss_normalizing_factor, batch)
        factor = batch[_FACTOR][0] if _FACTOR in batch else factor
        targets = batch["decoder_target_tokens"]
        loss, z_loss, _ = losses.compute_weighted_cross_entropy(
            logits, targets, weights, self._label_smoothing, self._z_loss, factor
        )
        suffix = "_segment_ids"
        segment_ids = {k.removesuffix(suffix): v for k, v in batch.items() if k.endswith(suffix)}
        if not segment_ids:
            names = ("encoder_input_tokens", "decoder_target_tokens")
            segment_ids = {k: (batch[k] != 0).astype(jnp.int32) for k in names if k in batch}
        metrics = self._compute_metrics(
            logits=logits, targets=targets, mask=weights, loss=loss, z_loss=z_loss, segment_ids=segment_ids
        )
        return loss, metrics

    def with_normalizing_factor(self, batch: Batch) -> Batch:
        """Returns `batch` with its normalising factor, by which each slice of it is to be divided; see `trainer`."""
        factor, _ = losses.get_loss_normalizing_factor_and_weights(self._loss_normalizing_factor, batch)
        if factor is None:
            return batch
        return {**batch, _FACTOR: jnp.full(batch["decoder_target_tokens"].shape[:1], factor, jnp.float32)}

    def _compute_metrics(self, **step: Any) -> MetricsMap:
        """Metrics of a step; takes what `compute_base_metrics` takes, for subclasses that add to it."""
        return compute_base_metrics(**step)


class _EncDecFeatureConverter:
    """Class attribute that imports SeqIO on first use; instances and subclasses may set another."""

    def __get__(self, instance: Any, owner: type | None = None) -> type:
        import seqio

        return seqio.EncDecFeatureConverter


class EncoderDecoderModel(BaseTransformerModel):
    """An encoder-decoder such as `t5x.examples.t5.network.Transformer`.

    Args:
      module: the Flax network, with methods `encode` and `decode`; `init_cache`, where it exists, prepares decoding.
      input_vocabulary: vocabulary of the inputs.
      output_vocabulary: vocabulary of the targets.
      optimizer_def: definition of the optimizer, or None.
      decode_fn: how to generate.
      feature_converter_cls: replaces `seqio.EncDecFeatureConverter`.
      label_smoothing: in [0, 1).
      z_loss: weight of logZ^2, at least 0.
      loss_normalizing_factor: None (the loss is a sum over tokens), a number, or the name of a special factor.
      default_decoder_params: defaults of `predict_batch_with_aux`.
    """

    FEATURE_CONVERTER_CLS = _EncDecFeatureConverter()

    def __init__(
        self,
        module: nn.Module,
        input_vocabulary: Vocabulary,
        output_vocabulary: Vocabulary,
        optimizer_def: optimizers.OptimizerDefType | None,
        decode_fn: DecodeFnCallable = decoding.beam_search,
        feature_converter_cls: type | None = None,
        label_smoothing: float = 0.0,
        z_loss: float = 0.0,
        loss_normalizing_factor: float | int | str | losses.SpecialLossNormalizingFactor | None = None,
        default_decoder_params: DecoderParams | None = None,
    ):
        if feature_converter_cls is not None:
            self.FEATURE_CONVERTER_CLS = feature_converter_cls
        self._default_decoder_params = default_decoder_params or DecoderParams()
        losses_and_decoding = (decode_fn, label_smoothing, z_loss, loss_normalizing_factor)
        super().__init__(module, input_vocabulary, output_vocabulary, optimizer_def, *losses_and_decoding)

    def get_initial_variables(
        self, rng: Array, input_shapes: Mapping[str, Any], input_types: Mapping[str, Any] | None = None
    ) -> flax.core.FrozenDict:
        """Initialises the network.

        Args:
          rng: key.
          input_shapes: shape by feature name; positions and segment ids may be missing.
          input_types: accepted for compatibility: tokens are integers, and the variables do not depend on them.

        Returns:
          Collections `params` and `params_axes`.
        """
        del input_types
        ones = {name: jnp.ones(shape, jnp.int32) for name, shape in input_shapes.items()}
        optional = ("encoder_positions", "decoder_positions", "encoder_segment_ids", "decoder_segment_ids")
        variables = self.module.init(
            rng,
            ones["encoder_input_tokens"],
            ones["decoder_input_tokens"],
            ones.get("decoder_target_tokens", ones["decoder_input_tokens"]),
            **{name: ones.get(name) for name in optional},
            decode=False,
            enable_dropout=False,
        )
        return flax.core.freeze(variables)

    def _compute_logits(
        self,
        params: PyTree,
        batch: Batch,
        dropout_rng: Array | None = None,
        mutable: Any = False,
        other_variables: PyTree | None = None,
    ) -> Any:
        """Returns logits [B, T, V] under teacher forcing, with new variables if `mutable` names collections."""
        return self.module.apply(
            {"params": params, **(other_variables or {})},
            batch["encoder_input_tokens"],
            batch["decoder_input_tokens"],
            batch["decoder_target_tokens"],
            encoder_segment_ids=batch.get("encoder_segment_ids"),
            decoder_segment_ids=batch.get("decoder_segment_ids"),
            encoder_positions=batch.get("encoder_positions"),
            decoder_positions=batch.get("decoder_positions"),
            decode=False,
            enable_dropout=dropout_rng is not None,
            rngs={} if dropout_rng is None else {"dropout": dropout_rng},
            mutable=mutable,
        )

    def _compute_logits_from_slice(
        self,
        decoding_state: decoding.DecodingState,
        params: PyTree,
        encoded_inputs: Array,
        raw_inputs: Array,
        max_decode_length: int,
    ) -> tuple[Array, PyTree]:
        """Runs one decoding step; returns (logits [rows, V], new cache)."""
        tokens = decoding_state.cur_token
        logits, variables = self.module.apply(
            {"params": params, "cache": decoding_state.cache},
            encoded_inputs,
            raw_inputs,
            tokens,
            tokens,
            enable_dropout=False,
            decode=True,
            max_decode_length=max_decode_length,
            mutable=["cache"],
            method=self.module.decode,
        )
        return jnp.squeeze(logits, axis=1), variables["cache"]

    def _compute_kv_cache(
        self,
        params: PyTree,
        encoded_inputs: Array,
        encoder_input_tokens: Array,
        decoder_input_tokens: Array,
        prefill_decoder_prompt: bool = False,
    ) -> tuple[PyTree, Array | None]:
        """Returns (cache for [B, T] decoder tokens, initial index or None).

        A network with `init_cache` also gets its cross-attention keys and values computed here, once.
        """
        if prefill_decoder_prompt:
            raise NotImplementedError(
                "prefill_decoder_prompt=True needs a network whose `decode` takes `prefill`; the T5 network has none."
            )
        ones = jnp.ones_like(decoder_input_tokens)
        if hasattr(self.module, "init_cache"):
            inputs = (encoded_inputs, encoder_input_tokens, ones)
            options = {"method": self.module.init_cache}
        else:
            inputs = (jnp.ones_like(encoder_input_tokens), ones, ones)
            options = {"decode": True, "enable_dropout": False}
        _, variables = self.module.apply({"params": params}, *inputs, mutable=["cache"], **options)
        return variables["cache"], None

    def predict_batch_with_aux(
        self,
        params: PyTree,
        batch: Batch,
        rng: Array | None = None,
        decoder_params: MutableMapping[str, Any] | None = None,
        return_all_decodes: bool | None = None,
        num_decodes: int | None = None,
        prompt_with_targets: bool = False,
    ) -> tuple[Array, Mapping[str, Array]]:
        """Generates with the decode function and a key/value cache.

        Args:
          params: parameters of the network.
          batch: `encoder_input_tokens` [B, L] and `decoder_input_tokens` [B, T], the length (and the prompt).
          rng: key, passed on as `decode_rng`.
          decoder_params: further keyword arguments of the decode function.
          return_all_decodes: all decodes rather than the best; None for the model's default.
          num_decodes: decodes per example; None for the model's default.
          prompt_with_targets: force `decoder_input_tokens` (without end tokens) as the beginning.

        Returns:
          (tokens [B, T], {'scores': [B]}), or [B, num_decodes, T] and [B, num_decodes] with all decodes, the best last.

        Raises:
          ValueError: if both `rng` and `decoder_params['decode_rng']` are given.
        """
        defaults = self._default_decoder_params
        return_all = defaults.return_all_decodes if return_all_decodes is None else return_all_decodes
        num_decodes = defaults.num_decodes if num_decodes is None else num_decodes
        kwargs = dict(decoder_params or {})
        if rng is not None:
            if kwargs.get("decode_rng") is not None:
                raise ValueError("Both rng and decoder_params['decode_rng'] are given: pass one of them.")
            kwargs["decode_rng"] = rng
        kwargs.setdefault("eos_id", getattr(self.output_vocabulary, "eos_id", None) or 1)

        inputs, decoder_inputs = batch["encoder_input_tokens"], batch["decoder_input_tokens"]
        encoded = self.module.apply({"params": params}, inputs, enable_dropout=False, method=self.module.encode)
        prompt = jnp.zeros_like(decoder_inputs)
        if prompt_with_targets:
            prompt = jnp.where(decoder_inputs == kwargs["eos_id"], 0, decoder_inputs)
        cache, initial_index = self._compute_kv_cache(params, encoded, inputs, decoder_inputs)
        if initial_index is not None:
            kwargs["initial_index"] = initial_index
        tokens_to_logits = functools.partial(
            self._compute_logits_from_slice,
            params=params,
            encoded_inputs=decoding.flat_batch_beam_expand(encoded, num_decodes),
            raw_inputs=decoding.flat_batch_beam_expand(inputs, num_decodes),
            max_decode_length=decoder_inputs.shape[1],
        )
        decodes, scores = self.decode_fn(
            inputs=prompt,
            cache=cache,
            tokens_to_logits=tokens_to_logits,
            num_decodes=num_decodes,
            cache_offset=1 if getattr(self.module, "scan_layers", False) else 0,
            **kwargs,
        )
        if return_all:
            return decodes, {"scores": scores}
        return decodes[:, -1, :], {"scores": scores[:, -1]}

    def score_batch(self, params: PyTree, batch: Batch, return_intermediates: bool = False) -> Any:
        """Sums the weighted log-likelihood of the targets.

        Args:
          params: parameters of the network.
          batch: see the module; without `decoder_loss_weights` every position counts.
          return_intermediates: also return what the network sowed, and the scores by token.

        Returns:
          Log-likelihoods [B], or (log-likelihoods, intermediates).
        """
        intermediates: dict[str, Any] = {}
        if return_intermediates:
            logits, variables = self._compute_logits(params, batch, mutable=["intermediates"])
            intermediates = flax.core.unfreeze(variables).get("intermediates", {})
        else:
            logits = self._compute_logits(params, batch)
        targets, weights = batch["decoder_target_tokens"], batch.get("decoder_loss_weights")
        token_scores = -losses.integer_cross_entropy(logits, targets)[0]
        if weights is not None:
            token_scores = token_scores * weights
        scores = jnp.sum(token_scores, axis=-1)
        if not return_intermediates:
            return scores
        intermediates.setdefault("decoder", {}).update(
            target_tokens=(targets,), loss_weights=(weights,), token_scores=(token_scores,)
        )
        return scores, intermediates


class DecoderOnlyModel:
    """Not part of this runtime; constructing it says so."""

    def __init__(self, *args: Any, **kwargs: Any):
        raise NotImplementedError(
            "DecoderOnlyModel is not part of this runtime (t5x.__runtime__ = 'doa'): use EncoderDecoderModel, or "
            "install upstream T5X."
        )


def remove_prefix(sequence: Array, prefix_length: Array) -> Array:
    """Removes the first `prefix_length` [B] tokens of each row of `sequence` [B, T], padding with 0 at the end."""
    length = sequence.shape[-1]
    index = jnp.arange(length, dtype=jnp.int32)[None, :] + jnp.asarray(prefix_length, jnp.int32)[:, None]
    shifted = jnp.take_along_axis(sequence, jnp.minimum(index, length - 1), axis=1)
    return jnp.where(index < length, shifted, 0)


def count_packed_examples(segment_ids: Array) -> Array:
    """Counts the examples in packed `segment_ids` [B, L], where 0 is padding."""
    before = jnp.pad(segment_ids[:, :-1], ((0, 0), (1, 0)))
    return jnp.sum((segment_ids != before) & (segment_ids != 0))


def compute_weighted_accuracy(logits: Array, targets: Array, weights: Array | None = None) -> tuple[Array, Array]:
    """Returns (weighted count of right tokens, sum of `weights` [B, T]) for `logits` [B, T, V] and `targets` [B, T]."""
    right = (jnp.argmax(logits, axis=-1) == targets).astype(jnp.float32)
    if weights is None:
        return jnp.sum(right), jnp.float32(targets.size)
    return jnp.sum(right * weights), jnp.sum(weights, dtype=jnp.float32)


def _timing_metrics(targets: Array) -> MetricsMap:
    cores = jax.device_count()
    seqs, tokens = targets.shape[0], targets.size
    rate = metrics_lib.TimeRate.from_model_output
    return {
        "timing/seqs_per_second": rate(numerator=seqs),
        "timing/steps_per_second": metrics_lib.StepsPerTime.from_model_output(),
        "timing/seconds": metrics_lib.Time(),
        "timing/seqs": metrics_lib.Sum(jnp.float32(seqs)),
        "timing/seqs_per_second_per_core": rate(numerator=seqs / cores),
        "timing/target_tokens_per_second": rate(numerator=tokens),
        "timing/target_tokens_per_second_per_core": rate(numerator=tokens / cores),
    }


def compute_base_metrics(
    logits: Array,
    targets: Array,
    mask: Array | None,
    loss: Array,
    z_loss: Array | None = None,
    segment_ids: Mapping[str, Array] | None = None,
) -> MetricsMap:
    """Computes the metrics that every step reports.

    Args:
      logits: [B, T, V].
      targets: integers [B, T].
      mask: loss weights [B, T], or None for all ones.
      loss: scalar, summed over tokens (and including z-loss).
      z_loss: scalar z-loss part, or None.
      segment_ids: segment numbers [B, length] by feature, 0 at padding, or None.

    Returns:
      Metric objects by name; means travel as (sum, count), so that merging them stays exact.
    """
    all_tokens = jnp.float32(targets.size)
    right, weight_sum = compute_weighted_accuracy(logits, targets, None if mask is None else mask > 0)
    average, per_step = clu_metrics.Average, metrics_lib.AveragePerStep
    metrics: MetricsMap = {
        "accuracy": average(total=right, count=weight_sum),
        "loss": per_step(total=loss),
        "loss_per_nonpadding_target_token": average(total=loss, count=weight_sum),
        "loss_per_all_target_tokens": average(total=loss, count=all_tokens),
        **_timing_metrics(targets),
        "non_padding_fraction/loss_weights": average(total=weight_sum, count=all_tokens),
    }
    if z_loss is not None:
        metrics["z_loss"] = per_step(total=z_loss)
        metrics["z_loss_per_all_target_tokens"] = average(total=z_loss, count=all_tokens)
        metrics["cross_ent_loss"] = per_step(total=loss - z_loss)
        metrics["cross_ent_loss_per_all_target_tokens"] = average(total=loss - z_loss, count=all_tokens)
    if segment_ids:
        real_sum, size_sum = jnp.float32(0), 0
        for feature, ids in segment_ids.items():
            real = jnp.sum(ids != 0).astype(jnp.float32)
            metrics[f"effective_batch_size/{feature}"] = per_step(total=count_packed_examples(ids).astype(jnp.float32))
            metrics[f"non_padding_fraction/{feature}"] = average(total=real, count=jnp.float32(ids.size))
            real_sum, size_sum = real_sum + real, size_sum + ids.size
        metrics["non_padding_fraction/overall"] = average(total=real_sum, count=jnp.float32(size_sum))
    return metrics


def get_input_vocabulary(model: BaseTransformerModel) -> Vocabulary:
    """Returns the model's input vocabulary (a function, so that gin can bind it)."""
    return model.input_vocabulary


def get_output_vocabulary(model: BaseTransformerModel) -> Vocabulary:
    """Returns the model's output vocabulary (a function, so that gin can bind it)."""
    return model.output_vocabulary
