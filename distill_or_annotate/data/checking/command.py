"""Counts, measures and questions a task's data: as tables, as JSON, as a page with plots."""

import argparse
import json
import pathlib
import sys
from collections.abc import Sequence

from distill_or_annotate.data.checking.inputs import SplitRows, find_spec, from_files, from_task
from distill_or_annotate.data.checking.report import Report, check, n_units
from distill_or_annotate.quiet import import_quietly

EXAMPLE = "doa data check wlp --page wlp_data.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments.

    Args:
      parser: receives them.
    """
    parser.add_argument("task", help="a task, such as wlp: its metric, labels, lengths and, without --from, its rows")
    parser.add_argument(
        "--from",
        dest="files",
        nargs="+",
        metavar="FILE",
        help="files in the released form (JSON lines with source and target) in place of the task's own rows; the "
        "split is told by the file's name (fever_dev_all.json) or written before it (train=FILE)",
    )
    parser.add_argument(
        "--on-bad-row",
        choices=("stop", "skip"),
        default="stop",
        help="what a malformed row in FILE does (default: stop)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables (keys: docs/data.md)")
    parser.add_argument("--page", type=pathlib.Path, metavar="FILE.html", help="also write a page with plots")


def run(args: argparse.Namespace) -> int:
    """Checks the data and prints what was found.

    Args:
      args: task, files, on_bad_row, json, page.

    Returns:
      0, whatever the findings: they are for a person to weigh.

    Raises:
      ValueError: an unknown task, no data, or a file that cannot be used.
      OSError: no data folder, or a page that cannot be written.
    """
    from distill_or_annotate.data.checking.findings import findings_of

    if args.page and not args.page.absolute().parent.is_dir():
        raise FileNotFoundError(f"--page {args.page}: its folder does not exist; make it, or name another")
    import_quietly("tensorflow", "seqio")
    spec = find_spec(args.task)
    splits = from_files(args.files, args.on_bad_row) if args.files else from_task(spec)
    report = _checked(spec, splits, own_splits=not args.files)
    findings = findings_of(report)
    if args.page:
        from distill_or_annotate.data.checking.page import page

        args.page.write_text(page(report, findings), encoding="utf-8")
    if args.json:
        document = report.as_dict() | {"findings": [finding.as_dict() for finding in findings]}
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        from distill_or_annotate.data.checking.text import print_report

        print_report(report, findings)
    if args.page:
        # After the tables, and not among the JSON.
        print(args.page, file=sys.stderr if args.json else sys.stdout)
    return 0


def _checked(spec, splits: Sequence[SplitRows], own_splits: bool) -> Report:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("vocabulary", total=n_units(splits))
        return check(
            spec, splits, own_splits, lambda title, n_rows: progress.update(bar, description=title, advance=n_rows)
        )
