"""Peak memory of the distillation loss and gradient, against a plain one: `python benchmarks/loss_memory.py`.

Each program is compiled for this machine's device and not run; the sizes are the compiler's. One unit is one float32
array `[batch, length, vocab]`. `given_logits` has the logits as arguments and their gradient as result; its temporaries
are what the loss itself needs. `with_heads` begins at both models' hidden states, so that logits and their gradient are
temporaries too, as in a train step (a CPU's matrix product adds a transposed copy of the gradient).
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from distill_or_annotate.losses import TeacherHidden, TeacherTopK, kl_divergence

KINDS = ("forward", "reverse", "jsd(0.5)")


def plain(
    student: jax.Array, teacher: jax.Array, weights: jax.Array, temperature: float = 2.0, kind: str = "forward"
) -> jax.Array:
    """The loss as one would write it, for automatic differentiation.

    Args:
      student: logits `[batch, length, vocab]`.
      teacher: logits, same shape.
      weights: `[batch, length]`.
      temperature: of both sides, above 0.
      kind: one of `KINDS`.

    Returns:
      The weighted sum.
    """
    log_p, log_q = (jax.nn.log_softmax(x.astype(jnp.float32) / temperature) for x in (teacher, student))
    p, q = jnp.exp(log_p), jnp.exp(log_q)
    if kind == "forward":
        values = jnp.sum(p * (log_p - log_q), axis=-1)
    elif kind == "reverse":
        values = jnp.sum(q * (log_q - log_p), axis=-1)
    else:
        log_m = jnp.log((p + q) / 2)
        values = jnp.sum(p * (log_p - log_m) + q * (log_q - log_m), axis=-1) / 2
    return temperature**2 * jnp.sum(values * weights)


def compiled_bytes(loss: Callable[..., jax.Array], arguments: tuple[Any, ...], argnums: Any) -> dict[str, int]:
    """Compiles a loss with its gradient.

    Args:
      loss: returns a scalar.
      arguments: shapes of its arguments.
      argnums: those that get a gradient.

    Returns:
      `temporary`, `argument` and `output` bytes.
    """
    memory = jax.jit(jax.value_and_grad(loss, argnums)).lower(*arguments).compile().memory_analysis()
    return {
        "temporary": memory.temp_size_in_bytes,
        "argument": memory.argument_size_in_bytes,
        "output": memory.output_size_in_bytes,
    }


def measure(
    batch: int, length: int, vocab: int, dtype: str = "float32", width: int = 512, teacher_width: int = 768, k: int = 32
) -> dict[str, dict[str, dict[str, int]]]:
    """Compiles every program.

    Args:
      batch: rows.
      length: target positions.
      vocab: vocabulary.
      dtype: of the logits in `given_logits`.
      width: of the student.
      teacher_width: of the teacher.
      k: tokens of the top-k teacher.

    Returns:
      Bytes by group of programs and program.
    """

    def shape(*sizes: int, dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(sizes, dtype)

    logits, weights = shape(batch, length, vocab, dtype=jnp.dtype(dtype)), shape(batch, length)
    given = {}
    for kind in KINDS:
        losses = {
            "plain": lambda s, t, w, kind=kind: plain(s, t, w, kind=kind),
            "ours": lambda s, t, w, kind=kind: kl_divergence(s, t, w, kind=kind),
        }
        for name, loss in losses.items():
            given[f"{name} {kind}"] = compiled_bytes(loss, (logits, logits, weights), 0)
    hidden, head = shape(batch, length, width), shape(width, vocab)
    states, kernel = shape(batch, length, teacher_width), shape(teacher_width, vocab)
    kept = (shape(batch, length, k, dtype=jnp.int32), shape(batch, length, k), shape(batch, length))
    programs = {
        "plain": (lambda h, a, w, x, b: plain(h @ a, x @ b, w), (states, kernel)),
        "ours, teacher's logits": (lambda h, a, w, x, b: kl_divergence(h @ a, x @ b, w), (states, kernel)),
        "ours, teacher's hidden states": (
            lambda h, a, w, x, b: TeacherHidden(x, b).compare(h @ a, w).total,
            (states, kernel),
        ),
        "ours, teacher's top k": (lambda h, a, w, *top: TeacherTopK(*top).compare(h @ a, w).total, kept),
    }
    heads = {
        name: compiled_bytes(loss, (hidden, head, weights, *teacher), (0, 1))
        for name, (loss, teacher) in programs.items()
    }
    return {"given_logits": given, "with_heads": heads}


def main() -> None:
    """Prints the sizes as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--vocab", type=int, default=32128)
    parser.add_argument("--dtype", default="float32", help="of the logits where they are given")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    unit = 4 * args.batch * args.length * args.vocab
    found = measure(args.batch, args.length, args.vocab, args.dtype)
    report = {
        "device": f"{jax.devices()[0].device_kind} ({platform.machine()}), jax {jax.__version__}",
        "python": ".".join(map(str, sys.version_info[:3])),
        "shape": [args.batch, args.length, args.vocab],
        "dtype": args.dtype,
        "unit_bytes": unit,
        "temporary_units": {
            group: {name: round(sizes["temporary"] / unit, 2) for name, sizes in rows.items()}
            for group, rows in found.items()
        },
        "bytes": found,
    }
    text = json.dumps(report, indent=1)
    print(text)
    if args.output:
        args.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
