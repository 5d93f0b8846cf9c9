"""What a report says of certainty rests on the answers on disk: paired, corrected over the table, honest of seeds."""

import dataclasses
import json

import pytest

from distill_or_annotate.reports import blocks_of, read_run
from distill_or_annotate.reports.answer import answer_of, next_purchase
from distill_or_annotate.reports.certainty import comparisons, with_nested_errors
from distill_or_annotate.reports.classes import class_changes, summary_of
from distill_or_annotate.reports.predictions import Predictions
from distill_or_annotate.reports.repricing import compute_break_even, crossing, label_break_even
from distill_or_annotate.reports.verdict import headline


def _compared(folder):
    run = read_run(folder)
    predictions = Predictions(run)
    blocks = with_nested_errors(blocks_of(run), predictions)
    return blocks, comparisons(blocks, predictions), predictions


def test_a_large_difference_is_sure_and_a_small_one_is_not(answered_run):
    _, (found,), _ = _compared(answered_run())
    by_budget = {comparison.budget_usd: comparison for comparison in found}
    assert set(by_budget) == {6.0, 12.0}
    assert by_budget[6.0].is_sure and by_budget[6.0].low > 0
    assert not by_budget[12.0].is_sure and by_budget[12.0].low < 0 < by_budget[12.0].high


def test_one_seed_has_no_interval_over_seeds_and_says_so(answered_run):
    (block,), (found,), _ = _compared(answered_run())
    sentences = [comparison.sentence for comparison in found]
    assert all("one seed gives no interval" in said and "95%" not in said for said in sentences)
    answer = answer_of(block, found, {})
    assert any("One training seed per cell: no interval over seeds" in said for said in answer.cautions)
    assert any("the noise of the test examples" in said for said in answer.won)


def test_several_seeds_widen_the_error_and_are_counted(answered_run):
    (block,), (found,), _ = _compared(answered_run(data_seeds=(0, 1, 2), train_seeds=(0, 1)))
    cell = block.rows["distill"][2]
    assert (cell.n_seeds, len(set(cell.seeds))) == (6, 6)
    # Examples alone would give the root of 0.8 * 0.2 / 200, 2.8 points, less what six models average out.
    assert 1.0 < cell.stderr < 4.0
    assert "6 models, 3 data seeds" in found[0].basis


def test_another_system_s_error_holds_the_noise_of_the_test_too(answered_run):
    run = read_run(answered_run(data_seeds=(0, 1, 2)))
    (block,) = blocks_of(run)
    alike = dataclasses.replace(block.rows["distill"][2], stderr=0.01)  # as of models that happen to score alike
    (found,) = with_nested_errors(
        [dataclasses.replace(block, others=(("self_distill", 6.0, alike),))], Predictions(run)
    )
    assert found.others[0][2].stderr == found.rows["distill"][2].stderr > 1


def test_the_headline_says_which_leads_are_not_sure(answered_run):
    (block,), (found,), _ = _compared(answered_run())
    assert headline(block) == "It depends on the budget: distilling at +$6.00; annotating at +$12.00."
    assert answer_of(block, found, {}).headline == f"{headline(block)} The lead at +$12.00 is not sure."
    assert headline(block, [6.0, 12.0]).endswith(" No lead is sure.")


def test_examples_of_a_claim_are_drawn_together(answered_run):
    _, (alone,), _ = _compared(answered_run(name="alone"))
    _, (claims,), _ = _compared(answered_run(name="claims", claim_id=lambda i: f"c{i // 20}"))
    assert claims[0].clusters == "claim" and alone[0].clusters == "example"
    assert claims[0].points == alone[0].points and claims[0].high != alone[0].high


def test_claims_in_the_source_are_found(answered_run):
    _, (found,), _ = _compared(answered_run(source=lambda i: f"claim: c{i // 20} tweet: t{i}"))
    assert found[0].clusters == "claim"


def test_the_correction_is_over_the_whole_table(answered_run):
    folder = answered_run()
    _, (found,), _ = _compared(folder)
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    (folder / "results.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows if row["additional_usd"] != 12.0)
    )
    _, (alone,), _ = _compared(folder)
    assert alone[0].points == found[0].points and alone[0].p_value == pytest.approx(found[0].p_value / 2)


def test_answers_that_give_another_score_are_not_used(answered_run):
    folder = answered_run()
    text = (folder / "results.jsonl").read_text().splitlines()
    rows = [{**json.loads(line), "score": 50.0} for line in text]
    (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (block,), (found,), predictions = _compared(folder)
    assert found == [] and class_changes(block, predictions) == ([], None)
    assert any("How surely is not known" in said for said in answer_of(block, found, {}).won)


def test_classes_change_from_teacher_to_student(answered_run):
    (block,), _, predictions = _compared(answered_run())
    changes, budget_usd = class_changes(block, predictions)
    assert budget_usd == 12.0
    assert [change.name for change in changes] == ["supports", "refutes", "unclear"]
    assert sum(change.n_gold for change in changes) == 200
    assert all(change.student < change.teacher for change in changes[:2])
    assert "largest change for the worse" in summary_of(changes)


def test_several_seeds_share_one_test_whose_targets_count_once(answered_run):
    (block,), _, predictions = _compared(answered_run(data_seeds=(0, 1, 2)))
    assert sum(change.n_gold for change in class_changes(block, predictions)[0]) == 200


def test_the_next_dollars_are_hedged(answered_run, write_run):
    (block,), _, _ = _compared(answered_run())
    said = next_purchase(block, {"price_book": "paper"})
    assert any("points per $100.00 between +$6.00 and +$12.00" in sentence for sentence in said)
    (empty,) = blocks_of(read_run(write_run([], name="empty")))
    assert "Not known" in next_purchase(empty, {})[0] and "pilot" in next_purchase(empty, {})[0]


def test_a_crossing_lies_between_the_cells_that_hold_it():
    points = [(100, 40.0), (200, 50.0), (400, 60.0)]
    assert crossing(points, 45.0) == 150 and crossing(points, 55.0) == 300
    assert crossing(points, 30.0) == 100 and crossing(points, 61.0) is None


def test_break_even_prices_by_hand(write_run, rows):
    for row in rows:
        row["score"] = {("annotate", 0.0): 40.0, ("annotate", 12.0): 50.0, ("distill", 12.0): 45.0}.get(
            (row["strategy"], round(row["additional_usd"], 6)), row["score"]
        )
    kept = [row for row in rows if (row["strategy"], round(row["additional_usd"], 6)) in
            {("annotate", 0.0), ("annotate", 12.0), ("distill", 12.0)}]  # fmt: skip
    (block,) = blocks_of(read_run(write_run(kept)))
    # $12 buy 46 labels for ten points; 23 of them give the five that distilling gives.
    found = label_break_even(block)
    assert found.price == pytest.approx(12 / 23 / 0.26) and "makes distilling the better buy" in found.sentence
    assert "no measured distilled model" in compute_break_even(block).sentence
