"""The table says what was measured, what was not affordable, what is missing, and what is worthless."""

import json

import pytest

from distill_or_annotate.reports import ReportError, blocks_of, read_run
from distill_or_annotate.reports.text import markdown, notes_of, print_blocks
from distill_or_annotate.reports.verdict import cautions, headline, verdicts


def _block(folder):
    (block,) = blocks_of(read_run(folder))
    return block


def test_cells_stand_in_the_papers_order(run_folder):
    block = _block(run_folder)
    assert block.budgets_usd == (0, 3, 6, 12, 21.5)
    assert [cell.display for cell in block.rows["annotate"]] == [
        "31.2 ± 1.1",
        "32.9 ± 1.1",
        "36.4 ± 1.1",
        "39.8 ± 1.1",
        "43.3 ± 1.1",
    ]
    assert [cell.display for cell in block.rows["distill"]] == ["N/A", "N/A", "12.0† ± 1.1", "49.5 ± 1.1", "missing"]
    assert block.teacher.display == "66.0 ± 1.1"
    assert (block.n_labels, block.initial_usd, list(block.floors)) == (300, 78.0, ["empty", "constant", "lookup"])


def test_every_cell_without_a_score_says_why(run_folder):
    distill = _block(run_folder).rows["distill"]
    assert "no additional dollars" in distill[0].note
    assert "$4.05" in distill[1].note
    assert "not run yet: distill with 12 GPU-h, 4,011 unlabeled (stage distill-0a1b)" in distill[4].note
    assert [cell.value for cell in (distill[0], distill[4])] == [None, None]


def test_cells_say_what_was_bought_and_which_runs_they_rest_on(run_folder):
    block = _block(run_folder)
    assert block.rows["annotate"][4].bought == "+82 labels"
    assert block.rows["distill"][3].bought == "7 GPU-h, 1,827 unlabeled"
    assert block.rows["distill"][3].run_ids == ("distill-12-s0",)


def test_several_seeds_become_a_mean_with_the_error_of_the_mean(write_run, rows):
    target = next(row for row in rows if row["strategy"] == "distill" and row["score"] == 49.5)
    extra = [{**target, "seed": seed, "score": score} for seed, score in ((1, 51.5), (2, 53.5))]
    cell = _block(write_run(rows + extra)).rows["distill"][3]
    # 49.5, 51.5, 53.5: mean 51.5, standard deviation 2, divided by the root of 3.
    assert (cell.value, cell.stderr, cell.n_seeds) == (pytest.approx(51.5), pytest.approx(2 / 3**0.5), 3)


def test_a_floor_learnt_from_other_labels_by_each_data_seed_is_their_mean(write_run, rows):
    other = [{**row, "data_seed": 1, "floor": {**row["floor"], "lookup": row["floor"]["lookup"] + 4}} for row in rows]
    block = _block(write_run([*rows, *other]))
    assert block.floors["lookup"] == pytest.approx(26.3 + 2)
    assert block.rows["annotate"][0].floors["lookup"] == pytest.approx(26.3 + 2)


def test_seeds_that_made_one_model_keep_the_error_of_its_test(write_run, rows):
    target = next(row for row in rows if row["strategy"] == "distill" and row["score"] == 49.5)
    row = {**target, "stderr": 1.25}
    others = [each for each in rows if each is not target]
    cell = _block(write_run([*others, row, {**row, "seed": 1}])).rows["distill"][3]
    assert (cell.value, cell.stderr, cell.n_seeds) == (49.5, 1.25, 2)


@pytest.mark.parametrize(("n_flagged", "status"), [(0, "score"), (1, "score"), (2, "degenerate"), (3, "degenerate")])
def test_a_cell_is_degenerate_where_at_least_half_of_its_models_are(n_flagged, status, write_run, rows):
    target = next(row for row in rows if row["strategy"] == "distill" and row["score"] == 49.5)
    flags = [{"flagged": seed < n_flagged, "reasons": ["within noise"] * (seed < n_flagged)} for seed in range(3)]
    others = [each for each in rows if each is not target]
    seeds = [{**target, "seed": seed, "degenerate": flag} for seed, flag in enumerate(flags)]
    cell = _block(write_run([*others, *seeds])).rows["distill"][3]
    assert cell.status == status and ("within noise" in cell.note) == (n_flagged > 0)


def test_without_a_plan_a_hole_is_missing_and_not_unaffordable(write_run, rows):
    cell = _block(write_run(rows, manifest=False)).rows["distill"][0]
    assert cell.status == "missing" and "no plan" in cell.note


def test_a_run_without_results_shows_its_plan(write_run):
    block = _block(write_run([]))
    assert {cell.status for cell in block.rows["annotate"]} == {"missing"}
    assert "nothing to compare" in headline(block)


def test_tasks_modes_and_initial_budgets_are_kept_apart(write_run, rows):
    other = [{**row, "mode": "paper"} for row in rows]
    blocks = blocks_of(read_run(write_run(rows + other)))
    assert [(block.mode, len(block.rows)) for block in blocks] == [("fair", 2), ("paper", 2)]


def test_a_cut_at_the_pool_is_stated(write_run, rows):
    folder = write_run(rows)
    manifest = json.loads((folder / "manifest.json").read_text())
    for cell in manifest["cells"]:
        cell["capped_by_pool"] = cell["strategy"] == "distill" and cell["additional_usd"] == 12
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert "more than the pool holds" in _block(folder).rows["distill"][3].note


def test_the_verdict_counts_no_degenerate_winner(write_run, rows):
    for row in rows:
        if row["score"] == 49.5:
            row["degenerate"] = {"flagged": True, "reasons": ["constant"]}
    block = _block(write_run(rows))
    assert block.winner(3) is None
    assert "no winner, since the higher score is a degenerate model's" in verdicts(block)[3]


def test_the_verdict_names_winner_and_difference(run_folder):
    block = _block(run_folder)
    assert verdicts(block)[3] == "At +$12.00 distilling wins by 9.7 points: 49.5 against 39.8."
    assert verdicts(block)[2].endswith("(a degenerate model is involved).")
    assert headline(block) == "It depends on the budget: distilling at +$12.00; annotating at +$6.00."


def test_equal_scores_have_no_winner(write_run, rows):
    for row in rows:
        if row["score"] == 49.5:
            row["score"] = 39.81
    block = _block(write_run(rows))
    assert block.winner(3) is None and verdicts(block)[3] == "At +$12.00 both score 39.8."


def test_cautions_name_single_seeds_degenerates_holes_and_floors(run_folder):
    said = " ".join(cautions(_block(run_folder)))
    for text in (
        "One training seed",
        "1 of 7 cells are degenerate",
        "1 cells have not been run",
        "1 of 7 cells score no more than a floor of their labels: lookup",
    ):
        assert text in said


def test_a_model_is_held_against_the_floor_of_its_own_labels(write_run, rows):
    for row in rows:
        if row["n_labels"] == 382:
            row["floor"] = {**row["floor"], "lookup": 44.0}
    block = _block(write_run(rows))
    assert block.floors["lookup"] == 26.3
    assert "2 of 7 cells score no more than a floor" in " ".join(cautions(block))


def test_markdown_and_terminal_show_the_same_cells(run_folder, capsys):
    from rich.console import Console

    block = _block(run_folder)
    text = markdown([block])
    print_blocks([block], Console(width=160, highlight=False))
    shown = capsys.readouterr().out
    for row in block.rows.values():
        for cell in row:
            assert cell.display in text and cell.display in shown
    assert "**49.5 ± 1.1**" in text and "lookup 26.3" in text and "lookup 26.3" in shown
    assert all(note in text for note in notes_of(block))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": None}, "score is None"),
        ({"score": True}, "score is True"),
        ({"strategy": "guess"}, "allowed: annotate, distill, teacher"),
        ({"total_usd": "78"}, "total_usd is '78'"),
    ],
)
def test_a_row_that_can_not_be_reported_is_refused_with_its_number(write_run, rows, changes, message):
    with pytest.raises(ReportError, match=f"results.jsonl: row 2: .*{message}"):
        read_run(write_run([rows[0], {**rows[1], **changes}]))


def test_a_row_without_a_field_is_refused(write_run, rows):
    del rows[0]["metric"]
    with pytest.raises(ReportError, match="row 1: metric is missing"):
        read_run(write_run(rows))


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ReportError, match="name the folder of a run"):
        read_run(tmp_path)
