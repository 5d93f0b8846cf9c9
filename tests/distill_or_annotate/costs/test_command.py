"""`doa cost` prints what dollars buy, as a table and as JSON."""

import argparse
import json

import pytest

from distill_or_annotate.costs import command


def _run(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(words))


def test_the_example_prints_both_strategies(capsys):
    assert _run(*command.EXAMPLE.split()[2:]) == 0
    shown = capsys.readouterr().out
    # 200 / 0.26 = 769.2; (200 - 67.5) / 4.35 = 30.459 thousand; 200 / 1.875 = 106.7 hours.
    for text in ("769 labels", "30,459 unlabeled", "107", "2023-07-09"):
        assert text in shown


def test_json_carries_every_budget(capsys):
    assert _run("--task", "wlp", "--n-labels", "5000", "--additional-usd", "50", "200", "--json") == 0
    cells = json.loads(capsys.readouterr().out)
    assert [(cell["extra_labels"], cell["gpu_hours"], cell["n_unlabeled"]) for cell in cells] == [
        (192, None, None),
        (769, 107, 30459),
    ]


def test_not_available_is_explained(capsys):
    _run("--task", "wlp", "--n-labels", "5000", "--additional-usd", "50")
    shown = capsys.readouterr().out
    assert "N/A at +$50.00: fine-tuning the teacher costs $67.50" in shown


def test_a_contradiction_in_the_paper_is_said(capsys):
    _run("--task", "multipit_id", "--n-labels", "5000", "--additional-usd", "200")
    assert "Table 6" in capsys.readouterr().out


def test_wrong_names_are_answered_with_near_ones():
    with pytest.raises(ValueError, match="did you mean label/fever"):
        _run("--task", "fevr", "--n-labels", "5000", "--additional-usd", "50")


def test_fair_mode_adds_the_students_training_and_says_what_is_assumed(capsys):
    words = ("--task", "wlp", "--n-labels", "5000", "--additional-usd", "200")
    _run(*words, "--mode", "fair")
    fair = capsys.readouterr().out
    assert "On top of +$200.00: $1.10 to fine-tune the student on 5,769 labels" in fair
    _run(*words)
    paper = capsys.readouterr().out
    assert "On top" not in paper and "footnote 1" in paper and "Section 2.1" in paper


def test_json_lists_the_assumptions(capsys):
    _run("--task", "wlp", "--n-labels", "5000", "--additional-usd", "200", "--json", "--mode", "fair")
    (cell,) = json.loads(capsys.readouterr().out)
    assert len(cell["assumptions"]) == 3 and cell["student_training_usd"] == pytest.approx(1.10, abs=0.01)


def test_old_prices_of_a_book_of_today_are_warned_of(capsys):
    _run("--task", "wlp", "--n-labels", "5000", "--additional-usd", "200", "--book", "current")
    assert "label/wlp" in capsys.readouterr().err
    _run("--task", "wlp", "--n-labels", "5000", "--additional-usd", "200")
    assert capsys.readouterr().err == ""
