"""The paper's other systems beside annotating and distilling, as a table of all models by their dollars."""

from collections.abc import Iterator, Sequence

from distill_or_annotate.reports.grids import Entry, Grid
from distill_or_annotate.reports.table import Block, ReportCell

NAMES = {
    "annotate": "Annotate",
    "distill": "Distill",
    "teacher": "Teacher",
    "self_distill": "Self-distill",
    "general_distill": "General distillation",
    "llm_annotate": "Language model's labels",
    "human_llm_annotate": "Human and language model's labels",
}


def systems_grid(blocks: Sequence[Block]) -> Grid | None:
    """Returns every model of a run in one table; None where it has no other system than the two.

    Args:
      blocks: the run's studies.
    """
    if not any(block.others for block in blocks):
        return None
    rows: list[tuple[str, tuple[Entry, ...]]] = []
    for block in blocks:
        if len(blocks) > 1:
            rows.append((block.title, ()))
        found = [(strategy, cell) for strategy, cell in _models(block) if cell.value is not None]
        best = max((cell.value for _, cell in found if cell.status != "degenerate"), default=None)
        found.sort(key=lambda pair: pair[1].total_usd)
        rows += [
            (NAMES.get(strategy, strategy), _entries(strategy, cell, cell.value == best)) for strategy, cell in found
        ]
    degenerate = any(cell.status == "degenerate" for block in blocks for _, cell in _models(block))
    return Grid(
        title="All systems",
        heads=("System", "Trained on", "Total", "Score"),
        rows=tuple(rows),
        caption="Score in percent, ± one standard error; the best sound one in bold.",
        notes=("degenerate: within noise of a floor, or one answer for all.",) if degenerate else (),
    )


def _models(block: Block) -> Iterator[tuple[str, ReportCell]]:
    for strategy, row in block.rows.items():
        yield from ((strategy, cell) for cell in row)
    yield from ((strategy, cell) for strategy, _, cell in block.others)
    yield "teacher", block.teacher


def _entries(strategy: str, cell: ReportCell, is_best: bool) -> tuple[Entry, ...]:
    # The labels at hand are examples in the prompts of `llm_annotate`, and no more.
    seen = [] if strategy == "llm_annotate" else [f"{cell.n_labels:,} labels"]
    seen += [cell.bought] if strategy in ("llm_annotate", "human_llm_annotate") else []
    seen += [f"{cell.n_unlabeled:,} of the pool"] if cell.n_unlabeled else []
    score = f"{cell.value:.1f}" + (f" ± {cell.stderr:.1f}" if cell.stderr is not None else "")
    seeds = f"{cell.n_seeds} models" if cell.n_seeds > 1 else ""
    small = ", ".join(text for text in (seeds, "degenerate" if cell.status == "degenerate" else "") if text)
    return (
        Entry(", ".join(seen)),
        Entry(f"${cell.total_usd:,.2f}", small="the pool ended" if cell.capped else ""),
        Entry(score, small=small, is_best=is_best),
    )
