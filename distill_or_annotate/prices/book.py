"""A named set of prices, and how they are looked up."""

import dataclasses
import datetime
import difflib
from collections.abc import Iterable, Mapping

from distill_or_annotate.prices.entry import Factor, PriceBookError, PriceEntry


@dataclasses.dataclass(frozen=True)
class PriceBook:
    """A named set of prices.

    Attributes:
      name: `paper`, `current`, `quickstart_scaled`, `local`, or a user's own.
      title: one line for reports.
      description: what the book is for.
      entries: id -> entry.
      factors: id -> factor: grid carbon, device power.
      base: the book whose fine-tuning and distillation prices are scaled, if any.
      base_task: the task of that book.
      scale: s: a study of s*N labels, s*U unlabeled examples and s*B dollars here is one of N, U and B there.
      finetune_rounding_usd: grid on which fine-tuning costs that had to be estimated are rounded up; 0 for none.
    """

    name: str
    title: str
    description: str
    entries: Mapping[str, PriceEntry]
    factors: Mapping[str, Factor] = dataclasses.field(default_factory=dict)
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

    def factor(self, factor_id: str) -> Factor:
        """Returns one factor.

        Args:
          factor_id: `carbon/region` or `power/device`.

        Raises:
          PriceBookError: there is none; the message lists those that there are.
        """
        if factor_id in self.factors:
            return self.factors[factor_id]
        near = difflib.get_close_matches(factor_id, self.factors, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"it has: {', '.join(sorted(self.factors)) or 'none'}."
        raise PriceBookError(
            f"book {self.name!r} has no factor {factor_id!r}; {hint} Add it under [[books.{self.name}.factors]], or "
            "name another book."
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


def age_warning(entries: Iterable[PriceEntry | Factor], today: datetime.date) -> str:
    """Returns one sentence on the entries that are more than a year old, or '' where none is.

    Args:
      entries: of any books.
      today: the day it is asked on.
    """
    every = list(entries)
    stale = sorted((entry for entry in every if entry.is_stale(today)), key=lambda entry: (entry.date, entry.id))
    if not stale:
        return ""
    books = ", ".join(sorted({entry.book for entry in stale}))
    shown = ", ".join(entry.id for entry in stale[:3]) + (", ..." if len(stale) > 3 else "")
    return (
        f"{len(stale)} of {len(every)} prices of {books} are more than a year old, the oldest of {stale[0].date} "
        f"({shown}); look them up before you spend on them."
    )
