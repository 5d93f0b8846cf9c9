"""What a pilot has taken of the budget already, by its ledger."""

import collections
import dataclasses
import math
import pathlib
from collections.abc import Sequence

from distill_or_annotate.ledger import LOCAL_BOOK
from distill_or_annotate.planning.outcomes import PlanningError


@dataclasses.dataclass(frozen=True)
class Paid:
    """What is gone, and what is there for it.

    Attributes:
      n_labels: labels that were bought, each counted once.
      label_usd: dollars of them.
      other_usd: dollars of computing and of language models.
    """

    n_labels: int = 0
    label_usd: float = 0.0
    other_usd: float = 0.0

    @property
    def usd(self) -> float:
        """Dollars that are gone."""
        return self.label_usd + self.other_usd

    def notes(self) -> list[str]:
        """Returns a sentence on it; none where nothing is paid."""
        if not self.usd:
            return []
        return [
            f"The pilot took ${self.usd:,.2f} of the budget: {self.n_labels:,} labels, which are at hand, and "
            f"${self.other_usd:,.2f} of computing."
        ]

    def as_dict(self) -> dict[str, float]:
        """Returns it as JSON-ready values."""
        return {"paid_usd": round(self.usd, 4), "labels_at_hand": self.n_labels}


def paid_for(folders: Sequence[pathlib.Path], task: str, label_usd: float, is_said: bool = False) -> Paid:
    """Returns what runs have taken of a budget.

    Args:
      folders: of the runs; labels that two of them bought at the same place of the same shuffle count once.
      task: the task.
      label_usd: what a label costs.
      is_said: whether somebody said so, rather than the price book.

    Raises:
      PlanningError: the pilot paid another price for a label than the book has, and nobody said which holds.
      ReportError: a folder holds no run.
    """
    from distill_or_annotate.reports import read_run

    labels: set[tuple[int, int]] = set()
    charges: dict[str, float] = {}
    for folder in folders:
        here: collections.Counter[str] = collections.Counter()
        for row in read_run(folder).ledger:
            if row["status"] != "settled" or row["book"] == LOCAL_BOOK:
                continue
            if row["kind"] == "label" and row.get("task") == task:
                labels |= {(row["data_seed"], n) for n in range(row["first_label"], row["last_label"])}
                if not is_said and abs(row["unit_price_usd"] - label_usd) > 1e-9 * label_usd:
                    raise PlanningError(
                        f"label_usd: {folder} paid ${row['unit_price_usd']:g} for a label, the price book says "
                        f"${label_usd:g}. Fix: --book {row['book']}, or --label-usd with what the next label costs."
                    )
            elif row["kind"] != "label":
                # What a stage spent attempt by attempt stands in parts; another run has the whole in one row.
                here[row["entry_id"].partition(":part-")[0]] += row["usd"]
        charges |= {entry_id: max(usd, charges.get(entry_id, 0.0)) for entry_id, usd in here.items()}
    return Paid(len(labels), len(labels) * label_usd, math.fsum(charges.values()))
