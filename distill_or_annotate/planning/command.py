"""Plans a budget: what to buy, what it will score, how surely, and what to try first."""

import argparse
import json
import pathlib
import sys
from collections.abc import Collection, Mapping
from typing import Any

from distill_or_annotate.planning import arguments, prior, sizes, wanted
from distill_or_annotate.planning.advice import Advice, advise
from distill_or_annotate.planning.as_json import as_dict
from distill_or_annotate.planning.kept import kept_of
from distill_or_annotate.planning.outcomes import Evidence, PlanningError, of_rows
from distill_or_annotate.planning.paid import paid_for
from distill_or_annotate.planning.posterior import condition
from distill_or_annotate.planning.wishes import Wish

EXAMPLE = "doa plan --task reviews --label-usd 0.26 --budget-usd 500 --results runs/pilot"
# Draws that a plan, and its page, computes with, of twice as many that are weighted.
PLANNED_DRAWS = 2000
_ASSUMED = (
    "Curves are inverse power laws on the logit scale with an onset and a ceiling; docs/choosing_a_budget.md has them.",
    "Computing is priced by fine-tuning the teacher once and a rate per 1,000 distilled examples.",
    "The student's own training on labels, and an engineer's time, are free.",
)
add_arguments = arguments.add_arguments


def run(args: argparse.Namespace) -> int:
    """Prints a plan.

    Args:
      args: as `add_arguments` makes them.

    Returns:
      0.

    Raises:
      PlanningError: no plan can be made of the evidence and wishes; the message names the fix.
      ReportError: a folder holds no run.
    """
    _check_folders(args)
    if args.seed < 0:
        raise PlanningError(f"--seed: received {args.seed}. Fix: a whole number of 0 and more.")
    budget_usd = wanted.dollars("budget_usd", args.budget_usd, args.rate)
    folders = [*args.results, *args.pilot]
    models = _models(args, _rows(folders))
    evidence = evidence_of(folders, args.task, models)
    prices = wanted.prices_for(args)
    paid = paid_for(args.pilot, args.task, prices.label_usd, is_said=args.label_usd is not None)
    if paid.usd >= budget_usd:
        raise PlanningError(
            f"budget_usd: the pilot's ${paid.usd:,.2f} leave nothing of ${budget_usd:,.2f}. Fix: a larger budget."
        )
    wish = Wish(
        budget_usd - paid.usd,
        max(args.labels_at_hand, paid.n_labels),
        args.max_labels,
        args.max_unlabeled,
        models["teacher"],
        models["student"],
        args.served_per_month,
        args.months,
    )
    believed = prior.learnt(args.task) if args.prior == "paper" else prior.broad()
    draws = condition(evidence, believed, seed=args.seed).first(PLANNED_DRAWS).rounded()
    kept = kept_of(of_rows(_asked(_rows(args.pilot), models), args.task).outcomes)
    advice = advise(wish, prices, draws, kept)
    assumed = [*prices.notes, *paid.notes(), *_ASSUMED]
    if args.write_gin:
        _write_gin(advice, args, budget_usd, wish.at_hand * prices.label_usd)
    if args.html:
        from distill_or_annotate.planning.page import page

        args.html.write_text(page(advice, evidence, wish, prices, draws, assumed), encoding="utf-8")
        print(f"The plan as a page: {args.html}", file=sys.stderr)
    if args.json:
        print(json.dumps(as_dict(advice, evidence, wish, prices, draws, assumed) | paid.as_dict(), indent=1))
    else:
        from distill_or_annotate.planning.text import print_plan

        print_plan(advice, evidence, wish, prices, assumed)
    return 0


def _check_folders(args: argparse.Namespace) -> None:
    for field in ("html", "write_gin"):
        path = getattr(args, field)
        if path is not None and not path.parent.is_dir():
            raise PlanningError(f"{field}: there is no folder {path.parent}. Fix: mkdir -p {path.parent}")


def _write_gin(advice: Advice, args: argparse.Namespace, budget_usd: float, at_hand_usd: float) -> None:
    from distill_or_annotate.planning.gin_text import scenario_text
    from distill_or_annotate.reports import read_run

    found = [read_run(folder).manifest.get("scenario") or {} for folder in [*args.pilot, *args.results]]
    pilot = next((scenario for scenario in found if scenario.get("task") == args.task), {})
    option = advice.best.option
    about = f"Written by doa plan: of ${budget_usd:,.2f} for {args.task}, {option.name}."
    max_usd = option.total_usd - option.serving_usd + at_hand_usd
    args.write_gin.write_text(scenario_text(option, pilot, about, max_usd), encoding="utf-8")


def _models(args: argparse.Namespace, rows: list[dict[str, Any]]) -> dict[str, tuple[str, ...]]:
    """The models to choose from, by role: sizes of T5, or those of the results."""
    found = {}
    for role in ("teacher", "student"):
        known = {row.get(role) for row in rows if row["task"] == args.task}
        found[role] = wanted.model_names(f"{role}s", getattr(args, f"{role}s"), sorted(known - {None, ""}))
    return found


def _rows(folders: list[pathlib.Path]) -> list[dict[str, Any]]:
    from distill_or_annotate.reports import read_run

    return [row for folder in folders for row in read_run(folder).results]


def evidence_of(
    folders: list[pathlib.Path], task: str, models: Mapping[str, Collection[str]] | None = None
) -> Evidence:
    """Returns what runs say of a task.

    Args:
      folders: of runs; none is no evidence.
      task: the task.
      models: by role, models to choose from: others whose size is not counted are left out. '' names none.

    Raises:
      PlanningError: the runs have no model of the task, or mix metrics or modes.
      ReportError: a folder holds no run.
    """
    rows = _rows(folders)
    found = of_rows(_asked(rows, models or {}), task)
    if folders and not found.outcomes:
        tasks = sorted({row["task"] for row in rows})
        raise PlanningError(
            f"task: the results hold no model of {task!r}, but of {', '.join(tasks) or 'nothing'}. Fix: --task, or "
            "other --results."
        )
    if len(found.outcomes) == 1:
        raise PlanningError(
            f"results: one model of {task!r} says nothing about a slope. Fix: a pilot of at least two, such as the "
            "teacher and the student at one N, or leave --results out to plan from the prior alone."
        )
    return found


def _asked(rows: list[dict[str, Any]], models: Mapping[str, Collection[str]]) -> list[dict[str, Any]]:
    named = {role: set(names) - {""} for role, names in models.items()}
    return [row for row in rows if all(_is_asked(row, *each) for each in named.items())]


def _is_asked(row: Mapping[str, Any], role: str, names: Collection[str]) -> bool:
    """Whether a row's model is one to choose from, or of a size that tells of those."""
    model = row.get(role) or ""
    if row["strategy"] == {"teacher": "annotate", "student": "teacher"}[role]:
        return True
    return not names or model in names or all(map(sizes.is_counted, (model, *names)))
