"""The first page: what was bought, what won and how surely, what to buy next, what would change the answer."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from distill_or_annotate.ledger import LOCAL_BOOK, Totals
from distill_or_annotate.prices import PriceBookError, load_book
from distill_or_annotate.reports.certainty import Comparison
from distill_or_annotate.reports.repricing import compute_break_even, label_break_even
from distill_or_annotate.reports.table import Block, ReportCell
from distill_or_annotate.reports.verdict import cautions, compare, headline

_STEP_USD = 100.0
_NAMES = {"annotate": "labels", "distill": "distillation"}
_VERBS = {"annotate": "annotating", "distill": "distilling"}


@dataclasses.dataclass(frozen=True)
class Answer:
    """A study's answer in sentences.

    Attributes:
      headline: the answer in one.
      won: one per budget, with how sure it is.
      next_purchase: what the next dollars should buy.
      would_change: what would change the answer.
      cautions: what keeps it from being certain.
    """

    headline: str
    won: tuple[str, ...]
    next_purchase: tuple[str, ...]
    would_change: tuple[str, ...]
    cautions: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Slope:
    """What a strategy's last dollars bought.

    Attributes:
      from_usd: the smaller of two neighbouring budgets.
      to_usd: the larger, the largest with a score.
      points: gain per step, in points.
      stderr: its standard error, or None.
      capped: whether the pool ended, so that more dollars buy nothing.
      score: score at the larger budget.
    """

    from_usd: float
    to_usd: float
    points: float
    stderr: float | None
    capped: bool
    score: float


def answer_of(block: Block, compared: Sequence[Comparison], manifest: Mapping[str, Any]) -> Answer:
    """Returns a study's answer.

    Args:
      block: the study.
      compared: its paired comparisons.
      manifest: the run's, for its price book.
    """
    changes = [found.sentence for found in (label_break_even(block), compute_break_even(block)) if found]
    if changes and any(cell.status == "degenerate" for row in block.rows.values() for cell in row):
        changes.append("Some of the models behind these prices are degenerate (†).")
    if not changes:
        changes = ["Not known: at the largest budget the two strategies have no two sound scores that differ."]
    return Answer(
        headline=headline(block, [each.budget_usd for each in compared if not each.is_sure]),
        won=tuple(_won(block, compared)),
        next_purchase=tuple(next_purchase(block, manifest)),
        would_change=tuple(changes),
        cautions=tuple(cautions(block)),
    )


def bought(totals: Totals) -> list[str]:
    """Returns what a run's ledger says was bought, one sentence each.

    Args:
      totals: of the ledger.
    """
    kinds: dict[str, float] = {}
    for book, amounts in totals.usd.items():
        for kind, usd in amounts.items() if book != LOCAL_BOOK else ():
            kinds[kind] = kinds.get(kind, 0.0) + usd
    names = {"label": "labels", "device": "computing", "api": "API calls"}
    parts = [f"${usd:,.2f} of {names[kind]}" for kind, usd in sorted(kinds.items()) if usd]
    return [f"{' and '.join(parts)}, ${totals.scenario_usd:,.2f} in all."] if parts else ["nothing yet."]


def next_purchase(block: Block, manifest: Mapping[str, Any]) -> list[str]:
    """Returns what the next $100 should buy, from the slope between each strategy's two largest budgets.

    Args:
      block: the study.
      manifest: the run's, for its price book; a scaled one shrinks the step.
    """
    step_usd, named = step_of(manifest)
    slopes = {name: found for name, row in block.rows.items() if (found := slope_of(block, row, step_usd))}
    if not slopes:
        return [f"Not known what {named} should buy: no strategy has two sound models. Run a pilot at two budgets."]
    sentences = []
    for name, slope in slopes.items():
        between = f"between +${slope.from_usd:,.2f} and +${slope.to_usd:,.2f}"
        error = "" if slope.stderr is None else f" ± {slope.stderr:.1f}"
        gain = f"{round(slope.points, 1) + 0.0:+.1f}{error} points"
        sentence = f"{_NAMES[name].capitalize()}: {gain} per ${step_usd:,.2f} {between}"
        pool = ", but the unlabeled pool is used up: find more text first" if slope.capped else ""
        sentences.append(f"{sentence}{pool}.")
    if missing := [name for name in block.rows if name not in slopes]:
        names = " and ".join(_NAMES[name] for name in missing)
        sentences.append(f"For {names} no slope is known: fewer than two sound models. A pilot at two budgets tells.")
    usable = {name: slope for name, slope in slopes.items() if not slope.capped}
    sure = {name: slope for name, slope in usable.items() if slope.points > (slope.stderr or 0.0) * 2}
    if not sure:
        return [f"Nothing measured says that {named} buys points: no slope is above its error.", *sentences]
    best = max(sure, key=lambda name: (sure[name].score + sure[name].points, name))
    reach = sure[best].score + sure[best].points
    hedge = f"if the last slope holds beyond +${sure[best].to_usd:,.2f}, which nobody measured"
    rivals = [slopes[name].score for name in slopes if name != best]
    behind = "" if not rivals or reach > max(rivals) else f" That is still behind the {max(rivals):.1f} already bought."
    return [f"{_NAMES[best].capitalize()}, {hedge}: about {reach:.1f}.{behind}", *sentences]


def step_of(manifest: Mapping[str, Any]) -> tuple[float, str]:
    """Returns the dollars that the next purchase is about, and their name: $100, less under a scaled book.

    Args:
      manifest: the run's, for its price book.
    """
    scale = _scale(manifest)
    step_usd = _STEP_USD * scale
    if scale == 1:
        return step_usd, "the next $100"
    return step_usd, f"the next ${step_usd:,.2f} ($100 of the paper's study at this scale)"


def slope_of(block: Block, row: Sequence[ReportCell], step_usd: float) -> Slope | None:
    """Returns a strategy's slope between its two largest budgets with sound models; None without two.

    Args:
      block: the study.
      row: the strategy's cells.
      step_usd: dollars that the slope is for, above 0.
    """
    sound = [
        (usd, cell)
        for usd, cell in zip(block.budgets_usd, row, strict=True)
        if cell.value is not None and _is_sound(cell)
    ]
    if len(sound) < 2:
        return None
    (from_usd, first), (to_usd, last) = sound[-2:]
    steps = (to_usd - from_usd) / step_usd
    errors = (first.stderr, last.stderr)
    stderr = None if None in errors else math.hypot(*errors) / steps
    return Slope(from_usd, to_usd, (last.value - first.value) / steps, stderr, last.capped, last.value)


def _is_sound(cell: ReportCell) -> bool:
    return cell.status != "degenerate"


def _won(block: Block, compared: Sequence[Comparison]) -> list[str]:
    by_budget = {comparison.budget_usd: comparison for comparison in compared}
    alone: dict[str, list[str]] = {}
    sentences = []
    for column, usd in enumerate(block.budgets_usd):
        scored = [name for name, row in block.rows.items() if row[column].value is not None]
        if len(scored) == 1:
            alone.setdefault(scored[0], []).append(f"{block.rows[scored[0]][column].display} at +${usd:,.2f}")
        elif scored:
            sentences.append(compare(block, column, usd) + _surely(by_budget.get(usd)))
    single = [
        f"{_VERBS[name].capitalize()} alone scores {', '.join(scores)}: the other strategy has no model there."
        for name, scores in alone.items()
    ]
    bases = dict.fromkeys(comparison.basis for comparison in compared if comparison.n_models > 1)
    return [*sentences, *(f"Intervals are {basis}." for basis in bases), *single]


def _surely(found: Comparison | None) -> str:
    if found is None:
        return " How surely is not known: no predictions at hand."
    if found.n_models == 1:
        beyond = "beyond" if found.is_sure else "within"
        noise = f"{beyond} the noise of the test {found.clusters}s ({found.interval})"
        return f" The difference is {noise}; one seed gives no interval."
    return f" The difference is {'sure' if found.is_sure else 'not sure'}: {found.lead_interval}."


def _scale(manifest: Mapping[str, Any]) -> float:
    name = manifest.get("price_book") or manifest.get("scenario", {}).get("price_book") or "paper"
    try:
        return load_book(name).scale
    except PriceBookError:
        return 1.0
