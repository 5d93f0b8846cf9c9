"""Times what a train step costs before its first run: `python benchmarks/lowering.py --size xxl`.

The step (loss, gradient, Adafactor's update) is traced and lowered over shapes alone: no parameter is made. Scanned and
unscanned layers take turns, each turn in a process of its own; Python's and JAX's imports are not on the clock. With
`--compile` XLA's compilation for this machine is timed as well. Prints JSON; `ratio` is unscanned over scanned.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

_SIZES = {
    "tiny": {"emb_dim": 8, "num_heads": 2, "mlp_dim": 16, "num_encoder_layers": 2, "num_decoder_layers": 2},
    "small": {"emb_dim": 512, "num_heads": 6, "mlp_dim": 1024, "num_encoder_layers": 8, "num_decoder_layers": 8},
    "large": {"emb_dim": 1024, "num_heads": 16, "mlp_dim": 2816, "num_encoder_layers": 24, "num_decoder_layers": 24},
    "xxl": {"emb_dim": 4096, "num_heads": 64, "mlp_dim": 10240, "num_encoder_layers": 24, "num_decoder_layers": 24},
}
_KINDS = ("scanned", "unscanned")


def main() -> None:
    """Times the step that the command line names and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=sorted(_SIZES), default="xxl")
    parser.add_argument("--rounds", type=int, default=5, help="turns that each kind gets")
    parser.add_argument("--remat", choices=["none", "full", "dots"], default="none", help="of the scanned layers")
    parser.add_argument("--compile", action="store_true", help="time XLA's compilation too (not for xxl: hours)")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--turn", choices=_KINDS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.turn:
        print(json.dumps(_turn(args)))
        return
    turns = {kind: [] for kind in _KINDS}
    for _ in range(args.rounds):
        for kind in _KINDS:
            turns[kind].append(_in_a_process_of_its_own(kind, args))
    text = json.dumps(_report(turns, args), indent=1)
    print(text)
    if args.output:
        args.output.write_text(text + "\n", encoding="utf-8")


def _in_a_process_of_its_own(kind: str, args: argparse.Namespace) -> dict:
    command = [sys.executable, __file__, "--turn", kind, "--size", args.size, "--remat", args.remat]
    # A compilation cache would answer from the turn before.
    environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false"}
    done = subprocess.run(
        [*command, *["--compile"] * args.compile], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _report(turns: dict[str, list[dict]], args: argparse.Namespace) -> dict:
    import jax

    seconds = {
        what: {kind: sorted(turn["seconds"][what] for turn in turns[kind]) for kind in _KINDS}
        for what in turns["scanned"][0]["seconds"]
    }
    medians = {what: {kind: statistics.median(s) for kind, s in kinds.items()} for what, kinds in seconds.items()}
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version(), "jax": jax.__version__},
        "size": {"name": args.size, **_SIZES[args.size]},
        "remat": args.remat,
        "rounds": args.rounds,
        "median_seconds": {w: {kind: round(s, 3) for kind, s in kinds.items()} for w, kinds in medians.items()},
        "spread_seconds": {
            what: {kind: [round(s[0], 3), round(s[-1], 3)] for kind, s in kinds.items()}
            for what, kinds in seconds.items()
        },
        "ratio": {what: round(kinds["unscanned"] / kinds["scanned"], 2) for what, kinds in medians.items()},
        "program_lines": {kind: turns[kind][0]["program_lines"] for kind in _KINDS},
        "parameters": {kind: turns[kind][0]["parameters"] for kind in _KINDS},
    }


def _turn(args: argparse.Namespace) -> dict:
    """Traces and lowers one step over shapes; seconds by part, and how large the program is."""
    import jax
    import jax.numpy as jnp

    from distill_or_annotate.model import scanned
    from t5x import adafactor, models, train_state
    from t5x.examples.t5 import network

    jax.devices()  # starts the backend
    config = network.T5Config(
        vocab_size=32128,
        head_dim=64,
        mlp_activations=("gelu", "linear"),
        dropout_rate=0.1,
        dtype="bfloat16",
        **_SIZES[args.size],
    )
    module = scanned.Transformer(config, remat=args.remat) if args.turn == "scanned" else network.Transformer(config)
    optimizer = adafactor.Adafactor(logical_factor_rules=adafactor.standard_logical_factor_rules())
    model = models.EncoderDecoderModel(module, None, None, optimizer)
    lengths = {"encoder_input_tokens": 512, "decoder_input_tokens": 114, "decoder_target_tokens": 114}
    batch = {name: jax.ShapeDtypeStruct((8, length), jnp.int32) for name, length in lengths.items()}
    key = jax.eval_shape(jax.random.PRNGKey, 0)
    shapes = {name: x.shape for name, x in batch.items()}

    def start(key: jax.Array):
        return train_state.FlaxOptimTrainState.create(optimizer, model.get_initial_variables(key, shapes))

    def step(state, batch: dict, key: jax.Array):
        grads, _ = jax.grad(model.loss_fn, has_aux=True)(state.params, batch, key)
        return state.apply_gradient(grads, learning_rate=1e-3)

    began = time.perf_counter()
    state = jax.eval_shape(start, key)
    initialised = time.perf_counter()
    lowered = jax.jit(step, donate_argnums=0).lower(state, batch, key)
    ended = time.perf_counter()
    seconds = {"state_shapes": initialised - began, "trace_and_lower": ended - initialised}
    if args.compile:
        lowered.compile()
        seconds["compile"] = time.perf_counter() - ended
    return {
        "seconds": seconds,
        "program_lines": lowered.as_text().count("\n"),
        "parameters": sum(x.size for x in jax.tree.leaves(state.params)),
    }


if __name__ == "__main__":
    main()
