"""Rebuilds the report of a run from its files and prints its tables."""

import argparse
import pathlib

EXAMPLE = "doa report runs/quickstart"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments.

    Args:
      parser: receives them.
    """
    parser.add_argument("run", type=pathlib.Path, help="folder of a run: results.jsonl, ledger.jsonl, manifest.json")


def run(args: argparse.Namespace) -> int:
    """Builds the report, prints the tables, and the report's path as the last line.

    Args:
      args: run, the folder.

    Returns:
      0.

    Raises:
      ReportError: the folder holds no run, or a row no report can be made from.
    """
    from distill_or_annotate.reports.build import build
    from distill_or_annotate.reports.inputs import read_run
    from distill_or_annotate.reports.table import blocks_of
    from distill_or_annotate.reports.text import print_blocks

    path = build(args.run)
    print_blocks(blocks_of(read_run(args.run)))
    print(path)
    return 0
