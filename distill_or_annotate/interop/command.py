"""`doa convert`: a T5X checkpoint as one safetensors file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

EXAMPLE = "doa convert runs/pretrain/mini_teacher mini_teacher.safetensors --dtype bfloat16"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `doa convert`."""
    parser.add_argument("checkpoint", type=Path, help="a T5X checkpoint, or a model folder (its newest is taken)")
    parser.add_argument("output", type=Path, help="the .safetensors file to write")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="type of the tensors")
    parser.add_argument("--note", default="", help="a line for the file's header, such as the command that trained it")


def run(args: argparse.Namespace) -> int:
    """Convert, read back, and print the largest difference."""
    import numpy as np
    from flax import traverse_util

    from distill_or_annotate.interop import parameters

    params, step = parameters.read_checkpoint(args.checkpoint)
    parameters.write_safetensors(params, args.output, args.dtype, {"step": str(step), "note": args.note})
    again, _ = parameters.read_safetensors(args.output)
    before = traverse_util.flatten_dict(dict(params), sep="/")
    after = traverse_util.flatten_dict(again, sep="/")
    difference = max(float(np.abs(np.asarray(before[name], np.float32) - after[name]).max()) for name in before)
    count = sum(int(np.size(value)) for value in before.values())
    print(json.dumps({
        "file": str(args.output), "step": step, "parameters": count, "bytes": args.output.stat().st_size,
        "largest_difference": difference, "sha256": parameters.file_hash(args.output),
    }))  # fmt: skip
    return 0
