"""The cap of a ledger: dollars that settled and reserved rows together never pass.

It counts scenario dollars, those of every book but this machine's own: what a study would be billed.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from distill_or_annotate.ledger.rows import LOCAL_BOOK, Charge, LedgerError
from distill_or_annotate.ledger.totals import totals_of

# Sums of decimal prices carry rounding errors far below a millionth of a dollar; a cap of 13.26 must admit 51 x 0.26.
TOLERANCE_USD = 1e-6


class CapReached(LedgerError):
    """Raised before a purchase that could pass the cap; nothing was written.

    Attributes:
      stage: name of the stage that asked.
      worst_usd: the most it could have cost.
      settled_usd: scenario dollars spent so far.
      reserved_usd: scenario dollars that open attempts may still take.
      max_usd: the cap.
    """

    def __init__(self, stage: str, worst_usd: float, settled_usd: float, reserved_usd: float, max_usd: float):
        self.stage, self.worst_usd = stage, worst_usd
        self.settled_usd, self.reserved_usd, self.max_usd = settled_usd, reserved_usd, max_usd
        super().__init__(
            f"stage {stage} costs up to {usd_text(worst_usd)}, and of the cap of {usd_text(max_usd)} "
            f"{usd_text(settled_usd)} are spent and {usd_text(reserved_usd)} reserved: {usd_text(self.left_usd)} are "
            f"left. Fix: --max-usd {ceil_usd(settled_usd + reserved_usd + worst_usd):.2f} or more; the run goes on "
            "where it stopped."
        )

    @property
    def left_usd(self) -> float:
        """Dollars that nobody has spent or reserved, at least 0."""
        return max(0.0, self.max_usd - self.settled_usd - self.reserved_usd)

    @property
    def may_fit_later(self) -> bool:
        """Whether the purchase would fit once every open attempt had given its whole reserve back."""
        return self.reserved_usd > 0 and self.settled_usd + self.worst_usd <= self.max_usd + TOLERANCE_USD


def usd_text(usd: float) -> str:
    """Returns dollars for a message, with as many digits as a small amount needs.

    Args:
      usd: dollars.
    """
    return f"${usd:,.2f}" if usd == 0 or abs(usd) >= 0.1 else f"${usd:.4g}"


def ceil_usd(usd: float) -> float:
    """Returns dollars rounded up to whole cents.

    Args:
      usd: dollars.
    """
    return math.ceil((usd - TOLERANCE_USD) * 100) / 100


def check_max_usd(max_usd: float | None) -> float | None:
    """Returns a cap as it was given.

    Args:
      max_usd: dollars; None for no cap.

    Raises:
      LedgerError: it is no finite number, or below 0.
    """
    if max_usd is None:
        return None
    if isinstance(max_usd, bool) or not isinstance(max_usd, int | float) or not math.isfinite(max_usd) or max_usd < 0:
        raise LedgerError(f"max_usd: received {max_usd!r}; it must be a finite number of dollars, at least 0.")
    return float(max_usd)


def charges_usd(rows: Iterable[Mapping[str, Any]], charges: Sequence[Charge]) -> float:
    """Returns scenario dollars of those charges that no row has settled or reserved.

    Args:
      rows: the ledger's rows.
      charges: what would be owed.
    """
    rows = list(rows)
    known = {row["entry_id"] for row in rows}
    open_ids = {charge.entry_id for row in rows if row["status"] == "reserved" for charge in _open(row, known)}
    unpaid = {charge.entry_id: charge for charge in charges if charge.entry_id not in known | open_ids}
    return math.fsum(charge.usd for charge in unpaid.values() if charge.book != LOCAL_BOOK)


def _open(reserve: Mapping[str, Any], known: set[str]) -> list[Charge]:
    if f"{reserve['attempt']}:device" in known:
        return []
    return [Charge(**fields) for fields in reserve["charges"]]


def left_usd(rows: Iterable[Mapping[str, Any]], max_usd: float) -> float:
    """Returns what settled and reserved rows leave of a cap, at least 0.

    Args:
      rows: the ledger's rows.
      max_usd: the cap in dollars.
    """
    totals = totals_of(rows)
    return max(0.0, max_usd - totals.scenario_usd - totals.reserved_scenario_usd)


def check_fits(rows: Iterable[Mapping[str, Any]], stage: str, worst_usd: float, max_usd: float | None) -> None:
    """Checks a purchase against the cap, with the ledger's lock held.

    Args:
      rows: the ledger's rows.
      stage: name of the stage that asks.
      worst_usd: the most it can cost; what costs nothing always fits.
      max_usd: the cap in dollars; None for none.

    Raises:
      CapReached: settled, reserved and these dollars together would pass the cap.
    """
    if max_usd is None or worst_usd <= 0:
        return
    totals = totals_of(rows)
    settled_usd, reserved_usd = totals.scenario_usd, totals.reserved_scenario_usd
    if math.fsum([settled_usd, reserved_usd, worst_usd]) > max_usd + TOLERANCE_USD:
        raise CapReached(stage, worst_usd, settled_usd, reserved_usd, max_usd)
