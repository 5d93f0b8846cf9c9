"""Turns a data set's official files into a TFDS folder, and prints what became of each row."""

import argparse
import shlex

EXAMPLE = "doa data build wlp --from protocols/ --split 80/10/10"

_SPLITS = ("train", "validation", "test", "unlabeled")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments.

    Args:
      parser: receives them.
    """
    files = {"nargs": "+", "action": "extend", "metavar": "FILE", "default": []}
    parser.add_argument("task", help="one of the six tasks, such as wlp")
    parser.add_argument("--from", dest="files", help="files and folders; names tell train, dev, test", **files)
    for split in _SPLITS:
        parser.add_argument(f"--{split}", help=f"files and folders of {split}", **files)
    parser.add_argument("--form", help="form of the labelled files; recognised by content when not given")
    parser.add_argument("--pool-form", help="form of the unlabeled files; recognised by content when not given")
    parser.add_argument(
        "--split", metavar="PERCENT", help="split all of --from by a seeded hash, such as 80/10/10, whatever names say"
    )
    parser.add_argument("--split-seed", type=int, default=0, metavar="N", help="seed of that hash (default 0)")
    parser.add_argument("--output", metavar="ROOT", help="root of built folders (default DOA_DATA_DIR/built)")
    parser.add_argument("--on-bad-row", choices=("stop", "skip"), default="stop", help="at a malformed row (stop)")
    parser.add_argument(
        "--exclude-evaluation-sources", action="store_true", help="drop validation and test sources from the pool"
    )
    parser.add_argument("--force", action="store_true", help="replace what was built from other files")


def run(args: argparse.Namespace) -> int:
    """Builds the data set, prints its table, and the folder as the last line.

    Args:
      args: as `add_arguments` makes them.

    Returns:
      0.

    Raises:
      ValueError: files, a form or a wish that cannot be used.
      OSError: a file cannot be read, or the folder not written.
    """
    from distill_or_annotate.data.building import split as build_split
    from distill_or_annotate.data.building.table import lines
    from distill_or_annotate.data.building.writing import Request, build

    request = Request(
        task=args.task,
        files=args.files,
        by_split={split: given for split in _SPLITS if (given := getattr(args, split))},
        form=args.form,
        pool_form=args.pool_form,
        ratios=build_split.parse_ratios(args.split) if args.split else None,
        split_seed=args.split_seed,
        output=args.output,
        on_bad_row=args.on_bad_row,
        force=args.force,
        exclude_evaluation_sources=args.exclude_evaluation_sources,
        command=_command(args),
    )
    with _bar() as on_progress:
        result = build(request, on_progress)
    if not result.is_new:
        print("built already from the same files with the same settings; nothing to do\n")
    print("\n".join(lines(result.provenance)))
    print(result.folder)
    return 0


def _bar():
    import contextlib

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    @contextlib.contextmanager
    def shown():
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            bars: dict[str, int] = {}

            def on_progress(stage: str, done: int, total: int) -> None:
                if stage not in bars:
                    bars[stage] = progress.add_task(stage, total=total)
                progress.update(bars[stage], completed=done, total=total)

            yield on_progress

    return shown()


def _command(args: argparse.Namespace) -> str:
    words = ["doa", "data", "build", args.task]
    for flag, value in (("--from", args.files), *((f"--{split}", getattr(args, split)) for split in _SPLITS)):
        words += [flag, *value] if value else []
    for flag in ("form", "pool_form", "split", "output"):
        value = getattr(args, flag)
        words += [f"--{flag.replace('_', '-')}", value] if value else []
    words += ["--split-seed", str(args.split_seed)] if args.split_seed else []
    words += ["--on-bad-row", args.on_bad_row] if args.on_bad_row != "stop" else []
    words += ["--exclude-evaluation-sources"] if args.exclude_evaluation_sources else []
    words += ["--force"] if args.force else []
    return shlex.join(words)
