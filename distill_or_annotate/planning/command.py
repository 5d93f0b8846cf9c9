"""Plans a budget: what to buy, what it will score, how surely, and what to try first."""

import argparse
import dataclasses
import json
import pathlib
from typing import Any

from distill_or_annotate.planning import prior
from distill_or_annotate.planning.advice import Advice, advise
from distill_or_annotate.planning.options import Wish, why_not
from distill_or_annotate.planning.outcomes import Evidence, PlanningError, of_rows
from distill_or_annotate.planning.paid import paid_for
from distill_or_annotate.planning.posterior import Draws, condition
from distill_or_annotate.planning.prices import PlanPrices, prices_of
from distill_or_annotate.prices import load_book

EXAMPLE = "doa plan --task reviews --label-usd 0.26 --budget-usd 500 --results runs/pilot"
_ASSUMED = (
    "Curves are inverse power laws on the logit scale with an onset and a ceiling; docs/choosing_a_budget.md has them.",
    "Computing is priced by fine-tuning the teacher once and a rate per 1,000 distilled examples.",
    "The student's own training on labels, and an engineer's time, are free.",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments.

    Args:
      parser: receives them.
    """
    parser.add_argument("--task", required=True, help="the task, one of the paper's or your own")
    parser.add_argument("--budget-usd", type=float, required=True, help="dollars to spend on labels and computing")
    parser.add_argument(
        "--results", type=pathlib.Path, nargs="+", default=[], help="folders of runs whose models are evidence"
    )
    parser.add_argument(
        "--pilot",
        type=pathlib.Path,
        nargs="+",
        default=[],
        help="runs paid from this budget: evidence too, their dollars are gone and their labels at hand",
    )
    parser.add_argument("--label-usd", type=float, default=None, help="dollars per label (default: the book's)")
    parser.add_argument("--labels-at-hand", type=int, default=0, help="labels that are there already (default: 0)")
    parser.add_argument("--max-labels", type=int, default=None, help="labels that can be had at most")
    parser.add_argument(
        "--max-unlabeled", type=int, default=100_000, help="unlabeled examples at hand (default: 100000)"
    )
    parser.add_argument("--prior", choices=("paper", "none"), default="paper", help="what is believed before evidence")
    parser.add_argument("--book", default="paper", help="price book (default: paper)")
    parser.add_argument("--prices", default=None, help="a TOML file of price books instead of the shipped one")
    parser.add_argument("--like", default="", help="task whose computing prices hold where the task has none")
    parser.add_argument(
        "--write-gin", type=pathlib.Path, default=None, help="also write what to buy as a scenario for `doa run`"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


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
    evidence = evidence_of([*args.results, *args.pilot], args.task)
    book = load_book(args.book, args.prices)
    prices = prices_of(book, args.task, args.label_usd, args.like)
    paid = paid_for(args.pilot, args.task, prices.label_usd)
    if paid.usd >= args.budget_usd:
        raise PlanningError(
            f"budget_usd: the pilot's ${paid.usd:,.2f} leave nothing of ${args.budget_usd:,.2f}. Fix: a larger budget."
        )
    at_hand = max(args.labels_at_hand, paid.n_labels)
    wish = Wish(args.budget_usd - paid.usd, at_hand, args.max_labels, args.max_unlabeled)
    believed = prior.learnt(args.task) if args.prior == "paper" else prior.broad()
    draws = condition(evidence, believed, seed=args.seed)
    advice = advise(wish, prices, draws)
    if args.write_gin:
        _write_gin(advice, args, at_hand * prices.label_usd)
    if args.json:
        print(json.dumps(as_dict(advice, evidence, wish, prices, draws) | paid.as_dict(), indent=1))
    else:
        from distill_or_annotate.planning.text import print_plan

        print_plan(advice, evidence, wish, prices, [*prices.notes, *paid.notes(), *_ASSUMED])
    return 0


def _write_gin(advice: Advice, args: argparse.Namespace, at_hand_usd: float) -> None:
    from distill_or_annotate.planning.gin_text import scenario_text
    from distill_or_annotate.reports import read_run

    found = [read_run(folder).manifest.get("scenario") or {} for folder in [*args.pilot, *args.results]]
    pilot = next((scenario for scenario in found if scenario.get("task") == args.task), {})
    option = advice.best.option
    about = f"Written by doa plan: of ${args.budget_usd:,.2f} for {args.task}, {option.name}."
    args.write_gin.write_text(scenario_text(option, pilot, about, option.total_usd + at_hand_usd), encoding="utf-8")


def evidence_of(folders: list[pathlib.Path], task: str) -> Evidence:
    """Returns what runs say of a task.

    Args:
      folders: of runs; none is no evidence.
      task: the task.

    Raises:
      PlanningError: the runs have no model of the task, or mix metrics or modes.
      ReportError: a folder holds no run.
    """
    from distill_or_annotate.reports import read_run

    rows = [row for folder in folders for row in read_run(folder).results]
    found = of_rows(rows, task)
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


def as_dict(advice: Advice, evidence: Evidence, wish: Wish, prices: PlanPrices, draws: Draws) -> dict[str, Any]:
    """Returns a plan as JSON-ready values.

    Args:
      advice: the recommendation.
      evidence: what it rests on.
      wish: budget and what is there.
      prices: of the task.
      draws: the task's curves.
    """

    def judged(each):
        return None if each is None else dataclasses.asdict(each) | {"total_usd": round(each.option.total_usd, 4)}

    return {
        "task": evidence.task,
        "budget_usd": wish.budget_usd,
        "label_usd": prices.label_usd,
        "recommended": judged(advice.best),
        "runner_up": judged(advice.runner_up),
        "is_sure": advice.is_sure,
        "frontier": [judged(each) for each in advice.frontier],
        "infeasible": [reason] if (reason := why_not(wish, prices)) else [],
        "break_evens": list(advice.break_evens),
        "pilots": [dataclasses.asdict(each) for each in advice.pilots],
        "models_known": len(evidence.outcomes),
        "effective_draws": round(draws.effective, 1),
        "assumptions": [*prices.notes, *_ASSUMED],
    }
