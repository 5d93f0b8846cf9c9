"""One append-only ledger for label, API and device money that counts no dollar twice, whatever is killed when."""

from distill_or_annotate.ledger.attempts import Attempt
from distill_or_annotate.ledger.cap import CapReached
from distill_or_annotate.ledger.journal import JournalError, read_journal
from distill_or_annotate.ledger.ledger import Ledger
from distill_or_annotate.ledger.rows import LOCAL_BOOK, Charge, LedgerError
from distill_or_annotate.ledger.totals import Totals, totals_of

__all__ = [
    "LOCAL_BOOK",
    "Attempt",
    "CapReached",
    "Charge",
    "JournalError",
    "Ledger",
    "LedgerError",
    "Totals",
    "read_journal",
    "totals_of",
]
