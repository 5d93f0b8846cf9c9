"""What is known of a task: models that were trained and scored, from runs or from the paper's tables."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from distill_or_annotate import paper
from distill_or_annotate.planning import sizes

STRATEGIES = ("annotate", "distill", "teacher")
# Scores of models that answer alike whatever they read: the shares of the largest classes in the test files, and what
# an empty output gets of WLP's reference scorer (paper.facts()["quirks"]).
_CONSTANT_SCORES = {"wlp": 9.2, "stanceosaurus": 45.5, "fever": 50.3, "multipit_id": 53.1}
# Two standard errors of accuracy on a few thousand test rows.
_NOISE = 1.5
# Of tasks without classes nothing trivial scores above this.
_NOTHING = 0.5


class PlanningError(ValueError):
    """Raised for evidence or wishes that no plan can be made of."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One evaluated model.

    Attributes:
      strategy: annotate | distill | teacher.
      n_labels: labels it, or its teacher, was trained on, at least 1.
      n_unlabeled: unlabeled examples distilled; 0 for the others.
      score: percent.
      stderr: standard error of the score, in points; None where unknown.
      degenerate: whether it cannot be told apart from a floor: it has not begun to learn.
      teacher_decades: log10 of the teacher's operations over those of the teacher that the price book is for; 0 where
        there is no teacher, or its size is not counted.
      student_decades: the student's, likewise.
    """

    strategy: str
    n_labels: int
    n_unlabeled: int
    score: float
    stderr: float | None = None
    degenerate: bool = False
    teacher_decades: float = 0.0
    student_decades: float = 0.0


@dataclasses.dataclass(frozen=True)
class Evidence:
    """All that is known of one task.

    Attributes:
      task: its name.
      metric: name of the score; empty where there is none yet.
      floor: what a model scores that has not begun to learn, in percent.
      outcomes: the models.
    """

    task: str
    metric: str
    floor: float
    outcomes: tuple[Outcome, ...]


def of_paper(task: str) -> Evidence:
    """Returns the cells of Tables 2 and 11, and their teachers, as evidence.

    Args:
      task: one of the paper's tasks.
    """
    floor = _CONSTANT_SCORES.get(task, _NOTHING)
    found = []
    for table in ("table11", "table2"):
        for row in paper.facts()[table]["rows"]:
            if row["task"] == task:
                found += _of_row(row)
    outcomes = [dataclasses.replace(each, degenerate=each.score <= _noisy(task, floor)) for each in found]
    return Evidence(task, "", floor, tuple(outcomes))


def sizes_of_paper(task: str) -> tuple[Outcome, ...]:
    """Returns the self-distilled models of Table 3, whose teacher is as small as the student, and that teacher.

    Args:
      task: one of the paper's tasks.
    """
    facts = paper.facts()["table3"]
    decades = sizes.decades("t5_1_1_small", task, "teacher")
    student, teacher = facts["self_distill"][task]
    floor = _CONSTANT_SCORES.get(task, _NOTHING)
    found = (
        Outcome("teacher", facts["n"], 0, teacher, teacher_decades=decades),
        Outcome("distill", facts["n"], facts["unlabeled"], student, teacher_decades=decades),
    )
    return tuple(dataclasses.replace(each, degenerate=each.score <= _noisy(task, floor)) for each in found)


def of_rows(rows: Iterable[Mapping[str, Any]], task: str) -> Evidence:
    """Returns rows of results.jsonl as evidence.

    Args:
      rows: rows of any runs; those of other tasks are left out, and so is a model that stands there twice.
      task: the task.

    Raises:
      PlanningError: the rows mix metrics or modes, or models of which one's size is not known.
    """
    known: dict[tuple, Mapping[str, Any]] = {}
    for row in rows:
        if row["task"] == task and row["strategy"] in STRATEGIES:
            known.setdefault((row["strategy"], *(row.get("run_ids") or [repr(sorted(row.items()))])), row)
    found = list(known.values())
    for field in ("metric", "mode"):
        values = sorted({str(row[field]) for row in found})
        if len(values) > 1:
            raise PlanningError(
                f"{field}: the results of {task!r} mix {' and '.join(values)}; scores can be compared within one only. "
                "Fix: name runs of one."
            )
    for role, strategies in (("teacher", ("teacher", "distill")), ("student", ("annotate", "distill"))):
        models = sorted({row[role] for row in found if row["strategy"] in strategies and row.get(role)})
        if len(models) > 1 and not all(map(sizes.is_counted, models)):
            raise PlanningError(
                f"{role}: the results of {task!r} mix {' and '.join(models)}, and nothing says how their sizes compare."
                f" Fix: --{role}s with one of them."
            )
    floors = [score for row in found for score in (row.get("floor") or {}).values()]
    # A floor learnt from labels rises with them; what has not begun to learn is at the constant ones.
    constant = [score for row in found for name, score in (row.get("floor") or {}).items() if "constant" in name]
    floor = max(constant, default=min(floors, default=_NOTHING))
    return Evidence(task, found[0]["metric"] if found else "", floor, tuple(map(_of_result, found)))


def _of_row(row: Mapping[str, Any]) -> Sequence[Outcome]:
    n_labels = row["n_labels"]
    yield Outcome("teacher", n_labels, 0, row["teacher"])
    for place, extra in enumerate(row["extra_labels"]):
        yield Outcome("annotate", n_labels + extra, 0, row["annotate"][place])
        if row["distill"][place] is not None:
            yield Outcome("distill", n_labels, 1000 * row["unlabeled_k"][place], row["distill"][place])


def _noisy(task: str, floor: float) -> float:
    return floor + (_NOISE if task in _CONSTANT_SCORES and task != "wlp" else 0.0)


def _of_result(row: Mapping[str, Any]) -> Outcome:
    # A model below a lookup tagger has begun to learn all the same; a constant one has not.
    reasons = (row.get("degenerate") or {}).get("reasons") or []
    constant = any("one answer" in reason or "'constant" in reason or "'empty'" in reason for reason in reasons)
    is_taught = row["strategy"] in ("teacher", "distill")
    return Outcome(
        strategy=row["strategy"],
        n_labels=row["n_labels"],
        n_unlabeled=row.get("n_unlabeled") or 0 if row["strategy"] == "distill" else 0,
        score=row["score"],
        stderr=row.get("stderr"),
        degenerate=constant,
        teacher_decades=sizes.decades(row.get("teacher") or "", row["task"], "teacher") if is_taught else 0.0,
        student_decades=sizes.decades(row.get("student") or "", row["task"], "student"),
    )
