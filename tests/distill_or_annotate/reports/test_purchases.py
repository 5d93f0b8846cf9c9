"""A study over labels and unlabeled examples: its frontier, its answer and its page."""

import dataclasses
import json
import re

from hypothesis import given
from hypothesis import strategies as st

from distill_or_annotate.reports import build, figure_data, purchase_answer, purchases
from distill_or_annotate.reports.certainty import Comparison
from distill_or_annotate.reports.table import Block, ReportCell

_LABEL_USD = 0.26


def _cell(value, total_usd, n_unlabeled=0, status="score"):
    return ReportCell(status, value=value, stderr=1.0, n_seeds=1, total_usd=total_usd, n_unlabeled=n_unlabeled)


def _block(n_labels, alone, distilled, teacher=70.0):
    """A block with labels alone, and distilled models: U to (score, dollars on top)."""
    label_usd = n_labels * _LABEL_USD
    budgets = (0.0, *sorted(usd for _, usd in distilled.values()))
    nothing = ReportCell("missing", note="no plan")
    row = {usd: _cell(score, label_usd + usd, size) for size, (score, usd) in distilled.items()}
    return Block(
        task="mini",
        mode="fair",
        n_labels=n_labels,
        initial_usd=label_usd,
        metric="entity_f1",
        budgets_usd=budgets,
        rows={
            "annotate": (alone, *[nothing] * len(distilled)),
            "distill": tuple(row.get(usd, nothing) for usd in budgets),
        },
        teacher=_cell(teacher, label_usd + 1),
        floors={},
    )


def _study(*blocks):
    (found,) = purchases.purchases_of(blocks)
    return found


def _answer(study):
    return purchase_answer.answer_of(study, [], {})


_SMALL = _block(100, _cell(40.0, 26.0), {200: (45.0, 2.0), 2000: (54.0, 10.0)})
_LARGE = _block(200, _cell(44.0, 52.0), {200: (50.0, 3.5), 2000: (58.0, 11.5)})


def test_the_frontier_leaves_out_what_a_cheaper_purchase_matches():
    assert [each.name for each in _study(_SMALL, _LARGE).frontier()] == [
        "100 labels alone",
        "100 labels and 200 unlabeled",
        "100 labels and 2,000 unlabeled",
        "200 labels and 2,000 unlabeled",
    ]


def test_a_degenerate_model_is_never_on_the_frontier():
    flagged = _block(100, _cell(90.0, 26.0, status="degenerate"), {200: (45.0, 2.0)})
    assert [each.n_unlabeled for each in _study(flagged).frontier()] == [200]


def test_the_best_within_some_dollars_may_have_fewer_labels():
    study = _study(_SMALL, _LARGE)
    assert study.best("distill", 52.0).name == "100 labels and 2,000 unlabeled"
    assert study.best("annotate", 30.0).name == "100 labels alone"
    assert study.best("distill", 26.0) is None


def test_cells_that_the_grid_does_not_have_are_not_called_missing():
    grid = purchases.grid_of(_study(_SMALL, _LARGE))
    assert grid.heads == ("Bought", "labels alone", "200 unlabeled", "2,000 unlabeled", "teacher")
    assert "missing" not in str(grid) and not grid.notes
    assert [entry.is_best for entry in dict(grid.rows)["200 labels"]] == [False, False, True, False]


def test_the_headline_says_whether_distilling_belongs_into_every_plan():
    assert _answer(_study(_SMALL, _LARGE)).headline.startswith("It depends on the dollars: labels alone")
    only = _block(100, _cell(40.0, 26.0, status="degenerate"), {200: (45.0, 2.0), 2000: (54.0, 10.0)})
    assert _answer(_study(only)).headline == "Distilling belongs in every plan from $28.00 to $36.00."
    useless = _block(100, _cell(60.0, 26.0), {200: (45.0, 2.0)})
    assert _answer(_study(useless)).headline == "100 labels alone ($26.00): 60.0 ± 1.0; nothing beats it."
    labels = _study(useless, _block(200, _cell(70.0, 52.0), {200: (50.0, 2.0)}))
    assert _answer(labels).headline == "Labels alone are the better buy from $26.00 to $52.00."


def test_the_break_even_label_price_makes_both_ways_to_a_score_cost_the_same():
    said = " ".join(_answer(_study(_SMALL, _LARGE)).would_change)
    # 100 labels and $2 of computing reach the 44 of 200 labels: $2 / 100 labels.
    assert "A label below $0.02 " in said and "200 labels alone ($52.00)" in said
    even_usd = 0.02
    assert 100 * even_usd + 2.0 == 200 * even_usd


def test_the_next_purchase_is_the_last_step_of_the_frontier():
    (step, _) = _answer(_study(_SMALL, _LARGE)).next_purchase
    assert step.startswith("100 more labels: the last step of the frontier, from $36.00 to $63.50, gained 4.0 points")


@given(
    st.lists(
        st.tuples(st.integers(1, 500), st.floats(1, 99), st.floats(0.01, 50)),
        min_size=1,
        max_size=8,
        unique_by=lambda bought: bought[0],
    )
)
def test_every_purchase_off_the_frontier_is_matched_by_one_on_it(bought):
    study = _study(*(_block(n, _cell(score, n * _LABEL_USD), {100: (score / 2, usd)}) for n, score, usd in bought))
    frontier = study.frontier()
    for each in study.found:
        assert any(best.total_usd <= each.total_usd and best.cell.value >= each.cell.value for best in frontier)


def test_the_page_of_a_grid_run_shows_the_grid_and_no_missing_cell(run_folder):
    manifest = json.loads((run_folder / "manifest.json").read_text())
    manifest["scenario"] = {**manifest.get("scenario", {}), "n_unlabeled": [0, 400]}
    (run_folder / "manifest.json").write_text(json.dumps(manifest))
    page = build(run_folder).read_text(encoding="utf-8")
    assert "labels alone" in page and "What won, and how surely" in page
    assert "labels alone" in (run_folder / "report" / "tables.md").read_text(encoding="utf-8")
    assert not (run_folder / "report" / "figures" / "pareto.png").exists()
    figures = run_folder / "report" / "figures"
    assert {path.name for path in figures.iterdir()} == {f"purchases.{form}" for form in ("png", "svg", "csv")}
    assert page.index("figures/purchases.csv") < page.index("<table"), "the picture stands before the tables"


def test_a_page_of_two_students_names_each_before_its_answer(write_run, rows):
    folder = write_run([*rows, *({**row, "student": "tiny"} for row in rows)])
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["scenario"] = {**manifest.get("scenario", {}), "n_unlabeled": [0, 400]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    page = build(folder).read_text(encoding="utf-8")
    heads = [page.index(f"<h2>mini, fair mode, mini_teacher into {name}") for name in ("mini_student", "tiny")]
    cards = [found.start() for found in re.finditer('<div class="cards">', page)]
    assert heads[0] < cards[0] < heads[1] < cards[1]
    assert page.count("mini_teacher into tiny: ") == 1


def test_each_pair_of_models_has_axes_and_lines_of_its_own():
    blocks = [
        dataclasses.replace(
            block, models=("teacher", student), names_models=True, floors={"constant": 9.0, "tfidf": floor}
        )
        for student in ("small", "tiny")
        for block, floor in ((_SMALL, 20.0), (_LARGE, 25.0))
    ]
    (figure,) = figure_data.run_figures("my_grid", blocks, is_grid=True)
    assert [panel.title for panel in figure.panels] == ["mini, teacher into small", "mini, teacher into tiny"]
    drawn = {series.name: [(mark.x, mark.score) for mark in series.marks] for series in figure.panels[1].series}
    assert drawn["U = 0"] == [(26.0, 40.0), (52.0, 44.0)] and drawn["U = 200"] == [(28.0, 45.0), (55.5, 50.0)]
    assert drawn["Best floor"] == [(26.0, 20.0), (52.0, 25.0)]
    assert figure_data.run_figures("my_grid", blocks) == []


def test_an_interval_is_of_the_lead_of_whoever_is_ahead():
    behind = Comparison(52.0, -1.3, -3.0, 0.5, 0.17, n_models=3, n_data_seeds=3, clusters="example")
    (said, _) = purchase_answer.answer_of(_study(_SMALL, _LARGE), [behind], {}).won
    assert said == (
        "With $52.00 (1.3 points, 95% interval -0.5 to +3.0, corrected p 0.170) annotating is ahead, not surely."
    )
