"""The rows of a ledger: what was bought, at which price, from which book."""

import dataclasses
import datetime
import math
from typing import Any

from distill_or_annotate.prices import PriceEntry

LOCAL_BOOK = "local"
KINDS = ("label", "api", "device")
SOURCES = ("measured", "estimated", "paper")


class LedgerError(ValueError):
    """Raised for a row that would make the ledger wrong."""


@dataclasses.dataclass(frozen=True)
class Charge:
    """An amount that a scenario owes once, however often its stage is tried.

    Attributes:
      key: what is paid for, unique in its book, such as `finetune-1f2e3d4c`; a second charge with it is not counted.
      kind: label | api | device.
      quantity: units bought, at least 0.
      unit: what one unit is.
      unit_price_usd: dollars per unit, at least 0.
      book: the price book whose dollars these are.
      price_entry: the price entry or entries it rests on.
      price_date: the oldest date among them, ISO.
      source: measured | estimated | paper.
    """

    key: str
    kind: str
    quantity: float
    unit: str
    unit_price_usd: float
    book: str
    price_entry: str
    price_date: str
    source: str

    def __post_init__(self):
        for field, allowed in (("kind", KINDS), ("source", SOURCES)):
            if getattr(self, field) not in allowed:
                raise LedgerError(f"{field}: received {getattr(self, field)!r}; allowed: {', '.join(allowed)}.")
        for field in ("quantity", "unit_price_usd"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
                raise LedgerError(f"{field}: received {value!r}; it must be a finite number, at least 0.")

    @property
    def entry_id(self) -> str:
        """Id of its row in a ledger."""
        return f"charge:{self.book}:{self.key}"

    @property
    def usd(self) -> float:
        """Dollars owed."""
        return self.quantity * self.unit_price_usd

    def as_dict(self) -> dict[str, Any]:
        """Returns the charge as JSON-ready values."""
        return dataclasses.asdict(self)

    def row(self, stage: str, attempt: str | None) -> dict[str, Any]:
        """Returns the settled ledger row of this charge.

        Args:
          stage: name of the stage that owes it.
          attempt: id of the attempt that earned it, if any.
        """
        return make_row(
            entry_id=self.entry_id,
            stage=stage,
            attempt=attempt,
            kind=self.kind,
            quantity=self.quantity,
            unit=self.unit,
            unit_price_usd=self.unit_price_usd,
            book=self.book,
            price_entry=self.price_entry,
            price_date=self.price_date,
            source=self.source,
            wasted=False,
            status="settled",
        )


def make_row(*, quantity: float, unit_price_usd: float, **fields: Any) -> dict[str, Any]:
    """Returns a ledger row with its time and its dollars, `quantity * unit_price_usd`.

    Args:
      quantity: units.
      unit_price_usd: dollars per unit.
      **fields: the other columns.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    return {
        "entry_id": fields.pop("entry_id"),
        "time": now,
        **fields,
        "quantity": quantity,
        "unit_price_usd": unit_price_usd,
        "usd": quantity * unit_price_usd,
    }


def device_row(
    *, entry_id: str, stage: str, attempt: str, price: PriceEntry, seconds: float, devices: int, **fields: Any
) -> dict[str, Any]:
    """Returns a row of device time.

    Args:
      entry_id: unique id of the row.
      stage: name of the stage.
      attempt: id of the attempt.
      price: dollars per device-hour.
      seconds: wall-clock seconds, at least 0.
      devices: devices held all that time.
      **fields: status, wasted, source and whatever else the row should say.
    """
    return make_row(
        entry_id=entry_id,
        stage=stage,
        attempt=attempt,
        kind="device",
        quantity=round(max(0.0, seconds) * devices, 3),
        unit="device-second",
        unit_price_usd=price.usd / 3600,
        book=price.book,
        price_entry=f"{price.book}:{price.id}",
        price_date=price.date.isoformat(),
        devices=devices,
        **fields,
    )
