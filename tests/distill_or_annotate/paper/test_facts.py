"""The paper's numbers can be read, say where they stand, and can't be changed by a reader."""

import json

import pytest

from distill_or_annotate import paper


def _numbers_without_source(node, path=(), covered=False):
    if isinstance(node, dict):
        covered = covered or bool(str(node.get("source", "")).strip())
        for key, value in node.items():
            yield from _numbers_without_source(value, (*path, key), covered)
    elif isinstance(node, list):
        for value in node:
            yield from _numbers_without_source(value, path, covered)
    elif isinstance(node, int | float) and not covered:
        yield path


def test_every_number_stands_under_a_table_or_section():
    assert list(_numbers_without_source(paper.facts())) == []


def test_the_source_check_can_fail():
    assert list(_numbers_without_source({"a": {"value": 3, "source": " "}})) == [("a", "value")]


def test_reader_returns_a_task_with_units():
    price = paper.task("wlp")["usd_per_label"]
    assert (price["value"], price["unit"], price["source"]) == (0.26, "usd per label", "Table 1")


def test_unknown_task_names_near_ones_and_all_allowed():
    with pytest.raises(paper.UnknownTaskError, match=r"'wpl'.*did you mean wlp.*multipit_gen"):
        paper.task("wpl")


def test_changing_what_was_read_changes_nothing_for_the_next_reader():
    paper.facts()["tasks"].clear()
    paper.task("wlp").clear()
    assert paper.task("wlp")["train"]["value"] == 11966


def test_blocks_are_found_by_task_and_n():
    assert paper.row("table2", "fever", 5000)["teacher"] == 78.0
    assert paper.row("table2", "fever", 7) is None


def test_label_cost_of_the_training_data_agrees_with_its_printed_total():
    # multipit_gen's total is that of the pairs it was selected from; FEVER's and NQ's labels are priced to the dollar.
    for name in ("wlp", "stanceosaurus", "multipit_id", "fever", "natural_questions"):
        task = paper.task(name)
        total_usd = task["train"]["value"] * task["usd_per_label"]["value"]
        assert total_usd == pytest.approx(task["total_usd"]["value"], rel=2e-3), name


def test_facts_are_strict_json():
    facts = paper.facts()
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
