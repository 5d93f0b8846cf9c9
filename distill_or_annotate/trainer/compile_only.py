"""Compiles a configuration's train step for a mesh, and trains nothing: does it fit, and how long does compiling take?

  python -m distill_or_annotate.trainer.compile_only --gin_file=gin/experiments/t5x_finetune_wlp.gin --devices=8

The devices are virtual ones of this CPU. No parameter is made and neither data nor checkpoint is read. Of what is
printed, the state's bytes hold for any platform; the step's temporaries are the CPU compiler's, which keeps float32
copies of bfloat16 weights and fuses otherwise than a GPU's or TPU's.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

EXAMPLE = "python -m distill_or_annotate.trainer.compile_only --gin_file=FILE --devices=8 --model-parallel=2"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compiles and prints one JSON object.

    Args:
      arguments: the command line's words; None takes those of this process.

    Returns:
      The exit status: 0, or 2 where the configuration is refused.
    """
    from t5x import gin_utils

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, epilog=f"Example: {EXAMPLE}"
    )
    parser.add_argument(
        "--gin_file", action="append", default=[], help="as t5x.train takes it; several are read in order"
    )
    parser.add_argument(
        "--gin_bindings", action="append", default=[], help="as t5x.train takes it; also --gin.NAME=VALUE"
    )
    parser.add_argument("--gin_search_paths", default=".", help="folders of gin files, by commas")
    parser.add_argument("--devices", type=int, default=8, help="virtual devices, at least 1 (default: %(default)s)")
    parser.add_argument(
        "--model-parallel", type=int, help="ways in which the model is split (default: the configuration's)"
    )
    parser.add_argument("--lower-only", action="store_true", help="leave the compiler out")
    words = gin_utils.rewrite_gin_args(list(sys.argv[1:] if arguments is None else arguments))
    given = parser.parse_args(words)
    try:
        print(json.dumps(report(given)))
    except (ValueError, OSError) as error:
        print(f"compile_only: {error}", file=sys.stderr)
        return 2
    return 0


def report(given: argparse.Namespace) -> dict[str, Any]:
    """What the compiler says of a step.

    Args:
      given: the parsed command line.

    Returns:
      Mesh, number of parameters, bytes per device and seconds.

    Raises:
      ValueError: the configuration is incomplete or does not fit the mesh.
    """
    import jax

    jax.config.update("jax_num_cpu_devices", given.devices)
    jax.config.update("jax_platforms", "cpu")
    from distill_or_annotate.forecast import train_step

    started = time.perf_counter()
    model_parallel = given.model_parallel
    step = train_step.train_step(
        given.gin_file,
        given.gin_bindings,
        mesh=lambda partitioner: train_step.mesh_of(jax.devices(), partitioner, model_parallel),
        gin_search_paths=given.gin_search_paths.split(","),
    )
    lowered = step.lower()
    seconds = {"trace_and_lower": round(time.perf_counter() - started, 1)}
    found: dict[str, Any] = {
        "mesh": dict(step.mesh.shape),
        "parameters": train_step.parameter_count(step.state.params),
        "batch": {name: list(spec.shape) for name, spec in step.batch.items()},
        "state_bytes_per_device": train_step.bytes_per_device(step.state),
        "batch_bytes_per_device": train_step.bytes_per_device(step.batch),
        "seconds": seconds,
    }
    if not given.lower_only:
        started = time.perf_counter()
        memory = lowered.compile().memory_analysis()
        seconds["compile"] = round(time.perf_counter() - started, 1)
        found["compiled_bytes_per_device"] = {
            "arguments": memory.argument_size_in_bytes,
            "of_which_donated": memory.alias_size_in_bytes,
            "temporaries_on_cpu": memory.temp_size_in_bytes,
        }
    return found


if __name__ == "__main__":
    sys.exit(main())
