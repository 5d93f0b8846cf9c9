"""Batches over real HTTP: reserved whole, found again after a kill at any point, closed line by line."""

import json
import os

import pytest

from distill_or_annotate.annotators import batches as batches_module
from distill_or_annotate.annotators import labelling
from distill_or_annotate.annotators.accounts import Account, AccountError
from distill_or_annotate.annotators.batches import Batches
from distill_or_annotate.annotators.endpoint import KEY_VARIABLE, EndpointError

# What a line of a batch can do wrong.
FAULTS = {"rate_limited": 0.1, "server_error": 0.1, "truncated": 0.1, "malformed": 0.1, "no_usage": 0.1, "outside": 0.1}
BILLED = {"billed_error": 0.3}


class Killed(BaseException):
    """Stands for SIGKILL: nothing that the process would have done afterwards is done."""


@pytest.fixture
def batch(label):
    def run(server, rows, **rest):
        return label(server, rows, tier="batch", **rest)

    return run


def _lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _check_law(server, summary, max_usd=10.0):
    money = summary.balance
    assert money.reserved_usd == 0
    assert server.model.invoice_usd() <= money.settled_usd + money.unconfirmed_usd + 1e-9 <= max_usd + 1e-6


def test_a_batch_labels_every_item_at_its_own_price(serve, batch, rows):
    server = serve(rows)
    summary = batch(server, rows, settings={"batch_size": 25})
    assert [line["prediction"] for line in _lines(summary.out)] == [row["target"] for row in rows]
    assert len(server.batches) == 3 and server.n_requests == 0 and set(server.model.n_billed().values()) == {1}
    assert summary.balance.settled_usd == pytest.approx(server.model.invoice_usd(), abs=1e-12)
    assert summary.balance.unconfirmed_usd == 0
    assert {line["tier"] for line in server.model.invoice} == {"batch"}


def test_lines_that_fail_go_into_the_next_batch_or_are_set_aside(serve, batch, rows):
    server = serve(rows, faults=FAULTS, seed=3)
    summary = batch(server, rows, settings={"n_attempts": 12})
    labels = {line["source"]: line["prediction"] for line in _lines(summary.out)}
    assert labels == {row["source"]: row["target"] for row in rows if row["source"] in labels}
    assert summary.set_aside.keys() == {"outside"} and summary.n_left == 0
    assert len(server.batches) > 2 and summary.balance.unconfirmed_usd > 0
    _check_law(server, summary)


def test_a_key_that_a_line_quotes_stands_nowhere_on_disk(serve, batch, rows, tmp_path, monkeypatch):
    key, real = os.environ[KEY_VARIABLE], Batches._lines

    def quoting(self, found):
        lines, n_broken = real(self, found)
        for line in lines:
            line["response"]["body"]["choices"][0]["message"]["content"] = f"for Bearer {key}"
        return lines, n_broken

    monkeypatch.setattr(Batches, "_lines", quoting)
    assert batch(serve(rows), rows[:3]).n_set_aside == 3
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"for Bearer ***" in written and key.encode() not in written


def test_the_wait_before_the_next_batch_grows_while_lines_fail(serve, batch, rows, monkeypatch):
    waits, server = [], serve(rows, faults={"rate_limited": 1.0}, batch_seconds=0)
    monkeypatch.setattr(batches_module.time, "sleep", waits.append)
    with pytest.raises(EndpointError, match="4 batches in a row"):
        batch(server, rows[:2], settings={"n_attempts": 4, "backoff_seconds": 40.0, "poll_seconds": 0.0})
    assert [wait for wait in waits if wait] == [40.0, 60.0, 60.0]


def test_a_line_without_a_reason_that_is_full_was_cut_at_the_limit_of_its_batch(serve, batch, rows, monkeypatch):
    real = Batches._lines

    def silent(self, found):
        lines, n_broken = real(self, found)
        for line in lines:
            line["response"]["body"]["choices"][0]["finish_reason"] = None
        return lines, n_broken

    server = serve(rows)
    monkeypatch.setattr(Batches, "_lines", silent)
    with monkeypatch.context() as patched:
        _kill_when(patched, Batches, "_awaited", lambda *_: True)
        with pytest.raises(Killed):
            batch(server, rows[:2], settings={"output_tokens": 4})
    summary = batch(server, rows[:2], settings={"output_tokens": 64})
    outcomes = [row.get("outcome") for row in _lines(labelling.ledger_path(summary.out))]
    assert outcomes.count("truncated") == 2 and summary.n_labelled == 2


def test_a_batch_is_made_no_larger_than_the_cap_allows(serve, batch, rows):
    server = serve(rows)
    stopped = batch(server, rows, max_usd=0.005)
    assert stopped.stopped_at_cap and 0 < stopped.n_labelled < len(rows)
    _check_law(server, stopped, 0.005)
    whole = batch(server, rows, max_usd=10.0)
    assert whole.n_labelled == len(rows) and set(server.model.n_billed().values()) == {1}
    _check_law(server, whole)


def _kill_when(monkeypatch, owner, name, when):
    real = getattr(owner, name)

    def stand_in(self, *args, **rest):
        if when(*args, **rest):
            raise Killed
        return real(self, *args, **rest)

    monkeypatch.setattr(owner, name, stand_in)


@pytest.mark.parametrize(
    ("owner", "name", "when", "n_batches"),
    [
        (Batches, "_send", lambda *_: True, 1),  # reserved, nothing sent
        (Account, "note", lambda status, **_: status == "batch", 1),  # made, its id not written down
        (Batches, "_awaited", lambda *_: True, 1),  # made and written down
        (Account, "release", lambda *_, **__: True, 1),  # all lines closed, the batch not
    ],
)
def test_a_batch_of_a_killed_process_is_found_again(serve, batch, rows, monkeypatch, owner, name, when, n_batches):
    server = serve(rows)
    with monkeypatch.context() as patched:
        _kill_when(patched, owner, name, when)
        with pytest.raises(Killed):
            batch(server, rows[:20])
    summary = batch(server, rows[:20])
    assert summary.n_labelled == 20 and len(server.batches) == n_batches
    assert set(server.model.n_billed().values()) == {1}
    assert summary.balance.unconfirmed_usd == 0
    assert summary.balance.settled_usd == pytest.approx(server.model.invoice_usd(), abs=1e-12)


def test_a_kill_in_the_middle_of_the_results_loses_none(serve, batch, rows, monkeypatch):
    server = serve(rows)
    with monkeypatch.context() as patched:
        closed = []
        _kill_when(patched, Batches, "_close", lambda *_: closed.append(1) or len(closed) == 8)
        with pytest.raises(Killed):
            batch(server, rows[:20])
    summary = batch(server, rows[:20])
    assert summary.n_labelled == 20 and len(server.batches) == 1
    assert summary.balance.settled_usd == pytest.approx(server.model.invoice_usd(), abs=1e-12)


def test_a_batch_that_may_exist_and_is_not_found_counts_as_spent(serve, batch, rows, monkeypatch):
    server = serve(rows)
    with monkeypatch.context() as patched:
        _kill_when(patched, Account, "note", lambda status, **_: status == "batch")
        with pytest.raises(Killed):
            batch(server, rows[:5])
    server.batches.clear()
    summary = batch(server, rows[:5])
    assert summary.n_labelled == 5 and summary.balance.unconfirmed_usd > 0


def test_an_open_batch_is_finished_by_a_call_without_batches(serve, batch, label, rows, monkeypatch):
    server = serve(rows)
    with monkeypatch.context() as patched:
        _kill_when(patched, Batches, "_awaited", lambda *_: True)
        with pytest.raises(Killed):
            batch(server, rows[:5])
    summary = label(server, rows[:7])
    assert summary.n_labelled == 7 and server.n_requests == 2
    assert summary.balance.settled_usd == pytest.approx(server.model.invoice_usd(), abs=1e-12)


def test_an_open_batch_needs_the_pool_that_it_was_made_from(serve, batch, rows, monkeypatch):
    server = serve(rows)
    with monkeypatch.context() as patched:
        _kill_when(patched, Batches, "_awaited", lambda *_: True)
        with pytest.raises(Killed):
            batch(server, rows[:5])
    with pytest.raises(AccountError, match="2 items that the pool lacks"):
        batch(server, rows[2:9])


def test_the_books_say_which_batch_was_made_for_what(serve, batch, rows):
    summary = batch(serve(rows), rows[:5])
    kept = _lines(labelling.ledger_path(summary.out))
    assert [row["status"] for row in kept[:4]] == ["header", "reserved", "batch_asked", "batch"]
    assert kept[1]["usd"] == pytest.approx(sum(kept[1]["item_usd"].values()))


def test_a_batch_that_is_refused_for_the_moment_is_asked_for_again(serve, batch, rows):
    server = serve(rows)
    server.batch_faults += ["rate_limited", "rate_limited"]
    summary = batch(server, rows[:5])
    assert summary.n_labelled == 5 and len(server.batches) == 1 and summary.balance.unconfirmed_usd == 0


def test_a_batch_that_was_made_though_the_reply_says_otherwise_is_not_made_twice(serve, batch, rows):
    server = serve(rows)
    server.batch_faults += ["dropped_billed"]
    summary = batch(server, rows[:5])
    assert summary.n_labelled == 5 and len(server.batches) == 1
    assert summary.balance.settled_usd == pytest.approx(server.model.invoice_usd(), abs=1e-12)


def test_a_batch_that_stays_refused_is_given_back(serve, batch, rows):
    server = serve(rows)
    server.batch_faults += ["rate_limited"] * 6
    with pytest.raises(EndpointError, match="rate_limited"):
        batch(server, rows[:5])
    summary = batch(server, rows[:5])
    assert summary.n_labelled == 5 and summary.balance.unconfirmed_usd == 0


def test_a_line_that_fails_with_a_server_error_may_be_billed(serve, batch, rows):
    server = serve(rows, faults=BILLED, seed=2)
    summary = batch(server, rows, settings={"n_attempts": 12})
    kept = _lines(labelling.ledger_path(summary.out))
    failed = [row for row in kept if row.get("outcome") == "status_502"]
    assert summary.n_labelled == len(rows) and len(failed) > 5
    assert {row["status"] for row in failed} == {"unconfirmed"} and all(row["usd"] > 0 for row in failed)
    _check_law(server, summary)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ({"response": {"status_code": 408, "body": {}}}, "unconfirmed"),
        ({"response": {"status_code": "500", "body": {}}}, "unconfirmed"),
        ({"response": None, "error": {"code": "request_timeout"}}, "unconfirmed"),
        ({"response": None, "error": None}, "unconfirmed"),
        ({"response": None, "error": {"code": "batch_expired"}}, "settled"),
        ({"response": {"status_code": 429, "body": {}}}, "settled"),
        ({"response": {"status_code": 403, "body": {}}}, "settled"),
    ],
)
def test_only_a_line_that_was_not_run_for_certain_cost_nothing(serve, batch, rows, monkeypatch, line, status):
    real = Batches._lines

    def once(self, found):
        monkeypatch.setattr(Batches, "_lines", real)
        return [{**line, "custom_id": each["custom_id"]} for each in real(self, found)[0]], 0

    monkeypatch.setattr(Batches, "_lines", once)
    summary = batch(serve(rows), rows[:1])
    row = next(row for row in _lines(labelling.ledger_path(summary.out)) if row.get("part") or "item" in row)
    assert row["status"] == status and (row["usd"] > 0) == (status == "unconfirmed")
