"""Prints the cost columns of the paper's Tables 2 and 11, computed from prices, beside the printed ones."""

import argparse
import json
import sys

from distill_or_annotate import paper
from distill_or_annotate.costs.assumptions import Assumptions
from distill_or_annotate.costs.published import count_sentence, published_cells
from distill_or_annotate.costs.teacher import finetune_cost
from distill_or_annotate.prices import PriceBook, load_book

EXAMPLE = "doa paper costs --json"

_WIDTH = 120


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments.

    Args:
      parser: receives them.
    """
    parser.add_argument("--book", default="paper", help="price book (default: paper; another shows what would change)")
    parser.add_argument("--prices", default=None, help="a TOML file of price books instead of the shipped one")
    parser.add_argument("--json", action="store_true", help="print a JSON list of the 66 cells; counts go to stderr")


def run(args: argparse.Namespace) -> int:
    """Prints the cells.

    Args:
      args: book, prices, json.

    Returns:
      0; 1 where the book is the paper's and a computed column differs from the printed one.

    Raises:
      ValueError: an unknown book, or one that does not price the paper's tasks.
    """
    book = load_book(args.book, args.prices)
    cells = published_cells(book)
    if args.json:
        print(json.dumps(cells, indent=2))
        print(count_sentence(cells), file=sys.stderr)
    else:
        _print_tables(book, cells)
    return 0 if book.name != "paper" or all(cell["matches"] for cell in cells) else 1


def _shown(value: int | None) -> str:
    return "N/A" if value is None else f"{value:,}"


def _print_tables(book: PriceBook, cells: list[dict]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="What additional dollars buy: computed | printed (Tables 2 and 11)", title_justify="left")
    for heading in ("task", "N", "additional", "labels", "GPU-hours", "unlabeled, thousands"):
        table.add_column(heading, justify="left" if heading == "task" else "right", no_wrap=True)
    table.add_column("provenance of the last", no_wrap=True)
    last = None
    for cell in cells:
        block = (cell["task"], cell["n_labels"])
        if last not in (None, block):
            table.add_section()
        names = ("", "") if last == block else (cell["task"], f"{cell['n_labels']:,}")
        last = block
        values = [f"{_shown(cell[name])} | {_shown(cell['published'][name])}" for name in cell["published"]]
        mark = "" if cell["matches"] else "  (differs)"
        table.add_row(*names, f"+${cell['additional_usd']:,}", *values, cell["provenance"] + mark)
    # A pipe, or a narrow terminal, must not clip the numbers.
    console = Console(highlight=False, width=max(Console().width, _WIDTH))
    console.print(table)
    console.print(count_sentence(cells))
    console.print(_finetuning(book))
    grid = f", rounded up to multiples of ${book.finetune_rounding_usd:g}" if book.finetune_rounding_usd else ""
    console.print(f"p published, i inferred, e estimated: linear in N{grid} (half an hour of four GPUs).")
    for sentence in Assumptions().sentences():
        console.print(f"Assumed: {sentence}")


def _finetuning(book: PriceBook):
    from rich.table import Table

    sizes = paper.facts()["figure2"]["n_labels"]
    table = Table(title="Fine-tuning the teacher on N labels, dollars", title_justify="left")
    table.add_column("task", no_wrap=True)
    for n_labels in sizes:
        table.add_column(f"{n_labels:,}", justify="right", no_wrap=True)
    for task in paper.task_names():
        costs = [finetune_cost(book, task, n_labels) for n_labels in sizes]
        table.add_row(task, *(f"{cost.usd:,.2f} {cost.provenance[0]}" for cost in costs))
    return table
