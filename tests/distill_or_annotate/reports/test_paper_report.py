"""The paper's tables and figures in a report: every printed score, nothing invented, ours beside them at scale."""

import argparse
import csv
import html
import io
import re

import pytest

from distill_or_annotate import paper
from distill_or_annotate.reports import ReportError, blocks_of, build_all, command, read_run
from distill_or_annotate.reports.beside import beside
from distill_or_annotate.reports.figure_data import FIGURES, csv_of, paper_figure, run_figures
from distill_or_annotate.reports.figure_drawing import png_of, svg_of
from distill_or_annotate.reports.grids import html_of, markdown_of
from distill_or_annotate.reports.paper_tables import paper_tables


def _texts(name):
    return [entry.text for grid in paper_tables()[name] for _, entries in grid.rows for entry in entries]


@pytest.mark.parametrize("name", ["table2", "table11"])
def test_every_score_of_the_budget_tables_is_drawn_in_order(name):
    blocks = paper.facts()[name]["rows"]
    tasks = list(dict.fromkeys(block["task"] for block in blocks))
    ordered = [block for task in tasks for block in blocks if block["task"] == task]
    scores = [score for block in ordered for part in ("annotate", "distill") for score in block[part]]
    assert _texts(name) == ["N/A" if score is None else f"{score:.1f}" for score in scores]


COUNTS = {"table3": 24, "table4": 18, "table6": 24, "table9": 18, "table10": 16}


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_the_other_tables_are_whole(name, count):
    assert len(_texts(name)) == count
    facts = paper.facts()
    if name == "table10":
        assert _texts(name)[-4:] == ["56.9", "60.5", "71.7", "74.8"]
        assert "Stanceosaurus, N = 1K ($664)" in paper_tables()[name][0].heads
    if name == "table4":
        assert _texts(name)[0] == f"{facts['table4']['distill']['wlp'][0]:.1f}"
    if name == "table6":
        assert _texts(name)[:4] == ["$1,300", "$260", "$67.5", "$435"]


@pytest.mark.parametrize("name", FIGURES)
def test_a_published_figure_holds_only_printed_scores(name):
    figure = paper_figure(name)
    texts = [text for table in ("table2", "table3", "table4", "table11") for text in _texts(table)]
    printed = {float(text) for text in texts if text[0].isdigit()}
    teachers = {block["teacher"] for table in ("table2", "table11") for block in paper.facts()[table]["rows"]}
    drawn = {mark.score for panel in figure.panels for series in panel.series for mark in series.marks}
    assert drawn and drawn <= printed | teachers
    assert any(note.startswith("Not published in numbers") for note in figure.notes)
    rows = list(csv.DictReader(io.StringIO(csv_of(figure))))
    assert {float(row["score"]) for row in rows} == drawn and all(row["source"].startswith("Table") for row in rows)


def test_figure_2_prices_the_distilled_points_by_the_book():
    panel = paper_figure("figure2").panels[0]
    distilled = next(series for series in panel.series if series.strategy == "distill")
    # 5,000 labels, fine-tuning, and 100,000 examples of Table 6.
    assert distilled.marks[0].x == pytest.approx(1300 + 67.5 + 435)


def test_a_figure_is_the_same_bytes_each_time():
    figure = paper_figure("figure6")
    assert png_of(figure) == png_of(figure)
    assert svg_of(figure) == svg_of(figure) and b"<dc:date>" not in svg_of(figure)


def test_a_run_named_after_a_figure_draws_it(run_folder):
    blocks = blocks_of(read_run(run_folder))
    assert run_figures("quickstart", blocks) == []
    for name, x in (("figure2", 90.0), ("figure3", 300.0), ("figure4", "mini_student"), ("figure5", "mini_teacher")):
        (figure,) = run_figures(name, blocks)
        marks = [mark for series in figure.panels[0].series for mark in series.marks]
        assert x in {mark.x for mark in marks} and 49.5 in {mark.score for mark in marks}


def test_ours_stand_beside_the_published_at_the_scale_of_the_book(write_run, rows):
    # N = 100 and $6 at the scale of 0.02 are the paper's 5,000 and $300.
    moved = [{**row, "n_labels": row["n_labels"] - 200, "initial_usd": 26.0} for row in rows]
    (block,) = blocks_of(read_run(write_run(moved, manifest=False)))
    grid = beside(block, {"price_book": "quickstart_scaled"})
    shown = {name: [entry.text for entry in entries] for name, entries in grid.rows}
    place = block.budgets_usd.index(6.0)
    assert shown["Ann., ours"][place] == "36.4 ± 1.1" and shown["Ann., published"][place] == "68.7"
    assert shown["Dist., published"][place] == "72.4" and "published 74.2" in grid.caption
    assert any("0.02 times the paper's" in note for note in grid.notes)


def test_nothing_stands_beside_a_study_that_the_paper_has_no_numbers_for(run_folder):
    (block,) = blocks_of(read_run(run_folder))
    assert beside(block, {}) is None
    # N = 300 is no N of the paper at the shipped scale.
    assert beside(block, {"price_book": "quickstart_scaled"}) is None


def test_a_report_without_any_run_draws_the_paper(tmp_path, capsys):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args(["--paper", "--out", str(tmp_path / "report")])) == 0
    assert "Table 2: WLP" in capsys.readouterr().out
    text = (tmp_path / "report" / "index.html").read_text()
    for name in (2, 3, 4, 6, 9, 10, 11):
        assert f"Table {name}" in text
    for name in FIGURES:
        assert f'alt="{html.escape(FIGURES[name])}' in text
        for form in ("png", "svg", "csv"):
            assert (tmp_path / "report" / "figures" / f"paper_{name}.{form}").is_file()
    assert "http" not in re.sub(r"base64,[^\"]+", "", text)


def test_neither_run_nor_paper_is_refused(tmp_path):
    with pytest.raises(ReportError, match="--paper"):
        build_all([], tmp_path)


def test_several_runs_share_a_report(write_run, rows, tmp_path):
    folders = [write_run(rows, name="first"), write_run(rows[:4], name="second")]
    build_all(folders, tmp_path / "both")
    names = {path.name for path in (tmp_path / "both" / "figures").iterdir()}
    assert {"quickstart_1_pareto.png", "quickstart_2_pareto.csv"} <= names
    text = (tmp_path / "both" / "index.html").read_text()
    assert text.count('<h2 class="run">') == 2 and "What won, run by run" in text
    assert (tmp_path / "both" / "quickstart_1_energy.csv").read_text().startswith("stage,device_seconds,energy_kwh")


def test_a_table_is_the_same_in_both_forms():
    (grid,) = paper_tables()["table9"]
    assert "<td>74.4</td>" in html_of(grid) and "| 74.4 |" in markdown_of(grid)
