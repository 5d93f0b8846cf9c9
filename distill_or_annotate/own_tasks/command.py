"""`doa task add`: from a table to a task, its gin files, its prices and its study."""

from __future__ import annotations

import argparse
import shlex
import sys

from distill_or_annotate.own_tasks.labels import METRICS

EXAMPLE = "doa task add reviews --train reviews.csv --text-col text --label-col label --label-usd 0.10"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `doa task add`."""
    parser.add_argument("name", help="the task's name: lower-case letters, digits, underscores")
    parser.add_argument(
        "--train", required=True, metavar="FILE", help="labelled rows: .csv, .tsv, .jsonl or .parquet; split if alone"
    )
    parser.add_argument(
        "--text-col",
        required=True,
        action="append",
        metavar="COLUMN",
        help="the column that a model reads; given twice, it reads `ONE: text OTHER: text`",
    )
    parser.add_argument("--label-col", required=True, metavar="COLUMN", help="the column that it answers with")
    parser.add_argument("--validation", metavar="FILE", help="rows to choose by; a tenth of --train without it")
    parser.add_argument("--test", metavar="FILE", help="rows to score on; a tenth of --train without it")
    parser.add_argument(
        "--unlabeled", metavar="FILE", help="the pool: a table with --text-col, or .txt with one text a line"
    )
    parser.add_argument("--metric", metavar="|".join(METRICS), help="the score; chosen from the labels without it")
    parser.add_argument("--label-usd", type=float, metavar="USD", help="what a label costs you; else the paper's mean")
    parser.add_argument("--prompt", default="", help="text put before each source, such as 'sentiment: '")
    parser.add_argument("--models", choices=("mini", "t5"), default="mini", help="mini trains on a CPU (default)")
    parser.add_argument("--output", default="my_tasks", metavar="DIR", help="folder of your tasks (default: my_tasks)")
    parser.add_argument("--seed", type=int, default=2023, help="seed of the split (default: 2023)")
    parser.add_argument("--encoding", help="of the text files, such as cp1252 (default: UTF-8)")
    parser.add_argument("--delimiter", help="of CSV files (default: found out from the header)")
    parser.add_argument("--on-bad-row", choices=("stop", "skip"), default="stop", help="skip counts what it leaves out")
    parser.add_argument(
        "--exclude-evaluation-sources", action="store_true", help="take texts of validation and test out of the pool"
    )


def run(args: argparse.Namespace) -> int:
    """Make a task; print what is in it and the commands that come next."""
    from distill_or_annotate.own_tasks import labels, making, names, prices, summary

    names.check_name(args.name)
    root, folder = names.place(args.output)
    names.check_free(root / folder, args.name)
    labels.check_metric(args.metric)
    prices.check_label_usd(args.label_usd)
    given = {split: getattr(args, split) for split in ("train", "validation", "test", "unlabeled")}
    request = making.Request(
        name=args.name,
        root=root,
        folder=folder,
        files={split: file for split, file in given.items() if file is not None},
        text_cols=tuple(dict.fromkeys(args.text_col)),
        label_col=args.label_col,
        metric=args.metric,
        label_usd=args.label_usd,
        prompt=args.prompt,
        models=args.models,
        seed=args.seed,
        encoding=args.encoding,
        delimiter={"tab": "\t", "\\t": "\t"}.get(args.delimiter, args.delimiter),
        on_bad_row=args.on_bad_row,
        exclude_evaluation_sources=args.exclude_evaluation_sources,
        command=shlex.join(["doa", *sys.argv[1:]]),
    )
    summary.show(making.make(request))
    return 0
