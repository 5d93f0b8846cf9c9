"""Draws Figures 2 to 7, and those like Figure 2, as PNG and SVG; the same data give the same bytes."""

import io
import math
from collections.abc import Sequence

from distill_or_annotate.reports.figure_data import FigureData, Panel, Series
from distill_or_annotate.reports.pareto import LIGHT, Theme

_COLUMNS = 3
_MARKERS = ("o", "s", "^", "D", "v", "P")
_WIDTH = 8.0
_PANEL_HEIGHT = 2.9
_HEAD_HEIGHT = 1.0


def png_of(figure: FigureData, theme: Theme = LIGHT) -> bytes:
    """Returns a figure as PNG.

    Args:
      figure: the figure.
      theme: colours.
    """
    return _drawn(figure, theme, "png", {"Software": None})


def svg_of(figure: FigureData, theme: Theme = LIGHT) -> bytes:
    """Returns a figure as SVG, text drawn as shapes so that it looks the same everywhere.

    Args:
      figure: the figure.
      theme: colours.
    """
    return _drawn(figure, theme, "svg", {"Date": None, "Creator": None})


def _drawn(figure: FigureData, theme: Theme, form: str, metadata: dict) -> bytes:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style = {"font.family": "DejaVu Sans", "font.size": 9, "axes.unicode_minus": False, "path.sketch": None}
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **style, "svg.hashsalt": figure.name}):
        columns = min(_COLUMNS, max(1, len(figure.panels)))
        n_rows = max(1, math.ceil(len(figure.panels) / columns))
        height = _HEAD_HEIGHT + n_rows * (_PANEL_HEIGHT + (1.2 if columns == 1 else 0.0))
        drawing = Figure(figsize=(_WIDTH, height), dpi=160, facecolor=theme.background)
        FigureCanvasAgg(drawing)
        drawing.text(
            0.02, 1 - 0.22 / height, figure.title, color=theme.ink, fontsize=12, fontweight="bold", va="center"
        )
        handles: dict[str, object] = {}
        for position, panel in enumerate(figure.panels):
            axes = drawing.add_subplot(n_rows, columns, position + 1, facecolor=theme.background)
            _set_axes(axes, figure, panel, theme, is_lowest=position >= len(figure.panels) - columns)
            for series, (colour, marker) in zip(panel.series, _looks(panel.series, theme), strict=True):
                drawn = _draw(axes, figure, panel, series, colour, marker, theme)
                handles.setdefault(series.name, drawn)
        low = 0.62 if columns == 1 else 0.5
        drawing.subplots_adjust(
            left=0.075, right=0.985, bottom=low / height, top=1 - _HEAD_HEIGHT / height, wspace=0.24, hspace=0.36
        )
        _draw_legend(drawing, handles, height, theme)
        buffer = io.BytesIO()
        drawing.savefig(buffer, format=form, facecolor=theme.background, metadata=metadata)
    return buffer.getvalue()


def _looks(series: Sequence[Series], theme: Theme) -> list[tuple[str, str]]:
    """A colour by strategy, and a marker of its own for each series."""
    seen: dict[str, int] = {}
    # The other systems share a colour, so they begin with markers of their own.
    firsts = {"annotate": 0, "distill": 1}
    looks = []
    for each in series:
        number = seen.get(each.strategy, 0)
        seen[each.strategy] = number + 1
        first = firsts.setdefault(each.strategy, len(firsts))
        marker = "*" if each.strategy == "teacher" else _MARKERS[(number + first) % len(_MARKERS)]
        looks.append((getattr(theme, each.strategy, theme.other), marker))
    return looks


def _set_axes(axes, figure: FigureData, panel: Panel, theme: Theme, is_lowest: bool) -> None:
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    xs = list(dict.fromkeys(mark.x for series in panel.series for mark in series.marks))
    if figure.has_lines:
        axes.set_xscale("log")
        low, high = min(xs), max(xs)
        margin = (high / low) ** 0.1 if high > low else 1.5
        axes.set_xlim(low / margin, high * margin)
        ticks: list[float] = []
        for x in sorted(xs):
            if not ticks or math.log(x / ticks[-1]) / math.log(high * margin**2 / low) > 0.18:
                ticks.append(x)
        dollars = "$" if figure.is_in_dollars else ""
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_major_formatter(FixedFormatter([f"{dollars}{x:,.0f}" for x in ticks]))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xlim(-0.6, len(xs) - 0.4)
        axes.xaxis.set_major_locator(FixedLocator(range(len(xs))))
        axes.xaxis.set_major_formatter(FixedFormatter(list(map(str, xs))))
    scores = [mark.score for series in panel.series for mark in series.marks]
    span = max(max(scores) - min(scores), 5.0)
    axes.set_ylim(min(scores) - 0.12 * span, max(scores) + 0.15 * span)
    axes.grid(axis="y", color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(theme.muted)
    axes.tick_params(axis="both", colors=theme.muted, length=0, pad=4, labelsize=8)
    axes.set_title(panel.title, color=theme.ink, fontsize=8.5, loc="left")
    if is_lowest:
        axes.set_xlabel(figure.x_name, color=theme.muted, fontsize=8)


def _draw(axes, figure: FigureData, panel: Panel, series: Series, colour: str, marker: str, theme: Theme):
    if series.strategy == "floor":
        look = {"color": theme.muted, "linewidth": 1.2, "linestyle": (0, (2, 2)), "zorder": 1}
        places, scores = [mark.x for mark in series.marks], [mark.score for mark in series.marks]
        return axes.plot(places, scores, **look)[0] if len(places) > 1 else axes.axhline(scores[0], **look)
    xs = list(dict.fromkeys(mark.x for each in panel.series for mark in each.marks))
    # Over a name, the series stand side by side.
    shift = 0.0
    if not figure.has_lines and len(panel.series) > 1:
        shift = 0.5 * (panel.series.index(series) / (len(panel.series) - 1) - 0.5)
    places = [mark.x if figure.has_lines else xs.index(mark.x) + shift for mark in series.marks]
    sound = [(x, mark.score) for x, mark in zip(places, series.marks, strict=True) if not mark.degenerate]
    size = 10 if marker == "*" else 6
    if figure.has_lines and series.strategy != "teacher":
        # Degenerate models say little, but which ones belong together should be seen.
        axes.plot(places, [mark.score for mark in series.marks], color=colour, linewidth=0.7, alpha=0.5, zorder=2)
        axes.plot([x for x, _ in sound], [score for _, score in sound], color=colour, linewidth=1.4, zorder=2)
    for x, mark in zip(places, series.marks, strict=True):
        if mark.stderr:
            axes.errorbar(x, mark.score, yerr=mark.stderr, color=colour, linewidth=1.0, capsize=2, zorder=2)
        face = theme.background if mark.degenerate else colour
        edge = colour if mark.degenerate else theme.background
        look = {"markersize": size, "markerfacecolor": face, "markeredgecolor": edge, "linestyle": "none", "zorder": 3}
        axes.plot(x, mark.score, marker=marker, **look)
        if not figure.has_lines:
            text = f"{mark.score:.1f}"
            axes.annotate(
                text, (x, mark.score), (0, 6), textcoords="offset points", ha="center", fontsize=7, color=theme.ink
            )
    line = {"color": colour, "marker": marker, "markersize": size, "linewidth": 1.4}
    return axes.plot([], [], **{**line, **({} if figure.has_lines and marker != "*" else {"linestyle": "none"})})[0]


def _draw_legend(drawing, handles: dict, height: float, theme: Theme) -> None:
    if not handles:
        drawing.text(0.5, 0.3, "not published in numbers", color=theme.muted, ha="center")
        return
    drawing.legend(
        list(handles.values()),
        list(handles),
        loc="center left",
        bbox_to_anchor=(0.012, 1 - 0.52 / height),
        ncols=min(len(handles), 6),
        frameon=False,
        fontsize=8,
        labelcolor=theme.ink,
        handlelength=1.6,
        columnspacing=1.3,
        handletextpad=0.4,
    )
