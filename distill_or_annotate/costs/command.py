"""Prints what additional dollars buy under each strategy: labels, GPU-hours, unlabeled examples."""

import argparse
import datetime
import json
import sys

from distill_or_annotate.costs.assumptions import Assumptions
from distill_or_annotate.costs.cell import CostCell, cost_cell
from distill_or_annotate.prices import PriceBook, age_warning, load_book

EXAMPLE = "doa cost --task wlp --n-labels 5000 --additional-usd 200"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments.

    Args:
      parser: receives them.
    """
    parser.add_argument("--task", required=True, help="a task the price book prices, such as wlp")
    parser.add_argument("--n-labels", type=int, required=True, help="labels at hand (N), at least 1")
    parser.add_argument(
        "--additional-usd", type=float, required=True, nargs="+", help="dollars to spend on top; several are compared"
    )
    parser.add_argument("--book", default="paper", help="price book (default: paper)")
    parser.add_argument("--prices", default=None, help="a TOML file of price books instead of the shipped one")
    parser.add_argument(
        "--mode", default="paper", choices=("paper", "fair"), help="what is free: paper (default), or fair, as printed"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """Prints the costs.

    Args:
      args: task, n_labels, additional_usd, book, prices, mode, json.

    Returns:
      0.

    Raises:
      ValueError: an unknown task or book, or a quantity out of range; the message names the fix.
    """
    book = load_book(args.book, args.prices)
    assumptions = Assumptions.for_mode(args.mode)
    cells = [cost_cell(book, args.task, args.n_labels, usd, assumptions) for usd in args.additional_usd]
    if args.json:
        listed = {"assumptions": list(assumptions.sentences())}
        print(json.dumps([cell.as_dict() | listed for cell in cells], indent=2))
    else:
        _print_table(book, cells, assumptions)
    _warn(book, cells)
    return 0


def _warn(book: PriceBook, cells: list[CostCell]) -> None:
    used = {name.partition(":")[2] for cell in cells for name in cell.price_entries}
    # The paper's prices are those of its day on purpose.
    if book.name != "paper" and not book.is_scaled:
        warning = age_warning(
            (book.entries[name] for name in sorted(used) if name in book.entries), datetime.date.today()
        )
        if warning:
            print(f"warning: {warning}", file=sys.stderr)


def _print_table(book: PriceBook, cells: list[CostCell], assumptions: Assumptions) -> None:
    from rich.console import Console
    from rich.table import Table

    first = cells[0]
    title = f"{first.task}, {first.n_labels:,} labels at hand (${first.initial_usd:,.2f})"
    table = Table(title=title, title_justify="left")
    for heading, justify in (("additional", "right"), ("strategy", "left"), ("buys", "left"), ("GPU-hours", "right")):
        table.add_column(heading, justify=justify, no_wrap=True)
    table.add_column("provenance")
    for cell in cells:
        labels = f"{cell.extra_labels:,} labels"
        table.add_row(f"+${cell.additional_usd:,.2f}", "annotate", labels, "-", cell.provenance["extra_labels"])
        bought = "N/A" if cell.n_unlabeled is None else f"{cell.n_unlabeled:,} unlabeled examples"
        hours = "N/A" if cell.gpu_hours is None else f"{cell.gpu_hours:,}"
        table.add_row("", "distill", bought, hours, cell.provenance["n_unlabeled"], end_section=True)
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    for cell in cells:
        if cell.reason:
            console.print(f"N/A at +${cell.additional_usd:,.2f}: {cell.reason}.")
    console.print(
        f"A label costs ${first.usd_per_label:,.3f}; fine-tuning the teacher ${first.finetune_usd:,.2f}; distilling "
        f"${first.distill_usd_per_1k:,.2f} per 1,000 examples; a GPU-hour ${first.usd_per_gpu_hour:,.3f}."
    )
    if first.contradicts_published:
        console.print(
            "Table 6 of the paper prints another fine-tuning price than its Table 2 needs; the latter is used."
        )
    for cell in cells:
        if cell.student_training_usd:
            console.print(
                f"On top of +${cell.additional_usd:,.2f}: ${cell.student_training_usd:,.2f} to fine-tune the student "
                f"on {cell.n_labels + cell.extra_labels:,} labels (estimated)."
            )
    for sentence in assumptions.sentences():
        console.print(f"Assumed: {sentence}")
    console.print(f"{book.title}: book {book.name!r}, oldest price of {first.price_date}.")
