"""The Pareto figure: total dollars on a log scale against score, both strategies, frontier, teacher and floors."""

import csv
import dataclasses
import io
import math
from collections.abc import Sequence

from distill_or_annotate.reports.table import Block


@dataclasses.dataclass(frozen=True)
class Theme:
    """Colours of a figure; annotate and distill stay apart for colour-blind readers and in grey."""

    background: str
    ink: str
    muted: str
    grid: str
    frontier: str
    edge: str
    annotate: str
    distill: str
    teacher: str
    other: str


LIGHT = Theme(
    "#ffffff", "#1d232b", "#6b7480", "#e3e7eb", "#f3f5f7", "#aab2bb", "#c8501e", "#0b6fa8", "#3c4652", "#2f7d4f"
)
DARK = Theme(
    "#14181d", "#e8ebef", "#98a2ae", "#2a323a", "#1b2128", "#566270", "#ff9a5c", "#5cb8f0", "#c9d1da", "#7fd6a0"
)
_MARKERS = {"annotate": "o", "distill": "s"}
_LABELS = {"annotate": "Annotate", "distill": "Distill"}


@dataclasses.dataclass(frozen=True)
class Point:
    """One model of the figure.

    Attributes:
      strategy: annotate | distill | teacher.
      total_usd: initial and additional dollars, above 0.
      score: percent.
      stderr: percent, or None.
      degenerate: drawn hollow and left out of lines and frontier.
      on_frontier: whether no cheaper or equally dear compact model scores as much.
      bought: what the additional dollars bought.
    """

    strategy: str
    total_usd: float
    score: float
    stderr: float | None
    degenerate: bool
    on_frontier: bool
    bought: str


def points_of(block: Block) -> list[Point]:
    """Returns the figure's points: strategies in order, dollars rising, the teacher last.

    Args:
      block: the study.
    """
    cells = [(name, cell) for name, row in block.rows.items() for cell in row if cell.value is not None]
    compact = [(cell.total_usd, cell.value) for _, cell in cells if cell.status != "degenerate" and cell.total_usd > 0]
    frontier = set(frontier_of(compact))
    points = [
        Point(
            strategy=name,
            total_usd=cell.total_usd,
            score=cell.value,
            stderr=cell.stderr,
            degenerate=cell.status == "degenerate",
            on_frontier=cell.status != "degenerate" and (cell.total_usd, cell.value) in frontier,
            bought=cell.bought,
        )
        for name, cell in cells
        if cell.total_usd > 0
    ]
    teacher = block.teacher
    if teacher.value is not None and teacher.total_usd > 0:
        degenerate = teacher.status == "degenerate"
        points.append(Point("teacher", teacher.total_usd, teacher.value, teacher.stderr, degenerate, False, ""))
    return points


def frontier_of(models: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns the models that no cheaper or equally dear one matches, dollars rising.

    Args:
      models: (dollars, score) pairs.
    """
    best: list[tuple[float, float]] = []
    for usd, score in sorted(models, key=lambda model: (model[0], -model[1])):
        if not best or score > best[-1][1]:
            best.append((usd, score))
    return best


def csv_of(block: Block) -> str:
    """Returns the data behind the figure as CSV, floors included.

    Args:
      block: the study.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["strategy", "total_usd", "score", "stderr", "degenerate", "on_frontier", "bought"])
    for point in points_of(block):
        stderr = "" if point.stderr is None else f"{point.stderr:.4f}"
        flags = [str(point.degenerate).lower(), str(point.on_frontier).lower()]
        writer.writerow([point.strategy, f"{point.total_usd:.4f}", f"{point.score:.4f}", stderr, *flags, point.bought])
    for name, score in block.floors.items():
        writer.writerow([f"floor:{name}", "", f"{score:.4f}", "", "", "", ""])
    return buffer.getvalue()


def png_of(block: Block, theme: Theme = LIGHT) -> bytes:
    """Returns the figure as PNG; the same block gives the same bytes.

    Args:
      block: the study.
      theme: colours.
    """
    # Software and date would change the bytes without changing the picture.
    return _drawn(block, theme, "png", {"Software": None})


def svg_of(block: Block, theme: Theme = LIGHT) -> bytes:
    """Returns the figure as SVG, text drawn as shapes; the same block gives the same bytes.

    Args:
      block: the study.
      theme: colours.
    """
    return _drawn(block, theme, "svg", {"Date": None, "Creator": None})


def _drawn(block: Block, theme: Theme, form: str, metadata: dict[str, None]) -> bytes:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style = {"font.family": "DejaVu Sans", "font.size": 10, "axes.unicode_minus": False, "path.sketch": None}
    style["svg.hashsalt"] = "pareto"
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **style}):
        figure = Figure(figsize=(8.0, 5.0), dpi=160, facecolor=theme.background)
        FigureCanvasAgg(figure)
        # About 0.0085 of the width per character of the longest floor label, which stands right of the axes.
        margin = 0.03 + 0.0085 * max((len(f"{name} {score:.1f}") for name, score in block.floors.items()), default=0)
        axes = figure.add_axes((0.07, 0.155, 0.93 - margin, 0.65), facecolor=theme.background)
        points = points_of(block)
        _set_axes(axes, block, points, theme)
        _draw_floors(axes, block, theme)
        _draw_frontier(axes, points, theme)
        for strategy in block.rows:
            _draw_strategy(axes, [point for point in points if point.strategy == strategy], strategy, theme)
        _draw_teacher(axes, [point for point in points if point.strategy == "teacher"], theme)
        if any(point.degenerate for point in points):
            hollow = {"marker": "o", "markerfacecolor": "none", "markeredgecolor": theme.muted, "linestyle": "none"}
            axes.plot([], [], markersize=7, label="Degenerate model", **hollow)
        _draw_legend(figure, axes, theme)
        buffer = io.BytesIO()
        figure.savefig(buffer, format=form, facecolor=theme.background, metadata=metadata)
    return buffer.getvalue()


def _set_axes(axes, block: Block, points: Sequence[Point], theme: Theme) -> None:
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    axes.set_xscale("log")
    dollars = [point.total_usd for point in points] or [1.0]
    low, high = min(dollars), max(dollars)
    margin = (high / low) ** 0.07 if high > low else 1.2
    low, high = low / margin, high * margin
    axes.set_xlim(low, high)
    # The budgets themselves are the ticks; one that would touch its left neighbour goes without.
    ticks: list[float] = []
    for usd in sorted({point.total_usd for point in points if point.strategy != "teacher"}):
        if not ticks or math.log(usd / ticks[-1]) / math.log(high / low) > 0.085:
            ticks.append(usd)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    labels = [f"{_dollars(usd)}\n+{_dollars(usd - block.initial_usd)}" for usd in ticks]
    axes.xaxis.set_major_formatter(FixedFormatter(labels))
    scores = [point.score for point in points] + list(block.floors.values()) or [0.0]
    span = max(max(scores) - min(scores), 5.0)
    axes.set_ylim(max(-0.04 * span, min(scores) - 0.08 * span), max(scores) + 0.12 * span)
    axes.grid(axis="y", color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(theme.muted)
    axes.tick_params(axis="both", colors=theme.muted, length=0, pad=6)
    axes.set_xlabel("total dollars on a log scale; below them the additional budget", color=theme.muted, labelpad=8)
    axes.figure.text(0.028, 0.835, f"{block.metric_name}, %", color=theme.muted, va="center")
    axes.figure.text(0.028, 0.95, block.title, color=theme.ink, fontsize=13, fontweight="bold", va="center")


def _dollars(usd: float) -> str:
    return f"${usd:,.0f}" if abs(usd - round(usd)) < 0.005 else f"${usd:,.2f}"


def _draw_floors(axes, block: Block, theme: Theme) -> None:
    low, high = axes.get_ylim()
    last = -math.inf
    for name, score in block.floors.items():
        axes.axhline(score, color=theme.muted, linewidth=1.0, linestyle=(0, (2, 3)), zorder=1)
        # Labels stand in the right margin; one that would touch the label below moves up.
        last = max(score, last + 0.05 * (high - low))
        place = {"va": "center", "clip_on": False, "transform": axes.get_yaxis_transform()}
        axes.text(1.012, last, f"{name} {score:.1f}", color=theme.muted, fontsize=8, **place)


def _draw_frontier(axes, points: Sequence[Point], theme: Theme) -> None:
    best = sorted((point.total_usd, point.score) for point in points if point.on_frontier)
    if not best:
        return
    # The best score in hand holds until a dearer model beats it.
    dollars, scores = [*(usd for usd, _ in best), axes.get_xlim()[1]], [*(score for _, score in best), best[-1][1]]
    axes.fill_between(dollars, scores, axes.get_ylim()[0], step="post", color=theme.frontier, linewidth=0, zorder=0.5)
    axes.step(dollars, scores, where="post", color=theme.edge, linewidth=1.6, zorder=2, label="Frontier")


def _draw_strategy(axes, points: Sequence[Point], strategy: str, theme: Theme) -> None:
    colour, marker = getattr(theme, strategy), _MARKERS[strategy]
    sound = [point for point in points if not point.degenerate]
    axes.plot([p.total_usd for p in sound], [p.score for p in sound], color=colour, linewidth=1.8, zorder=3)
    for point in points:
        if point.stderr:
            axes.errorbar(
                point.total_usd, point.score, yerr=point.stderr, color=colour, linewidth=1.2, capsize=3, zorder=3
            )
        axes.plot(
            point.total_usd,
            point.score,
            marker=marker,
            markersize=8,
            markerfacecolor=theme.background if point.degenerate else colour,
            markeredgecolor=colour if point.degenerate else theme.background,
            markeredgewidth=1.6,
            linestyle="none",
            zorder=4,
        )
    axes.plot([], [], color=colour, marker=marker, markersize=7, linewidth=1.8, label=_LABELS[strategy])


def _draw_teacher(axes, points: Sequence[Point], theme: Theme) -> None:
    for point in points:
        axes.plot(
            point.total_usd,
            point.score,
            marker="*",
            markersize=15,
            color=theme.background if point.degenerate else theme.teacher,
            markeredgecolor=theme.teacher if point.degenerate else theme.background,
            linestyle="none",
            zorder=5,
            label="Teacher (too large to serve)",
        )


def _draw_legend(figure, axes, theme: Theme) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        axes.text(0.5, 0.5, "no results yet", color=theme.muted, ha="center", transform=axes.transAxes)
        return
    last = ("Frontier", "Teacher (too large to serve)", "Degenerate model")
    order = sorted(range(len(labels)), key=lambda i: (labels[i] in last, i))
    figure.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="center left",
        bbox_to_anchor=(0.02, 0.893),
        ncols=len(labels),
        frameon=False,
        fontsize=9,
        labelcolor=theme.ink,
        handlelength=1.8,
        columnspacing=1.6,
        handletextpad=0.5,
        markerscale=0.8,
    )
