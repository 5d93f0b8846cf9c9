"""From what is known of the data to what its user should do: each finding with a severity and a remedy."""

import dataclasses
from collections.abc import Iterator, Sequence

from distill_or_annotate.data.checking.report import Report, SplitReport

# ok: nothing to do. look: may be as it should, judge for yourself. fix: scores or spending will be wrong.
SEVERITIES = ("ok", "look", "fix")
# From this share of an evaluation split on, sources seen in training move its score visibly.
_LEAK_SHARE = 0.01
_CUT_SHARE = 0.05
_CONSTANT_SHARE = 0.9
_EVALUATION = ("validation", "test")
_SHOWN = 5
_NOT_COMPARABLE = "Do not compare scores on it with the paper's."


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Args:
      check: what was looked at: `paper`, `rows`, `repeated`, `agreement`, `overlap`, `near`, `labels`, `lengths`,
        `privacy` or `characters`.
      split: the split, or two joined by `/`.
      severity: one of `SEVERITIES`.
      message: what was found.
      remedy: what to do, in one line; empty when there is nothing to do.
    """

    check: str
    split: str
    severity: str
    message: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """Returns the machine form."""
        return dataclasses.asdict(self)


def findings_of(report: Report) -> list[Finding]:
    """Judges a report.

    Args:
      report: what is known.
    Returns:
      The findings, gravest first; of equal gravity in the order of the splits.
    """
    found: list[Finding] = []
    for split in report.splits:
        found += _paper(report, split)
        if split.is_here():
            for judge in (_rows, _agreement, _labels, _lengths, _privacy, _characters):
                found += judge(report, split)
    found += _overlaps(report)
    return sorted(found, key=lambda finding: -SEVERITIES.index(finding.severity))


def worst(findings: Sequence[Finding]) -> str:
    """Returns the gravest severity.

    Args:
      findings: any number of findings.
    """
    return max((finding.severity for finding in findings), key=SEVERITIES.index, default="ok")


def summary(findings: Sequence[Finding]) -> str:
    """Returns the findings in one line.

    Args:
      findings: any number.
    """
    n_fix, n_look = (sum(finding.severity == severity for finding in findings) for severity in ("fix", "look"))
    if not n_fix and not n_look:
        return "Nothing to mend and nothing to look at."
    return f"{n_fix} to fix, {n_look} to look at, {len(findings) - n_fix - n_look} in order."


def _paper(report: Report, split: SplitReport) -> Iterator[Finding]:
    size, name = split.paper, split.name
    if size.verdict == "not published":
        if split.is_here() and not report.own_splits:
            yield Finding(
                "paper", name, "look", f"{size.n_rows:,} rows, where the paper has no such split (Table 5)",
                "The paper scores its dev split; say which one you score.",
            )  # fmt: skip
        return
    if size.verdict == "not in the paper":
        return
    paper = f"the paper's {size.n_paper_rows:,} ({size.paper_split}, Table 5)"
    # Rows held out of the training file for validation are counted with it.
    here = f"{size.n_rows:,} rows" + (
        " with `validation`" if split.is_here() and size.n_rows != split.counts.n_rows else ""
    )
    if size.verdict == "missing":
        how = f"`doa data fetch {report.base()}` and `doa data build {report.base()} --from FILES...` make it."
        yield Finding("paper", name, "look", f"not here; {paper}", how)
    elif size.verdict == "equal":
        yield Finding("paper", name, "ok", f"{here}, {paper}")
    elif size.verdict == "fewer":
        remedy = "The paper's largest N and U cannot be reached with it."
        message = f"PARTIAL: {here} are {100 * size.share():.1f}% of {paper}"
        yield Finding("paper", name, "look", message, _NOT_COMPARABLE if name in _EVALUATION else remedy)
    else:
        message = f"{here} are {100 * size.share():.1f}% of {paper}: another selection"
        remedy = "Say so where results are compared with the paper's."
        yield Finding("paper", name, "look", message, _NOT_COMPARABLE if name in _EVALUATION else remedy)


def _rows(report: Report, split: SplitReport) -> Iterator[Finding]:
    counts, name = split.counts, split.name
    if split.n_skipped:
        yield Finding(
            "rows", name, "fix", f"{split.n_skipped:,} malformed rows left out",
            "Run without `--on-bad-row skip` to see file, line and field of the first.",
        )  # fmt: skip
    if name != "unlabeled" and counts.n_empty_targets and split.labels.kind != "class":
        entity = split.labels.kind == "entity"
        yield Finding(
            "rows", name, "ok" if entity else "fix", f"{counts.n_empty_targets:,} empty targets"
            + (" (sentences without entities)" if entity else ""),
            "" if entity else "Give each row an answer, or leave it out.",
        )  # fmt: skip
    repeated = counts.n_rows - counts.n_sources if name == "unlabeled" else counts.n_repeated_rows
    if repeated:
        remedy = {
            "unlabeled": "Keep one of each: the teacher labels, and the student reads, the same text again.",
            "train": "Each row is charged as a label: keep one of each before spending on them.",
        }.get(name, "They count several times in the score; say so, or keep one of each.")
        yield Finding(
            "repeated", name, "look",
            f"{repeated:,} rows ({100 * repeated / counts.n_rows:.1f}%) repeat an earlier one: "
            f"{counts.n_sources:,} distinct sources in {counts.n_rows:,} rows", remedy,
        )  # fmt: skip
    else:
        yield Finding("repeated", name, "ok", f"no repeated row: {counts.n_sources:,} distinct sources")
    if split.n_near_duplicates:
        yield Finding(
            "near", name, "ok" if split.n_near_duplicates < 0.01 * counts.n_sources else "look",
            f"{split.n_near_duplicates:,} sources differ from an earlier one only in punctuation, handles or links",
            "They add little to what a model can learn; keep one of each if labels are scarce.",
        )  # fmt: skip


def _agreement(report: Report, split: SplitReport) -> Iterator[Finding]:
    counts, ceiling, name = split.counts, split.ceiling, split.name
    if ceiling is None:
        return
    if not counts.n_sources_with_several_targets:
        yield Finding("agreement", name, "ok", "each source has one target")
        return
    several = (
        f"{_counted(counts.n_sources_with_several_targets, 'source')} "
        f"({_counted(counts.n_rows_of_those, 'row')}) with several targets"
    )
    if ceiling.score is None:
        yield Finding("agreement", name, "ok", f"{several}; no ceiling, since {ceiling.reason}")
        return
    yield Finding(
        "agreement", name, "look", f"{several}; one answer each scores at most {ceiling.display()} {ceiling.metric}",
        f"Read scores against {ceiling.display()}, not 100." if name in _EVALUATION
        else "Settle on one target a source before distilling or comparing annotators.",
    )  # fmt: skip


def _labels(report: Report, split: SplitReport) -> Iterator[Finding]:
    labels, name = split.labels, split.name
    if labels is None:
        return
    if labels.unknown:
        n_rows = sum(label.n_rows for label in labels.unknown)
        listed = ", ".join(map(str, labels.unknown[:_SHOWN]))
        more = f" and {len(labels.unknown) - _SHOWN:,} more" if len(labels.unknown) > _SHOWN else ""
        # Brackets may be the sentence's own words; a label word that is none cannot be scored.
        severity = "fix" if labels.kind == "class" else "look"
        what = "label" if labels.kind == "class" else "entity type"
        yield Finding(
            "labels", name, severity, f"{_counted(n_rows, 'row')} with an unknown {what}: {listed}{more}",
            f"Correct the rows, or add the {what} to the task.",
        )  # fmt: skip
    if labels.n_malformed:
        yield Finding(
            "labels", name, "look", f"{labels.n_malformed:,} targets have words after the last type, or a type without "
            "words", "Write each entity as `words [Type]`; what stands outside the form is not scored.",
        )  # fmt: skip
    unused = [label for label, n in labels.counts.items() if not n]
    if unused:
        yield Finding(
            "labels", name, "look", f"never used: {', '.join(unused)}",
            "Macro F1 gives an unused class 0; entity types without an example cannot be learnt."
            if name in _EVALUATION else "A model cannot learn what it is not shown: add examples.",
        )  # fmt: skip
    if labels.kind == "class":
        yield Finding(
            "labels", name, "look" if labels.top_share > _CONSTANT_SHARE else "ok",
            f"always answering {labels.top_target!r} is right in {100 * labels.top_share:.1f}% of rows",
            "Compare models with this floor.",
        )  # fmt: skip
    if labels.kind == "text" and labels.n_target_is_source > 0.5 * split.counts.n_rows:
        yield Finding(
            "labels", name, "look",
            f"{labels.n_target_is_source:,} of {split.counts.n_rows:,} targets repeat their source",
            "Score it by a metric that compares with the source (BERT-iBLEU does); never train on it.",
        )  # fmt: skip


def _lengths(report: Report, split: SplitReport) -> Iterator[Finding]:
    lengths, name = split.lengths, split.name
    tokens = lengths.unit == "tokens"
    if not tokens:
        yield Finding(
            "lengths", name, "look", "lengths are WORDS, NOT TOKENS: shares cut off are lower bounds",
            "Make the vocabulary reachable (the reason stands below the tables) and check again.",
        )  # fmt: skip
    for what, stats in (("inputs", lengths.inputs), ("targets", lengths.targets)):
        if stats is None:
            continue
        least = "" if tokens else "at least "
        if stats.n_over:
            yield Finding(
                "lengths", name, "fix" if stats.share_over > _CUT_SHARE else "look",
                f"{least}{stats.n_over:,} {what} ({100 * stats.share_over:.1f}%) are longer than {stats.limit} tokens "
                f"and are cut; the longest has {stats.longest:,} {lengths.unit}",
                "Raise TASK_FEATURE_LENGTHS, or shorten the texts; mode paper keeps the paper's lengths (Table 8).",
            )  # fmt: skip
        elif tokens:
            yield Finding("lengths", name, "ok", f"no {what} are longer than {stats.limit} tokens")
        if stats.n_rows_with_unknown:
            yield Finding(
                "lengths", name, "look", f"{stats.n_rows_with_unknown:,} {what} have what the vocabulary lacks",
                "A model can neither read nor write them; replace them where they matter.",
            )  # fmt: skip


def _privacy(report: Report, split: SplitReport) -> Iterator[Finding]:
    names = {"link": "links", "email": "e-mail addresses", "handle": "handles", "phone": "phone-like numbers"}
    found = [hint for hint in split.privacy if hint.n_rows]
    for hint in found:
        yield Finding(
            "privacy", split.name, "look",
            f"{_counted(hint.n_rows, 'row')} with {names[hint.kind]}, such as {', '.join(hint.examples)}",
            "Mask them (@USER, HTTPURL) before text leaves for an API or a publication.",
        )  # fmt: skip
    if not found:
        yield Finding("privacy", split.name, "ok", "no handles, e-mail addresses, links or phone-like numbers")


def _characters(report: Report, split: SplitReport) -> Iterator[Finding]:
    grave = {
        "control": ("control or unassigned characters", "Remove them where the file is made."),
        "replacement": ("replacement characters: text lost in an earlier conversion", "Go back to the original file."),
        "mojibake": ("mojibake (UTF-8 read as another encoding)", "Read the original as UTF-8."),
    }
    light = {
        "html_entity": ("HTML entities", "Unescape them (html.unescape), as pre-training text has none."),
        "invisible": ("invisible characters", "Remove them: two equal-looking texts are not equal."),
        "line_break": ("line breaks or tabs", "Put a space in their place: T5's vocabulary has neither."),
        "not_nfc": ("characters in decomposed form", "Bring all text into one form (unicodedata NFC)."),
    }
    found = [odd for odd in split.characters if odd.n_rows]
    for odd in found:
        what, remedy = (grave | light)[odd.kind]
        severity = "fix" if odd.kind in grave else "look"
        message = f"{_counted(odd.n_rows, 'row')} with {what}, such as {', '.join(odd.examples)}"
        yield Finding("characters", split.name, severity, message, remedy)
    if not found:
        yield Finding("characters", split.name, "ok", "no odd characters")


def _overlaps(report: Report) -> Iterator[Finding]:
    for overlap in report.overlaps:
        pair = f"{overlap.first}/{overlap.second}"
        evaluation = [name for name in (overlap.first, overlap.second) if name in _EVALUATION]
        if overlap.same_rows:
            yield Finding(
                "overlap", pair, "look", "the same rows",
                "Choose no checkpoint or setting on them, or the score is too high; fair mode holds rows out.",
            )  # fmt: skip
            continue
        near = overlap.n_near_of_second
        if near and evaluation:
            yield Finding(
                "near", pair, "look", f"{near:,} sources of {overlap.second} nearly repeat one of {overlap.first}",
                "Read some of them; leave them out of training where they are the same sentence.",
            )  # fmt: skip
        if not overlap.n_sources:
            yield Finding("overlap", pair, "ok", "no source in both")
            continue
        same = "" if "unlabeled" in pair else f"; {overlap.n_same_answer:,} with the same target"
        message = (
            f"{_counted(overlap.n_sources, 'source')} in both ({100 * overlap.first_share:.1f}% of {overlap.first}, "
            f"{100 * overlap.second_share:.1f}% of {overlap.second}{same}), "
            f"such as {overlap.examples[0]!r}"
        )
        if "unlabeled" in pair:
            ours = f"`{report.task}_u{{U}}` leaves them out by itself; leave them out of any other pool."
            paper = "As in the paper (Appendix D); in fair mode the pool should not hold what was paid for already."
            yield Finding("overlap", pair, "look" if evaluation else "ok", message, ours if evaluation else paper)
        else:
            share = overlap.first_share if overlap.first in _EVALUATION else overlap.second_share
            yield Finding(
                "overlap", pair, "fix" if share >= _LEAK_SHARE and "train" in pair else "look", message,
                "Leave them out of training, or report the score on unseen sources beside the whole.",
            )  # fmt: skip


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
