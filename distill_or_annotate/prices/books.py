"""Reads books.toml into price books and refuses entries without a price, a unit, a date or a source."""

import dataclasses
import datetime
import difflib
import functools
import math
import pathlib
import tomllib
from collections.abc import Mapping
from typing import Any

PROVENANCES = ("published", "inferred", "estimated", "assumption")
_STALE_DAYS = 365


# A message quotes the file, which may hold anything.
_LONGEST_MESSAGE = 800


class PriceBookError(ValueError):
    """Raised when a price book is malformed or lacks a price that is asked for."""


@dataclasses.dataclass(frozen=True)
class PriceEntry:
    """One price.

    Attributes:
      book: name of the book it stands in.
      id: `kind/subject`, such as `label/wlp`; `label/*` prices every task.
      usd: dollars per unit, finite and at least 0.
      unit: what one unit is.
      date: day on which the price held.
      source: where it comes from (table, section, page, or a stated assumption).
      provenance: published | inferred | estimated | assumption.
      note: what else a reader should know.
      n_labels: labels of a fine-tuning run that the price is for.
      max_n_labels: the price holds for studies that start from at most this many labels.
      contradicts_usd: a published price that this one replaces, where the paper disagrees with itself.
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

    def __post_init__(self):
        where = f"price entry {self.id!r} of book {self.book!r}"
        for field in ("id", "unit", "source"):
            value = getattr(self, field)
            if not isinstance(value, str) or not value.strip():
                raise PriceBookError(
                    f"{where}: {field} is {value!r}; it must be a non-empty text. Write `{field} = ...`."
                )
        if type(self.date) is not datetime.date:
            raise PriceBookError(f"{where}: date is {self.date!r}; it must be a day. Write `date = YYYY-MM-DD`.")
        bad_number = isinstance(self.usd, bool) or not isinstance(self.usd, int | float)
        if bad_number or not math.isfinite(self.usd) or self.usd < 0:
            raise PriceBookError(f"{where}: usd is {self.usd!r}; it must be a finite number of dollars, at least 0.")
        if self.provenance not in PROVENANCES:
            raise PriceBookError(f"{where}: provenance is {self.provenance!r}; allowed: {', '.join(PROVENANCES)}.")

    def is_stale(self, today: datetime.date) -> bool:
        """Returns whether the price is more than a year old.

        Args:
          today: the day it is asked on.
        """
        return (today - self.date).days > _STALE_DAYS


@dataclasses.dataclass(frozen=True)
class PriceBook:
    """A named set of prices.

    Attributes:
      name: `paper`, `quickstart_scaled`, `local`, or a user's own.
      title: one line for reports.
      description: what the book is for.
      entries: id -> entry.
      base: the book whose fine-tuning and distillation prices are scaled, if any.
      base_task: the task of that book.
      scale: s: a study of s*N labels, s*U unlabeled examples and s*B dollars here is one of N, U and B there.
      finetune_rounding_usd: grid on which fine-tuning costs that had to be estimated are rounded up; 0 for none.
    """

    name: str
    title: str
    description: str
    entries: Mapping[str, PriceEntry]
    base: "PriceBook | None" = None
    base_task: str | None = None
    scale: float = 1.0
    finetune_rounding_usd: float = 0.0

    @property
    def is_scaled(self) -> bool:
        """Whether the dollars of this book are scaled ones, not anybody's bill."""
        return self.base is not None

    def entry(self, entry_id: str) -> PriceEntry:
        """Returns one entry.

        Args:
          entry_id: `kind/subject`; a `kind/*` entry answers for every subject without one of its own.

        Raises:
          PriceBookError: there is none; the message lists near ids.
        """
        if entry_id in self.entries:
            return self.entries[entry_id]
        wildcard = f"{entry_id.split('/')[0]}/*"
        if wildcard in self.entries:
            return self.entries[wildcard]
        near = difflib.get_close_matches(entry_id, self.entries, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"it has: {', '.join(sorted(self.entries))}."
        raise PriceBookError(
            f"book {self.name!r} has no price {entry_id!r}; {hint} Add the entry, or name another book."
        )

    def label(self, task: str) -> PriceEntry:
        """Returns the price of one label, in dollars per label.

        Args:
          task: the task.
        """
        return self.entry(f"label/{task}")

    def gpu_hour(self) -> PriceEntry:
        """Returns the price of one A40 GPU-hour, in dollars."""
        return self.entry("gpu_hour/a40")

    def finetune_points(self, task: str) -> dict[int, PriceEntry]:
        """Returns the priced teacher runs of a task: labels N -> entry (dollars a run), by rising N.

        Args:
          task: the task.

        Raises:
          PriceBookError: the book prices no run of this task.
        """
        prefix = f"finetune/{task}/"
        points = {entry.n_labels: entry for key, entry in self.entries.items() if key.startswith(prefix)}
        if not points:
            tasks = sorted({key.split("/")[1] for key in self.entries if key.startswith("finetune/")})
            near = difflib.get_close_matches(task, tasks, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it prices: {', '.join(tasks) or 'none'}."
            raise PriceBookError(f"book {self.name!r} prices no fine-tuning of task {task!r}; {hint}")
        return dict(sorted(points.items()))

    def distill_per_1k(self, task: str, n_labels: int) -> PriceEntry:
        """Returns the price of distilling 1,000 unlabeled examples.

        Args:
          task: the task.
          n_labels: labels that the study starts from.
        """
        prefix = f"distill/{task}/"
        bounded = [entry for key, entry in self.entries.items() if key.startswith(prefix) and entry.max_n_labels]
        for entry in sorted(bounded, key=lambda entry: entry.max_n_labels):
            if n_labels <= entry.max_n_labels:
                return entry
        return self.entry(f"distill/{task}")


def default_path() -> pathlib.Path:
    """Returns the path of the shipped data file."""
    return pathlib.Path(__file__).with_name("books.toml")


def _entry(book_name: str, position: int, raw: Mapping[str, Any]) -> PriceEntry:
    known = {field.name for field in dataclasses.fields(PriceEntry)} - {"book"}
    unknown = sorted(set(raw) - known)
    name = raw.get("id", f"number {position}")
    if unknown:
        allowed = ", ".join(sorted(known))
        raise PriceBookError(
            f"price entry {name!r} of book {book_name!r}: unknown field {unknown[0]!r}; use {allowed}."
        )
    for field in ("id", "usd", "unit", "date", "source", "provenance"):
        if field not in raw:
            raise PriceBookError(
                f"price entry {name!r} of book {book_name!r}: {field} is missing; every price needs one. "
                f"Write `{field} = ...` in its entry."
            )
    return PriceEntry(book=book_name, **raw)


def _book(name: str, raw: Mapping[str, Any], done: Mapping[str, PriceBook]) -> PriceBook:
    entries: dict[str, PriceEntry] = {}
    for position, raw_entry in enumerate(raw.get("entries", [])):
        entry = _entry(name, position, raw_entry)
        if entry.id in entries:
            raise PriceBookError(f"book {name!r}: the price {entry.id!r} stands there twice; keep one.")
        entries[entry.id] = entry
    base_name = raw.get("base")
    if base_name is not None and base_name not in done:
        raise PriceBookError(f"book {name!r}: base is {base_name!r}; it must name a book before it: {', '.join(done)}.")
    scale = raw.get("scale", 1.0)
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale <= 1:
        raise PriceBookError(f"book {name!r}: scale is {scale!r}; it must be a number above 0 and at most 1.")
    return PriceBook(
        name=name,
        title=raw.get("title", name),
        description=raw.get("description", ""),
        entries=entries,
        base=done[base_name] if base_name is not None else None,
        base_task=raw.get("base_task"),
        scale=float(scale),
        finetune_rounding_usd=float(raw.get("finetune_rounding_usd", 0.0)),
    )


@functools.cache
def _load(path: pathlib.Path) -> dict[str, PriceBook]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PriceBookError(f"{path}: not valid TOML: {error}.") from error
    books = data.get("books")
    if not isinstance(books, dict) or not books:
        raise PriceBookError(f"{path}: holds no book; it needs at least one table [books.NAME].")
    done: dict[str, PriceBook] = {}
    for name, raw in books.items():
        try:
            done[name] = _book(name, raw, done)
        except PriceBookError as error:
            raise PriceBookError(f"{path}: {str(error)[:_LONGEST_MESSAGE]}") from error
        except (AttributeError, TypeError, ValueError) as error:
            raise PriceBookError(
                f"{path}: book {name[:40]!r} is not of the form of a book ({str(error)[:_LONGEST_MESSAGE]}). Fix: "
                f"compare it with {default_path().name}, the shipped file."
            ) from error
    return done


def load_books(path: pathlib.Path | str | None = None) -> dict[str, PriceBook]:
    """Reads every book of a data file.

    Args:
      path: a TOML file of the same form; None reads the shipped one.

    Raises:
      PriceBookError: an entry lacks a price, unit, date or source, or is malformed.
    """
    return dict(_load(pathlib.Path(path) if path is not None else default_path()))


def load_book(name: str, path: pathlib.Path | str | None = None) -> PriceBook:
    """Returns one book.

    Args:
      name: the book's name.
      path: a TOML file of the same form; None reads the shipped one.

    Raises:
      PriceBookError: there is none of that name (near ones are listed), or the file is malformed.
    """
    books = load_books(path)
    if name in books:
        return books[name]
    near = difflib.get_close_matches(name, books, n=2, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise PriceBookError(f"price_book: there is no book {name!r}; {hint}allowed: {', '.join(books)}.")
