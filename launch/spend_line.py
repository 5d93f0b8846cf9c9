"""Prints what accelerators cost while they are up: `python spend_line.py --device v5p --count 4 --stop COMMAND`.

Needs the standard library and the price book beside it, so that it answers on any machine with Python 3.11.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from distill_or_annotate.prices import PriceBookError, load_book


def spend_line(device: str, count: int, stop: str, book: str = "cloud", prices: str | None = None) -> str:
    """What the devices cost an hour, and how to stop them.

    Args:
      device: the part of a `device_hour/...` price after the slash, such as `v5p`.
      count: chips or GPUs, at least 1.
      stop: the command that ends the spending.
      book: the price book.
      prices: a price file of one's own; None reads the shipped one.

    Returns:
      One line.

    Raises:
      PriceBookError: the book or the price is missing.
      ValueError: `count` is less than 1.
    """
    if count < 1:
        raise ValueError(f"--count is {count}; allowed: whole numbers of at least 1.")
    entry = load_book(book, prices).entry(f"device_hour/{device}")
    usd = entry.usd * count
    how = f"{count} x {device} at ${entry.usd:.3f} a {entry.unit}, book {entry.book}, {entry.date}"
    return f"spend: at most ${usd:,.2f} an hour while it is up ({how}). Stop it: {stop}"


def main(argv: list[str] | None = None) -> int:
    """Prints the line.

    Args:
      argv: arguments; None takes those of the command line.

    Returns:
      0, or 2 when there is no such price.
    """
    parser = argparse.ArgumentParser(description="What accelerators cost while they are up.")
    parser.add_argument("--device", required=True, help="v4, v5e, v5p, v6e, a100_40gb, a100_80gb, h100_80gb, ...")
    parser.add_argument("--count", required=True, type=int, help="chips or GPUs")
    parser.add_argument("--stop", required=True, help="the command that ends the spending")
    parser.add_argument("--book", default="cloud", help="price book (default: cloud)")
    parser.add_argument("--prices", help="a price file of your own")
    args = parser.parse_args(argv)
    try:
        print(spend_line(args.device, args.count, args.stop, args.book, args.prices))
    except (PriceBookError, OSError, ValueError) as error:
        print(f"spend_line: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
