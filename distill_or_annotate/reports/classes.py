"""Per-class change from teacher to student: a compact model may lose the classes that the teacher barely knew."""

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

from distill_or_annotate.reports.grids import Entry, Grid
from distill_or_annotate.reports.predictions import Answers, Predictions
from distill_or_annotate.reports.table import Block, ReportCell


@dataclasses.dataclass(frozen=True)
class ClassChange:
    """One class under teacher and student, over all seeds.

    Attributes:
      name: the class.
      n_gold: how often it stands in the targets.
      teacher: the teacher's F1, percent.
      student: the student's, percent.
      teacher_share: how often the teacher predicts it, as a share of the targets' (1 is as often).
      student_share: the same of the student.
    """

    name: str
    n_gold: int
    teacher: float
    student: float
    teacher_share: float
    student_share: float


def class_changes(block: Block, predictions: Predictions) -> tuple[list[ClassChange], float | None]:
    """Returns the change of each class, most frequent first, and the budget of the student that was looked at.

    Args:
      block: the study; the student is the one distilled with the most dollars.
      predictions: answers of the run.

    Returns:
      The changes (empty where the task has no classes or answers are missing), additional dollars or None.
    """
    students = [
        (usd, cell)
        for usd, cell in zip(block.budgets_usd, block.rows.get("distill", ()), strict=False)
        if cell.value is not None
    ]
    if not students or block.teacher.value is None:
        return [], None
    budget_usd, student = students[-1]
    counts = [_counts(cell, predictions) for cell in (block.teacher, student)]
    if None in counts:
        return [], None
    changes = [
        ClassChange(
            name,
            round(gold),
            _f1(counts[0][name]),
            _f1(counts[1][name]),
            *(each[name][1] / each[name][2] for each in counts),
        )
        for name, (_, _, gold) in counts[0].items()
        if gold
    ]
    return sorted(changes, key=lambda change: (-change.n_gold, change.name)), budget_usd


def grid_of(changes: Sequence[ClassChange], budget_usd: float) -> Grid:
    """Returns the changes as a table.

    Args:
      changes: as `class_changes` gives them, at least one.
      budget_usd: additional dollars of the student.
    """
    rows = tuple(
        (
            change.name,
            (
                Entry(f"{change.n_gold:,}"),
                Entry(f"{change.teacher:.1f}", f"predicted {change.teacher_share:.2f} x"),
                Entry(f"{change.student:.1f}", f"predicted {change.student_share:.2f} x"),
                Entry(f"{change.student - change.teacher:+.1f}"),
            ),
        )
        for change in changes
    )
    return Grid(
        title="What distilling did to each class",
        heads=("Class", "In the targets", "Teacher F1", "Student F1", "Change"),
        rows=rows,
        caption=f"From the teacher to the student distilled at +${budget_usd:,.2f}. Predicted: how often, as a "
        "multiple of how often the class stands in the targets.",
        notes=(summary_of(changes),),
    )


def summary_of(changes: Sequence[ClassChange]) -> str:
    """Returns in one sentence whether rare classes lose more than frequent ones, the paper's caution on bias.

    Args:
      changes: as `class_changes` gives them, at least one.
    """
    worst = min(changes, key=lambda change: (change.student - change.teacher, change.name))
    lost = f"The largest change for the worse is {worst.name}, {worst.student - worst.teacher:+.1f} points"
    if worst.student >= worst.teacher:
        lost = "No class lost"
    if len(changes) < 4:
        return f"{lost}."
    half = len(changes) // 2
    often, rare = (_mean([c.student - c.teacher for c in part]) for part in (changes[:half], changes[-half:]))
    return (
        f"{lost}. The {half} rarest classes changed by {rare:+.1f} points on average, the {half} most frequent by "
        f"{often:+.1f}. Small classes have large errors; no test was made of these."
    )


def class_sums(answers: Answers) -> dict[str, tuple[int, int, int]] | None:
    """Returns per class how often it was right, predicted and in the targets; None where a task has no classes.

    Args:
      answers: a model's.
    """
    from distill_or_annotate.metrics.entities import parse_entities

    labels = answers.scorer.labels
    if not labels:
        return None
    named = {label.strip().upper(): label for label in labels}
    upper, has_entities = frozenset(named), answers.scorer.metric.startswith("entity")
    right, predicted, gold = Counter(), Counter(), Counter()
    for row in answers.rows:
        pair = []
        for text in (row["target"], row["prediction"]):
            word = text.strip().upper()
            pair.append(Counter(parse_entities(text, upper) if has_entities else [(word, word)]))
        for counter, found in ((gold, pair[0]), (predicted, pair[1]), (right, pair[0] & pair[1])):
            for (_, kind), count in found.items():
                counter[kind] += count
    return {named[kind]: (right[kind], predicted[kind], gold[kind]) for kind in sorted(named)}


def _counts(cell: ReportCell, predictions: Predictions) -> dict[str, tuple[float, float, float]] | None:
    """As `class_sums`, mean over the cell's models."""
    answers = predictions.of_all(cell.run_ids)
    each = [class_sums(found) for found in answers or []]
    if not each or None in each:
        return None
    return {name: tuple(sum(part[name][i] for part in each) / len(each) for i in range(3)) for name in each[0]}


def _f1(counts: tuple[float, float, float]) -> float:
    right, predicted, gold = counts
    return 200.0 * right / (predicted + gold) if predicted + gold else 0.0


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
