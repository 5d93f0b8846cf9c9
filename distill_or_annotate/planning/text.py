"""A plan on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distill_or_annotate.planning.advice import CLOSE_POINTS, LEAST_GAIN_POINTS, Advice, Judged
from distill_or_annotate.planning.break_evens import FARTHEST, NAMES, BreakEven
from distill_or_annotate.planning.kept import Kept
from distill_or_annotate.planning.options import Option, why_not
from distill_or_annotate.planning.outcomes import Evidence
from distill_or_annotate.planning.pilots import Pilot
from distill_or_annotate.planning.prices import PlanPrices
from distill_or_annotate.planning.wishes import Wish


def print_plan(
    advice: Advice, evidence: Evidence, wish: Wish, prices: PlanPrices, assumed: Sequence[str], console: Any = None
) -> None:
    """Prints a plan: what to buy, its lines, how surely, the frontier, break-evens, pilots, assumptions.

    Args:
      advice: the recommendation.
      evidence: what it rests on.
      wish: budget and what is there.
      prices: of the task.
      assumed: one sentence each.
      console: a rich console; None makes one.
    """
    from rich.console import Console

    console = console or Console(highlight=False)
    known = len(evidence.outcomes)
    console.print(f"[bold]{evidence.task}: what ${wish.budget_usd:,.2f} should buy[/bold]")
    console.print(f"Known: {known} models of this task." if known else "Known: nothing of this task; the prior alone.")
    for sentence in recommendation(advice):
        console.print(sentence)
    _print_lines(advice.best, console)
    _print_frontier(advice.frontier, console)
    _print_list("Not possible", why_not(wish, prices), console)
    _print_list("What would change it", [text for each in advice.break_evens for text in change_text(each)], console)
    _print_list("What to try first", [pilot_text(pilot) for pilot in advice.pilots], console)
    _print_list("Assumed", assumed, console)


def recommendation(advice: Advice) -> list[str]:
    """Returns the recommendation in sentences; where it is not sure enough, the pilot comes first.

    Args:
      advice: the recommendation.
    """
    best = advice.best
    buy = "The best purchase is" if advice.keeps else "Buy"
    said = [
        f"{buy} {best.option.name}: about {best.expected:.1f}, in 8 of 10 cases {best.low:.1f} to {best.high:.1f}. "
        f"{best.chance:.0%} likely to be within {CLOSE_POINTS:g} point of the best that these dollars buy."
    ]
    if not advice.is_sure and advice.pilots and advice.pilots[0].gain_points > LEAST_GAIN_POINTS:
        said = [f"The evidence is thin: try a pilot first. {pilot_text(advice.pilots[0])}", f"As it stands: {said[0]}"]
    if advice.keeps and advice.kept:
        said.insert(0, kept_text(advice.kept))
    if advice.runner_up:
        said.append(f"Runner-up: {advice.runner_up.option.name}, about {advice.runner_up.expected:.1f}.")
    return said


def kept_text(kept: Kept) -> str:
    """Returns why a pilot's model is kept, in a sentence.

    Args:
      kept: the model.
    """
    return (
        f"Keep {kept.name} of the pilot: it scores {kept.outcome.score:.1f} already, and nothing that these dollars "
        "buy is expected to score more."
    )


def pilot_text(pilot: Pilot) -> str:
    """Returns a pilot in a sentence.

    Args:
      pilot: the pilot.
    """
    model = {"annotate": "the student", "teacher": "the teacher", "distill": "a distilled student"}
    named = f" ({pilot.model})" if pilot.model else ""
    pool = f" and {pilot.outcome.n_unlabeled:,} unlabeled" if pilot.outcome.n_unlabeled else ""
    what = f"{model[pilot.outcome.strategy]}{named} on {pilot.outcome.n_labels:,} labels{pool}"
    return f"${pilot.usd:,.2f} for {what}: knowing it is worth {pilot.gain_points:.1f} points on average."


def change_text(found: BreakEven) -> list[str]:
    """Returns where a recommendation changes, in sentences.

    Args:
      found: along one price.
    """
    name = NAMES[found.axis]
    if found.below is None and found.above is None:
        return [f"From 1/{FARTHEST:.0f} to {FARTHEST:.0f} times today's price of {name} the recommendation stays."
                if found.axis != "traffic" else
                f"From 1/{FARTHEST:.0f} to {FARTHEST:.0f} times the traffic the recommendation stays."]  # fmt: skip
    said = []
    for side, factor, option in (
        ("below", found.below, found.becomes_below),
        ("above", found.above, found.becomes_above),
    ):
        if factor is None or option is None:
            continue
        at = f"{factor:.2g} times today's price of {name}"
        if found.axis == "labels" and found.today:
            at = f"${found.today * factor:,.3g} a label ({factor:.2g} times today's price)"
        if found.axis == "traffic" and found.today:
            at = f"{found.today * factor:,.0f} predictions a month"
        said.append(f"{side.capitalize()} {at}, {kind_text(option)} would be recommended.")
    return said


def kind_text(option: Option) -> str:
    """Returns what an option is, without its sizes.

    Args:
      option: the option.
    """
    if option.strategy == "teacher":
        return f"serving {option.teacher or 'the teacher'} itself"
    if option.strategy == "distill":
        pair = f" {option.teacher or 'the teacher'} into {option.student}" if option.teacher or option.student else ""
        return f"distilling{pair}"
    labels = f"labels of {option.llm}" if option.llm else "labels alone"
    return f"{labels} for {option.student}" if option.student else labels


def _print_lines(best: Judged, console: Any) -> None:
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 2))
    for name, usd in cost_lines(best.option):
        table.add_row(name, f"${usd:,.2f}")
    table.add_row("[bold]all[/bold]", f"[bold]${best.option.total_usd:,.2f}[/bold]")
    console.print(table)


def cost_lines(option: Option) -> list[tuple[str, float]]:
    """Returns the lines of an option's bill; what it does not buy is left out.

    Args:
      option: the option.
    """
    lines = [
        ("labels", option.label_usd),
        (f"{option.n_llm_labels:,} labels of {option.llm}", option.llm_usd),
        ("fine-tuning the teacher", option.finetune_usd),
        (f"distilling {option.n_unlabeled:,}", option.distill_usd),
        ("serving", option.serving_usd),
    ]
    return lines[:1] + [line for line in lines[1:] if line[1]]


def _print_frontier(frontier: Sequence[Judged], console: Any) -> None:
    from rich.table import Table

    table = Table(title="The best of smaller budgets", title_justify="left")
    for head in ("dollars", "buy", "score", "8 of 10"):
        table.add_column(head, justify="left" if head == "buy" else "right")
    for each in frontier:
        band = f"{each.low:.0f} to {each.high:.0f}"
        table.add_row(f"${each.option.total_usd:,.2f}", each.option.name, f"{each.expected:.1f}", band)
    console.print(table)


def _print_list(title: str, sentences: Sequence[str], console: Any) -> None:
    if sentences:
        console.print(f"[bold]{title}[/bold]")
    for sentence in sentences:
        console.print(f"- {sentence}")
