"""`doa data fetch`: the public files of a task's data sets, and how to ask for the others."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from distill_or_annotate.data.fetching import catalogue as fetch_catalogue
from distill_or_annotate.data.fetching import http as fetch_http
from distill_or_annotate.data.fetching import records as fetch_records
from distill_or_annotate.pipeline.locks import folder_lock

if TYPE_CHECKING:
    from rich.console import Console

EXAMPLE = "doa data fetch natural_questions --output downloads/nq"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `doa data fetch`."""
    parser.add_argument("task", nargs="?", help="a task; with --list it may be left out")
    parser.add_argument(
        "--output", type=Path, help="folder for the files; default downloads/TASK in DOA_DATA_DIR, or else here"
    )
    parser.add_argument("--list", action="store_true", help="print files, licences and what to ask for; fetch nothing")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="fetch this file; may be repeated")
    parser.add_argument("--base-url", help="a mirror: each file is taken from BASE_URL/NAME, and verified all the same")
    parser.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS", help="longest silence of a server")
    parser.add_argument("--catalogue", type=Path, default=fetch_catalogue.CATALOGUE, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Fetch, or list.

    Args:
      args: task, output, list, only, base_url, timeout, catalogue.

    Returns:
      0 when every file is in place; 1 when some are not.

    Raises:
      ValueError: an unknown task or file, an address that is no http(s) one, a timeout of 0 or less.
      OSError: the folder cannot be written, or another process is at work in it.
    """
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    catalogue = fetch_catalogue.load(args.catalogue)
    if args.list:
        for entry in [fetch_catalogue.downloads(args.task, catalogue)] if args.task else catalogue.values():
            _print_entry(entry, console)
        return 0
    if not args.task:
        raise ValueError(f"which task? One of: {', '.join(catalogue)}. `doa data fetch --list` shows their files.")
    entry = fetch_catalogue.downloads(args.task, catalogue)
    files = entry.chosen(args.only)
    if args.base_url:
        fetch_catalogue.check_url(args.base_url, "--base-url")
    if not args.timeout > 0:
        raise ValueError(f"--timeout is {args.timeout:g} seconds; more than 0 is needed.")
    output = args.output or Path(os.environ.get("DOA_DATA_DIR") or ".").expanduser() / "downloads" / args.task
    console.print(f"{entry.title}. Licence: {entry.licence}. Cite: {entry.citation}", markup=False)
    with folder_lock(output):
        failures = _fetch_all(files, output, args, console)
    for failure in failures:
        print(f"doa data fetch: {failure}", file=sys.stderr)
    _print_by_hand(entry, console)
    if not failures and entry.next and not args.only:
        console.print(f"Next, in {output}:", markup=False)
        console.print("\n".join(f"  {line}" for line in entry.next.splitlines()), markup=False)
    return 1 if failures else 0


def _fetch_all(files, output: Path, args: argparse.Namespace, console: Console) -> list[OSError]:
    """Fetches each file whatever becomes of the others."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    records = fetch_records.Records(output)
    patience = fetch_http.Patience(timeout_seconds=args.timeout)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    failures: list[OSError] = []
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        for file in files:
            bar = bars.add_task(file.name, total=file.size_bytes)
            url = f"{args.base_url.rstrip('/')}/{file.name}" if args.base_url else file.url
            expected = records.expected(file)
            try:
                checked = records.at_hand(expected)
                if checked:
                    line = f"{file.name}: there already ({checked})"
                else:
                    fetched = fetch_http.fetch(
                        expected,
                        output,
                        url,
                        lambda done, total, bar=bar: bars.update(bar, completed=done, total=total),
                        patience,
                    )
                    records.add(file, fetched)
                    line = f"{file.name}: {fetched.size_bytes:,} bytes, {_verdict(file, expected)}"
                    line += ", resumed" if fetched.resumed else ""
                bars.console.print(line, markup=False, highlight=False)
            except OSError as error:
                failures.append(error)
            bars.remove_task(bar)
    return failures


def _verdict(file: fetch_catalogue.RemoteFile, expected: fetch_catalogue.RemoteFile) -> str:
    if file.sha256:
        return f"SHA-256 as in {file.checked_by or 'the catalogue'}"
    if expected.sha256:
        return "SHA-256 as first downloaded"
    known = f"MD5 as in {file.checked_by}" if file.md5 else "no hash known"
    return f"{known}; SHA-256 noted in {fetch_records.NAME} for later runs"


def _print_entry(entry: fetch_catalogue.Downloads, console: Console) -> None:
    console.print(f"\n{entry.task}: {entry.title}", markup=False, style="bold")
    console.print(f"  licence: {entry.licence}\n  cite:    {entry.citation}", markup=False)
    for file in entry.files:
        size = f"{file.size_bytes / 1e6:,.1f} MB" if file.size_bytes else "size unknown"
        known = f"known beforehand: {file.known}" + (f" ({file.checked_by})" if file.checked_by else "")
        only = "; fetched with --only" if file.optional else ""
        console.print(f"  {file.name}  {size}; {known}{only}\n    {file.what}\n    {file.url}", markup=False)
    _print_by_hand(entry, console)


def _print_by_hand(entry: fetch_catalogue.Downloads, console: Console) -> None:
    for item in entry.by_hand:
        console.print(f"  By hand: {item.what}.\n    {item.how}\n    {item.url}", markup=False)
