"""All that `doa data check` finds out about a task's data, and its machine form."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from distill_or_annotate.data.checking import ceiling as check_ceiling
from distill_or_annotate.data.checking import characters as check_characters
from distill_or_annotate.data.checking import counts as check_counts
from distill_or_annotate.data.checking import labels as check_labels
from distill_or_annotate.data.checking import lengths as check_lengths
from distill_or_annotate.data.checking import overlaps as check_overlaps
from distill_or_annotate.data.checking import privacy as check_privacy
from distill_or_annotate.data.checking.inputs import SplitRows, paper_name
from distill_or_annotate.tasks.spec import SPLITS, TaskSpec

# Raised when a key of `as_dict` changes its meaning or goes.
SCHEMA = 1


@dataclasses.dataclass(frozen=True)
class SplitReport:
    """What is known of one split; everything but `name` and `paper` is None for a split that is not here.

    Args:
      name: one of `SPLITS`.
      paper: its size beside the paper's.
      origin: where the rows came from.
      n_skipped: malformed rows left out.
      counts: rows, sources and repetitions.
      ceiling: the agreement ceiling; None for `unlabeled`.
      labels: the spread of the answers; None for `unlabeled`.
      lengths: lengths and what is cut off.
      privacy: hints of personal data.
      characters: odd characters.
      n_near_duplicates: distinct sources that are near-duplicates of an earlier one.
    """

    name: str
    paper: check_counts.PaperCount
    origin: str | None = None
    n_skipped: int = 0
    counts: check_counts.Counts | None = None
    ceiling: check_ceiling.Ceiling | None = None
    labels: check_labels.Labels | None = None
    lengths: check_lengths.Lengths | None = None
    privacy: tuple[check_privacy.PrivacyHints, ...] | None = None
    characters: tuple[check_characters.OddCharacters, ...] | None = None
    n_near_duplicates: int | None = None

    def is_here(self) -> bool:
        """Returns whether the split has rows here."""
        return self.counts is not None


@dataclasses.dataclass(frozen=True)
class Report:
    """What is known of a task's data.

    Args:
      task: the task's name.
      metric: its metric.
      mode: `fair` or `paper`.
      own_splits: whether the splits are the task's own rather than those of files.
      splits: one entry for each of `SPLITS`, those that are not here included.
      overlaps: what each pair of splits shares.
    """

    task: str
    metric: str
    mode: str
    own_splits: bool
    splits: tuple[SplitReport, ...]
    overlaps: tuple[check_overlaps.Overlap, ...]

    def here(self) -> list[SplitReport]:
        """Returns the splits that have rows."""
        return [split for split in self.splits if split.is_here()]

    def base(self) -> str:
        """Returns the task's name without its mode, which is what `doa data build` and `doa data fetch` take."""
        return paper_name(self.task) or self.task

    def as_dict(self) -> dict[str, Any]:
        """Returns the machine form, whose keys docs/data.md explains."""
        splits = {}
        for split in self.splits:
            values = dataclasses.asdict(split)
            splits[values.pop("name")] = values
            values["privacy"] = _by_kind(values["privacy"])
            values["characters"] = _by_kind(values["characters"])
        return {
            "schema": SCHEMA,
            "task": self.task,
            "metric": self.metric,
            "mode": self.mode,
            "own_splits": self.own_splits,
            "splits": splits,
            "overlaps": [dataclasses.asdict(overlap) for overlap in self.overlaps],
        }


def check(
    spec: TaskSpec,
    splits: Sequence[SplitRows],
    own_splits: bool = True,
    advance: Callable[[str, int], None] = lambda title, n_rows: None,
) -> Report:
    """Looks at each split, then at what they share.

    Args:
      spec: the task.
      splits: its rows.
      own_splits: whether these are the task's own splits rather than those of files.
      advance: told the title of the work at hand and how many more units of `n_units` are done.
    Returns:
      The report.
    """
    encoder = check_lengths.encoder_of(spec.vocabulary)
    n_rows = {split.name: len(split.rows) for split in splits}
    sizes = check_counts.against_paper(paper_name(spec.name), n_rows, own_splits)
    reports: dict[str, SplitReport] = {}
    indices: dict[str, check_overlaps.SourceIndex] = {}
    for split in splits:
        rows, labelled = split.rows, split.name != "unlabeled"

        def step(title: str, split: SplitRows = split) -> None:
            advance(f"{split.name}: {title}", len(split.rows))

        advance(f"{split.name}: counts", 0)
        counts = check_counts.count(rows)
        step("near-duplicates")
        indices[split.name] = check_overlaps.index(rows)
        step("agreement")
        ceiling = check_ceiling.ceiling(rows, spec.metric, spec.labels, spec.mode) if labelled else None
        labels = check_labels.spread(rows, spec.metric, spec.labels) if labelled else None
        step("personal data")
        privacy = check_privacy.count(rows)
        step("characters")
        characters = check_characters.count(rows)
        step("lengths")
        lengths = check_lengths.measure(
            rows, encoder, spec.input_tokens, spec.target_tokens, spec.prefix, labelled,
            advance=lambda n_rows, name=split.name: advance(f"{name}: lengths", n_rows),
        )  # fmt: skip
        reports[split.name] = SplitReport(
            name=split.name,
            paper=sizes[split.name],
            origin=split.origin,
            n_skipped=split.n_skipped,
            counts=counts,
            ceiling=ceiling,
            labels=labels,
            lengths=lengths,
            privacy=tuple(privacy),
            characters=tuple(characters),
            n_near_duplicates=indices[split.name].n_near_duplicates(),
        )
    for name in SPLITS:
        if name not in reports:
            reports[name] = SplitReport(name, sizes[name])
    return Report(
        task=spec.name,
        metric=spec.metric,
        mode=spec.mode,
        own_splits=own_splits,
        splits=tuple(reports[name] for name in SPLITS),
        overlaps=tuple(check_overlaps.overlaps(indices)),
    )


def n_units(splits: Sequence[SplitRows]) -> int:
    """Returns the units of work of `check`, for a progress display.

    Args:
      splits: what will be checked.
    """
    return 6 * sum(len(split.rows) for split in splits)


def _by_kind(hints: Sequence[dict[str, Any]] | None) -> dict[str, dict[str, Any]] | None:
    return None if hints is None else {hint["kind"]: {k: v for k, v in hint.items() if k != "kind"} for hint in hints}
