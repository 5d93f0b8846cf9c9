"""`doa convert`: a model between Hugging Face's, T5X's and a single-file form."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

EXAMPLE = "doa convert runs/my_student/model my_student_hf --tokenizer spiece.model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `doa convert`."""
    parser.add_argument(
        "source", type=Path, help="a Hugging Face folder, a T5X checkpoint or model folder, or a .safetensors file"
    )
    parser.add_argument(
        "output", type=Path, help="a new folder, a T5X model folder, or a file that ends in .safetensors"
    )
    parser.add_argument(
        "--to",
        choices=["hugging_face", "t5x", "safetensors"],
        help="the form to write; by default `safetensors` for a file of that name, else t5x from a Hugging Face "
        "folder and hugging_face from anything else",
    )
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="type of the tensors")
    parser.add_argument(
        "--tokenizer",
        type=Path,
        help="sentencepiece model, or a folder with a tokenizer, for a Hugging Face folder; by default the one that "
        "came with the checkpoint",
    )
    parser.add_argument("--note", default="", help="a line for the files' headers, such as the command that trained it")


def run(args: argparse.Namespace) -> int:
    """Convert, read back, compare, and print what came of it."""
    # Before NumPy is imported: on a busy machine BLAS's threads wait for each other far longer than they work here.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from distill_or_annotate.interop import conversion

    with progress_bar() as advance:
        report = conversion.convert(
            args.source, args.output, args.to, args.dtype, args.note, args.tokenizer, advance=advance
        )
    if report.get("tokenizer") == []:
        print("no tokenizer's files were written: --tokenizer spiece.model adds them", file=sys.stderr)
    print(json.dumps(report))
    return 0


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], Any]]:
    """A bar on standard error for each stage of a work, gone when the work is done.

    Yields:
      What the work calls with (name of the stage, done, total).
    """
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, Any] = {}

        def advance(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
            progress.update(tasks[name], completed=done)

        yield advance
