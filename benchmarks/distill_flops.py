"""Operations of distillation by the jaxpr walk, over shapes alone: no parameter is made.

Layers are scanned, so that XXL is traced as fast as Small; the count is that of all layers.
"""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from distill_or_annotate.capture import collecting, decoding
from distill_or_annotate.forecast.flops import count_flops
from distill_or_annotate.losses import TeacherHidden, TeacherTopK
from distill_or_annotate.model import DistillationObjective, DistillationOptions, scanned
from t5x import models
from t5x.examples.t5 import network

sys.path.insert(0, str(Path(__file__).parent / "workers"))

from distilling import KEPT_TOKENS, TEMPERATURE
from shapes import Shape

KINDS = ("topk", "hidden")


def of_a_batch(teacher_shape: Shape, student_shape: Shape) -> dict[str, int]:
    """Operations of each part of the work on one batch.

    Args:
      teacher_shape: the teacher's network, and the batch.
      student_shape: the student's network.

    Returns:
      `generate` (the paper's decoding), `capture_topk` and `capture_hidden`; `teacher` (a forward pass); and the steps
      `live` (the teacher's pass included), `topk` and `hidden`.
    """
    shape = teacher_shape
    rows, length, vocab = shape.batch, shape.target_tokens, shape.vocab
    teacher, student = model_of(teacher_shape), model_of(student_shape)
    params, student_params = params_of(teacher, shape), params_of(student, shape)
    inputs = jax.ShapeDtypeStruct((rows, shape.input_tokens), jnp.int32)
    ids = jax.ShapeDtypeStruct((rows, length), jnp.int32)
    batch = {"encoder_input_tokens": inputs, "decoder_input_tokens": ids, "decoder_target_tokens": ids}
    kept = min(KEPT_TOKENS, vocab)
    number = lambda *sizes: jax.ShapeDtypeStruct(sizes, jnp.float16)  # noqa: E731
    top = (jax.ShapeDtypeStruct((rows, length, kept), jnp.int32), number(rows, length, kept), number(rows, length))
    width = shape.d_model
    states = (jax.ShapeDtypeStruct((rows, length, width), jnp.bfloat16), jax.ShapeDtypeStruct((width, vocab), float))

    def live(params, batch):
        return teacher._compute_logits(params, batch, None)

    def decoded(collect):
        def run(params, inputs):
            return decoding.decode(teacher, params, inputs, n_positions=length, collect=collect)

        # Every row is as long as it may be.
        return count_flops(run, params, inputs, while_trip_count=length).total

    def step(teacher_of, *known):
        def gradient(student_params, batch, known):
            options = DistillationOptions(temperature=TEMPERATURE, normalize_by="tokens")
            objective = DistillationObjective(student, lambda seen: teacher_of(known, seen), options)
            key = jax.random.PRNGKey(0)
            return jax.grad(lambda p: objective.loss_fn(p, batch, key)[0])(student_params)

        return count_flops(gradient, student_params, batch, known).total

    kind = lambda name: collecting.collector(name, kept, TEMPERATURE, collecting.stored_dtype(name))  # noqa: E731
    return {
        "generate": decoded(lambda hidden, logits: {}),
        **{f"capture_{name}": decoded(kind(name)) for name in KINDS},
        "teacher": count_flops(live, params, batch).total,
        "live": step(lambda known, seen: live(known[0], seen), params),
        "topk": step(lambda known, seen: TeacherTopK(*known), *top),
        "hidden": step(lambda known, seen: TeacherHidden(*known), *states),
    }


def totals(parts: dict, epochs: int) -> dict[str, float]:
    """What each way to train costs in all, the teacher's first pass included.

    Args:
      parts: seconds or operations of each part over the pool.
      epochs: of training, at least 1.

    Returns:
      By `live`, `topk` and `hidden`.
    """
    first = {"live": "generate", **{kind: f"capture_{kind}" for kind in KINDS}}
    return {way: parts[once] + epochs * parts[way] for way, once in first.items()}


def ratios(total: dict[str, float]) -> dict[str, float]:
    """How many times each kind of store is cheaper than the live teacher."""
    return {kind: round(total["live"] / total[kind], 2) for kind in KINDS}


def model_of(shape: Shape) -> models.EncoderDecoderModel:
    """The network of a shape, its layers scanned.

    Args:
      shape: widths and numbers of layers.
    """
    config = network.T5Config(
        vocab_size=shape.vocab, emb_dim=shape.d_model, num_heads=shape.n_heads, head_dim=shape.d_kv,
        mlp_dim=shape.d_ff, mlp_activations=("gelu", "linear"), num_encoder_layers=shape.n_layers,
        num_decoder_layers=shape.n_layers, dropout_rate=0.1,
    )  # fmt: skip
    return models.EncoderDecoderModel(scanned.Transformer(config), None, None, None)


def params_of(model: models.EncoderDecoderModel, shape: Shape):
    """The shapes of a network's parameters.

    Args:
      model: what `model_of` gave.
      shape: its shape.
    """
    shapes = {
        "encoder_input_tokens": (shape.batch, shape.input_tokens),
        "decoder_input_tokens": (shape.batch, shape.target_tokens),
        "decoder_target_tokens": (shape.batch, shape.target_tokens),
    }
    key = jax.ShapeDtypeStruct((2,), np.uint32)
    return jax.eval_shape(lambda key: model.get_initial_variables(key, shapes), key)["params"]
