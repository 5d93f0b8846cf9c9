"""Lists prices with date, source and age, or derives what a label costs."""

import argparse
import datetime
import json
import sys
from collections.abc import Mapping
from typing import Any

from distill_or_annotate.prices.book import PriceBook, age_warning
from distill_or_annotate.prices.books import load_book, load_books
from distill_or_annotate.prices.entry import Factor, PriceBookError, PriceEntry

EXAMPLE = "doa prices current --kind api; doa prices label --task wlp --annotators 3 --adjudication 0.2"

_LABEL = "label"
_WIDE = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments.

    Args:
      parser: receives them.
    """
    parser.add_argument(
        "book", nargs="?", default=None, help="a price book; left out: a list of them; `label`: what a label costs"
    )
    parser.add_argument("--prices", default=None, help="a TOML file of price books, which may extend the shipped ones")
    parser.add_argument("--kind", default=None, help="only ids that begin so, such as api, label or device_hour")
    parser.add_argument("--json", action="store_true", help="print JSON: without a book, the prices of all of them")
    label = parser.add_argument_group("doa prices label")
    label.add_argument("--task", default=None, help="a task of the paper, such as wlp")
    label.add_argument("--annotators", type=int, default=None, help="judgements per label (default: the paper's)")
    label.add_argument("--adjudication", type=float, default=None, help="share of labels judged once more, 0 to 1")
    label.add_argument("--adjudicator-usd", type=float, default=None, help="dollars for such a judgement")
    label.add_argument(
        "--input", action="append", default=None, metavar="NAME=VALUE", help="another number in the paper's derivation"
    )


def run(args: argparse.Namespace) -> int:
    """Prints prices.

    Args:
      args: book, prices, kind, json; task, annotators, adjudication, adjudicator_usd, input.

    Returns:
      0.

    Raises:
      ValueError: an unknown book or task, a price that is none, or an argument of the other form of the command.
    """
    of_label = ("task", "annotators", "adjudication", "adjudicator_usd", "input")
    of_books = ("prices", "kind")
    out_of_place = [name for name in (of_books if args.book == _LABEL else of_label) if getattr(args, name) is not None]
    if out_of_place:
        option = f"--{out_of_place[0].replace('_', '-')}"
        right = "doa prices [BOOK]" if args.book == _LABEL else "doa prices label"
        raise ValueError(f"{option} belongs to `{right}`. Fix: leave it out, or call that.")
    return _label(args) if args.book == _LABEL else _list(args, datetime.date.today())


def _list(args: argparse.Namespace, today: datetime.date) -> int:
    books = load_books(args.prices) if args.book is None else {args.book: load_book(args.book, args.prices)}
    chosen = {name: _chosen(book, args.kind) for name, book in books.items()}
    entries = [entry for group in chosen.values() for entry in group]
    if not entries:
        kinds = sorted({key.split("/")[0] for book in books.values() for key in (*book.entries, *book.factors)})
        raise PriceBookError(f"kind: received {args.kind!r}; allowed: {', '.join(kinds)}.")
    if args.json:
        print(json.dumps([_as_dict(entry, today) for entry in entries], indent=2))
    elif args.book is None and args.kind is None:
        _print_books(books, today)
    else:
        _print_entries(books, chosen, today)
    for group in chosen.values():
        if warning := age_warning(group, today):
            print(f"warning: {warning}", file=sys.stderr)
    return 0


def _chosen(book: PriceBook, kind: str | None) -> list[PriceEntry | Factor]:
    every = (*book.entries.values(), *book.factors.values())
    return [entry for entry in every if kind is None or f"{entry.id}/".startswith(f"{kind.rstrip('/')}/")]


def _as_dict(entry: PriceEntry | Factor, today: datetime.date) -> dict[str, Any]:
    amount = {"usd": entry.usd} if isinstance(entry, PriceEntry) else {"value": entry.value}
    return {
        "book": entry.book,
        "id": entry.id,
        **amount,
        "unit": entry.unit,
        "date": entry.date.isoformat(),
        "age_days": entry.age_days(today),
        "stale": entry.is_stale(today),
        "source": entry.source,
        "provenance": entry.provenance,
        "note": entry.note,
        "inherited_from": entry.inherited_from,
    }


def _console():
    from rich.console import Console

    # Tables of sources are wide; a pipe has no width of its own.
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)


def _print_books(books: Mapping[str, PriceBook], today: datetime.date) -> None:
    from rich.table import Table

    table = Table(title="Price books", title_justify="left")
    for heading in ("book", "prices", "oldest", "newest", "over a year"):
        table.add_column(heading, no_wrap=True, justify="left" if heading == "book" else "right")
    table.add_column("what it holds")
    for book in books.values():
        entries = [*book.entries.values(), *book.factors.values()]
        dates = [entry.date for entry in entries]
        stale = sum(entry.is_stale(today) for entry in entries)
        oldest, newest = (str(min(dates)), str(max(dates))) if dates else ("-", "-")
        table.add_row(book.name, str(len(entries)), oldest, newest, str(stale), book.title)
    console = _console()
    console.print(table)
    console.print("`doa prices BOOK` lists a book's prices; docs/prices.md says how to bring your own.", soft_wrap=True)


def _print_entries(
    books: Mapping[str, PriceBook], chosen: Mapping[str, list[PriceEntry | Factor]], today: datetime.date
) -> None:
    from rich.markup import escape
    from rich.table import Table

    console = _console()
    for name, entries in chosen.items():
        if not entries:
            continue
        book = books[name]
        table = Table(title=f"{escape(book.title)} ({name})", title_justify="left")
        for heading in ("id", "price", "per", "date", "age, days", "provenance", "from"):
            table.add_column(heading, no_wrap=True, justify="right" if heading in ("price", "age, days") else "left")
        table.add_column("source")
        for entry in entries:
            price = isinstance(entry, PriceEntry)
            amount = _dollars(entry.usd) if price else f"{entry.value:g}"
            table.add_row(
                escape(entry.id),
                amount,
                entry.unit if price else f"({entry.unit})",
                str(entry.date),
                f"{entry.age_days(today):,}" + (" !" if entry.is_stale(today) else ""),
                entry.provenance,
                entry.inherited_from,
                escape(entry.source + (f"; {entry.note}" if entry.note else "")),
            )
        console.print(table)
        if book.is_scaled:
            console.print(
                f"Fine-tuning and distilling cost what they do in {book.base.name!r} ({book.base_task}), with labels, "
                f"unlabeled examples and dollars multiplied by {book.scale:g}.",
                soft_wrap=True,
            )


def _dollars(usd: float) -> str:
    return f"${usd:,.2f}" if usd == round(usd, 2) else f"${usd:,.6g}"


def _label(args: argparse.Namespace) -> int:
    # The derivations stand in a room above this one.
    from distill_or_annotate.costs.annotation import label_price

    if args.task is None:
        raise ValueError("--task is missing. Fix: doa prices label --task wlp")
    price = label_price(
        args.task,
        annotators=args.annotators,
        adjudication=args.adjudication or 0.0,
        adjudicator_usd=args.adjudicator_usd,
        inputs=dict(_input(text) for text in args.input or ()),
    )
    if args.json:
        print(json.dumps(price.as_dict(), indent=2))
        return 0
    print(f"A label of {price.task} costs {_dollars(price.usd)} ({price.provenance}).")
    print(f"  the paper's derivation: {price.derivation}")
    for each in price.inputs:
        print(f"  {each['name']} = {each['value']:g} {each['unit']} ({each['source']})")
    adjudicated = f", and one more for {price.adjudication:.0%} of the labels" if price.adjudication else ""
    print(f"  {price.annotators} at {_dollars(price.judgement_usd)} a judgement{adjudicated}")
    return 0


def _input(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise ValueError(f"--input: received {text!r}; it must be NAME=NUMBER, such as labels_per_hour=60.") from None
