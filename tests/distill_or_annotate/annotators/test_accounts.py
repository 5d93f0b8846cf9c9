"""The books hold their law through any order of requests and any kill: invoice <= settled + unconfirmed <= cap."""

import json
import threading
import time

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from distill_or_annotate.annotators import accounts
from distill_or_annotate.annotators.accounts import AccountError, Stopped
from distill_or_annotate.annotators.rehearsal import rehearsal_prices
from distill_or_annotate.annotators.token_prices import Usage
from distill_or_annotate.ledger import CapReached, journal

PRICES = rehearsal_prices()["standard"]  # $1 per million tokens in, $2 out


@pytest.fixture
def path(tmp_path):
    return tmp_path / "labels.jsonl.ledger.jsonl"


def _reserve(account, usd=1.0, item="a"):
    return account.reserve(usd, tier="standard", item=item)


@settings(deadline=None, max_examples=60)
@given(
    max_usd=st.floats(0, 5),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["settle", "release", "unconfirmed", "in flight", "kill"]),
            st.integers(1, 900_000),
            st.floats(0, 1),
            st.booleans(),
        ),
        max_size=15,
    ),
)
def test_the_invoice_is_never_above_the_books_nor_the_books_above_the_cap(tmp_path_factory, max_usd, steps):
    path = tmp_path_factory.mktemp("books") / "ledger.jsonl"
    invoice_usd, n_unknown = 0.0, 0
    remaining = list(steps)
    while remaining:
        with accounts.opened(path, max_usd) as account:
            account.close_lost()
            while remaining:
                how, tokens, share, billed = remaining.pop(0)
                if how == "kill":
                    break
                try:
                    reserve = _reserve(account, PRICES.worst_usd(tokens, 1000))
                except CapReached:
                    remaining = []
                    break
                usage = Usage(int(share * tokens), 0, int(share * 1000))
                if how == "settle":
                    invoice_usd += PRICES.usd(usage)
                    account.settle(reserve, usage, PRICES, item="a", outcome="truncated")
                elif how == "release":
                    account.release(reserve, item="a", outcome="rate_limited")
                else:
                    n_unknown += 1
                    invoice_usd += PRICES.usd(usage) if billed else 0.0
                    if how == "unconfirmed":
                        account.leave_unconfirmed(reserve, item="a", outcome="timeout")
                    else:
                        break  # killed while the request was under way
            now = account.balance()
            assert invoice_usd <= now.most_usd + 1e-9
            assert now.most_usd <= max_usd + 1e-6
    with accounts.opened(path, max_usd) as account:
        account.close_lost()
        now = account.balance()
    assert now.reserved_usd == 0
    assert invoice_usd <= now.settled_usd + now.unconfirmed_usd + 1e-9 <= max_usd + 2e-6
    if not n_unknown:
        assert now.unconfirmed_usd == 0 and now.settled_usd == pytest.approx(invoice_usd, abs=1e-12)


def test_the_reserve_is_on_disk_before_the_request_may_be_sent(path):
    with accounts.opened(path, 5.0) as account:
        reserve = _reserve(account, 0.25)
        row = json.loads(path.read_text().splitlines()[-1])
    assert (row["entry_id"], row["status"], row["usd"]) == (reserve, "reserved", 0.25)


def test_what_a_killed_process_had_under_way_counts_as_unconfirmed(path):
    with accounts.opened(path, 5.0) as account:
        _reserve(account, 0.25)
    with accounts.opened(path, 5.0) as account:
        assert account.balance().reserved_usd == 0.25
        assert account.close_lost() == 1
        assert (account.balance().reserved_usd, account.balance().unconfirmed_usd) == (0, 0.25)
        assert account.close_lost() == 0


def test_a_request_given_up_for_lost_that_ends_after_all_keeps_its_answer_and_its_true_bill(path):
    with accounts.opened(path, 5.0) as hurried:
        reserve = _reserve(hurried, 0.25)
    with accounts.opened(path, 5.0) as account:
        account.close_lost()
    # A thread of the process that was interrupted twice gets its reply now.
    hurried.settle(reserve, Usage(10, 0, 2), PRICES, item="a", outcome="answered", answer="YES")
    with accounts.opened(path, 5.0) as account:
        now = account.balance()
        assert account.answers["a"]["answer"] == "YES" and account.n_lost["a"] == account.n_failures["a"] == 0
        assert (now.unconfirmed_usd, now.reserved_usd, now.n_requests) == (0, 0, 1)
        assert now.settled_usd == pytest.approx(PRICES.usd(Usage(10, 0, 2)))


@pytest.mark.parametrize("how", ["no usage", "after an invoice", "after it was set aside and taken back"])
def test_a_late_answer_is_kept_whatever_came_between(path, how):
    with accounts.opened(path, 5.0) as hurried:
        reserve = _reserve(hurried, 0.25)
    with accounts.opened(path, 5.0) as account:
        account.close_lost()
        if how == "after an invoice":
            account.reconcile(0.1)
        elif how != "no usage":
            account.note("set_aside", item="a", reason="process gone")
            account.note("taken_back", item="a")
            account.note("set_aside", item="a", reason="process gone")
    answered = {"item": "a", "outcome": "answered", "answer": "YES"}
    if how == "no usage":
        hurried.leave_unconfirmed(reserve, **answered)
    else:
        hurried.settle(reserve, Usage(10, 0, 2), PRICES, **answered)
    with accounts.opened(path, 5.0) as account:
        assert account.answers["a"]["answer"] == "YES" and account.set_aside_rows == {}
        assert account.n_lost["a"] in (0, 1) and account.n_failures["a"] in (0, 1)
        least_usd = {"no usage": 0.25, "after an invoice": 0.1}.get(how, PRICES.usd(Usage(10, 0, 2)))
        assert account.balance().most_usd == pytest.approx(least_usd)


def test_reserves_go_on_counting_where_the_last_process_stopped(path):
    for _ in range(3):
        with accounts.opened(path, 5.0) as account:
            last = _reserve(account, 0.1)
    assert last == "r0000003"


def test_the_answer_stands_in_the_row_that_settles_it(path):
    with accounts.opened(path, 5.0) as account:
        reserve = _reserve(account)
        account.settle(reserve, Usage(10, 0, 2), PRICES, item="a", outcome="answered", answer="Mix [Action]")
    with accounts.opened(path, 5.0) as account:
        assert account.answers["a"]["answer"] == "Mix [Action]"


def test_a_request_that_does_not_fit_is_refused_and_leaves_no_row(path):
    with accounts.opened(path, 1.0) as account:
        account.leave_unconfirmed(_reserve(account, 0.7), item="a", outcome="timeout")
        n_rows = len(account.rows)
        with pytest.raises(CapReached, match=r"\$0.70 reserved"):
            _reserve(account, 0.4)
        assert len(account.rows) == n_rows


def test_a_request_waits_for_those_under_way_that_may_make_room(path):
    with accounts.opened(path, 1.0) as account:
        first = _reserve(account, 0.9)
        got = []
        waiting = threading.Thread(target=lambda: got.append(_reserve(account, 0.9)))
        waiting.start()
        time.sleep(0.1)
        assert not got
        account.settle(first, Usage(1000, 0, 10), PRICES, item="a", outcome="truncated")
        waiting.join(timeout=5)
        assert len(got) == 1


def test_books_that_are_open_are_not_opened_again(path):
    with accounts.opened(path, 1.0):
        again = accounts.opened(path, 1.0)
        with pytest.raises(AccountError, match="in use by process"):
            again.__enter__()


def test_a_bill_above_the_worst_case_stops_the_labelling_and_is_kept(path):
    with accounts.opened(path, 1.0) as account:
        reserve = _reserve(account, 0.001)
        with pytest.raises(AccountError, match="--token-limit-field max_tokens"):
            account.settle(reserve, Usage(1000, 0, 5000), PRICES, item="a", outcome="answered", answer="x")
        assert account.balance().settled_usd == pytest.approx(0.011)


def test_an_invoice_settles_what_was_unconfirmed(path):
    with accounts.opened(path, 2.0) as account:
        account.settle(_reserve(account), Usage(100_000, 0, 0), PRICES, item="a", outcome="truncated")
        account.leave_unconfirmed(_reserve(account, 0.5), item="a", outcome="timeout")
        account.reconcile(0.12)
    with accounts.opened(path, 2.0) as account:
        assert account.balance().most_usd == pytest.approx(0.12)
        account.leave_unconfirmed(_reserve(account, 0.5), item="a", outcome="timeout")
        assert account.balance().unconfirmed_usd == pytest.approx(0.52)


@pytest.mark.parametrize("invoice_usd", [0.05, 0.7])
def test_an_invoice_that_cannot_be_of_these_books_is_refused(path, invoice_usd):
    with accounts.opened(path, 2.0) as account:
        account.settle(_reserve(account), Usage(100_000, 0, 0), PRICES, item="a", outcome="truncated")
        account.leave_unconfirmed(_reserve(account, 0.5), item="a", outcome="timeout")
        with pytest.raises(AccountError, match="invoice-usd"):
            account.reconcile(invoice_usd)


def test_lines_of_a_batch_take_their_part_out_of_its_reserve(path):
    with accounts.opened(path, 5.0) as account:
        batch = account.reserve(1.0, tier="batch", item_usd={"a": 0.6, "b": 0.4})
        fields = {"item": "a", "outcome": "answered", "answer": "x", "part": "a", "reserved_usd": 0.6}
        account.settle(batch, Usage(100_000, 0, 0), PRICES, **fields)
        assert account.balance().reserved_usd == pytest.approx(0.4)
        assert account.close_lost() == 0 and len(account.open_reserves()) == 1
        account.release(batch, outcome="batch completed")
        assert account.balance().reserved_usd == 0 and account.balance().most_usd == pytest.approx(0.1)


def _settled(account, usd, item="a"):
    account.settle(_reserve(account, usd), Usage(int(usd * 1e6), 0, 0), PRICES, item=item, outcome="truncated")


def _unconfirmed(account, usd):
    account.leave_unconfirmed(_reserve(account, usd), item="a", outcome="timeout")


def test_an_invoice_that_was_given_before_takes_nothing_off_what_came_after_it(path):
    with accounts.opened(path, None) as account:
        _settled(account, 1.0)
        _unconfirmed(account, 0.5)
        account.reconcile(1.4)
        account.reconcile(1.4)  # nothing came after it
        _settled(account, 0.1)
    with accounts.opened(path, None) as account:
        _reserve(account, 0.3)
    with accounts.opened(path, None) as account:
        account.close_lost()
        with pytest.raises(
            AccountError, match=r"1\.4 was given before, and requests of up to \$0\.400000 came after it"
        ):
            account.reconcile(1.4)
        assert account.balance().most_usd == pytest.approx(1.8)


def test_an_invoice_that_was_given_before_settles_no_later_unconfirmed_request(path):
    with accounts.opened(path, None) as account:
        _unconfirmed(account, 0.5)
        account.reconcile(0.2)
        _unconfirmed(account, 0.3)
        with pytest.raises(AccountError, match="was given before"):
            account.reconcile(0.2)
        assert account.balance().most_usd == pytest.approx(0.5)


def test_a_newer_invoice_holds_the_last_one_and_what_was_settled_after_it(path):
    with accounts.opened(path, None) as account:
        _settled(account, 1.0)
        _unconfirmed(account, 0.5)
        account.reconcile(1.4)
        _settled(account, 0.1)
        _unconfirmed(account, 0.3)
        for invoice_usd in (1.2, 1.45, 1.85):
            with pytest.raises(
                AccountError, match=r"between \$1\.500000, which is settled or stood on the invoice before"
            ):
                account.reconcile(invoice_usd)
        account.reconcile(1.6)
    with accounts.opened(path, None) as account:
        assert account.balance().most_usd == pytest.approx(1.6) and account.balance().settled_usd == pytest.approx(1.1)


def test_no_invoice_is_taken_while_a_batch_is_under_way(path):
    with accounts.opened(path, None) as account:
        account.reserve(1.0, tier="batch", item_usd={"a": 1.0})
        with pytest.raises(AccountError, match="a batch is under way"):
            account.reconcile(0.5)


def test_a_lost_request_is_counted_apart_from_the_attempts_at_its_item(path):
    for _ in range(2):
        with accounts.opened(path, 5.0) as account:
            account.close_lost()
            _reserve(account, 0.25, item="b")
    with accounts.opened(path, 5.0) as account:
        account.close_lost()
        assert account.n_lost == {"b": 2} and not account.n_failures["b"] and account.balance().n_requests == 2


def test_those_who_wait_for_room_are_let_go_when_the_labelling_stops(path):
    with accounts.opened(path, 1.0) as account:
        _reserve(account, 0.9)
        ends = []

        def wait():
            try:
                ends.append(_reserve(account, 0.9))
            except Stopped:
                ends.append("stopped")

        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        account.stop()
        waiting.join(timeout=5)
        assert ends == ["stopped"] and account.balance().reserved_usd == 0.9


def test_a_request_that_was_closed_by_a_row_of_which_the_disk_told_nothing_is_not_counted_twice(path, monkeypatch):
    with accounts.opened(path, 5.0) as account:
        reserve = _reserve(account, 0.5)
        with monkeypatch.context() as patched:
            patched.setattr(journal.os, "fsync", lambda handle: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                account.settle(reserve, Usage(1000, 0, 0), PRICES, item="a", outcome="answered", answer="x")
        account.close_broken(reserve, OSError(), item="a")
        assert account.balance().unconfirmed_usd == 0.5
    with accounts.opened(path, 5.0) as account:
        assert account.close_lost() == 0 and account.answers.keys() == {"a"}
        assert account.balance().most_usd == account.balance().settled_usd == pytest.approx(0.001)


def test_a_request_that_an_error_ended_is_unconfirmed_unless_it_was_closed(path):
    with accounts.opened(path, 5.0) as account:
        first, second = _reserve(account, 0.25), _reserve(account, 0.5)
        account.release(first, item="a", outcome="rate_limited")
        for reserve in (first, second):
            account.close_broken(reserve, RuntimeError("sk-secret"), item="a")
        now = account.balance()
    assert (now.unconfirmed_usd, now.reserved_usd, now.n_requests) == (0.5, 0.0, 2)
    assert "sk-secret" not in path.read_text() and "RuntimeError" in path.read_text()
