"""The ledger of a run: reserve before, settle after, reconcile what a crash left open."""

import math
import pathlib
from collections.abc import Callable, Collection, Sequence

from distill_or_annotate.ledger import cap
from distill_or_annotate.ledger.attempts import Attempt, is_alive, process_identity, read_heartbeat
from distill_or_annotate.ledger.journal import Journal, Row, Transaction, read_journal
from distill_or_annotate.ledger.rows import LOCAL_BOOK, Charge, LedgerError, device_row, make_row
from distill_or_annotate.ledger.totals import Totals, totals_of
from distill_or_annotate.prices import PriceEntry, load_book

_GONE = "process gone"


class Ledger:
    """One `ledger.jsonl` and the heartbeats beside it.

    Every method may be called again after a kill at any moment: labels, charges and settlements carry ids, and a second
    one with the same id is not written.
    """

    def __init__(self, path: pathlib.Path | str, *, max_usd: float | None = None):
        """Opens a ledger.

        Args:
          path: the file, usually `RUN/ledger.jsonl`; heartbeats lie in `attempts/` beside it.
          max_usd: the cap, in scenario dollars (every book but `local`): no purchase and no reserve that could pass it
            is written. The file keeps none, so each process that opens it says its own. None is no cap.

        Raises:
          LedgerError: the cap is no finite number, or below 0.
        """
        self.path = pathlib.Path(path)
        self.max_usd = cap.check_max_usd(max_usd)
        self.attempts_dir = self.path.parent / "attempts"
        self._journal = Journal(self.path)

    def rows(self) -> list[Row]:
        """Returns every intact row, in order."""
        return read_journal(self.path).rows

    def problems(self) -> list[str]:
        """Returns one sentence per line that an interrupted write left torn."""
        return read_journal(self.path).torn

    def totals(self) -> Totals:
        """Returns the sums: by book and kind, wasted and reserved apart."""
        return totals_of(self.rows())

    def buy_labels(
        self, *, stage: str, task: str, first_label: int, last_label: int, data_seed: int, price: PriceEntry
    ) -> list[Row]:
        """Pays for the labels `first_label` to `last_label` of a task's shuffle, each label once.

        Args:
          stage: name of the stage that asks.
          task: the task.
          first_label: first position in the shuffled training data, at least 0.
          last_label: position after the last one.
          data_seed: seed of the shuffle.
          price: dollars per label.

        Returns:
          The new rows: one per stretch that had not been paid for; none if all had.

        Raises:
          LedgerError: the range is empty or negative.
          CapReached: the labels that are not paid for would pass the cap.
        """
        if not 0 <= first_label < last_label:
            raise LedgerError(f"labels: received {first_label}..{last_label}; it must be 0 <= first < last.")
        with self._journal.transaction() as book:
            paid = [
                (row["first_label"], row["last_label"])
                for row in book.rows
                if (row["kind"], row["book"], row.get("task"), row.get("data_seed"))
                == ("label", price.book, task, data_seed)
            ]
            rows = [
                make_row(
                    entry_id=f"label:{price.book}:{task}:s{data_seed}:{first}-{last}",
                    stage=stage,
                    attempt=None,
                    kind="label",
                    quantity=last - first,
                    unit=price.unit,
                    unit_price_usd=price.usd,
                    book=price.book,
                    price_entry=f"{price.book}:{price.id}",
                    price_date=price.date.isoformat(),
                    source="estimated" if price.provenance in ("estimated", "assumption") else "paper",
                    wasted=False,
                    status="settled",
                    task=task,
                    data_seed=data_seed,
                    first_label=first,
                    last_label=last,
                )
                for first, last in _unpaid(first_label, last_label, paid)
            ]
            cap.check_fits(book.rows, stage, math.fsum(row["usd"] for row in rows), self.max_usd)
            book.append(rows)
        return rows

    def charge(self, stage: str, charges: Sequence[Charge], spent: bool = False) -> list[Row]:
        """Writes scenario charges that are not there yet and returns the new rows.

        Args:
          stage: name of the stage that owes them.
          charges: what is owed; one whose key is in the ledger already is left out.
          spent: whether the money is gone already, within a reserve that is open or was; then no cap is asked.

        Raises:
          CapReached: they would pass the cap.
        """
        with self._journal.transaction() as book:
            if not spent:
                cap.check_fits(book.rows, stage, cap.charges_usd(book.rows, charges), self.max_usd)
            return _charge(book, stage, None, charges)

    def check(self, stage: str, charges: Sequence[Charge]) -> None:
        """Says whether charges would fit the cap, and writes nothing.

        Args:
          stage: name of the stage that would owe them.
          charges: what it would owe; what is paid or reserved already costs nothing.

        Raises:
          CapReached: they would pass the cap.
        """
        rows = self.rows()
        cap.check_fits(rows, stage, cap.charges_usd(rows, charges), self.max_usd)

    def open_attempt(
        self,
        stage: str,
        *,
        price: PriceEntry | None = None,
        devices: int = 1,
        reserve_seconds: float | None = 0.0,
        charges: Sequence[Charge] = (),
    ) -> Attempt:
        """Reserves an attempt and starts its heartbeat.

        Args:
          stage: name of the stage.
          price: dollars per device-hour; None takes this machine's from the shipped local book.
          devices: devices held while it runs.
          reserve_seconds: the longest it may take, wall-clock, counted as reserved until it is settled; 0 reserves no
            time, None all that the cap leaves after the charges.
          charges: what the scenario owes once the stage is done.

        Returns:
          The attempt; use it in a `with` block, or call its `settle`.

        Raises:
          CapReached: its worst case, the reserved time and the charges together, would pass the cap.
          LedgerError: there is a cap, and time that costs scenario dollars is not reserved.
        """
        price = price or load_book("local").entry("device_hour/local_cpu")
        usd_per_second = price.usd * devices / 3600 if price.book != LOCAL_BOOK else 0.0
        if self.max_usd is not None and usd_per_second and reserve_seconds is not None and reserve_seconds <= 0:
            raise LedgerError(
                f"reserve_seconds: received {reserve_seconds!r} for {price.book}:{price.id} under a cap; what costs "
                "scenario dollars must be reserved. Give the longest it may take, or None for all that is left."
            )
        with self._journal.transaction() as book:
            charges_usd = cap.charges_usd(book.rows, charges)
            if reserve_seconds is None:
                reserve_seconds = self._seconds_left(book.rows, charges_usd, usd_per_second)
            number = 1 + sum(row["status"] == "reserved" and row["stage"] == stage for row in book.rows)
            attempt_id = f"{stage}.{number}"
            # The process stands in the row itself: a kill before the first heartbeat must be noticed too.
            row = device_row(
                entry_id=f"{attempt_id}:reserve",
                stage=stage,
                attempt=attempt_id,
                price=price,
                seconds=reserve_seconds,
                devices=devices,
                source="estimated",
                wasted=False,
                status="reserved",
                process=process_identity(),
                charges=[charge.as_dict() for charge in charges],
            )
            # What is compared is what is written: its seconds are rounded.
            worst_usd = charges_usd + (row["usd"] if price.book != LOCAL_BOOK else 0.0)
            cap.check_fits(book.rows, stage, worst_usd, self.max_usd)
            book.append([row])
        heartbeat = self.attempts_dir / f"{attempt_id}.json"
        return Attempt(attempt_id, stage, heartbeat, reserve_seconds, self._settle)

    def _seconds_left(self, rows: Sequence[Row], charges_usd: float, usd_per_second: float) -> float:
        """Returns the time that the cap leaves, at least a second; 0 where there is no cap or time costs nothing."""
        if self.max_usd is None or not usd_per_second:
            return 0.0
        seconds = (cap.left_usd(rows, self.max_usd) - charges_usd) / usd_per_second
        return max(1.0, math.floor(seconds * 1000) / 1000)

    def _settle(self, attempt: Attempt, seconds: float, wasted: bool, finished: bool, note: str) -> Row:
        with self._journal.transaction() as book:
            reserve = next(row for row in book.rows if row["entry_id"] == f"{attempt.id}:reserve")
            known = {row["entry_id"]: row for row in book.rows}
            gone = known.get(f"{attempt.id}:device")
            if gone and gone.get("note", "").startswith(_GONE) and f"{attempt.id}:device:late" not in known:
                # Another machine took this process for dead, and booked what it had last seen of it.
                late = seconds - gone["quantity"] / gone["devices"]
                note = f"{note}; beyond the time booked for a process that was taken for dead".lstrip("; ")
                return _settle(book, reserve, late, wasted, finished, note, entry_id=f"{attempt.id}:device:late")
            return _settle(book, reserve, seconds, wasted, finished, note)

    def reserved_usd(self, stage: str) -> float | None:
        """Returns the dollars of the charges that open attempts at a stage have reserved; None where none is open.

        Args:
          stage: name of the stage.
        """
        found = [row for row in _open_reserves(self.rows()) if row["stage"] == stage]
        return math.fsum(Charge(**fields).usd for row in found for fields in row["charges"]) if found else None

    def device_seconds(self, stage: str) -> float:
        """Returns the settled device-seconds of all attempts at a stage, wasted ones included.

        Args:
          stage: name of the stage.
        """
        rows = [row for row in self.rows() if row["stage"] == stage and row["unit"] == "device-second"]
        return math.fsum(row["quantity"] for row in rows if row["status"] == "settled")

    def reconcile(self, finished: Callable[[str], bool] = lambda stage: False, keep: Collection[str] = ()) -> list[Row]:
        """Settles the attempts whose process is gone, with the time their last heartbeat saw.

        Args:
          finished: stage name -> whether its work is complete on disk; then the time was not wasted and the stage's
            charges fall due. A kill between the end of the work and its settlement ends here.
          keep: stages whose attempts stay open, since nobody can say now what they cost.

        Returns:
          The rows written.
        """
        written: list[Row] = []
        with self._journal.transaction() as book:
            for reserve in _open_reserves(book.rows):
                if reserve["stage"] in keep:
                    continue
                path = self.attempts_dir / f"{reserve['attempt']}.json"
                heartbeat = read_heartbeat(path)
                if is_alive(reserve["process"], heartbeat["time"] if heartbeat else None):
                    continue
                seconds = float(heartbeat["seconds"]) if heartbeat else 0.0
                done = finished(reserve["stage"])
                note = f"{_GONE} after the work was done" if done else _GONE
                note += "; seconds of its last heartbeat" if heartbeat else "; no heartbeat was written"
                written.append(_settle(book, reserve, seconds, not done, done, note))
            settled = {row["attempt"] for row in book.rows if row["status"] == "settled"}
            for path in self.attempts_dir.glob("*.json"):
                if path.stem in settled:
                    path.unlink(missing_ok=True)
        return written


def _open_reserves(rows: Sequence[Row]) -> list[Row]:
    settled = {row["entry_id"] for row in rows}
    return [row for row in rows if row["status"] == "reserved" and f"{row['attempt']}:device" not in settled]


def _charge(book: Transaction, stage: str, attempt: str | None, charges: Sequence[Charge]) -> list[Row]:
    present = {row["entry_id"] for row in book.rows}
    rows = []
    for charge in charges:
        row = charge.row(stage, attempt)
        if row["entry_id"] not in present:
            present.add(row["entry_id"])
            rows.append(row)
    book.append(rows)
    return rows


def _settle(
    book: Transaction, reserve: Row, seconds: float, wasted: bool, finished: bool, note: str, entry_id: str = ""
) -> Row:
    entry_id = entry_id or f"{reserve['attempt']}:device"
    for row in book.rows:
        if row["entry_id"] == entry_id:
            return row
    if finished:
        # Charges first: the device row closes the attempt, and what comes after it could be lost to a kill.
        _charge(book, reserve["stage"], reserve["attempt"], [Charge(**fields) for fields in reserve["charges"]])
    row = make_row(
        entry_id=entry_id,
        **{key: reserve[key] for key in ("stage", "attempt", "kind", "unit", "book", "price_entry", "price_date")},
        devices=reserve["devices"],
        quantity=round(max(0.0, seconds) * reserve["devices"], 3),
        unit_price_usd=reserve["unit_price_usd"],
        source="measured",
        wasted=wasted,
        status="settled",
        note=note,
    )
    book.append([row])
    return row


def _unpaid(first: int, last: int, paid: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Returns the stretches of first..last that no paid stretch covers."""
    open_stretches = []
    for start, stop in sorted(paid):
        if start > first:
            open_stretches.append((first, min(start, last)))
        first = max(first, stop)
        if first >= last:
            break
    if first < last:
        open_stretches.append((first, last))
    return [(start, stop) for start, stop in open_stretches if start < stop]
