"""A study over labels L and unlabeled examples U: every purchase, and those that no cheaper one matches (Figure 2)."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from distill_or_annotate.reports.grids import Entry, Grid
from distill_or_annotate.reports.pareto import frontier_of
from distill_or_annotate.reports.table import Block, ReportCell


@dataclasses.dataclass(frozen=True)
class Purchase:
    """One compact model and what was bought for it.

    Attributes:
      strategy: annotate | distill.
      n_labels: labels bought.
      n_unlabeled: unlabeled examples distilled; 0 for labels alone.
      label_usd: dollars of the labels.
      cell: its score and its total dollars.
    """

    strategy: str
    n_labels: int
    n_unlabeled: int
    label_usd: float
    cell: ReportCell

    @property
    def total_usd(self) -> float:
        """Dollars of all that was bought."""
        return self.cell.total_usd or 0.0

    @property
    def is_sound(self) -> bool:
        """Whether the model is told apart from floors and constants."""
        return self.cell.status == "score"

    @property
    def name(self) -> str:
        """What was bought, in words."""
        labels = f"{self.n_labels:,} labels"
        return f"{labels} and {self.n_unlabeled:,} unlabeled" if self.n_unlabeled else f"{labels} alone"


@dataclasses.dataclass(frozen=True)
class Purchases:
    """The purchases of one task with one pair of models.

    Attributes:
      title: the study in a few words.
      metric_name: the metric as people write it.
      found: every compact model, dollars rising.
      teachers: labels to the teacher's cell.
      planned: what the study means to buy and has no model of yet, in words.
    """

    title: str
    metric_name: str
    found: tuple[Purchase, ...]
    teachers: Mapping[int, ReportCell]
    planned: tuple[str, ...] = ()

    def frontier(self) -> list[Purchase]:
        """Returns the sound purchases that no cheaper or equally dear one matches, dollars rising."""
        sound = [purchase for purchase in self.found if purchase.is_sound]
        best = frontier_of([(purchase.total_usd, purchase.cell.value) for purchase in sound])
        by_point = {(purchase.total_usd, purchase.cell.value): purchase for purchase in reversed(sound)}
        return [by_point[point] for point in best]

    def best(self, strategy: str, total_usd: float) -> Purchase | None:
        """Returns the best purchase of a strategy within some dollars, the cheaper one of equals; None without one.

        Args:
          strategy: annotate | distill.
          total_usd: dollars for labels and computing together.
        """
        within = [each for each in self.found if each.strategy == strategy and each.total_usd <= total_usd + 0.005]
        return max(within, key=lambda each: (each.cell.value, -each.total_usd), default=None)


def is_a_grid(manifest: Mapping[str, Any]) -> bool:
    """Returns whether a run varies L and U instead of dollars.

    Args:
      manifest: the run's.
    """
    return bool(manifest.get("scenario", {}).get("n_unlabeled"))


def purchases_of(blocks: Sequence[Block]) -> list[Purchases]:
    """Returns the purchases of a run, one study per task, mode and pair of models.

    Args:
      blocks: one per number of initial labels.
    """
    studies: dict[tuple, list[Block]] = {}
    for block in blocks:
        studies.setdefault((block.task, block.mode, block.models), []).append(block)
    return [_purchases(found) for found in studies.values()]


def grid_of(purchases: Purchases) -> Grid:
    """Returns scores and dollars by labels (rows) and unlabeled examples (columns), the frontier in bold.

    Args:
      purchases: the study.
    """
    sizes = sorted({each.n_unlabeled for each in purchases.found})
    frontier = purchases.frontier()
    by_place = {(each.n_labels, each.n_unlabeled): each for each in purchases.found}
    rows = []
    for n_labels in sorted({*(each.n_labels for each in purchases.found), *purchases.teachers}):
        cells = [by_place.get((n_labels, size)) for size in sizes]
        entries = [
            Entry(each.cell.display, small=f"${each.total_usd:,.2f}", is_best=each in frontier) if each else Entry("-")
            for each in cells
        ]
        teacher = purchases.teachers.get(n_labels)
        entries.append(Entry(teacher.display, small=f"${teacher.total_usd:,.2f}") if teacher else Entry("-"))
        rows.append((f"{n_labels:,} labels", tuple(entries)))
    heads = ("Bought", *("labels alone" if size == 0 else f"{size:,} unlabeled" for size in sizes), "teacher")
    # A grid has room for one reason per model: the nearest floor's.
    notes = [f"{each.name} ({each.cell.display}): {each.cell.note}" for each in purchases.found if each.cell.note]
    notes += [f"Not run yet: {', '.join(purchases.planned)}."] if purchases.planned else []
    caption = (
        f"{purchases.metric_name}, percent; below it all dollars, labels included. Bold: no cheaper purchase scores as "
        "much. † marks a degenerate model, which is never on that frontier."
    )
    return Grid(purchases.title, heads, tuple(rows), caption=caption, notes=tuple(notes))


def _purchases(blocks: Sequence[Block]) -> Purchases:
    found, planned = [], []
    for block in sorted(blocks, key=lambda block: block.n_labels):
        for strategy, row in block.rows.items():
            for cell in row:
                if cell.value is not None:
                    size = cell.n_unlabeled if strategy == "distill" else 0
                    found.append(Purchase(strategy, block.n_labels, size, block.initial_usd, cell))
                elif cell.status == "missing" and cell.total_usd is not None:  # a grid lacks the others on purpose
                    planned.append(f"{block.n_labels:,} labels{f' and {cell.bought}' if cell.bought else ' alone'}")
    first = blocks[0]
    models = f", {first.models[0]} into {first.models[1]}" if first.names_models else ""
    return Purchases(
        title=f"{first.task}, {first.mode} mode{models}",
        metric_name=first.metric_name,
        found=tuple(sorted(found, key=lambda each: (each.total_usd, each.n_unlabeled))),
        teachers={block.n_labels: block.teacher for block in blocks if block.teacher.value is not None},
        planned=tuple(planned),
    )
