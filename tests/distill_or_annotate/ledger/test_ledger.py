"""What the ledger counts: labels once, charges once, attempts by what they took."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.ledger import LOCAL_BOOK, Charge, Ledger, LedgerError, totals_of
from distill_or_annotate.ledger import attempts as attempts_module
from distill_or_annotate.prices import load_book

PRICE = load_book("quickstart_scaled").label("mini")
LOCAL = load_book("local").entry("device_hour/local_cpu")


def _charge(key="finetune-a", usd=4.05):
    return Charge(key, "device", 1, "run", usd, "quickstart_scaled", "paper:finetune/wlp/5000", "2023-07-09", "paper")


def _buy(ledger, first, last, **changes):
    what = {"stage": "label", "task": "mini", "data_seed": 0, "price": PRICE, **changes}
    return ledger.buy_labels(first_label=first, last_label=last, **what)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.jsonl")


def test_buying_more_of_the_same_shuffle_pays_only_for_what_is_new(ledger):
    _buy(ledger, 0, 300)
    (row,) = _buy(ledger, 300, 382)
    assert (row["quantity"], row["usd"]) == (82, pytest.approx(82 * 0.26))
    assert _buy(ledger, 0, 382) == []
    assert ledger.totals().n_labels == {"quickstart_scaled": 382}


def test_another_shuffle_task_or_book_is_another_purchase(ledger):
    _buy(ledger, 0, 10)
    for changes in ({"data_seed": 1}, {"task": "mini_cls"}, {"price": load_book("paper").label("wlp")}):
        assert _buy(ledger, 0, 10, **changes)[0]["quantity"] == 10


@settings(deadline=None)
@given(ranges=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 30)), max_size=8))
def test_labels_paid_are_the_union_of_all_ranges(tmp_path_factory, ranges):
    ledger = Ledger(tmp_path_factory.mktemp("union") / "ledger.jsonl")
    for first, count in ranges:
        _buy(ledger, first, first + count)
    union = {position for first, count in ranges for position in range(first, first + count)}
    assert ledger.totals().n_labels.get("quickstart_scaled", 0) == len(union)


@pytest.mark.parametrize(("first", "last"), [(5, 5), (-1, 3), (7, 2)])
def test_empty_and_negative_ranges_are_refused(ledger, first, last):
    with pytest.raises(LedgerError, match=f"{first}..{last}"):
        _buy(ledger, first, last)


def test_rows_carry_price_date_source_and_book(ledger):
    (row,) = _buy(ledger, 0, 1)
    assert (row["price_entry"], row["price_date"], row["source"]) == (
        "quickstart_scaled:label/*",
        "2023-07-09",
        "paper",
    )
    row = ledger.open_attempt("finetune-a").settle(seconds=3600)
    assert (row["price_entry"], row["source"], row["book"]) == ("local:device_hour/local_cpu", "measured", LOCAL_BOOK)
    assert row["usd"] == pytest.approx(LOCAL.usd)


def test_device_seconds_are_wall_seconds_times_devices(ledger):
    row = ledger.open_attempt("finetune-a", devices=8).settle(seconds=10)
    assert (row["quantity"], row["unit"], row["devices"]) == (80, "device-second", 8)


def test_settling_twice_changes_nothing(ledger):
    attempt = ledger.open_attempt("finetune-a", charges=[_charge()])
    assert attempt.settle(seconds=5) == attempt.settle(seconds=50)
    assert ledger.totals().device_seconds == 5


def test_a_block_that_raises_is_wasted_and_owes_nothing(ledger):
    with pytest.raises(RuntimeError), ledger.open_attempt("finetune-a", charges=[_charge()]):
        raise RuntimeError("diverged")
    row = ledger.rows()[-1]
    assert row["wasted"] is True and "diverged" in row["note"]
    assert ledger.totals().scenario_usd == 0
    with ledger.open_attempt("finetune-a", charges=[_charge()]):
        pass
    assert ledger.totals().scenario_usd == 4.05
    assert ledger.rows()[-1]["attempt"] == "finetune-a.2"


def test_a_stage_run_again_owes_its_charge_once(ledger):
    for _ in range(2):
        with ledger.open_attempt("finetune-a", charges=[_charge()]):
            pass
    assert ledger.totals().scenario_usd == 4.05
    assert ledger.charge("finetune-a", [_charge()]) == []


def test_open_attempts_count_as_reserved_until_settled(ledger):
    attempt = ledger.open_attempt("finetune-a", reserve_seconds=3600)
    assert ledger.totals().reserved_usd == {LOCAL_BOOK: pytest.approx(LOCAL.usd)}
    attempt.settle(seconds=60)
    assert ledger.totals().reserved_usd == {}
    assert ledger.totals().local_usd == pytest.approx(LOCAL.usd / 60)


def test_reconcile_leaves_the_living_alone(ledger):
    attempt = ledger.open_attempt("finetune-a")
    assert ledger.reconcile() == []
    attempt.settle()


def test_a_process_id_used_again_does_not_keep_an_attempt_alive(ledger, monkeypatch):
    real = attempts_module.process_identity()
    dead = {**real, "process_start": real["process_start"] - 1}
    assert attempts_module.is_alive(real, None)
    assert not attempts_module.is_alive(dead, None)
    assert not attempts_module.is_alive({**real, "boot": "an earlier one"}, None)


def test_a_process_that_was_taken_for_dead_books_the_rest_of_its_time_and_what_falls_due(ledger, monkeypatch):
    price = load_book("cloud").entry("device_hour/v5e")
    attempt = ledger.open_attempt("finetune-a", price=price, devices=8, reserve_seconds=9000, charges=[_charge()])
    with monkeypatch.context() as patched:
        patched.setattr("distill_or_annotate.ledger.ledger.is_alive", lambda *_: False)
        assert len(ledger.reconcile()) == 1
    for _ in range(2):
        attempt.settle(seconds=7000)
    assert ledger.device_seconds("finetune-a") == pytest.approx(7000 * 8)
    assert ledger.totals().usd["cloud"]["device"] == pytest.approx(7000 * 8 * price.usd / 3600)
    assert ledger.totals().usd["quickstart_scaled"]["device"] == pytest.approx(4.05)


def test_another_machine_is_judged_by_its_silence():
    import time

    foreign = {**attempts_module.process_identity(), "host": "elsewhere"}
    assert attempts_module.is_alive(foreign, time.time() - 5)
    assert not attempts_module.is_alive(foreign, time.time() - 500)
    assert not attempts_module.is_alive(foreign, None)


def test_heartbeat_grows_while_an_attempt_runs(ledger, monkeypatch):
    monkeypatch.setattr(attempts_module, "HEARTBEAT_SECONDS", 0.02)
    attempt = ledger.open_attempt("finetune-a")
    first = attempts_module.read_heartbeat(attempt.heartbeat_path)
    while attempts_module.read_heartbeat(attempt.heartbeat_path)["seconds"] <= first["seconds"]:
        assert attempt.seconds < 10
    assert {"attempt", "stage", "seconds", "pid", "process_start"} <= set(first)
    attempt.settle()
    assert not attempt.heartbeat_path.exists()


def test_a_row_seen_twice_counts_once_and_is_reported(ledger):
    _buy(ledger, 0, 10)
    totals = totals_of(ledger.rows() * 2)
    assert totals.n_labels == {"quickstart_scaled": 10}
    assert totals.duplicates == ("label:quickstart_scaled:mini:s0:0-10",)


@pytest.mark.parametrize(
    "changes", [{"kind": "lunch"}, {"source": "guess"}, {"quantity": -1}, {"unit_price_usd": None}]
)
def test_charges_that_make_no_sense_are_refused(changes):
    (field,) = changes
    with pytest.raises(LedgerError, match=field):
        Charge(**{**_charge().as_dict(), **changes})
