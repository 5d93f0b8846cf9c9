"""A label's price follows from what annotators are paid, with redundancy and adjudication as parameters."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate import paper
from distill_or_annotate.costs import label_price
from distill_or_annotate.prices import load_book


@pytest.mark.parametrize("task", paper.task_names())
def test_without_parameters_it_is_the_printed_price_of_table_1(task):
    price = label_price(task)
    assert price.usd == load_book("paper").label(task).usd == paper.task(task)["usd_per_label"]["value"]
    assert price.provenance == "published"


@pytest.mark.parametrize(
    ("task", "unrounded_usd"),
    [
        ("wlp", 0.44 * 0.5976),
        ("stanceosaurus", 15 / 82 * 2),
        ("multipit_gen", 100 / 53.9 * 0.20),
        ("multipit_id", 0.20),
        ("fever", 129 / 1000),
        ("natural_questions", 129 / 1000),
    ],
)
def test_the_inputs_give_what_the_paper_rounds(task, unrounded_usd):
    price = label_price(task)
    assert price.unrounded_usd == pytest.approx(unrounded_usd, abs=1e-6)
    # 0.364 for 0.3659 is the furthest that the paper rounds, but for WLP, which it rounds to cents.
    assert price.usd == pytest.approx(price.unrounded_usd, abs=0.003)


def test_every_input_has_a_unit_and_a_source():
    for task in paper.task_names():
        for each in label_price(task).inputs:
            assert each["unit"] and each["source"] and each["meaning"], (task, each)


def test_three_annotators_and_a_fifth_adjudicated_cost_three_and_a_fifth_judgements():
    assert label_price("wlp", annotators=3, adjudication=0.2).usd == pytest.approx(3.2 * 0.26)
    assert label_price("wlp", annotators=3, adjudication=0.2, adjudicator_usd=1.0).usd == pytest.approx(3 * 0.26 + 0.2)
    assert label_price("wlp", annotators=3).provenance == "estimated"


def test_stanceosaurus_pays_two_annotators_unless_told_otherwise():
    assert label_price("stanceosaurus").annotators == 2
    assert label_price("stanceosaurus", annotators=1).usd == pytest.approx(0.364 / 2)


def test_another_input_changes_the_price_as_the_derivation_says():
    price = label_price("stanceosaurus", inputs={"usd_per_hour": 30.0})
    assert price.usd == pytest.approx(30 / 82 * 2, abs=1e-6) and price.provenance == "estimated"
    assert "given in place of 15" in next(i for i in price.inputs if i["name"] == "usd_per_hour")["source"]
    # What divides makes a label cheaper.
    assert label_price("stanceosaurus", inputs={"labels_per_hour": 164}).usd == pytest.approx(15 / 164 * 2, abs=1e-6)


@settings(deadline=None)
@given(
    task=st.sampled_from(paper.task_names()),
    annotators=st.integers(1, 20),
    share=st.floats(0, 1),
    more=st.floats(0, 1),
)
def test_more_judgements_never_cost_less(task, annotators, share, more):
    usd = label_price(task, annotators=annotators, adjudication=share).usd
    assert usd <= label_price(task, annotators=annotators + 1, adjudication=share).usd
    assert usd <= label_price(task, annotators=annotators, adjudication=min(1.0, share + more)).usd + 1e-6
    assert usd >= label_price(task, annotators=annotators).usd - 1e-6


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"annotators": 0}, "annotators: received 0; it must be a whole number from 1"),
        ({"annotators": 1.5}, "annotators: received 1.5"),
        ({"adjudication": 20}, "adjudication: received 20; it must be a share.*Fix: 0.2"),
        ({"adjudication": float("nan")}, "adjudication: received nan"),
        ({"adjudicator_usd": 0.0}, "adjudicator_usd: received 0.0"),
        ({"inputs": {"ner_share": -1}}, "ner_share: received -1"),
        ({"inputs": {"ner_shre": 0.5}}, "no 'ner_shre'; did you mean ner_share"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        label_price("wlp", **fields)


def test_an_unknown_task_gets_near_names():
    with pytest.raises(ValueError, match="did you mean wlp"):
        label_price("wpl")
