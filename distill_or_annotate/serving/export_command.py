"""`doa export`: a model for other programs to serve."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from distill_or_annotate.serving import exporting

EXAMPLE = "doa export --model mini_student --to my_export --format stablehlo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `doa export`."""
    parser.add_argument(
        "--model",
        required=True,
        help="a T5X or Hugging Face folder, a .safetensors file, mini_student or mini_teacher",
    )
    parser.add_argument("--to", required=True, type=Path, help="the folder to write")
    parser.add_argument(
        "--format",
        required=True,
        choices=exporting.FORMATS,
        help="hf: a folder that transformers loads; stablehlo: programs that JAX alone runs, with their weights",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export in that folder")
    parser.add_argument("--vocabulary", type=Path, help="SentencePiece model; by default the model's own")
    parser.add_argument(
        "--dtype", default="float32", choices=["float32", "bfloat16"], help="type of the stored weights"
    )
    group = parser.add_argument_group("stablehlo only")
    group.add_argument(
        "--max-output-tokens",
        type=int,
        metavar="N",
        help="longest prediction (default: the task's, else the model's config.gin, else 128)",
    )
    group.add_argument("--task", metavar="NAME", help="put prefix and label words of this task into the manifest")
    group.add_argument(
        "--platforms", default="cpu,cuda,tpu", help="what the programs will run on (default: %(default)s)"
    )
    group.add_argument(
        "--compute", choices=["float32", "bfloat16"], help="type of the computation; by default the model's own"
    )


def run(args: argparse.Namespace) -> int:
    """Export, read back, compare, and print what came of it."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy: its threads would wait for each other
    from distill_or_annotate.interop.command import progress_bar

    with progress_bar() as advance:
        report = exporting.export(
            args.model,
            args.to,
            args.format,
            overwrite=args.overwrite,
            vocabulary=args.vocabulary,
            task=args.task,
            dtype=args.dtype,
            compute=args.compute,
            output_tokens=args.max_output_tokens,
            platforms=[name for name in args.platforms.split(",") if name],
            advance=advance,
        )
    print(json.dumps(report))
    return 0
