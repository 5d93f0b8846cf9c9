"""The tables of a data check, for terminal and page alike: headings and cells as text."""

import dataclasses

from distill_or_annotate.data.checking.overlaps import Overlap
from distill_or_annotate.data.checking.report import Report

# Labels of more classes than this stand with their most frequent ones only.
_MOST_LABELS = 40
_NONE = "-"


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of text.

    Args:
      title: what it shows.
      heads: headings, [columns].
      rows: cells, [rows][columns].
      texts: numbers of the columns that hold words rather than numbers.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: tuple[int, ...] = (0,)


def size_table(report: Report) -> Table:
    """Returns rows, sources, repetitions and ceilings by split, beside Table 5 of the paper.

    Args:
      report: what is known.
    """
    rows = []
    for split in report.splits:
        size = split.paper
        expected = (
            f"{size.n_paper_rows:,}" if size.n_paper_rows else "none" if size.verdict == "not published" else _NONE
        )
        verdict = f"{100 * size.share():.1f}%" if size.verdict in ("fewer", "more") else size.verdict
        if not split.is_here():
            if size.verdict == "missing":
                rows.append((split.name, _NONE, expected, "missing", *[_NONE] * 6))
            continue
        counts, ceiling = split.counts, split.ceiling
        labelled = split.name != "unlabeled"
        rows.append((
            split.name, f"{counts.n_rows:,}", expected, verdict, f"{counts.n_exact_sources:,}",
            f"{counts.n_sources:,}", f"{counts.n_repeated_rows:,}",
            f"{counts.n_empty_targets:,}" if labelled else _NONE,
            f"{counts.n_sources_with_several_targets:,}" if labelled else _NONE,
            ceiling.display() if ceiling else _NONE,
        ))  # fmt: skip
    heads = (
        "split", "rows", "Table 5", "of it", "distinct sources", "ignoring case", "repeated", "empty targets",
        "disagreeing", "ceiling",
    )  # fmt: skip
    return Table(f"{report.task}: rows (ceiling in {_metric(report)}, percent)", heads, tuple(rows))


def length_table(report: Report) -> Table:
    """Returns lengths and shares cut off by split.

    Args:
      report: what is known.
    """
    rows, units = [], set()
    for split in report.here():
        units.add(split.lengths.unit)
        for what, stats in (("inputs", split.lengths.inputs), ("targets", split.lengths.targets)):
            if stats is None:
                continue
            least = ">= " if split.lengths.unit == "words" else ""
            unknown = _NONE if stats.n_rows_with_unknown is None else f"{stats.n_rows_with_unknown:,}"
            rows.append((
                split.name, what, f"{stats.median:,}", f"{stats.p95:,}", f"{stats.p99:,}", f"{stats.longest:,}",
                f"{stats.limit:,}", f"{least}{stats.n_over:,}", f"{least}{100 * stats.share_over:.1f}%", unknown,
            ))  # fmt: skip
    unit = "WORDS, NOT TOKENS" if "words" in units else "tokens"
    heads = (
        "split", "feature", "median", "95%", "99%", "longest", "limit", "rows cut", "share cut",
        "unknown pieces",
    )  # fmt: skip
    return Table(f"{report.task}: lengths in {unit}, end of sequence included", heads, tuple(rows), texts=(0, 1))


def label_table(report: Report) -> Table:
    """Returns the answers by split: label words, entity types, or what there is to say of free text.

    Args:
      report: what is known.
    """
    splits = [split for split in report.here() if split.labels]
    kind = splits[0].labels.kind if splits else "text"
    if kind == "text":
        rows = tuple(
            (
                split.name, f"{split.labels.n_distinct_targets:,}", f"{100 * split.labels.top_share:.1f}%",
                _short(split.labels.top_target), f"{split.labels.n_target_is_source:,}",
                f"{split.counts.n_rows_with_several_answers:,}",
            )
            for split in splits
        )  # fmt: skip
        heads = ("split", "distinct targets", "share of the top one", "top target", "target is source")
        return Table(f"{report.task}: targets", (*heads, "rows with several answers"), rows, texts=(0, 3))
    labels = list(splits[0].labels.counts)
    labels.sort(key=lambda label: -sum(split.labels.counts[label] for split in splits))
    rows = [
        (label, *(_part(split.labels.counts[label], sum(split.labels.counts.values())) for split in splits))
        for label in labels[:_MOST_LABELS]
    ]
    n_unknown = [sum(label.n_rows for label in split.labels.unknown) for split in splits]
    if any(n_unknown):
        rows.append(("(unknown, rows)", *(f"{n:,}" for n in n_unknown)))
    what = "label words" if kind == "class" else "entities by type"
    return Table(f"{report.task}: {what}", (what, *(split.name for split in splits)), tuple(rows))


def overlap_table(report: Report) -> Table:
    """Returns what each pair of splits shares.

    Args:
      report: what is known.
    """
    rows = tuple(
        (
            f"{overlap.first}/{overlap.second}", f"{overlap.n_sources:,}", f"{100 * overlap.first_share:.1f}%",
            f"{100 * overlap.second_share:.1f}%", _same_answers(overlap), f"{overlap.n_near_of_second:,}",
            "; ".join(map(_short, overlap.examples)) or _NONE,
        )
        for overlap in report.overlaps
    )  # fmt: skip
    heads = (
        "splits",
        "sources in both",
        "of first",
        "of second",
        "same target",
        "near-duplicates",
        "such as",
    )
    return Table(f"{report.task}: sources in two splits", heads, rows, texts=(0, 6))


def hint_table(report: Report) -> Table:
    """Returns rows with hints of personal data and odd characters, by split; kinds that nowhere occur are left out.

    Args:
      report: what is known.
    """
    splits = report.here()
    rows = []
    for field in ("privacy", "characters"):
        for hints in zip(*(getattr(split, field) for split in splits), strict=True):
            if any(hint.n_rows for hint in hints):
                shown = next(hint for hint in hints if hint.n_rows)
                examples = ", ".join(map(_short, shown.examples))
                rows.append((shown.kind.replace("_", " "), *(f"{hint.n_rows:,}" for hint in hints), examples))
    heads = ("rows with", *(split.name for split in splits), "such as")
    texts = (0, len(heads) - 1)
    return Table(f"{report.task}: hints of personal data, odd characters", heads, tuple(rows), texts)


def words_warning(report: Report) -> str | None:
    """Returns what must be said when lengths are words, None when they are tokens.

    Args:
      report: what is known.
    """
    for split in report.here():
        if split.lengths.unit == "words":
            return (
                "LENGTHS ARE IN WORDS, NOT TOKENS: the vocabulary could not be read, so the shares cut off are lower "
                f"bounds. {split.lengths.reason}"
            )
    return None


def _same_answers(overlap: Overlap) -> str:
    # A pool has no answers to share.
    return _NONE if "unlabeled" in (overlap.first, overlap.second) else f"{overlap.n_same_answer:,}"


def _metric(report: Report) -> str:
    return next((split.ceiling.metric for split in report.here() if split.ceiling), report.metric)


def _part(n: int, total: int) -> str:
    return f"{n:,} ({100 * n / total:.1f}%)" if total else f"{n:,}"


def _short(text: str, n_characters: int = 48) -> str:
    return text if len(text) <= n_characters else text[: n_characters - 3] + "..."
