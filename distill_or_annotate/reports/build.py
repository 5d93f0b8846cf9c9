"""Writes a run's report folder: index.html, tables.md, and each figure with the data behind it."""

import os
import pathlib

from distill_or_annotate.reports.html import page
from distill_or_annotate.reports.inputs import read_run
from distill_or_annotate.reports.pareto import DARK, LIGHT, csv_of, png_of
from distill_or_annotate.reports.parts import Figure
from distill_or_annotate.reports.table import Block, blocks_of
from distill_or_annotate.reports.text import markdown


def build(run_folder: pathlib.Path | str) -> pathlib.Path:
    """Rebuilds `RUN/report` from the run's files; the same files give the same bytes.

    Args:
      run_folder: the run.

    Returns:
      The path of report/index.html.

    Raises:
      ReportError: the folder holds no run, or a row no report can be made from.
    """
    run = read_run(run_folder)
    report = run.folder / "report"
    blocks = blocks_of(run)
    figures = []
    for position, block in enumerate(blocks):
        name = _figure_name(block) if position else "pareto"
        light, dark = png_of(block, LIGHT), png_of(block, DARK)
        _write(report / "figures" / f"{name}.png", light)
        _write(report / "figures" / f"{name}.csv", csv_of(block).encode())
        figures.append(Figure(name=name, light_png=light, dark_png=dark))
    _write(report / "tables.md", markdown(blocks).encode())
    _write(report / "index.html", page(run, blocks, figures).encode())
    return report / "index.html"


def _figure_name(block: Block) -> str:
    return f"pareto_{block.task}_{block.mode}_n{block.n_labels}_{block.initial_usd:.2f}usd"


def _write(path: pathlib.Path, data: bytes) -> None:
    """Replaces a file in one step, so that a reader never sees half a report."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    os.replace(part, path)
