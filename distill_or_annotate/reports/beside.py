"""A run's table beside the published one: the same cells of the paper, brought to the study's scale."""

from collections.abc import Mapping, Sequence
from typing import Any

from distill_or_annotate import paper
from distill_or_annotate.prices import PriceBook, PriceBookError, load_book
from distill_or_annotate.reports.grids import Entry, Grid
from distill_or_annotate.reports.paper_tables import TITLES
from distill_or_annotate.reports.table import STRATEGY_NAMES, Block
from distill_or_annotate.scenarios.expected import published_scores

_TABLES = ("table2", "table11")
# A study's shrunken N and dollars are rounded; the paper's lie within this share of them.
_NEAR = 0.02


def beside(block: Block, manifest: Mapping[str, Any]) -> Grid | None:
    """Returns our row and the paper's under each strategy, or None where the paper prints nothing for the study.

    Args:
      block: the study.
      manifest: the run's, for its scenario's name and price book.
    """
    book = _book(manifest)
    if book is None:
        return None
    task, scale = book.base_task or block.task, book.scale
    if task not in paper.task_names():
        return None
    # A scenario of a table is named after it, its form and its task: table2_mini_wlp.
    table = str(manifest.get("scenario", {}).get("name", "")).split("_")[0]
    published = _published(table, task, block, scale)
    if not published:
        return None
    rows: list[tuple[str, tuple[Entry, ...]]] = []
    for strategy, cells in block.rows.items():
        ours = tuple(
            Entry(cell.display, cell.bought, is_best=block.winner(column) == strategy, is_ours=True)
            for column, cell in enumerate(cells)
        )
        theirs = tuple(
            _entry(published, strategy, usd / scale, cell.total_usd)
            for usd, cell in zip(block.budgets_usd, cells, strict=True)
        )
        rows += [(f"{STRATEGY_NAMES[strategy]}, ours", ours), (f"{STRATEGY_NAMES[strategy]}, published", theirs)]
    teachers = [row["score"] for row in published if row["strategy"] == "teacher"]
    teacher = f"; published {teachers[0]:.1f}" if teachers else ""
    return Grid(
        title="Beside the published numbers",
        heads=("", *(f"+${usd:,.2f}" for usd in block.budgets_usd)),
        rows=tuple(rows),
        caption=f"{block.metric_name}, percent. Teacher: ours {block.teacher.display}{teacher}.",
        notes=tuple(_notes(block, task, scale, published)),
    )


def _published(name: str, task: str, block: Block, scale: float) -> list[dict[str, Any]]:
    """Printed rows for the block's N: of the table or figure that the run is named after, else of Tables 2 and 11."""
    for tables in ((name,), _TABLES):
        rows = [row for table in tables for row in published_scores(table, task)]
        found = [row for row in rows if row["score"] is not None and _near(row["n_labels"] * scale, block.n_labels)]
        if found:
            return found
    return []


def _entry(published: Sequence[Mapping[str, Any]], strategy: str, usd: float, total_usd: float | None) -> Entry:
    for row in published:
        if row["strategy"] == strategy and row["additional_usd"] is not None and _near(row["additional_usd"], usd):
            return Entry(f"{row['score']:.1f}", f"{row['source']}, +${row['additional_usd']:,}")
    return Entry("–")


def _notes(block: Block, task: str, scale: float, published: Sequence[Mapping[str, Any]]) -> list[str]:
    sources = ", ".join(dict.fromkeys(row["source"] for row in published))
    notes = [f"Published: {sources}, {TITLES[task]}, T5-XXL into T5-Small, one run each."]
    if scale != 1:
        notes.append(
            f"N, unlabeled examples and dollars here are {scale:g} times the paper's; models and seeds are others, so "
            "compare who wins, not the scores."
        )
    if block.task != task:
        notes.append(f"The task is {block.task}; the paper's is {TITLES[task]}.")
    without = [row for row in published if row["additional_usd"] is None and row["strategy"] != "teacher"]
    for row in without:
        pool = "" if row["n_unlabeled"] is None else f", {row['n_unlabeled']:,} unlabeled"
        notes.append(f"{row['source']}: {row['strategy']} {row['score']:.1f}{pool} (no dollars printed).")
    return notes


def _book(manifest: Mapping[str, Any]) -> PriceBook | None:
    name = manifest.get("price_book") or manifest.get("scenario", {}).get("price_book")
    try:
        return load_book(name) if name else None
    except PriceBookError:
        return None


def _near(first: float, second: float) -> bool:
    return abs(first - second) <= _NEAR * max(abs(first), abs(second))
