"""The books of a labelling: what a request can cost is on disk before it is sent, what it did cost after.

`OUT.ledger.jsonl` holds a reserve before each request and one closing row after it: `settled` with the tokens that were
billed and, for an answer, the label itself, or `unconfirmed` where nobody knows what was billed. A reserve that no row
closes belongs to a process that was killed, and counts as unconfirmed. So the invoice is never above settled +
unconfirmed, and those are never above the cap; and since the label is in the row that settles it, an item whose answer
was paid and kept is never sent again.
"""

import contextlib
import dataclasses
import datetime
import fcntl
import math
import os
import pathlib
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from distill_or_annotate.annotators.token_prices import TokenPrices, Usage
from distill_or_annotate.ledger import CapReached
from distill_or_annotate.ledger.cap import TOLERANCE_USD, check_max_usd
from distill_or_annotate.ledger.journal import Journal, Row, Transaction

STANDARD, BATCH = "standard", "batch"
# The request of a process that was killed, and of one that an error ended.
GONE, BROKEN = "process gone", "internal error"


class AccountError(ValueError):
    """Books that belong to another labelling, are in use, or were billed more than was reserved."""


class Stopped(Exception):
    """Raised in place of a reserve once the labelling is stopped; nothing was written."""


@dataclasses.dataclass(frozen=True)
class Balance:
    """Where the money stands.

    Attributes:
      settled_usd: dollars of requests whose tokens are known.
      unconfirmed_usd: the most that requests cost of which nobody knows what was billed.
      reserved_usd: the most that requests now under way can cost.
      input_tokens: tokens sent in settled requests, cached ones included.
      cached_input_tokens: those read from the provider's cache.
      output_tokens: tokens received.
      n_requests: requests closed.
    """

    settled_usd: float = 0.0
    unconfirmed_usd: float = 0.0
    reserved_usd: float = 0.0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    n_requests: int = 0

    @property
    def most_usd(self) -> float:
        """The most that an invoice can say."""
        return self.settled_usd + self.unconfirmed_usd + self.reserved_usd


class Account:
    """Reserves and closes; safe to call from several threads. Made by `opened`."""

    def __init__(self, book: Transaction, max_usd: float | None):
        """Reads the books.

        Args:
          book: the ledger file, its lock held.
          max_usd: the cap; None for none.
        """
        self._book, self.max_usd = book, check_max_usd(max_usd)
        self._changed = threading.Condition()
        self._balance = Balance()
        self._open: dict[str, float] = {}
        self._given_up: dict[str, Mapping[str, Any]] = {}
        self._n_reserves = 0
        self._is_stopped = False
        self._reconciled: Row | None = None
        self.answers: dict[str, Row] = {}
        self.set_aside_rows: dict[str, Row] = {}
        # Items whose last attempt says that no further one helps, as long as no row sets them aside.
        self.hopeless: dict[str, Row] = {}
        # Attempts that failed; those that only ended with their process are counted apart.
        self.n_failures: Counter[str] = Counter()
        self.n_truncated: Counter[str] = Counter()
        self.n_lost: Counter[str] = Counter()
        for row in book.rows:
            self._count(row)

    @property
    def rows(self) -> list[Row]:
        """The rows of the books, in order."""
        return self._book.rows

    def balance(self) -> Balance:
        """Returns where the money stands."""
        with self._changed:
            return self._balance

    def open_reserves(self) -> list[Row]:
        """Returns the reserves that no row has closed."""
        with self._changed:
            return [row for row in self.rows if row["status"] == "reserved" and row["entry_id"] in self._open]

    def billed_items(self) -> set[str]:
        """Returns the items on which dollars went, or may have gone."""
        return {row["item"] for row in self.rows if "item" in row and row.get("usd", 0.0) > 0 and _closes(row)}

    def close_lost(self) -> int:
        """Counts as unconfirmed what a killed process had under way; batches stay open, since they can be asked for.

        Returns:
          How many requests those were.
        """
        lost = [row for row in self.open_reserves() if row["tier"] == STANDARD]
        for row in lost:
            # By its item, since an item whose answer ends the process would end every further one.
            self.leave_unconfirmed(row["entry_id"], item=row["item"], outcome=GONE)
        return len(lost)

    def close_broken(self, reserve: str, error: BaseException, **fields: Any) -> None:
        """Counts a request as unconfirmed that an unforeseen error ended, unless it is closed or the disk takes no row.

        Args:
          reserve: its id.
          error: the error; its type alone is written, since nobody knows what its text quotes.
          **fields: `item`, and what else the row should say.
        """
        with self._changed, contextlib.suppress(OSError):
            if reserve in self._open:
                self.leave_unconfirmed(reserve, outcome=BROKEN, detail=type(error).__name__, **fields)

    def stop(self) -> None:
        """Has `reserve` raise `Stopped` from now on, in those who wait for room too."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def left_usd(self) -> float:
        """Returns the dollars that the cap leaves; infinity where there is none."""
        return math.inf if self.max_usd is None else max(0.0, self.max_usd - self.balance().most_usd)

    def reserve(self, worst_usd: float, **fields: Any) -> str:
        """Writes the most that a request can cost; on return it is on disk, and the request may be sent.

        Where the cap has no room, it waits for requests under way, which mostly settle for less than their reserve.

        Args:
          worst_usd: dollars.
          **fields: `tier`, `item` or `items`, and what else the row should say.

        Returns:
          The reserve's id.

        Raises:
          CapReached: it does not fit, and no request under way can make room.
          Stopped: `stop` was called.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_stopped or self._fits(worst_usd) or not self._may_fit_later(worst_usd)
            )
            if self._is_stopped:
                raise Stopped
            if not self._fits(worst_usd):
                now = self._balance
                taken_usd = now.unconfirmed_usd + now.reserved_usd
                raise CapReached("llm_label", worst_usd, now.settled_usd, taken_usd, self.max_usd or 0.0)
            self._n_reserves += 1
            entry_id = f"r{self._n_reserves:07d}"
            self._append({"entry_id": entry_id, "status": "reserved", "usd": worst_usd, **fields})
            return entry_id

    def settle(self, reserve: str, usage: Usage, prices: TokenPrices, *, part: str = "end", **fields: Any) -> None:
        """Closes a reserve with the tokens that were billed.

        Args:
          reserve: its id.
          usage: the tokens.
          prices: dollars of a token.
          part: `end`, or the item, for one line of a batch, which takes `reserved_usd` out of the reserve.
          **fields: `item`, `outcome`, the `answer` of an answered one, and what else the row should say.

        Raises:
          AccountError: more was billed than the request could cost by what is known; the row is written.
        """
        usd = prices.usd(usage)
        row = {"entry_id": f"{reserve}:{part}", "status": "settled", "usd": usd, **dataclasses.asdict(usage)}
        with self._changed:
            worst_usd = fields.get("reserved_usd", self._open.get(reserve, 0.0))
            self._append({**row, "price_entries": list(prices.price_entries), **fields})
        if usd > worst_usd + TOLERANCE_USD:
            raise AccountError(
                f"request {reserve} was billed ${usd:.6f}, and its worst case was ${worst_usd:.6f} ("
                f"{usage.input_tokens} tokens in, {usage.output_tokens} out). Stopped: the server counts other tokens, "
                "or does not heed the limit on the answer. Fix: --token-limit-field max_tokens for older servers."
            )

    def release(self, reserve: str, *, part: str = "end", **fields: Any) -> None:
        """Closes a reserve of which nothing was billed.

        Args:
          reserve: its id.
          part: as in `settle`.
          **fields: `item`, `outcome` and what else the row should say.
        """
        with self._changed:
            self._append({"entry_id": f"{reserve}:{part}", "status": "settled", "usd": 0.0, **fields})

    def leave_unconfirmed(self, reserve: str, usd: float | None = None, *, part: str = "end", **fields: Any) -> None:
        """Closes a reserve of which nobody knows what was billed: all of it counts as spent.

        Args:
          reserve: its id.
          usd: dollars; None takes the reserve.
          part: as in `settle`.
          **fields: `item`, `outcome` and what else the row should say.
        """
        with self._changed:
            usd = self._open[reserve] if usd is None else usd
            self._append({"entry_id": f"{reserve}:{part}", "status": "unconfirmed", "usd": usd, **fields})

    def note(self, status: str, **fields: Any) -> None:
        """Writes a row that moves no money: `header`, `set_aside`, `file`, `batch`.

        Args:
          status: what it is.
          **fields: what it says.
        """
        with self._changed:
            self._append({"status": status, **fields})

    def reconcile(self, invoice_usd: float) -> None:
        """Takes the provider's invoice for what unconfirmed requests cost; the last one again changes nothing.

        Args:
          invoice_usd: dollars of all requests in these books so far, by the provider's invoice.

        Raises:
          AccountError: it is below what is settled or stood on the last invoice, above what the books allow, or the
            last one again though requests came after it; or a batch is under way.
        """
        now, last = self.balance(), self._reconciled or {"usd": 0.0, "invoice_usd": None}
        if now.reserved_usd > 0:
            raise AccountError(
                "--invoice-usd: a batch is under way, and nobody can say how much of it the invoice holds. Fix: leave "
                "the option out until the batch is finished."
            )
        later_usd = now.settled_usd + now.unconfirmed_usd - last.get("spent_usd", 0.0)
        if invoice_usd == last["invoice_usd"]:
            if later_usd <= TOLERANCE_USD:
                return
            raise AccountError(
                f"--invoice-usd: {invoice_usd!r} was given before, and requests of up to ${later_usd:.6f} came after "
                "it. Fix: leave the option out, or give a newer invoice, which holds those too."
            )
        least, most = now.settled_usd + last["usd"], now.most_usd
        if not least - TOLERANCE_USD <= invoice_usd <= most + TOLERANCE_USD:
            raise AccountError(
                f"--invoice-usd: received {invoice_usd!r}; by these books it lies between ${least:.6f}, which is "
                f"settled or stood on the invoice before, and ${most:.6f}. Fix: give the dollars of all requests of "
                "this labelling so far, and of no others; leave the option out for an invoice that was given before."
            )
        self.note("reconciled", usd=max(0.0, invoice_usd - now.settled_usd), invoice_usd=invoice_usd)

    def _fits(self, worst_usd: float) -> bool:
        return self.max_usd is None or self._balance.most_usd + worst_usd <= self.max_usd + TOLERANCE_USD

    def _may_fit_later(self, worst_usd: float) -> bool:
        now = self._balance
        return bool(self._open) and now.settled_usd + now.unconfirmed_usd + worst_usd <= self.max_usd + TOLERANCE_USD

    def _append(self, row: Row) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        self._book.append([{"time": now, **row}])
        self._count(row)
        self._changed.notify_all()

    def _count(self, row: Mapping[str, Any]) -> None:
        status, usd, now = row["status"], row.get("usd", 0.0), self._balance
        if status == "reserved":
            self._open[row["entry_id"]] = usd
            self._n_reserves = max(self._n_reserves, int(row["entry_id"][1:]))
        elif _closes(row):
            reserve, _, part = row["entry_id"].partition(":")
            if part == "end":
                if self._open.pop(reserve, None) is None:
                    # Closed before: by a row that is on disk though writing it failed, or given up for lost while it
                    # was under way, and it ended after all.
                    if row.get("outcome") == "answered":
                        self._answer(row)
                    if status != "settled" or reserve not in self._given_up:
                        return
                    now = self._taken_back(self._given_up.pop(reserve))
                elif status == "unconfirmed":
                    self._given_up[reserve] = row
            else:
                self._open[reserve] = max(0.0, self._open.get(reserve, 0.0) - row.get("reserved_usd", usd))
            field = f"{status}_usd"
            tokens = ("input_tokens", "cached_input_tokens", "output_tokens") if status == "settled" else ()
            now = dataclasses.replace(
                now,
                **{field: getattr(now, field) + usd, "n_requests": now.n_requests + ("item" in row)},
                **{name: getattr(now, name) + row.get(name, 0) for name in tokens},
            )
            if row.get("outcome") == "answered":
                self._answer(row)
            elif "item" in row:
                self._failures_of(row)[row["item"]] += 1
                self.n_truncated[row["item"]] += row.get("outcome") == "truncated"
                if row.get("is_final"):
                    self.hopeless[row["item"]] = dict(row)
        elif status == "reconciled":
            now = dataclasses.replace(now, unconfirmed_usd=usd)
            self._given_up.clear()  # the invoice holds them
            self._reconciled = {**row, "spent_usd": now.settled_usd + usd}
        elif status == "set_aside":
            self.set_aside_rows[row["item"]] = dict(row)
            self.hopeless.pop(row["item"], None)
        elif status == "taken_back":
            self.set_aside_rows.pop(row["item"], None)
            del self.n_failures[row["item"]], self.n_lost[row["item"]]
        self._balance = dataclasses.replace(now, reserved_usd=sum(self._open.values()))

    def _answer(self, row: Mapping[str, Any]) -> None:
        self.answers[row["item"]] = dict(row)
        self.set_aside_rows.pop(row["item"], None)
        self.hopeless.pop(row["item"], None)

    def _failures_of(self, row: Mapping[str, Any]) -> Counter[str]:
        return self.n_lost if row.get("outcome") in (GONE, BROKEN) else self.n_failures

    def _taken_back(self, row: Mapping[str, Any]) -> Balance:
        """The balance without an unconfirmed row, whose item has one failure less."""
        now, n_items = self._balance, int("item" in row)
        if n_items:
            # Counters that were set to nothing meanwhile stay there.
            counts = self._failures_of(row)
            counts[row["item"]] = max(0, counts[row["item"]] - 1)
        unconfirmed_usd = max(0.0, now.unconfirmed_usd - row["usd"])
        return dataclasses.replace(now, unconfirmed_usd=unconfirmed_usd, n_requests=now.n_requests - n_items)


def _closes(row: Mapping[str, Any]) -> bool:
    return row["status"] in ("settled", "unconfirmed")


@contextlib.contextmanager
def opened(path: pathlib.Path, max_usd: float | None) -> Iterator[Account]:
    """Opens the books for one process at a time.

    Args:
      path: the ledger file, made when missing.
      max_usd: the cap in dollars; None for none.

    Yields:
      The account; what a killed process had under way is not closed yet.

    Raises:
      AccountError: another process has them open.
      JournalError: the file was changed by hand.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path.with_name(f".{path.name}.owner"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise AccountError(
                f"{path} is in use by process {holder}. Fix: wait for it, or name another --out."
            ) from None
        os.truncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        # The journal's lock is held throughout, so that rows are appended without reading the file again.
        with Journal(path).transaction() as book:
            yield Account(book, max_usd)
    finally:
        os.close(handle)
