"""How many rows there are: against the paper's Table 5, repeated ones, and sources with several targets."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from distill_or_annotate.paper.facts import task as facts_of
from distill_or_annotate.preprocess.rows import Row
from distill_or_annotate.preprocess.text import source_key

_FIELDS = {"train": "train", "validation": "dev", "test": "test", "unlabeled": "unlabeled"}
VERDICTS = ("equal", "fewer", "more", "missing", "not published", "not in the paper")


@dataclasses.dataclass(frozen=True)
class PaperCount:
    """A split's size beside the paper's.

    Args:
      n_rows: rows here, with those held out of them for validation; 0 when the split is missing.
      paper_split: the paper's name of the split it is compared with; None where there is none.
      n_paper_rows: rows in Table 5; None where it has no number.
      verdict: one of `VERDICTS`.
    """

    n_rows: int
    paper_split: str | None
    n_paper_rows: int | None
    verdict: str

    def share(self) -> float | None:
        """Returns rows here over rows in the paper, None where the paper has no number."""
        return self.n_rows / self.n_paper_rows if self.n_paper_rows else None


@dataclasses.dataclass(frozen=True)
class Counts:
    """What is repeated in a split.

    Args:
      n_rows: rows.
      n_exact_sources: distinct sources, character by character.
      n_sources: distinct sources, by `source_key` (case and spacing do not count), as everywhere else here.
      n_repeated_rows: rows whose source and target both stood in an earlier row.
      n_sources_with_several_targets: distinct sources whose rows disagree.
      n_rows_of_those: rows of these sources.
      n_rows_with_several_answers: rows that themselves list several accepted answers.
      n_empty_targets: rows with an empty target.
    """

    n_rows: int
    n_exact_sources: int
    n_sources: int
    n_repeated_rows: int
    n_sources_with_several_targets: int
    n_rows_of_those: int
    n_rows_with_several_answers: int
    n_empty_targets: int


def against_paper(paper_task: str | None, n_rows: Mapping[str, int], own_splits: bool = False) -> dict[str, PaperCount]:
    """Compares the splits' sizes with Table 5.

    Args:
      paper_task: one of the paper's six tasks; None for a task it does not have.
      n_rows: rows by split, of those that are here.
      own_splits: whether these are our task's splits, which differ from the files' where the paper has no test:
        our `test` is its dev, and our `validation`, unless it is dev too, a part of its training rows.
    Returns:
      The comparison, for each of the four splits.
    Raises:
      UnknownTaskError: the paper has no such task.
    """
    if paper_task is None:
        return {split: PaperCount(n_rows.get(split, 0), None, None, "not in the paper") for split in _FIELDS}
    facts = facts_of(paper_task)
    fields: dict[str, str | None] = dict(_FIELDS)
    here = {split: n_rows.get(split, 0) for split in _FIELDS}
    if own_splits and facts["test"]["value"] is None:
        fields["test"] = "dev"
        if here["validation"] != here["test"]:
            fields["validation"] = None
            here["train"] += here["validation"]
    return {split: _compared(here[split], field, facts) for split, field in fields.items()}


def _compared(n_rows: int, field: str | None, facts: Mapping[str, Any]) -> PaperCount:
    expected = facts[field]["value"] if field else None
    if expected is None:
        return PaperCount(n_rows, field, None, "not published")
    if not n_rows:
        return PaperCount(n_rows, field, expected, "missing")
    return PaperCount(
        n_rows, field, expected, "equal" if n_rows == expected else "fewer" if n_rows < expected else "more"
    )


def answer_of(row: Row) -> str:
    """Returns the target as it is compared with others: single spaces, none around it.

    Args:
      row: a row.
    """
    return " ".join(row["target"].split())


def count(rows: Sequence[Row]) -> Counts:
    """Counts rows, sources and their targets.

    Args:
      rows: the rows of one split.
    Returns:
      The counts.
    """
    targets: dict[str, set[str]] = {}
    n_rows_of: dict[str, int] = {}
    for row in rows:
        key = source_key(row["source"])
        targets.setdefault(key, set()).add(answer_of(row))
        n_rows_of[key] = n_rows_of.get(key, 0) + 1
    several = [key for key, answers in targets.items() if len(answers) > 1]
    return Counts(
        n_rows=len(rows),
        n_exact_sources=len({row["source"] for row in rows}),
        n_sources=len(targets),
        n_repeated_rows=len(rows) - sum(map(len, targets.values())),
        n_sources_with_several_targets=len(several),
        n_rows_of_those=sum(n_rows_of[key] for key in several),
        n_rows_with_several_answers=sum(len(row.get("targets", ())) > 1 for row in rows),
        n_empty_targets=sum(not row["target"].strip() for row in rows),
    )
