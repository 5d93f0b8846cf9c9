"""What a language model's labels cost a study: the stage's own books, brought into the study's ledger.

A stage's folder holds the books of its requests (`annotators.accounts`), and an account's id beside them. The study's
ledger names the account in each row that it pays of it, so that a folder that was deleted, or that lies in another
store, is another account, and its dollars are other dollars. While the stage is not done, what it spent stands there in
parts; once it is done, the rest stands under the key of its reserve.
"""

from __future__ import annotations

import dataclasses
import math
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from distill_or_annotate.pipeline.programs import LLM_LABELS

if TYPE_CHECKING:
    from distill_or_annotate.ledger import Charge, Ledger
    from distill_or_annotate.scenarios import Stage

_ACCOUNT = "llm_account"


def open_account(folder: Path) -> None:
    """Give a stage's folder the id of its account, unless it has requests already.

    Args:
      folder: the stage's, whose lock the caller holds.
    """
    if not (folder / _ACCOUNT).exists() and not _books(folder).exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _ACCOUNT).write_text(secrets.token_hex(4), encoding="ascii")


def spent_usd(folder: Path) -> float:
    """Dollars of all requests of a stage so far, those of which nobody knows the bill at their worst.

    Args:
      folder: the stage's.
    """
    from distill_or_annotate.annotators import accounts

    if not _books(folder).exists():
        return 0.0
    with accounts.opened(_books(folder), None) as account:
        account.close_lost()
        return account.balance().most_usd


def owed(ledger: Ledger, stage: Stage, folder: Path) -> tuple[Charge, ...]:
    """What an attempt has to reserve: the stage's charges less what earlier attempts have spent on the same account.

    Args:
      ledger: the study's.
      stage: the stage.
      folder: its folder.
    """
    return tuple(_bill(charge, max(0.0, charge.usd - _paid_usd(ledger, charge))) for charge in _charges(stage, folder))


def settle(ledger: Ledger, stage: Stage, folder: Path, *, finished: bool, most_usd: float = math.inf) -> None:
    """Write what a stage's requests cost to the study's ledger, as far as it does not stand there.

    Args:
      ledger: the study's.
      stage: the stage.
      folder: its folder, whose lock the caller holds.
      finished: whether the stage is done.
      most_usd: the most that can have been spent in this study's name since its last row, where it is not done.
    """
    for charge in _charges(stage, folder)[:1]:
        usd = max(0.0, spent_usd(folder) - _paid_usd(ledger, charge))
        if finished:
            # Under the key of the reserve, which it replaces.
            ledger.charge(stage.name, [_bill(charge, usd)])
        elif min(usd, most_usd) > 0:
            part = len(_rows(ledger, charge))
            bill = dataclasses.replace(_bill(charge, min(usd, most_usd)), key=f"{charge.key}:part-{part}")
            ledger.charge(stage.name, [bill], spent=True)


def settle_shared(ledger: Ledger, stage: Stage, folder: Path, usd: float | None) -> None:
    """Pay for labels that another run has finished: all of the bill, less what this study spent on it itself.

    Args:
      ledger: the study's.
      stage: the stage.
      folder: its folder.
      usd: the bill; None where the folder does not say, and the price book's dollars are owed.

    Raises:
      CapReached: it would pass the cap.
    """
    for charge in _charges(stage, folder):
        whole_usd = charge.usd if usd is None else usd
        ledger.charge(stage.name, [_bill(charge, max(0.0, whole_usd - _paid_usd(ledger, charge)))])


def _books(folder: Path) -> Path:
    from distill_or_annotate.annotators import labelling

    return labelling.ledger_path(folder / LLM_LABELS)


def _charges(stage: Stage, folder: Path) -> tuple[Charge, ...]:
    path = folder / _ACCOUNT
    if not path.exists():
        return stage.charges
    account = path.read_text(encoding="ascii")
    return tuple(dataclasses.replace(charge, key=f"{charge.key}:{account}") for charge in stage.charges)


def _rows(ledger: Ledger, charge: Charge) -> list[dict]:
    """The ledger's rows of an account."""
    whole = charge.entry_id
    return [row for row in ledger.rows() if row["entry_id"] == whole or row["entry_id"].startswith(f"{whole}:part-")]


def _paid_usd(ledger: Ledger, charge: Charge) -> float:
    return math.fsum(row["usd"] for row in _rows(ledger, charge))


def _bill(charge: Charge, usd: float) -> Charge:
    # As many labels as the dollars would have bought at the book's price: rows of one unit add up.
    return dataclasses.replace(charge, quantity=usd / charge.unit_price_usd, source="measured")
