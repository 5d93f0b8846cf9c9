"""Rebuilds the report of runs from their files and prints their tables; with --paper, the paper's beside them."""

import argparse
import pathlib

EXAMPLE = "doa report runs/quickstart --paper"
_NO_RUN = pathlib.Path("report")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments.

    Args:
      parser: receives them.
    """
    parser.add_argument(
        "run", type=pathlib.Path, nargs="*", help="folders of runs: results.jsonl, ledger.jsonl, manifest.json"
    )
    parser.add_argument(
        "--paper", action="store_true", help="draw the paper's tables and figures too; without a run, these alone"
    )
    parser.add_argument(
        "--out", type=pathlib.Path, help="folder of the report (default: RUN/report for one run, else ./report)"
    )


def run(args: argparse.Namespace) -> int:
    """Builds the report, prints the tables, and the report's path as the last line.

    Args:
      args: run, the folders; paper; out.

    Returns:
      0.

    Raises:
      ReportError: nothing to report on, a folder holds no run, or a row no report can be made from.
    """
    from distill_or_annotate.reports.build import build_all
    from distill_or_annotate.reports.text import print_grids, print_run

    out = args.out or (args.run[0] / "report" if len(args.run) == 1 else _NO_RUN)
    path = build_all(args.run, out, args.paper)
    for folder in args.run:
        print_run(folder)
    if args.paper and not args.run:
        from distill_or_annotate.reports.paper_tables import paper_tables

        print_grids([grid for grids in paper_tables().values() for grid in grids])
    print(path)
    return 0
