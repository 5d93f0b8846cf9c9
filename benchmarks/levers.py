"""Times what each speed-up of the runtime is worth: `python benchmarks/levers.py` prints JSON.

Each lever is taken back for a while (`before`) and put in again (`after`), in turns in one process, at the shapes of
`benchmarks/step_time.py`; `ratio` is before over after. `late_imports` compares two new processes instead.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent / "workers"))

import flax.linen as nn
import jax
import jax.numpy as jnp
import ours
from jax import lax
from rich.console import Console
from rich.progress import track
from shapes import SHAPES

from t5x import losses, models
from t5x.examples.t5 import layers, network


class _ContractedDense(layers.DenseGeneral):
    """A kernel contracted with the inputs' last axes as they stand, so that its gradient contracts two or three."""

    @nn.compact
    def __call__(self, inputs):
        features = (self.features,) if isinstance(self.features, int) else tuple(self.features)
        axes = (self.axis,) if isinstance(self.axis, int) else tuple(self.axis)
        axes = tuple(a % inputs.ndim for a in axes)
        sizes = tuple(inputs.shape[a] for a in axes)
        shape = (functools.reduce(int.__mul__, sizes), functools.reduce(int.__mul__, features))
        kernel = layers.param_with_axes("kernel", self.kernel_init, shape, jnp.float32, axes=tuple(self.kernel_axes))
        return lax.dot_general(inputs, kernel.reshape(sizes + features), ((axes, tuple(range(len(axes)))), ((), ())))


def _dense_targets_loss(logits, targets, weights=None, label_smoothing=0.0, z_loss=0.0, loss_normalizing_factor=None):
    """The loss against one-hot rows as wide as the vocabulary."""
    rows = jax.nn.one_hot(targets, logits.shape[-1], dtype=jnp.float32)
    loss, z_part = losses.cross_entropy_with_logits(logits, rows, z_loss)
    factor = 1.0 if loss_normalizing_factor is None else loss_normalizing_factor
    return jnp.sum(loss * weights) / factor, jnp.sum(z_part * weights) / factor, jnp.sum(weights)


def _differentiated_loss(logits, targets, weights=None, label_smoothing=0.0, z_loss=0.0, loss_normalizing_factor=None):
    """The same loss with the gradient that JAX derives."""
    log_probs = jax.nn.log_softmax(logits)
    loss = -jnp.take_along_axis(log_probs, targets[..., None], -1)[..., 0]
    z_part = z_loss * jax.nn.logsumexp(logits, axis=-1) ** 2
    factor = 1.0 if loss_normalizing_factor is None else loss_normalizing_factor
    return jnp.sum((loss + z_part) * weights) / factor, jnp.sum(z_part * weights) / factor, jnp.sum(weights)


def _cache_without_cross_attention(self, encoded, encoder_input_tokens, decoder_input_tokens):
    ones = jnp.ones_like(decoder_input_tokens)
    self.decode_hidden(encoded, encoder_input_tokens, ones, ones, enable_dropout=False, decode=True)


# Name -> (work, what takes the lever back).
_LEVERS: dict[str, tuple[str, Callable[[], contextlib.AbstractContextManager]]] = {
    "gathered_embedding": (
        "train",
        lambda: mock.patch.object(network.layers, "Embed", functools.partial(layers.Embed, one_hot=True)),
    ),
    "integer_targets": (
        "train",
        lambda: mock.patch.object(models.losses, "compute_weighted_cross_entropy", _dense_targets_loss),
    ),
    "own_loss_gradient": (
        "train",
        lambda: mock.patch.object(models.losses, "compute_weighted_cross_entropy", _differentiated_loss),
    ),
    "dense_as_one_matrix": ("train", lambda: mock.patch.object(layers, "DenseGeneral", _ContractedDense)),
    "cached_cross_attention": (
        "decode",
        lambda: mock.patch.object(network.Transformer, "init_cache", _cache_without_cross_attention),
    ),
}


def main() -> None:
    """Times the levers named on the command line and prints JSON."""
    names = [*_LEVERS, "late_imports"]
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog="example: python benchmarks/levers.py --levers integer_targets"
    )
    parser.add_argument("--levers", nargs="+", choices=names, default=names)
    parser.add_argument("--train-shape", choices=SHAPES, default="B")
    parser.add_argument("--decode-shape", choices=SHAPES, default="A")
    parser.add_argument("--rounds", type=int, default=7, help="turns that each side gets")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    report = {}
    for name in args.levers:
        label, rounds = f"{name:<24}", args.rounds
        turns = track(range(rounds), label, console=Console(stderr=True), transient=True)
        report[name] = _imports(turns) if name == "late_imports" else _lever(name, args, turns)
    text = json.dumps({"jax": jax.__version__, "levers": report}, indent=1)
    print(text)
    if args.output:
        args.output.write_text(text + "\n", encoding="utf-8")


def _lever(name: str, args: argparse.Namespace, turns: Iterator[int]) -> dict:
    work, without = _LEVERS[name]
    shape = args.train_shape if work == "train" else args.decode_shape
    runs = {}
    for side, context in (("before", without), ("after", contextlib.nullcontext)):
        jax.clear_caches()
        with context():
            runs[side] = ours.prepare(work, SHAPES[shape])
            runs[side]()  # traced here, while the lever is out
    seconds: dict[str, list[float]] = {side: [] for side in runs}
    for _ in turns:
        for side, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[side].append(time.perf_counter() - start)
    return {"work": f"{work}:{shape}", **_row(seconds)}


def _imports(turns: Iterator[int]) -> dict:
    late = "from t5x import trainer, models, optimizers, decoding; from t5x.examples.t5 import network"
    seconds: dict[str, list[float]] = {"before": [], "after": []}
    for _ in turns:
        for side, code in (("before", f"import seqio; {late}"), ("after", late)):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)
            seconds[side].append(time.perf_counter() - start)
    return {"work": "import of network, trainer and optimizer", **_row(seconds)}


def _row(seconds: dict[str, list[float]]) -> dict:
    medians = {f"{side}_seconds": round(statistics.median(values), 4) for side, values in seconds.items()}
    return {**medians, "ratio": round(medians["before_seconds"] / medians["after_seconds"], 2)}


if __name__ == "__main__":
    main()
