"""Sums of ledger rows: by book and kind, with wasted and reserved money apart."""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from distill_or_annotate.ledger.rows import LOCAL_BOOK, Charge


@dataclasses.dataclass(frozen=True)
class Totals:
    """What a ledger adds up to.

    Attributes:
      usd: book -> kind -> settled dollars, wasted ones included.
      wasted_usd: book -> settled dollars that bought nothing.
      reserved_usd: book -> dollars that open attempts may take: their device time and the charges due at their end.
      device_seconds: settled device-seconds measured on this machine.
      wasted_device_seconds: those that bought nothing.
      n_labels: book -> labels paid for.
      duplicates: ids that stand there twice; only the first was counted.
    """

    usd: Mapping[str, Mapping[str, float]]
    wasted_usd: Mapping[str, float]
    reserved_usd: Mapping[str, float]
    device_seconds: float
    wasted_device_seconds: float
    n_labels: Mapping[str, int]
    duplicates: tuple[str, ...]

    def book_usd(self, book: str) -> float:
        """Returns the settled dollars of a book, all kinds together.

        Args:
          book: name of a price book.
        """
        return math.fsum(self.usd.get(book, {}).values())

    @property
    def local_usd(self) -> float:
        """Settled dollars of this machine's own time."""
        return self.book_usd(LOCAL_BOOK)

    @property
    def scenario_usd(self) -> float:
        """Settled dollars in the scenario's price books: what the study would be billed, not this machine's time."""
        return math.fsum(self.book_usd(book) for book in self.usd if book != LOCAL_BOOK)

    @property
    def reserved_scenario_usd(self) -> float:
        """Reserved dollars in the scenario's price books."""
        return math.fsum(usd for book, usd in self.reserved_usd.items() if book != LOCAL_BOOK)

    def as_dict(self) -> dict[str, Any]:
        """Returns the totals as JSON-ready values."""
        data = {**dataclasses.asdict(self), "duplicates": list(self.duplicates)}
        return {**data, "scenario_usd": self.scenario_usd, "local_usd": self.local_usd}


def totals_of(rows: Iterable[Mapping[str, Any]]) -> Totals:
    """Adds up ledger rows; a row whose id was seen before counts nothing.

    Args:
      rows: the ledger's rows, in order.
    """
    rows = list(rows)
    closed = {row["entry_id"] for row in rows}
    seen: set[str] = set()
    promised: set[str] = set()
    duplicates: list[str] = []
    usd: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    wasted_usd: dict[str, list[float]] = defaultdict(list)
    reserved_usd: dict[str, list[float]] = defaultdict(list)
    n_labels: dict[str, int] = defaultdict(int)
    seconds, wasted_seconds = [], []
    for row in rows:
        if row["entry_id"] in seen:
            duplicates.append(row["entry_id"])
            continue
        seen.add(row["entry_id"])
        if row["status"] == "reserved":
            if f"{row['attempt']}:device" not in closed:
                reserved_usd[row["book"]].append(row["usd"])
                for fields in row.get("charges", ()):
                    charge = Charge(**fields)
                    # Two attempts at one stage owe its charge once.
                    if charge.entry_id not in closed and charge.entry_id not in promised:
                        promised.add(charge.entry_id)
                        reserved_usd[charge.book].append(charge.usd)
            continue
        usd[row["book"]][row["kind"]].append(row["usd"])
        if row["wasted"]:
            wasted_usd[row["book"]].append(row["usd"])
        if row["unit"] == "device-second":
            seconds.append(row["quantity"])
            wasted_seconds.append(row["quantity"] if row["wasted"] else 0.0)
        if row["kind"] == "label":
            n_labels[row["book"]] += row["quantity"]
    return Totals(
        usd={book: {kind: math.fsum(parts) for kind, parts in sorted(kinds.items())} for book, kinds in usd.items()},
        wasted_usd={book: math.fsum(parts) for book, parts in wasted_usd.items()},
        reserved_usd={book: math.fsum(parts) for book, parts in reserved_usd.items()},
        device_seconds=math.fsum(seconds),
        wasted_device_seconds=math.fsum(wasted_seconds),
        n_labels=dict(n_labels),
        duplicates=tuple(duplicates),
    )
