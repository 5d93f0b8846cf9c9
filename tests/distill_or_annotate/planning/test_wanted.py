"""What the command line may say: amounts in other currencies, short names of models, measured serving."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_or_annotate.planning import wanted
from distill_or_annotate.planning.outcomes import PlanningError


@pytest.mark.parametrize(
    ("said", "usd"),
    [("500", 500), ("$500", 500), ("1,250.50USD", 1250.5), ("200EUR", 218), ("EUR 200", 218), ("1e3", 1000)],
)
def test_an_amount_may_name_its_currency(said, usd):
    assert wanted.dollars("budget_usd", said, ["EUR=1.09"]) == pytest.approx(usd)


@given(st.floats(0.01, 1e6), st.floats(0.01, 100))
def test_a_rate_multiplies(amount, rate):
    assert wanted.dollars("budget_usd", f"{amount:f} CHF", [f"CHF={rate:f}"]) == pytest.approx(
        float(f"{amount:f}") * float(f"{rate:f}")
    )


@pytest.mark.parametrize(
    ("said", "rates", "message"),
    [
        ("500EUR", [], "budget_usd: received '500EUR', without a rate of EUR. Fix: --rate EUR=DOLLARS"),
        ("much", [], "budget_usd: received 'much'; it must be an amount"),
        ("500", ["EUR"], "rate: received 'EUR'; it must be CURRENCY=DOLLARS"),
        ("500", ["EUR=-1"], "rate: received 'EUR=-1'"),
    ],
)
def test_what_is_no_amount_is_refused(said, rates, message):
    with pytest.raises(PlanningError, match=message.replace("(", r"\(")):
        wanted.dollars("budget_usd", said, rates)


def test_an_amount_that_was_not_said_stays_open():
    assert wanted.dollars("label_usd", None, []) is None


def test_models_may_be_named_by_their_size():
    assert wanted.model_names("teachers", "xl,t5_1_1_xxl") == ("t5_1_1_xl", "t5_1_1_xxl")
    assert wanted.model_names("teachers", "") == ("",)
    with pytest.raises(PlanningError, match="students: received 'smal'; did you mean small"):
        wanted.model_names("students", "smal")


def _bench(path, **usd):
    rows = [{"model": name, "usd_per_million_predictions": value} for name, value in usd.items()]
    path.write_text(json.dumps({"models": rows}), encoding="utf-8")
    return path


def test_measured_serving_is_read_and_contradictions_are_refused(tmp_path):
    one, other = _bench(tmp_path / "a.json", small=2.0, xxl=90.0), _bench(tmp_path / "b.json", small=3.0)
    assert dict(wanted.serving_of([one])) == {"small": 2.0, "xxl": 90.0}
    with pytest.raises(PlanningError, match="contradicts another on 'small'"):
        wanted.serving_of([one, other])
    with pytest.raises(PlanningError, match=r"has no dollars\. Fix: bench again with --device-usd-per-hour"):
        wanted.serving_of([_bench(tmp_path / "c.json", small=None)])
    with pytest.raises(PlanningError, match="is not what `doa bench-model --json` prints"):
        wanted.serving_of([tmp_path / "none.json"])


def test_a_seed_below_0_is_refused_by_its_flag(capsys):
    from distill_or_annotate import cli

    assert cli.main(["plan", "--task", "tickets", "--label-usd", "0.26", "--budget-usd", "500", "--seed", "-1"]) == 2
    assert "--seed: received -1" in capsys.readouterr().err
