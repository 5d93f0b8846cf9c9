"""Rows to splits by a seeded hash of their group, and pools without evaluation sources."""

import re
from collections.abc import Collection, Iterable, Sequence

from distill_or_annotate.preprocess.official.reading import OfficialRow
from distill_or_annotate.preprocess.text import fraction, source_key

LABELLED = ("train", "validation", "test")


class SplitError(ValueError):
    """A rule by which rows cannot be split, or a pool that may not be used."""


def parse_ratios(text: str) -> tuple[int, int, int]:
    """Reads what `--split` takes.

    Args:
      text: percentages of train, validation and test, such as `80/10/10`.
    Returns:
      The three, which make 100.
    Raises:
      SplitError: anything else.
    """
    parts = re.fullmatch(r"(\d{1,3})/(\d{1,3})/(\d{1,3})", text.strip())
    ratios = tuple(int(part) for part in parts.groups()) if parts else ()
    if sum(ratios) != 100 or ratios[0] == 0:
        raise SplitError(
            f"split: {text!r}; percentages of train/validation/test are needed, train above 0, 100 in all, "
            "such as 80/10/10"
        )
    return ratios


def by_group(
    rows: Iterable[OfficialRow], ratios: Sequence[int], seed: int
) -> tuple[dict[str, list[OfficialRow]], dict[str, int]]:
    """Splits rows so that neither a group nor a source is in two splits.

    A group goes where its hash says. Where a sentence stands in groups of different splits (protocols share many), it
    stays in test before validation before train, and the other rows with it are left out.

    Args:
      rows: the rows.
      ratios: percentages of train, validation and test.
      seed: any integer.
    Returns:
      Split -> its rows, in the order given; and split -> rows left out of it since their source is held out.
    Raises:
      SplitError: a split that should have rows gets none.
    """
    test_from, validation_from = 1 - ratios[2] / 100, 1 - (ratios[1] + ratios[2]) / 100
    parts: dict[str, list[OfficialRow]] = {split: [] for split in LABELLED}
    for row in rows:
        place = fraction(source_key(row.group), seed)
        parts["test" if place >= test_from else "validation" if place >= validation_from else "train"].append(row)
    taken, kept, left_out = set(), {}, {}
    for split in reversed(LABELLED):
        kept[split] = [row for row in parts[split] if source_key(row.source) not in taken]
        left_out[split] = len(parts[split]) - len(kept[split])
        taken |= {source_key(row.source) for row in kept[split]}
    for split, ratio in zip(LABELLED, ratios, strict=True):
        if ratio and not kept[split]:
            n_groups = len({row.group for part in parts.values() for row in part})
            raise SplitError(
                f"split {split!r} should have {ratio}% of the rows and gets none: there are {n_groups} groups, and a "
                "group is never divided. Use another --split-seed, other shares, or name files with --train, --test."
            )
    return {split: kept[split] for split in LABELLED if kept[split]}, left_out


def pool(rows: Iterable[OfficialRow], evaluation: Collection[str]) -> tuple[list[OfficialRow], int, int]:
    """Drops what a pool must not hold.

    Args:
      rows: the rows of the pool.
      evaluation: `source_key`s of validation and test.
    Returns:
      The first row of each source that is none of the evaluation's; how many distinct sources were; how many rows
      repeated an earlier source.
    """
    first: dict[str, OfficialRow] = {}
    n_rows = 0
    for row in rows:
        n_rows += 1
        first.setdefault(source_key(row.source), row)
    kept = [row for key, row in first.items() if key not in evaluation]
    return kept, len(first) - len(kept), n_rows - len(first)


def source_keys(rows: Iterable[OfficialRow]) -> set[str]:
    """Returns the `source_key` of each of the `rows`."""
    return {source_key(row.source) for row in rows}
