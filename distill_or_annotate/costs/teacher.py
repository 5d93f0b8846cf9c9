"""What fine-tuning the teacher and distilling from it cost at any N, priced or in between."""

import dataclasses
import datetime
import itertools
import math
from collections.abc import Mapping

from distill_or_annotate.costs.arithmetic import CostError
from distill_or_annotate.prices import PriceBook, PriceEntry


@dataclasses.dataclass(frozen=True)
class Cost:
    """A dollar amount and where it comes from.

    Attributes:
      usd: dollars.
      provenance: published | scaled | inferred | estimated | assumption.
      price_entries: ids of the price entries it rests on, each `book:id`.
      date: the oldest date among them.
      contradicts_usd: the published amount it replaces, where the paper disagrees with itself.
    """

    usd: float
    provenance: str
    price_entries: tuple[str, ...]
    date: datetime.date
    contradicts_usd: float | None = None


def check_n_labels(n_labels: int) -> int:
    """Returns `n_labels` as it is.

    Args:
      n_labels: labels.

    Raises:
      CostError: it is no whole number of at least 1.
    """
    if isinstance(n_labels, bool) or not isinstance(n_labels, int) or n_labels < 1:
        raise CostError(f"n_labels: received {n_labels!r}; it must be a whole number of labels, at least 1.")
    return n_labels


def finetune_cost(book: PriceBook, task: str, n_labels: int) -> Cost:
    """Returns the cost of fine-tuning the teacher once on `n_labels`.

    A priced N is returned as it stands. Between two of them the cost is linear in N (below the first, linear from zero;
    above the last, along the last slope), rounded up to the book's grid but never above the next priced N, and marked
    `estimated`. A scaled book multiplies its base's cost of n_labels / scale by scale.

    Args:
      book: the prices.
      task: a task the book, or its base through `base_task`, prices.
      n_labels: labels, at least 1.

    Raises:
      CostError: n_labels is out of range.
      PriceBookError: the book prices no run of the task.
    """
    check_n_labels(n_labels)
    if book.base is not None:
        cost = finetune_cost(book.base, book.base_task or task, max(1, round(n_labels / book.scale)))
        contradicts_usd = None if cost.contradicts_usd is None else cost.contradicts_usd * book.scale
        provenance = _scaled(cost.provenance)
        return dataclasses.replace(
            cost, usd=cost.usd * book.scale, contradicts_usd=contradicts_usd, provenance=provenance
        )
    points = book.finetune_points(task)
    if n_labels in points:
        return _from_entry(points[n_labels])
    line, ceiling_usd = _line(points, n_labels)
    grid_usd = book.finetune_rounding_usd
    usd = math.ceil(line.usd / grid_usd - 1e-9) * grid_usd if grid_usd else line.usd
    return dataclasses.replace(line, usd=min(usd, ceiling_usd))


def finetune_line(book: PriceBook, task: str, n_labels: int) -> Cost:
    """Returns the cost of fine-tuning the teacher as `finetune_cost` does, but not rounded up to the book's grid.

    Args:
      book: the prices.
      task: a task the book, or its base through `base_task`, prices.
      n_labels: labels, at least 1.

    Raises:
      CostError: n_labels is out of range.
      PriceBookError: the book prices no run of the task.
    """
    check_n_labels(n_labels)
    if book.base is not None:
        cost = finetune_line(book.base, book.base_task or task, max(1, round(n_labels / book.scale)))
        return dataclasses.replace(cost, usd=cost.usd * book.scale, contradicts_usd=None)
    points = book.finetune_points(task)
    return _from_entry(points[n_labels]) if n_labels in points else _line(points, n_labels)[0]


def distill_cost_per_1k(book: PriceBook, task: str, n_labels: int) -> Cost:
    """Returns the cost of distilling 1,000 unlabeled examples in a study that starts from `n_labels`.

    Args:
      book: the prices; a scaled book has the rate of its base, since pool and dollars shrink together.
      task: a task the book, or its base through `base_task`, prices.
      n_labels: initial labels, at least 1.

    Raises:
      CostError: n_labels is out of range.
      PriceBookError: the book has no rate for the task.
    """
    check_n_labels(n_labels)
    if book.base is not None:
        cost = distill_cost_per_1k(book.base, book.base_task or task, max(1, round(n_labels / book.scale)))
        return dataclasses.replace(cost, provenance=_scaled(cost.provenance))
    return _from_entry(book.distill_per_1k(task, n_labels))


def _scaled(provenance: str) -> str:
    return "scaled" if provenance == "published" else provenance


def _from_entry(entry: PriceEntry) -> Cost:
    return Cost(entry.usd, entry.provenance, (f"{entry.book}:{entry.id}",), entry.date, entry.contradicts_usd)


def _line(points: Mapping[int, PriceEntry], n_labels: int) -> tuple[Cost, float]:
    """The cost on the line between the priced N around `n_labels`, and the next priced one above it."""
    known = list(points.items())
    ceiling_usd = math.inf
    used = known[-2:]
    for left, right in itertools.pairwise([(0, None), *known]):
        if left[0] < n_labels < right[0]:
            used, ceiling_usd = [point for point in (left, right) if point[1]], right[1].usd
            break
    line = [(n, entry.usd) for n, entry in used]
    if len(line) == 1:
        line.insert(0, (0, 0.0))
    (n0, usd0), (n1, usd1) = line
    entries = [entry for _, entry in used]
    cost = Cost(
        usd=usd0 + (usd1 - usd0) * (n_labels - n0) / (n1 - n0),
        provenance="estimated",
        price_entries=tuple(f"{entry.book}:{entry.id}" for entry in entries),
        date=min(entry.date for entry in entries),
    )
    return cost, ceiling_usd
