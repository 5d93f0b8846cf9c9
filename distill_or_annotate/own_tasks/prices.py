"""A price book for a task of one's own: the user's label price, and the paper's mean for what nobody measured yet."""

from __future__ import annotations

import dataclasses
import datetime
import math
from fractions import Fraction

from distill_or_annotate.own_tasks.tables import TableError
from distill_or_annotate.prices import PriceBook, PriceEntry, load_book

_PAPER_TASKS = ("wlp", "stanceosaurus", "fever", "multipit_id", "multipit_gen", "natural_questions")
_POINTS = (100, 1000, 5000)


def check_label_usd(label_usd: float | None) -> None:
    """Refuses a price that is none.

    Args:
      label_usd: dollars per label; None for a price of ours.

    Raises:
      TableError: it is not above 0.
    """
    if label_usd is not None and not (math.isfinite(label_usd) and label_usd > 0):
        raise TableError(
            f"label-usd: received {label_usd:g}; it must be above 0 dollars a label. Fix: --label-usd 0.10"
        )


def book(task: str, label_usd: float | None, today: datetime.date) -> PriceBook:
    """Makes the prices of a task: what training costs is the mean over the paper's six tasks.

    Args:
      task: the task's name, which is the book's too.
      label_usd: dollars per label, above 0; None takes the paper's mean.
      today: the day on which `label_usd` holds.

    Returns:
      The book, with an entry for labels, GPU-hours, fine-tuning runs and distilled examples.
    """
    paper = load_book("paper")

    def mean(what: str, prices: list[PriceEntry], **fields) -> PriceEntry:
        usd = float(sum(Fraction(str(entry.usd)) for entry in prices) / len(prices))
        return PriceEntry(
            book=task,
            id=what,
            usd=round(usd, 4),
            unit=prices[0].unit,
            date=max(entry.date for entry in prices),
            source="assumption: the mean of the paper's six tasks (T5-XXL on A40 GPUs); put your own price here",
            provenance="assumption",
            **fields,
        )

    label = mean(f"label/{task}", [paper.label(name) for name in _PAPER_TASKS])
    if label_usd is not None:
        label = dataclasses.replace(
            label, usd=label_usd, date=today, source="the user's --label-usd", provenance="estimated"
        )
    entries = [label, dataclasses.replace(paper.gpu_hour(), book=task)]
    for n_labels in _POINTS:
        runs = [paper.finetune_points(name)[n_labels] for name in _PAPER_TASKS]
        entries.append(mean(f"finetune/{task}/{n_labels}", runs, n_labels=n_labels))
    entries.append(mean(f"distill/{task}", [paper.distill_per_1k(name, 5000) for name in _PAPER_TASKS]))
    return PriceBook(
        name=task,
        title=f"Prices of {task}",
        description="Your label price; what a T5-XXL teacher costs is the mean of the paper's six tasks.",
        entries={entry.id: entry for entry in entries},
    )


def toml_of(made: PriceBook) -> str:
    """Returns a price book as the TOML that `load_book` reads.

    Args:
      made: a book without a base.
    """
    lines = [
        f"# Prices of the task {made.name}. Yours to edit: each needs dollars, a unit, a date and a source.",
        "# provenance: published | inferred | estimated | assumption.",
        f"[books.{made.name}]",
        f"title = {_text(made.title)}",
        f"description = {_text(made.description)}",
    ]
    for entry in made.entries.values():
        lines += ["", f"[[books.{made.name}.entries]]"]
        for field in dataclasses.fields(entry):
            value = getattr(entry, field.name)
            if field.name != "book" and value not in (None, ""):
                shown = _text(value) if isinstance(value, str) else value
                lines.append(f"{field.name} = {shown}")
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
