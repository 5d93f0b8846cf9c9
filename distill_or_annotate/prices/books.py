"""Reads price books from TOML, resolves the books that they extend, and refuses what is no price."""

import dataclasses
import difflib
import functools
import math
import pathlib
import tomllib
from collections.abc import Mapping
from typing import Any, TypeVar

from distill_or_annotate.prices.book import PriceBook
from distill_or_annotate.prices.entry import Factor, PriceBookError, PriceEntry

_BOOK_FIELDS = (
    "title",
    "description",
    "extends",
    "drop",
    "entries",
    "factors",
    "base",
    "base_task",
    "scale",
    "finetune_rounding_usd",
    "finetune_rounding_source",
)
# What these cost is GPU-hours at the price of one.
_COMPUTED = ("finetune/", "distill/", "student_finetune/")
# A message quotes the file, which may hold anything.
_LONGEST_MESSAGE = 800
_Entry = TypeVar("_Entry", PriceEntry, Factor)


def default_path() -> pathlib.Path:
    """Returns the path of the shipped data file."""
    return pathlib.Path(__file__).with_name("books.toml")


def _read(kind: type[_Entry], book_name: str, raw_entries: Any) -> dict[str, _Entry]:
    noun, amount = ("price entry", "usd") if kind is PriceEntry else ("factor", "value")
    known = {field.name for field in dataclasses.fields(kind)} - {"book", "inherited_from"}
    entries: dict[str, _Entry] = {}
    for position, raw in enumerate(raw_entries):
        name = raw.get("id", f"number {position}")
        unknown = sorted(set(raw) - known)
        if unknown:
            raise PriceBookError(
                f"{noun} {name!r} of book {book_name!r}: unknown field {unknown[0]!r}; use {', '.join(sorted(known))}."
            )
        for field in ("id", amount, "unit", "date", "source", "provenance"):
            if field not in raw:
                raise PriceBookError(
                    f"{noun} {name!r} of book {book_name!r}: {field} is missing; every price needs one. "
                    f"Write `{field} = ...` in its entry."
                )
        entry = kind(book=book_name, **raw)
        if entry.id in entries:
            raise PriceBookError(f"book {book_name!r}: the price {entry.id!r} stands there twice; keep one.")
        entries[entry.id] = entry
    return entries


def _named(field: str, book_name: str, wanted: Any, known: Mapping[str, PriceBook]) -> PriceBook:
    if isinstance(wanted, str) and wanted in known:
        return known[wanted]
    near = difflib.get_close_matches(str(wanted)[:80], known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise PriceBookError(
        f"book {book_name!r}: {field} is {str(wanted)[:80]!r}; {hint}it must name a book before it, or a shipped one: "
        f"{', '.join(known)}."
    )


def _carried(entry: _Entry, book_name: str) -> _Entry:
    return dataclasses.replace(entry, book=book_name, inherited_from=entry.inherited_from or entry.book)


def _repriced(entry: PriceEntry, old_usd: float, hour: PriceEntry) -> PriceEntry:
    """The same GPU-hours at another price of an hour."""
    ratio = hour.usd / old_usd
    return dataclasses.replace(
        entry,
        usd=round(entry.usd * ratio, 6),
        contradicts_usd=None if entry.contradicts_usd is None else round(entry.contradicts_usd * ratio, 6),
        date=hour.date,
        provenance="assumption" if hour.provenance == "assumption" else "estimated",
        source=f"{entry.usd / old_usd:.4g} A40-hours ({entry.source}) at gpu_hour/a40 of this book",
    )


def _inherit(
    name: str, parents: list[PriceBook], own: Mapping[str, PriceEntry], drop: Any
) -> tuple[dict[str, PriceEntry], dict[str, Factor], float]:
    if not isinstance(drop, list) or not all(isinstance(prefix, str) and prefix for prefix in drop):
        raise PriceBookError(
            f"book {name!r}: drop is {str(drop)[:80]}; it must be a list of ids or of their beginnings."
        )
    entries: dict[str, PriceEntry] = {}
    factors: dict[str, Factor] = {}
    rounding_usd = 0.0
    hour = own.get("gpu_hour/a40")
    for parent in parents:
        if parent.is_scaled:
            raise PriceBookError(
                f"book {name!r}: extends {parent.name!r}, whose dollars are scaled. Fix: set base, base_task and scale "
                "as that book does, and extend none."
            )
        parent_hour = parent.entries.get("gpu_hour/a40")
        old_usd = parent_hour.usd if parent_hour and hour and hour.usd != parent_hour.usd else None
        for entry_id, entry in parent.entries.items():
            carried = _carried(entry, name)
            computed = old_usd is not None and entry_id.startswith(_COMPUTED)
            entries.setdefault(entry_id, _repriced(carried, old_usd, hour) if computed else carried)
        for factor_id, factor in parent.factors.items():
            factors.setdefault(factor_id, _carried(factor, name))
        rounding_usd = rounding_usd or parent.finetune_rounding_usd * (hour.usd / old_usd if old_usd else 1.0)
    for prefix in drop:
        gone = [entry_id for entry_id in entries if entry_id == prefix or entry_id.startswith(f"{prefix.rstrip('/')}/")]
        if not gone:
            raise PriceBookError(f"book {name!r}: drop names {prefix[:80]!r}, which none of its books has. Remove it.")
        for entry_id in gone:
            del entries[entry_id]
    return entries, factors, rounding_usd


def _book(name: str, raw: Mapping[str, Any], done: Mapping[str, PriceBook]) -> PriceBook:
    unknown = sorted(set(raw) - set(_BOOK_FIELDS))
    if unknown:
        near = difflib.get_close_matches(unknown[0], _BOOK_FIELDS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise PriceBookError(f"book {name!r}: unknown field {unknown[0][:80]!r}; {hint}use {', '.join(_BOOK_FIELDS)}.")
    for field in ("title", "description", "base_task"):
        if field in raw and not isinstance(raw[field], str):
            raise PriceBookError(f"book {name!r}: {field} is {repr(raw[field])[:80]}; it must be a text.")
    own = _read(PriceEntry, name, raw.get("entries", []))
    own_factors = _read(Factor, name, raw.get("factors", []))
    extends = raw.get("extends", [])
    parents = [
        _named("extends", name, parent, done) for parent in ([extends] if isinstance(extends, str) else list(extends))
    ]
    entries, factors, rounding_usd = _inherit(name, parents, own, raw.get("drop", []))
    base = _named("base", name, raw["base"], done) if raw.get("base") is not None else None
    scale = raw.get("scale", 1.0)
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale <= 1:
        raise PriceBookError(f"book {name!r}: scale is {scale!r}; it must be a number above 0 and at most 1.")
    rounding_usd = float(raw.get("finetune_rounding_usd", rounding_usd))
    if not (math.isfinite(rounding_usd) and rounding_usd >= 0):
        raise PriceBookError(
            f"book {name!r}: finetune_rounding_usd is {rounding_usd}; it must be finite dollars, at least 0."
        )
    return PriceBook(
        name=name,
        title=raw.get("title", f"{name}, on top of {', '.join(p.name for p in parents)}" if parents else name),
        description=raw.get("description", ""),
        entries={**entries, **own},
        factors={**factors, **own_factors},
        base=base,
        base_task=raw.get("base_task"),
        scale=float(scale),
        finetune_rounding_usd=rounding_usd,
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
    shipped = {} if path == default_path() else _load(default_path())
    for name, raw in books.items():
        try:
            done[name] = _book(name, raw, {**shipped, **done})
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
      path: a TOML file of the same form, whose books may extend the shipped ones; None reads those.

    Raises:
      PriceBookError: an entry lacks a price, unit, date or source, looks like a placeholder, or is malformed.
    """
    return dict(_load(pathlib.Path(path) if path is not None else default_path()))


def load_book(name: str, path: pathlib.Path | str | None = None) -> PriceBook:
    """Returns one book.

    Args:
      name: the book's name.
      path: a TOML file of the same form, whose books may extend the shipped ones; None reads those.

    Raises:
      PriceBookError: there is none of that name (near ones are listed), or the file is malformed.
    """
    books = load_books(path)
    if name in books:
        return books[name]
    near = difflib.get_close_matches(name, books, n=2, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise PriceBookError(f"price_book: there is no book {name!r}; {hint}allowed: {', '.join(books)}.")
