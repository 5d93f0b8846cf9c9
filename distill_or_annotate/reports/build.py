"""Writes a report folder: index.html, tables.md, energy.csv, and each figure as PNG, SVG and the data behind it."""

import os
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

from distill_or_annotate.reports import figure_drawing, pareto
from distill_or_annotate.reports.assembled import RunReport, assembled
from distill_or_annotate.reports.energy import csv_of as energy_csv
from distill_or_annotate.reports.figure_data import FIGURES, csv_of, paper_figure
from distill_or_annotate.reports.html import page
from distill_or_annotate.reports.inputs import ReportError, read_run
from distill_or_annotate.reports.paper_tables import paper_tables
from distill_or_annotate.reports.pareto import DARK, LIGHT, Theme
from distill_or_annotate.reports.parts import Figure
from distill_or_annotate.reports.table import Block
from distill_or_annotate.reports.text import report_markdown


def build(run_folder: pathlib.Path | str) -> pathlib.Path:
    """Rebuilds `RUN/report` from the run's files; the same files give the same bytes.

    Args:
      run_folder: the run.

    Returns:
      The path of report/index.html.

    Raises:
      ReportError: the folder holds no run, or a row no report can be made from.
    """
    return build_all([run_folder], pathlib.Path(run_folder) / "report")


def build_all(
    run_folders: Sequence[pathlib.Path | str], report: pathlib.Path | str, with_paper: bool = False
) -> pathlib.Path:
    """Builds one report of several runs, of none where the paper's numbers are asked for.

    Args:
      run_folders: the runs.
      report: folder of the report; files of the same names are replaced.
      with_paper: whether to draw the paper's tables and figures, and to set its numbers beside ours.

    Returns:
      The path of index.html.

    Raises:
      ReportError: neither a run nor the paper is asked for, a folder holds no run, or a row no report can be made from.
    """
    if not run_folders and not with_paper:
        raise ReportError("no run was named. Fix: name the folder of one, or ask for --paper.")
    report = pathlib.Path(report)
    reports = [assembled(read_run(folder), with_paper) for folder in run_folders]
    pictures = [_pictures(each, report, _prefix(reports, place)) for place, each in enumerate(reports)]
    for place, each in enumerate(reports):
        if each.energy:
            _write(report / f"{_prefix(reports, place)}energy.csv", energy_csv(each.energy).encode())
    drawn = []
    for data in [paper_figure(name) for name in FIGURES] if with_paper else []:
        draw = {"png_of": figure_drawing.png_of, "svg_of": figure_drawing.svg_of, "csv_of": csv_of}
        drawn.append((data, _picture(report, f"paper_{data.name}", data, **draw)))
    grids = paper_tables() if with_paper else {}
    _write(report / "tables.md", report_markdown(reports, grids).encode())
    _write(report / "index.html", page(reports, pictures, grids, drawn).encode())
    return report / "index.html"


def _pictures(report: RunReport, folder: pathlib.Path, prefix: str) -> list[Figure]:
    figures = []
    # The frontier over all purchases is Figure 2; one of a single L would show a part of it.
    for position, study in enumerate(() if report.grids else report.studies):
        name = f"{prefix}{_figure_name(study.block) if position else 'pareto'}"
        draw = {"png_of": pareto.png_of, "svg_of": pareto.svg_of, "csv_of": pareto.csv_of}
        figures.append(_picture(folder, name, study.block, **draw))
    for data in report.figures:
        draw = {"png_of": figure_drawing.png_of, "svg_of": figure_drawing.svg_of, "csv_of": csv_of}
        figures.append(_picture(folder, f"{prefix}{data.name}", data, **draw))
    return figures


def _picture(
    report: pathlib.Path,
    name: str,
    data: Any,
    png_of: Callable[[Any, Theme], bytes],
    svg_of: Callable[[Any], bytes],
    csv_of: Callable[[Any], str],
) -> Figure:
    light, dark = png_of(data, LIGHT), png_of(data, DARK)
    _write(report / "figures" / f"{name}.png", light)
    _write(report / "figures" / f"{name}.svg", svg_of(data))
    _write(report / "figures" / f"{name}.csv", csv_of(data).encode())
    return Figure(name=name, light_png=light, dark_png=dark)


def _prefix(reports: Sequence[RunReport], place: int) -> str:
    """What tells the files of several runs apart: their names, numbered where two have the same."""
    if len(reports) == 1:
        return ""
    names = [re.sub(r"\W+", "_", report.run.name) for report in reports]
    number = f"_{names[: place + 1].count(names[place])}" if names.count(names[place]) > 1 else ""
    return f"{names[place]}{number}_"


def _figure_name(block: Block) -> str:
    models = "".join(f"_{name}" for name in block.models) if block.names_models else ""
    return f"pareto_{block.task}_{block.mode}_n{block.n_labels}_{block.initial_usd:.2f}usd{models}"


def _write(path: pathlib.Path, data: bytes) -> None:
    """Replaces a file in one step, so that a reader never sees half a report."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    os.replace(part, path)
