"""The tables of the real grids in docs/results.md, and what the README says of them, are the means of their rows."""

import json
import re
import statistics
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_TITLES = {"fever": "**FEVER claims**", "multipit_id": "**MultiPIT-Id**", "stanceosaurus": "**Stanceosaurus**"}
# What the largest pool holds.
_LARGEST = {"stanceosaurus": 2200}


def _mean(rows, student, n_labels, strategy, n_unlabeled):
    wanted = {"n_labels": n_labels, "strategy": strategy, "n_unlabeled": n_unlabeled}
    if strategy != "teacher":
        wanted["student"] = student
    scores = {row["data_seed"]: row["score"] for row in rows if all(row[key] == value for key, value in wanted.items())}
    assert len(scores) == 3
    return statistics.fmean(scores.values())


def _rows(task):
    path = _ROOT / "docs" / "results" / f"real_{task}" / "results.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("task", list(_TITLES))
def test_each_cell_is_the_mean_over_data_seeds(task):
    text = (_ROOT / "docs" / "results.md").read_text(encoding="utf-8").split(_TITLES[task], 1)[1]
    lines = [line for line in text.splitlines() if re.match(r"\|.* labels \|", line)][:8]
    rows, student = _rows(task), None
    columns = (("annotate", 0), ("distill", 1000), ("distill", _LARGEST.get(task, 4000)), ("teacher", 0))
    for line in lines:
        first, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        named = re.match(r"(?:\*\*(\w+)\*\*, )?([\d,]+) labels", first)
        student, n_labels = named[1] or student, int(named[2].replace(",", ""))
        for cell, column in zip(cells, columns, strict=True):
            mean = _mean(rows, student, n_labels, *column)
            assert cell.split("†")[0].split(" ")[0] == f"{mean:.1f}", (line, column)
    assert len(lines) == 8


@pytest.mark.parametrize(
    ("task", "floor"),
    [("fever", "tfidf_logistic"), ("multipit_id", "tfidf_logistic"), ("stanceosaurus", "tfidf_balanced")],
)
def test_the_learnt_floors_are_the_means_over_data_seeds(task, floor):
    text = (_ROOT / "docs" / "results.md").read_text(encoding="utf-8").split(_TITLES[task], 1)[1]
    told = re.search(r"TF-IDF[^\d]*((?:\d+\.\d,\s+){3}\d+\.\d)", text)[1]
    rows = [row for row in _rows(task) if row["strategy"] == "annotate" and row["student"] == "minilm_2"]
    means = [
        statistics.fmean(row["floor"][floor] for row in rows if row["n_labels"] == n_labels)
        for n_labels in (100, 500, 1000, 2000)
    ]
    assert [f"{mean:.1f}" for mean in means] == re.split(r",\s+", told)


@pytest.mark.parametrize("task", ["multipit_id", "stanceosaurus"])
def test_students_within_noise_of_a_floor_are_counted(task):
    text = (_ROOT / "docs" / "results.md").read_text(encoding="utf-8").split(_TITLES[task], 1)[1]
    told = re.search(r"(\d+) of the (\d+) students", text)
    students = [row for row in _rows(task) if row["strategy"] != "teacher"]
    assert [sum(row["degenerate"]["flagged"] for row in students), len(students)] == [int(told[1]), int(told[2])]


def test_the_readme_compares_what_scores_alike():
    rows = _rows("fever")
    distilled = _mean(rows, "mini_student", 100, "distill", 4000)
    assert abs(distilled - _mean(rows, "mini_student", 2000, "annotate", 0)) < 1
