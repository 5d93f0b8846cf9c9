"""The 66 cost cells of Tables 2 and 11, computed from primitives and set beside the printed ones."""

import collections
from typing import Any

from distill_or_annotate import paper
from distill_or_annotate.costs.cell import cost_cell
from distill_or_annotate.prices import PriceBook, load_book


def published_cells(book: PriceBook | None = None) -> list[dict[str, Any]]:
    """Returns every cell with an additional budget: computed columns, the printed ones, and provenance.

    Args:
      book: the prices; None takes the paper's.

    Returns:
      Dicts with task, n_labels, additional_usd, extra_labels, gpu_hours, unlabeled_k (thousands, rounded down; None is
      N/A), `published` (the three printed values), `matches`, provenance of unlabeled_k (published | inferred |
      contradicted, where a price of Table 6 would give another count), and the prices used.
    """
    book = book or load_book("paper")
    cells = []
    for table in ("table11", "table2"):
        for block in paper.facts()[table]["rows"]:
            for column, additional_usd in enumerate(block["additional_usd"]):
                if additional_usd:
                    cells.append(_cell(book, table, block, column))
    return cells


def provenance_counts(cells: list[dict[str, Any]]) -> dict[str, int]:
    """Returns how many unlabeled counts follow from printed prices, need inferred ones, or contradict printed ones.

    Args:
      cells: from `published_cells`.
    """
    return dict(sorted(collections.Counter(cell["provenance"] for cell in cells).items()))


def count_sentence(cells: list[dict[str, Any]]) -> str:
    """Returns what `provenance_counts` counts, and how many cells match, in words.

    Args:
      cells: from `published_cells`.
    """
    counts = provenance_counts(cells)
    known = ("published", "contradicted", "inferred")
    others = "".join(f", {number} {name}" for name, number in counts.items() if name not in known)
    return (
        f"{sum(cell['matches'] for cell in cells)} of {len(cells)} cells match in all three columns. Unlabeled counts: "
        f"{counts.get('published', 0)} follow from published prices alone, {counts.get('contradicted', 0)} contradict "
        f"Table 6, {counts.get('inferred', 0)} need inferred prices{others}."
    )


def _cell(book: PriceBook, table: str, block: dict[str, Any], column: int) -> dict[str, Any]:
    cell = cost_cell(book, block["task"], block["n_labels"], block["additional_usd"][column])
    computed = {
        "extra_labels": cell.extra_labels,
        "gpu_hours": cell.gpu_hours,
        "unlabeled_k": None if cell.n_unlabeled is None else cell.n_unlabeled // 1000,
    }
    printed = {name: block[name][column] for name in computed}
    return {
        "task": block["task"],
        "n_labels": block["n_labels"],
        "additional_usd": block["additional_usd"][column],
        **computed,
        "provenance": "contradicted" if cell.contradicts_published else cell.provenance["n_unlabeled"],
        "table": table,
        "finetune_usd": cell.finetune_usd,
        "distill_usd_per_1k": cell.distill_usd_per_1k,
        "price_entries": list(cell.price_entries),
        "published": printed,
        "matches": computed == printed,
    }
