"""The pictures of a data check: sizes beside Table 5, answers by split, lengths with the task's limits."""

import io
from collections.abc import Sequence
from typing import Any

from distill_or_annotate.data.checking.lengths import LengthStats
from distill_or_annotate.data.checking.report import Report, SplitReport
from distill_or_annotate.reports.pareto import DARK, LIGHT, Theme
from distill_or_annotate.reports.parts import Figure

_MOST_LABELS = 20
_WIDTH_INCHES, _DPI = 8.0, 160
# From left to right of a split's bars; colour-blind readers and grey prints tell them apart by lightness.
_LIGHT_SERIES = ("#0b6fa8", "#c8501e", "#7a8794", "#b9c1c9")
_DARK_SERIES = ("#5cb8f0", "#ff9a5c", "#98a2ae", "#566270")


def figures(report: Report) -> dict[str, Figure]:
    """Draws what there is to draw.

    Args:
      report: what is known.
    Returns:
      `sizes`, `labels` (label words or entity types only) and `lengths`; the same report gives the same bytes.
    """
    drawings = {"sizes": _draw_sizes, "lengths": _draw_lengths}
    if any(split.labels and split.labels.counts for split in report.here()):
        drawings["labels"] = _draw_labels
    return {name: Figure(name, _png(report, draw, LIGHT), _png(report, draw, DARK)) for name, draw in drawings.items()}


def _png(report: Report, draw: Any, theme: Theme) -> bytes:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Drawing

    style = {"font.family": "DejaVu Sans", "font.size": 10, "axes.unicode_minus": False, "path.sketch": None}
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **style}):
        drawing = Drawing(dpi=_DPI, facecolor=theme.background, layout="constrained")
        canvas = FigureCanvasAgg(drawing)
        draw(drawing, report, theme)
        buffer = io.BytesIO()
        # Software and date would change the bytes without changing the picture.
        canvas.print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def _draw_sizes(drawing: Any, report: Report, theme: Theme) -> None:
    splits = [split for split in report.splits if split.is_here() or split.paper.n_paper_rows]
    drawing.set_size_inches(_WIDTH_INCHES, 0.95 + 0.62 * len(splits))
    axes = drawing.add_subplot(facecolor=theme.background)
    _plain_axes(axes, theme)
    longest = max(max(split.counts.n_rows if split.counts else 0, split.paper.n_paper_rows or 0) for split in splits)
    here, paper = _series(theme)[0], theme.grid
    for place, split in enumerate(splits):
        if split.paper.n_paper_rows:
            axes.barh(place + 0.2, split.paper.n_paper_rows, 0.3, color=paper, edgecolor=theme.edge, linewidth=0.8)
            _right_of(axes, split.paper.n_paper_rows, place + 0.2, f"{split.paper.n_paper_rows:,}", longest, theme)
        if split.is_here():
            counts = split.counts
            axes.barh(place - 0.15, counts.n_rows, 0.36, color=here, alpha=0.35, linewidth=0)
            axes.barh(place - 0.15, counts.n_sources, 0.36, color=here, linewidth=0)
            text = f"{counts.n_rows:,}"
            text += f", {counts.n_sources:,} distinct" if counts.n_sources != counts.n_rows else ""
            _right_of(axes, counts.n_rows, place - 0.15, text, longest, theme, theme.ink)
        else:
            _right_of(axes, 0, place - 0.15, "not here", longest, theme)
    axes.set_xlim(0, 1.32 * longest)
    axes.set_ylim(len(splits) - 0.45, -0.55)
    axes.set_yticks(range(len(splits)), [split.name for split in splits], color=theme.ink)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    patches = [("distinct sources", here, 1.0), ("repeated", here, 0.35)]
    if any(split.paper.n_paper_rows for split in splits):
        patches.append(("Table 5 of the paper", paper, 1.0))
    _legend(drawing, patches, theme)


def _draw_labels(drawing: Any, report: Report, theme: Theme) -> None:
    splits = [split for split in report.here() if split.labels]
    labels = sorted(
        splits[0].labels.counts, key=lambda label: -sum(split.labels.counts[label] for split in splits)
    )[:_MOST_LABELS]  # fmt: skip
    drawing.set_size_inches(_WIDTH_INCHES, 0.9 + len(labels) * (0.17 + 0.14 * len(splits)))
    axes = drawing.add_subplot(facecolor=theme.background)
    _plain_axes(axes, theme)
    height = 0.78 / len(splits)
    shares = {split.name: _shares(split, labels) for split in splits}
    longest = max(max(each) for each in shares.values()) or 1.0
    for number, split in enumerate(splits):
        colour = _series(theme)[number]
        for place, share in enumerate(shares[split.name]):
            y = place - 0.39 + height * (number + 0.5)
            axes.barh(y, share, 0.92 * height, color=colour, linewidth=0)
            _right_of(axes, share, y, f"{share:.1f}%", longest, theme)
    axes.set_xlim(0, 1.12 * longest)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_yticks(range(len(labels)), labels, color=theme.ink)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    _legend(drawing, [(split.name, _series(theme)[i], 1.0) for i, split in enumerate(splits)], theme)


def _draw_lengths(drawing: Any, report: Report, theme: Theme) -> None:
    splits = report.here()
    with_targets = any(split.lengths.targets for split in splits)
    n_columns = 2 if with_targets else 1
    drawing.set_size_inches(_WIDTH_INCHES, 0.5 + 1.75 * len(splits))
    grid = drawing.subplots(len(splits), n_columns, squeeze=False)
    for split, row in zip(splits, grid, strict=True):
        features = (("inputs", split.lengths.inputs), ("targets", split.lengths.targets))[:n_columns]
        for axes, (what, stats) in zip(row, features, strict=True):
            if stats is None:
                axes.set_visible(False)
            else:
                _histogram(axes, stats, f"{split.name}, {what}", split.lengths.unit, theme)


def _histogram(axes: Any, stats: LengthStats, title: str, unit: str, theme: Theme) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_facecolor(theme.background)
    _plain_axes(axes, theme)
    starts = stats.bin_starts
    width = starts[1] - starts[0] if len(starts) > 1 else stats.limit
    cut, kept = _series(theme)[1], _series(theme)[0]
    colours = [cut if start > stats.limit else kept for start in starts]
    axes.bar(
        starts, stats.bin_counts, width=width, align="edge", color=colours, edgecolor=theme.background, linewidth=0.4
    )
    # Label words are a token or two of eight: the limit is shown wherever it is not far beyond all lengths.
    right = max(starts[-1] + width, stats.limit + width)
    axes.set_xlim(1, right)
    axes.axvline(stats.limit + 1, color=theme.muted, linewidth=1.2, linestyle=(0, (3, 2)))
    least = "at least " if unit == "words" else ""
    cut_text = f"{least}{100 * stats.share_over:.1f}% over {stats.limit} tokens"
    axes.set_title(f"{title}: {cut_text}", loc="left", fontsize=9.5, color=theme.ink)
    axes.set_xlabel(
        unit.upper() + ", NOT TOKENS" if unit == "words" else unit, color=theme.muted, fontsize=8, loc="right"
    )
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", color=theme.grid, linewidth=0.8)


def _shares(split: SplitReport, labels: Sequence[str]) -> list[float]:
    total = sum(split.labels.counts.values()) or 1
    return [100 * split.labels.counts[label] / total for label in labels]


def _series(theme: Theme) -> tuple[str, ...]:
    return _DARK_SERIES if theme is DARK else _LIGHT_SERIES


def _plain_axes(axes: Any, theme: Theme) -> None:
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(theme.muted)
    axes.tick_params(axis="both", colors=theme.muted, length=0, pad=5)


def _right_of(
    axes: Any, x: float, y: float, text: str, longest: float, theme: Theme, colour: str | None = None
) -> None:
    axes.text(x + 0.012 * longest, y, text, va="center", fontsize=8, color=colour or theme.muted)


def _legend(drawing: Any, patches: Sequence[tuple[str, str, float]], theme: Theme) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=colour, alpha=alpha, label=label) for label, colour, alpha in patches]
    drawing.legend(
        handles=handles, loc="outside upper left", ncols=len(handles), frameon=False, fontsize=9,
        labelcolor=theme.ink, handlelength=1.2, handleheight=1.0,
    )  # fmt: skip
