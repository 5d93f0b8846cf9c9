"""What a capped ledger refuses, what it says then, and what it counts."""

import pytest

from distill_or_annotate.ledger import CapReached, Charge, Ledger, LedgerError
from distill_or_annotate.prices import load_book

LABEL = load_book("quickstart_scaled").label("mini")
DEVICE = load_book("cloud").entry("device_hour/v5e")


def _charge(key="finetune-a", usd=4.0, book="paper"):
    return Charge(key, "device", 1, "run", usd, book, "paper:finetune/wlp/5000", "2023-07-09", "paper")


def _capped(tmp_path, max_usd):
    return Ledger(tmp_path / "ledger.jsonl", max_usd=max_usd)


def _buy(ledger, n_labels):
    return ledger.buy_labels(
        stage="label-a", task="mini", first_label=0, last_label=n_labels, data_seed=0, price=LABEL
    )  # fmt: skip


def test_what_does_not_fit_is_refused_in_one_sentence_with_every_number_and_nothing_is_written(tmp_path):
    ledger = _capped(tmp_path, 20)
    _buy(ledger, 40)
    ledger.open_attempt("finetune-a", charges=[_charge()])
    with pytest.raises(CapReached) as refused:
        ledger.open_attempt("distill-b", charges=[_charge("distill-b", 7.77)])
    assert str(refused.value) == (
        "stage distill-b costs up to $7.77, and of the cap of $20.00 $10.40 are spent and $4.00 reserved: $5.60 are "
        "left. Fix: --max-usd 22.17 or more; the run goes on where it stopped."
    )
    assert refused.value.left_usd == pytest.approx(5.6)
    assert [row["stage"] for row in ledger.rows()] == ["label-a", "finetune-a"]


def test_a_cap_of_exactly_the_price_admits_it_and_a_raised_one_what_was_refused(tmp_path):
    _buy(_capped(tmp_path, 13.26), 51)
    with pytest.raises(CapReached, match=r"costs up to \$0\.26"):
        _buy(_capped(tmp_path, 13.26), 52)
    assert _buy(_capped(tmp_path, 13.52), 52)[0]["quantity"] == 1


def test_labels_paid_before_cost_nothing_even_at_the_cap(tmp_path):
    ledger = _capped(tmp_path, 13.26)
    _buy(ledger, 51)
    assert _buy(ledger, 51) == [] and _buy(_capped(tmp_path, 0.0), 51) == []


def test_a_charge_is_reserved_once_however_many_attempts_owe_it(tmp_path):
    ledger = _capped(tmp_path, 4)
    first = ledger.open_attempt("finetune-a", charges=[_charge()])
    second = ledger.open_attempt("finetune-a", charges=[_charge()])
    assert ledger.totals().reserved_scenario_usd == 4
    first.settle()
    assert (ledger.totals().scenario_usd, ledger.totals().reserved_scenario_usd) == (4, 0)
    second.settle()
    assert ledger.totals().scenario_usd == 4


def test_a_wasted_attempt_gives_its_charge_back_and_a_paused_one_too_but_not_its_time(tmp_path):
    ledger = _capped(tmp_path, 10)
    for outcome in ({"wasted": True}, {"finished": False}):
        attempt = ledger.open_attempt("finetune-a", price=DEVICE, reserve_seconds=1800, charges=[_charge()])
        assert ledger.totals().reserved_scenario_usd == pytest.approx(4 + DEVICE.usd / 2)
        row = attempt.settle(seconds=900, **outcome)
        assert row["wasted"] is outcome.get("wasted", False)
    assert ledger.totals().scenario_usd == pytest.approx(DEVICE.usd / 2)
    assert ledger.totals().wasted_usd == {"cloud": pytest.approx(DEVICE.usd / 4)}
    assert ledger.device_seconds("finetune-a") == 1800


def test_this_machines_own_time_does_not_count(tmp_path):
    ledger = _capped(tmp_path, 0)
    ledger.open_attempt("finetune-a", reserve_seconds=1e9).settle(seconds=1e6)
    assert ledger.totals().local_usd > 0 and ledger.totals().scenario_usd == 0


def test_all_that_is_left_is_reserved_on_request(tmp_path):
    ledger = _capped(tmp_path, 10)
    attempt = ledger.open_attempt("distill-a", price=DEVICE, devices=4, reserve_seconds=None, charges=[_charge()])
    assert attempt.reserve_seconds == pytest.approx(6 / (DEVICE.usd * 4 / 3600), abs=0.01)
    assert 10 - 1e-4 < ledger.totals().reserved_scenario_usd <= 10
    with pytest.raises(CapReached) as refused:
        ledger.open_attempt("distill-b", price=DEVICE, reserve_seconds=None)
    assert refused.value.may_fit_later, "the running stage may give some of its reserve back"
    attempt.settle(seconds=10, finished=False)
    ledger.open_attempt("distill-b", price=DEVICE, reserve_seconds=None)


def test_what_could_never_fit_says_so(tmp_path):
    ledger = _capped(tmp_path, 3)
    ledger.open_attempt("distill-a", price=DEVICE, reserve_seconds=3600)
    with pytest.raises(CapReached) as refused:
        ledger.charge("finetune-a", [_charge()])
    assert not refused.value.may_fit_later


def test_priced_time_under_a_cap_must_be_reserved(tmp_path):
    with pytest.raises(LedgerError, match=r"reserve_seconds: received 0\.0 for cloud:device_hour/v5e under a cap"):
        _capped(tmp_path, 3).open_attempt("distill-a", price=DEVICE)
    Ledger(tmp_path / "ledger.jsonl").open_attempt("distill-a", price=DEVICE)


@pytest.mark.parametrize("max_usd", [-1, float("nan"), float("inf"), True, "5"])
def test_a_cap_must_be_dollars(tmp_path, max_usd):
    with pytest.raises(LedgerError, match="max_usd: received"):
        _capped(tmp_path, max_usd)
