"""One price, or one factor such as kilograms of CO2e per kilowatt-hour: dated, sourced, believable."""

import dataclasses
import datetime
from typing import Any

from distill_or_annotate.prices import units

PROVENANCES = ("published", "inferred", "estimated", "assumption")
_STALE_DAYS = 365


class PriceBookError(ValueError):
    """Raised when a price book is malformed or lacks a price that is asked for."""


class _Dated:
    """What a date tells."""

    date: datetime.date

    def age_days(self, today: datetime.date) -> int:
        """Returns how many days ago it was seen to hold.

        Args:
          today: the day it is asked on.
        """
        return (today - self.date).days

    def is_stale(self, today: datetime.date) -> bool:
        """Returns whether it is more than a year old.

        Args:
          today: the day it is asked on.
        """
        return self.age_days(today) > _STALE_DAYS


@dataclasses.dataclass(frozen=True)
class PriceEntry(_Dated):
    """One price.

    Attributes:
      book: name of the book it stands in.
      id: `kind/subject`, such as `label/wlp`; `label/*` prices every task.
      usd: dollars per unit, within the range of the unit.
      unit: what one unit is, one of `units.RANGES`.
      date: day on which the price held.
      source: where it comes from (table, section, page, or a stated assumption).
      provenance: published | inferred | estimated | assumption.
      note: what else a reader should know.
      n_labels: labels of a fine-tuning run that the price is for.
      max_n_labels: the price holds for studies that start from at most this many labels.
      contradicts_usd: a published price that this one replaces, where the paper disagrees with itself.
      inherited_from: the book it was written for, where another book extends that one; empty otherwise.
    """

    book: str
    id: str
    usd: float
    unit: str
    date: datetime.date
    source: str
    provenance: str
    note: str = ""
    n_labels: int | None = None
    max_n_labels: int | None = None
    contradicts_usd: float | None = None
    inherited_from: str = ""

    def __post_init__(self):
        where = f"price entry {self.id!r} of book {self.book!r}"
        _check_texts(where, self)
        wrong = units.problem("usd", self.usd, self.unit, units.RANGES)
        if wrong:
            raise PriceBookError(f"{where}: {wrong}")
        for field in ("n_labels", "max_n_labels"):
            count = getattr(self, field)
            if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
                raise PriceBookError(f"{where}: {field} is {repr(count)[:80]}; it must be a whole number, at least 1.")
        if self.id.startswith("finetune/") and self.id.split("/")[2:] != [str(self.n_labels)]:
            raise PriceBookError(
                f"{where}: n_labels is {self.n_labels!r}; a fine-tuning run has the id finetune/TASK/N. Write "
                "`n_labels = N`, the same N."
            )


@dataclasses.dataclass(frozen=True)
class Factor(_Dated):
    """A number that is no price but stands beside prices: what turns hours into kilowatt-hours, and those into CO2e.

    Attributes:
      book: name of the book it stands in.
      id: `carbon/region` or `power/device`.
      value: the number, within the range of the unit.
      unit: one of `units.FACTOR_RANGES`.
      date: day on which it held.
      source: where it comes from.
      provenance: published | inferred | estimated | assumption.
      note: what else a reader should know.
      inherited_from: the book it was written for, where another book extends that one; empty otherwise.
    """

    book: str
    id: str
    value: float
    unit: str
    date: datetime.date
    source: str
    provenance: str
    note: str = ""
    inherited_from: str = ""

    def __post_init__(self):
        where = f"factor {self.id!r} of book {self.book!r}"
        _check_texts(where, self)
        wrong = units.problem("value", self.value, self.unit, units.FACTOR_RANGES)
        if wrong:
            raise PriceBookError(f"{where}: {wrong}")


def _check_texts(where: str, entry: Any) -> None:
    for field in ("id", "unit", "source", "note"):
        value = getattr(entry, field)
        if not isinstance(value, str) or not (value.strip() or field == "note"):
            raise PriceBookError(f"{where}: {field} is {value!r}; it must be a non-empty text. Write `{field} = ...`.")
    if type(entry.date) is not datetime.date:
        raise PriceBookError(f"{where}: date is {entry.date!r}; it must be a day. Write `date = YYYY-MM-DD`.")
    if entry.provenance not in PROVENANCES:
        raise PriceBookError(f"{where}: provenance is {entry.provenance!r}; allowed: {', '.join(PROVENANCES)}.")
