"""The paper's assumptions are switches: each says in one sentence what holds, and costs what it says."""

import dataclasses
import json

import pytest

from distill_or_annotate.costs import Assumptions


def test_the_paper_assumes_all_three_and_fair_mode_counts_the_student():
    switches = ("engineer_is_free", "student_training_is_free", "pretrained_is_free")
    paper, fair = Assumptions.for_mode("paper"), Assumptions.for_mode("fair")
    assert [getattr(paper, name) for name in switches] == [True, True, True]
    assert [getattr(fair, name) for name in switches] == [True, False, True]
    assert paper == Assumptions()


def test_there_is_one_sentence_per_switch_and_it_changes_with_it():
    free = Assumptions()
    counted = Assumptions(
        engineer_is_free=False,
        student_training_is_free=False,
        pretrained_is_free=False,
        engineer_hours=8,
        engineer_usd_per_hour=75,
        pretrained_usd=20,
    )
    assert len(free.sentences()) == len(counted.sentences()) == 3
    assert not set(free.sentences()) & set(counted.sentences())
    assert all(sentence.endswith(".") for sentence in free.sentences() + counted.sentences())
    assert "8 hours at $75.00, $600.00" in counted.sentences()[0] and "$20.00" in counted.sentences()[2]


def test_what_is_free_costs_nothing_whatever_it_would():
    free = Assumptions(engineer_hours=8, engineer_usd_per_hour=75, pretrained_usd=20)
    assert (free.engineer_usd, free.counted_pretrained_usd) == (0.0, 0.0)
    counted = dataclasses.replace(free, engineer_is_free=False, pretrained_is_free=False)
    assert (counted.engineer_usd, counted.counted_pretrained_usd) == (600.0, 20.0)


def test_changes_left_none_keep_what_the_mode_says():
    kept = Assumptions.for_mode("fair", student_training_is_free=None, engineer_is_free=None)
    assert kept == Assumptions.for_mode("fair")
    assert Assumptions.for_mode("fair", student_training_is_free=True) == Assumptions()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"engineer_is_free": False}, "engineer_is_free: received False with 0 hours.*Fix: give engineer_hours"),
        ({"engineer_is_free": False, "engineer_hours": 3.0}, "3 hours at \\$0"),
        ({"pretrained_is_free": False}, "pretrained_usd 0. Fix"),
        ({"student_training_is_free": "no"}, "received 'no'; it must be True or False"),
        ({"engineer_hours": -1.0}, "engineer_hours: received -1.0"),
        ({"pretrained_usd": float("nan")}, "pretrained_usd: received nan"),
    ],
)
def test_what_cannot_be_counted_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Assumptions(**fields)


def test_unknown_modes_and_fields_are_refused():
    with pytest.raises(ValueError, match="received 'fairer'; allowed: paper, fair"):
        Assumptions.for_mode("fairer")
    with pytest.raises(ValueError, match="did you mean engineer_hours"):
        Assumptions.for_mode("fair", engineer_hour=3)


def test_they_are_json():
    assert Assumptions(**json.loads(json.dumps(Assumptions.for_mode("fair").as_dict()))) == Assumptions.for_mode("fair")
