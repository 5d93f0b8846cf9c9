"""From tables to splits: usable rows, held-out parts where none are given, and a pool without what is evaluated on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from distill_or_annotate.own_tasks.tables import BadRow, Cell, Table, TableError
from distill_or_annotate.preprocess.rows import Row
from distill_or_annotate.preprocess.text import distinct, fraction, source_key

SPLIT_SEED = 2023
HELD_OUT_SHARE = 0.1
LEAST_TRAIN_ROWS, LEAST_EVALUATION_ROWS = 20, 5
EVALUATION = ("validation", "test")
_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Splits:
    """The rows of a task.

    Args:
      rows: split -> rows with `source` and `target`, the latter empty in `unlabeled`.
      remarks: what was left out, cut or found, one sentence each.
    """

    rows: Mapping[str, list[Row]]
    remarks: tuple[str, ...]


def rows_of(
    table: Table, text_cols: Sequence[str], label_col: str | None, may_be_empty: bool = False, on_bad_row: str = "stop"
) -> tuple[list[Row], list[BadRow]]:
    """Turns a table into rows; every run of white space becomes one space.

    Args:
      table: the table.
      text_cols: columns of the source; of several each text stands after its column's name, `a: text b: text`.
      label_col: column of the target; None leaves it empty.
      may_be_empty: whether an empty label is one (a sentence without entities).
      on_bad_row: `stop` refuses the table, `skip` leaves such rows out.

    Returns:
      The rows, with `targets` where a label is a list of several, and those left out.

    Raises:
      TableError: an empty cell or a malformed row, with `stop`; no row is left, with `skip`.
    """
    rows, bad = [], list(table.bad)
    for line, cells in table.cells:
        texts = {column: one_space(cells[column]) for column in text_cols}
        empty = [column for column, text in texts.items() if not text]
        lists = [column for column in text_cols if isinstance(cells[column], tuple)]
        answers = [] if label_col is None else _answers(cells[label_col])
        target = answers[0] if answers else ""
        if lists:
            bad.append(BadRow(line, f"the cell of {lists[0]!r} is a list; one text is needed"))
        elif empty:
            bad.append(BadRow(line, f"the cell of {empty[0]!r} is empty"))
        elif label_col is not None and not target and not may_be_empty:
            bad.append(BadRow(line, f"the cell of {label_col!r} is empty"))
        else:
            named = (f"{column}: {text}" for column, text in texts.items())
            source = " ".join(named) if len(texts) > 1 else texts[text_cols[0]]
            several = {"targets": answers} if len(answers) > 1 else {}
            rows.append({"source": source, "target": target, **several})
    bad.sort(key=lambda row: row.line)
    if bad and (on_bad_row == "stop" or not rows):
        shown = "; ".join(f"line {row.line}: {row.problem}" for row in bad[:_SHOWN])
        raise TableError(
            f"{table.path}: {len(bad)} of {len(table.cells) + len(table.bad)} rows cannot be used ({shown}"
            f"{'; ...' if len(bad) > _SHOWN else ''}). Fix the rows, or leave them out with --on-bad-row skip."
        )
    return rows, bad


def one_space(cell: Cell) -> str:
    """Returns a cell's text, of several texts the first, with single spaces.

    Args:
      cell: a text, or several.
    """
    return " ".join((cell if isinstance(cell, str) else cell[0]).split())


def _answers(cell: Cell) -> list[str]:
    texts = [one_space(text) for text in ([cell] if isinstance(cell, str) else cell)]
    return [text for text in dict.fromkeys(texts) if text]


def hold_out(given: Mapping[str, list[Row]], seed: int = SPLIT_SEED) -> tuple[dict[str, list[Row]], list[str]]:
    """Cuts validation and test from the training rows where they are not given, by source, so that none is in two.

    Args:
      given: split -> rows; `train` is there.
      seed: seed of the cut.

    Returns:
      Train, validation and test, and remarks.

    Raises:
      TableError: too few rows are left in a split.
    """
    made = [split for split in ("test", "validation") if split not in given]
    parts = {"train": [], **{split: list(given.get(split, [])) for split in EVALUATION}}
    keys = {source_key(row["source"]) for row in given["train"]}
    order = sorted(keys, key=lambda key: fraction(key, seed))
    n_each = round(HELD_OUT_SHARE * len(order))
    home = {key: split for i, split in enumerate(made) for key in order[i * n_each : (i + 1) * n_each]}
    for row in given["train"]:
        parts[home.get(source_key(row["source"]), "train")].append(row)
    remarks = []
    if made:
        shares = " and ".join(f"{HELD_OUT_SHARE:.0%} as {split}" for split in reversed(made))
        remarks.append(f"cut from the training file, by source, with seed {seed}: {shares}")
    for split, rows in parts.items():
        least = LEAST_TRAIN_ROWS if split == "train" else LEAST_EVALUATION_ROWS
        if len(rows) < least:
            raise TableError(
                f"{split}: {len(rows)} rows are too few; at least {least} are needed"
                f"{', after a tenth is cut off for each split without a file' if made else ''}. Fix: label more, or "
                "give files with --validation and --test."
            )
    train: dict[str, set[str]] = {}
    for row in parts["train"]:
        train.setdefault(source_key(row["source"]), set()).add(row["target"])
    n_several = sum(len(targets) > 1 for targets in train.values())
    if n_several:
        remarks.append(f"CAUTION: {n_several} of {len(train)} training texts have several labels")
    for split in EVALUATION:
        shared = sum(source_key(row["source"]) in train for row in parts[split])
        if shared:
            remarks.append(f"CAUTION: {shared} of {len(parts[split])} {split} rows have a source that train has too")
    return parts, remarks


def pool(
    parts: Mapping[str, list[Row]], rows: Sequence[Row] | None, exclude: bool = False, seed: int = SPLIT_SEED
) -> tuple[list[Row], list[str]]:
    """Makes the unlabeled pool, in a seeded order, so that its beginning is a sample of it.

    Args:
      parts: train, validation and test.
      rows: unlabeled rows; None takes the training sources without their labels.
      exclude: whether sources on which models are evaluated are left out; refused otherwise.
      seed: seed of the order.

    Returns:
      The pool, each source once, and remarks.

    Raises:
      TableError: the pool holds evaluation sources, or nothing else.
    """
    sources = [row["source"] for row in (parts["train"] if rows is None else rows)]
    once = distinct(sources)
    held_out = {source_key(row["source"]) for split in EVALUATION for row in parts[split]}
    kept = [source for source in once if source_key(source) not in held_out]
    n_held_out = len(once) - len(kept)
    if n_held_out and rows is not None and not exclude:
        example = next(source for source in once if source_key(source) in held_out)
        raise TableError(
            f"unlabeled: {n_held_out} of {len(once)} sources are in validation or test, such as {example[:60]!r}; a "
            "student trained on them would be tested on them. Fix: take them out, or say --exclude-evaluation-sources."
        )
    if not kept:
        raise TableError("unlabeled: no source is left that is not evaluated on. Fix: give more unlabeled text.")
    remarks = []
    if rows is None:
        remarks.append("no --unlabeled file: the pool is the training texts without their labels")
    else:
        remarks += [f"pool: {len(sources) - len(once)} repeated texts left out"] * (len(sources) > len(once))
        remarks += [f"pool: {n_held_out} evaluation sources left out"] * bool(n_held_out)
    kept.sort(key=lambda source: fraction(source, seed + 1))
    return [{"source": source, "target": ""} for source in kept], remarks
