"""A model's two functions as programs that need nothing but JAX: StableHLO, lowered by `jax.export`.

`predict(params, inputs)` decodes greedily with a cache; `score(params, inputs, targets)` gives the log-likelihood of
targets. Both are for any batch and any lengths. Compiled, they compute what the model itself computes.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax import export

from t5x import models
from t5x.examples.t5 import layers

PREDICT, SCORE = "predict", "score"
PLATFORMS = ("cpu", "cuda", "tpu", "rocm")
PAD_ID = 0


@dataclasses.dataclass(frozen=True)
class Programs:
    """A model's two functions of (flat parameters, tokens), as they are exported.

    Attributes:
      model: an encoder-decoder with greedy decoding.
      output_tokens: longest prediction, at least 1.
    """

    model: models.EncoderDecoderModel
    output_tokens: int

    @property
    def eos_id(self) -> int:
        """The id that ends a sequence."""
        return getattr(self.model.output_vocabulary, "eos_id", None) or 1

    def predict(self, params: Mapping[str, jax.Array], inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Decodes greedily.

        Args:
          params: arrays by slash-joined name.
          inputs: token ids [b, n]; 0 is padding.

        Returns:
          Token ids [b, output_tokens], 0 after the end, and their log-probabilities [b].
        """
        room = jnp.zeros((inputs.shape[0], self.output_tokens), jnp.int32)
        batch = {"encoder_input_tokens": inputs, "decoder_input_tokens": room}
        made, aux = self.model.predict_batch_with_aux(_nested(params), batch)
        return made, aux["scores"]

    def score(self, params: Mapping[str, jax.Array], inputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Scores targets under teacher forcing.

        Args:
          params: arrays by slash-joined name.
          inputs: token ids [b, n]; 0 is padding.
          targets: token ids [b, t], the end token included; 0 is padding.

        Returns:
          The log-likelihood of each row's targets [b].
        """
        batch = {
            "encoder_input_tokens": inputs,
            "decoder_input_tokens": jnp.pad(targets[:, :-1], ((0, 0), (1, 0))),
            "decoder_target_tokens": targets,
            "decoder_loss_weights": (targets != PAD_ID).astype(jnp.float32),
        }
        return self.model.score_batch(_nested(params), batch)

    def exported(self, shapes: Mapping[str, Any], platforms: Sequence[str]) -> dict[str, export.Exported]:
        """Lowers both functions once for several platforms.

        Args:
          shapes: shape and dtype of each parameter by slash-joined name.
          platforms: of `PLATFORMS`, one or more.

        Returns:
          The lowered `predict` and `score`.

        Raises:
          ValueError: for a platform that there is not.
        """
        _check_platforms(platforms)
        b, n, t = export.symbolic_shape("b, n, t")
        inputs, targets = jax.ShapeDtypeStruct((b, n), jnp.int32), jax.ShapeDtypeStruct((b, t), jnp.int32)
        lowered = {}
        with nn.intercept_methods(_biases_by_table):
            for name, fn, tokens in ((PREDICT, self.predict, (inputs,)), (SCORE, self.score, (inputs, targets))):
                lowered[name] = export.export(jax.jit(fn), platforms=tuple(platforms))(dict(shapes), *tokens)
        return lowered


def _nested(params: Mapping[str, jax.Array]) -> dict[str, Any]:
    return traverse_util.unflatten_dict(dict(params), sep="/")


def _check_platforms(platforms: Sequence[str]) -> None:
    wrong = [name for name in platforms if name not in PLATFORMS]
    if wrong or not platforms:
        near = difflib.get_close_matches(wrong[0], PLATFORMS, n=1) if wrong else []
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"--platforms is {','.join(platforms)!r}; {hint}allowed, with commas: {', '.join(PLATFORMS)}.")


def _biases_by_table(next_call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
    """Computes relative position biases where lengths are symbols; the network wants numbers.

    The buckets are looked up in a table that is made here, so that every platform has the same ones: a logarithm whose
    last bit is off would move a distance to the next bucket.
    """
    module = context.module
    if not isinstance(module, layers.RelativePositionBiases) or context.method_name != "__call__":
        return next_call(*args, **kwargs)

    def biases(queries: Any, keys: Any, bidirectional: bool = True, query_index: Any = None) -> jax.Array:
        far = module.max_distance
        with jax.ensure_compile_time_eval():
            buckets = module._relative_position_bucket(
                np.arange(-far, far + 1, dtype=np.int32), bidirectional, module.num_buckets, far
            )
        rows = jnp.arange(queries, dtype=jnp.int32) if query_index is None else query_index.reshape(1)
        distance = jnp.arange(keys, dtype=jnp.int32)[None, :] - rows[:, None]
        index = jnp.take(np.asarray(buckets), jnp.clip(distance, -far, far) + far, mode="clip")
        table = module.get_variable("params", "rel_embedding")
        return jnp.take(table, index, axis=1, mode="clip").astype(module.dtype)[None]

    return biases(*args, **kwargs)
