"""The paper's other systems in a report: one table of all models by their dollars, and in figures 6 and 7."""

import dataclasses

import pytest

from distill_or_annotate.reports.assembled import assembled
from distill_or_annotate.reports.figure_data import run_figures
from distill_or_annotate.reports.figure_drawing import png_of
from distill_or_annotate.reports.inputs import ReportError, read_run
from distill_or_annotate.reports.pareto import LIGHT
from distill_or_annotate.reports.systems import systems_grid
from distill_or_annotate.reports.text import notes_of, print_run, report_markdown
from distill_or_annotate.reports.verdict import ahead_of_the_two


@pytest.fixture
def with_others(rows, result_cells, write_run):
    """The small run with a student that taught itself, and one of a language model's labels."""
    annotated = next(cell for cell in result_cells if cell.strategy == "annotate" and cell.additional_usd)
    others = [
        dataclasses.replace(annotated, strategy="self_distill", n_labels=300, n_unlabeled=2000, additional_usd=1.5),
        dataclasses.replace(annotated, strategy="llm_annotate", n_labels=300, n_llm_labels=65),
    ]
    like = next(row for row in rows if row["strategy"] == "annotate")
    sound = {"flagged": False, "reasons": []}
    made = [
        {
            **like,
            **cell.as_dict(),
            "score": score,
            "degenerate": sound,
            "run_ids": [cell.strategy],
            "llm_labels": {"n_labelled": 60, "usd": 1.5} if cell.n_llm_labels else None,
        }
        for cell, score in zip(others, (55.5, 99.1), strict=True)
    ]
    return write_run([*rows, *made], name="with_others")


def test_a_run_of_the_two_alone_has_no_such_table(run_folder):
    assert assembled(read_run(run_folder)).systems is None


def test_all_models_stand_in_one_table_by_their_dollars(with_others):
    report = assembled(read_run(with_others))
    names = [name for name, _ in report.systems.rows]
    assert {"Self-distill", "Language model's labels", "Annotate", "Teacher"} <= set(names)
    totals = [float(entries[1].text.strip("$").replace(",", "")) for _, entries in report.systems.rows]
    assert totals == sorted(totals)
    best = [entries[2].text for _, entries in report.systems.rows if entries[2].is_best]
    assert len(best) == 1 and best[0].startswith("99.1")
    text = report_markdown([report], {})
    assert "## All systems" in text and "| Self-distill | 300 labels, 2,000 of the pool |" in text
    assert "| Language model's labels | 60 language-model labels, billed $1.50 |" in text


def test_a_terminal_shows_that_table_too(with_others, run_folder, capsys):
    print_run(with_others)
    assert "All systems" in capsys.readouterr().out
    print_run(run_folder)
    assert "All systems" not in capsys.readouterr().out


def test_the_answer_of_the_two_strategies_stands_and_a_system_that_beats_both_is_named(with_others, run_folder):
    with_them, without = (assembled(read_run(folder)).studies[0] for folder in (with_others, run_folder))
    assert with_them.block.rows == without.block.rows and with_them.answer.won == without.answer.won
    more = with_them.answer.headline.removeprefix(without.answer.headline)
    assert more == " Language model's labels: more than annotating at +$3.00 (99.1)."
    assert more in report_markdown([assembled(read_run(with_others))], {})


def test_a_system_that_is_degenerate_beats_nobody(with_others):
    block = assembled(read_run(with_others)).studies[0].block
    others = tuple((name, usd, dataclasses.replace(cell, status="degenerate")) for name, usd, cell in block.others)
    assert ahead_of_the_two(block) and ahead_of_the_two(dataclasses.replace(block, others=others)) == []
    at_6 = tuple((name, 6.0, cell) for name, _, cell in block.others if name == "llm_annotate")
    (said,) = ahead_of_the_two(dataclasses.replace(block, others=at_6))
    assert said == "Language model's labels: more than both at +$6.00 (99.1)."


def test_why_a_system_is_degenerate_stands_below_its_table(with_others, rows, write_run):
    held = read_run(with_others).results
    flag = {"flagged": True, "reasons": ["1.1 +- 1.7 above the floor 'lookup'"]}
    flagged = [{**row, "degenerate": flag} if row["strategy"] == "self_distill" else row for row in held]
    report = assembled(read_run(write_run(flagged, name="flagged")))
    (said,) = [note for note in notes_of(report.studies[0].block) if note.startswith("Self-distill")]
    assert "above the floor 'lookup'" in said and said in report_markdown([report], {})


def test_a_floor_learnt_from_a_language_models_labels_is_not_the_blocks(with_others, write_run):
    held = read_run(with_others).results
    other = [{**row, "floor": {**row["floor"], "lookup": 77.0}} if row.get("n_llm_labels") else row for row in held]
    blocks = [assembled(read_run(folder)).studies[0].block for folder in (with_others, write_run(other, name="other"))]
    assert blocks[0].floors == blocks[1].floors and blocks[0].floors["lookup"] < 77


def test_where_the_pool_ended_the_dollars_say_so(with_others):
    block = assembled(read_run(with_others)).studies[0].block
    others = tuple((name, usd, dataclasses.replace(cell, capped=True)) for name, usd, cell in block.others)
    rows = dict(systems_grid([dataclasses.replace(block, others=others)]).rows)
    assert rows["Self-distill"][1].small == "the pool ended" and rows["Teacher"][1].small == ""


def test_figure_6_and_7_draw_them_beside_the_two(with_others):
    blocks = assembled(read_run(with_others)).studies
    (figure,) = run_figures("figure6_mini_mini", [study.block for study in blocks])
    labels = [series.name for panel in figure.panels for series in panel.series]
    assert any(label.startswith("Language model's labels +$") for label in labels)
    assert png_of(figure, LIGHT).startswith(b"\x89PNG")


def test_a_strategy_that_nobody_knows_is_refused(rows, write_run):
    with pytest.raises(ReportError, match="strategy is 'distil'; allowed: annotate, distill, teacher, self_distill"):
        read_run(write_run([{**rows[0], "strategy": "distil"}]))
