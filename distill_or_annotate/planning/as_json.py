"""A plan as JSON-ready values."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from distill_or_annotate.planning.advice import Advice, Judged
from distill_or_annotate.planning.break_evens import BreakEven
from distill_or_annotate.planning.options import Option, why_not
from distill_or_annotate.planning.outcomes import Evidence
from distill_or_annotate.planning.posterior import Draws
from distill_or_annotate.planning.prices import PlanPrices
from distill_or_annotate.planning.text import change_text
from distill_or_annotate.planning.wishes import Wish


def as_dict(
    advice: Advice, evidence: Evidence, wish: Wish, prices: PlanPrices, draws: Draws, assumed: Sequence[str]
) -> dict[str, Any]:
    """Returns a plan as JSON-ready values.

    Args:
      advice: the recommendation.
      evidence: what it rests on.
      wish: budget and what is there.
      prices: of the task.
      draws: the task's curves.
      assumed: one sentence each.
    """
    return {
        "task": evidence.task,
        "budget_usd": wish.budget_usd,
        "label_usd": prices.label_usd,
        "recommended": _judged(advice.best),
        "runner_up": _judged(advice.runner_up),
        "kept": advice.kept.as_dict() if advice.kept else None,
        "keeps": advice.keeps,
        "is_sure": advice.is_sure,
        "frontier": [_judged(each) for each in advice.frontier],
        "infeasible": why_not(wish, prices),
        "break_evens": [_change(each) for each in advice.break_evens],
        "pilots": [dataclasses.asdict(each) for each in advice.pilots],
        "models_known": len(evidence.outcomes),
        "effective_draws": round(draws.effective, 1),
        "assumptions": list(assumed),
    }


def _judged(each: Judged | None) -> dict[str, Any] | None:
    if each is None:
        return None
    return dataclasses.asdict(each) | {"name": each.option.name, "total_usd": round(each.option.total_usd, 4)}


def _change(found: BreakEven) -> dict[str, Any]:
    def option(each: Option | None) -> dict[str, Any] | None:
        return None if each is None else dataclasses.asdict(each)

    return dataclasses.asdict(found) | {
        "becomes_below": option(found.becomes_below),
        "becomes_above": option(found.becomes_above),
        "sentences": change_text(found),
    }
