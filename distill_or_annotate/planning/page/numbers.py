"""The numbers that a plan's page computes with: draws, wish, prices of every model that it may name, settings."""

import dataclasses
from typing import Any

import numpy as np

from distill_or_annotate.planning import advice, break_evens, curves, noisy_labels, options, posterior, sizes, wishes
from distill_or_annotate.planning.outcomes import Evidence
from distill_or_annotate.planning.posterior import Draws
from distill_or_annotate.planning.prices import PlanPrices
from distill_or_annotate.planning.wishes import Wish
from distill_or_annotate.prices import PriceBook

# More labels than any rate is limited to.
_MANY_LABELS = 10**12


def numbers_of(evidence: Evidence, wish: Wish, prices: PlanPrices, draws: Draws) -> dict[str, Any]:
    """Returns what the page computes with, as JSON-ready values.

    Args:
      evidence: what the plan rests on.
      wish: budget and what is there.
      prices: of the task.
      draws: the task's curves, rounded as `Draws.rounded` does.
    """
    return {
        "task": evidence.task,
        "metric": evidence.metric,
        "wish": dataclasses.asdict(wish),
        "prices": prices_as_dict(wish, prices),
        "decades": {
            "teacher": {name: sizes.decades(name, prices.like, "teacher") for name in wish.teachers},
            "student": {name: sizes.decades(name, prices.like, "student") for name in wish.students},
        },
        "draws": _draws(draws),
        "settings": settings(),
    }


def settings() -> dict[str, Any]:
    """Returns the constants of the plan's modules, so that the page has none of its own."""
    return {
        "close_points": advice.CLOSE_POINTS,
        "sure": advice.SURE,
        "frontier_points": advice.FRONTIER_POINTS,
        "frontier_from": advice.FRONTIER_FROM,
        "frontier_rise_points": advice.FRONTIER_RISE_POINTS,
        "least_gain_points": advice.LEAST_GAIN_POINTS,
        "farthest": break_evens.FARTHEST,
        "steps": break_evens.STEPS,
        "halvings": break_evens.HALVINGS,
        "scanned": break_evens.SCANNED,
        "names": break_evens.NAMES,
        "sizes": options.SIZES,
        "llm_every": options.LLM_EVERY,
        "llm_sizes": options.LLM_SIZES,
        "least_pool": options.LEAST_POOL,
        "least_labels": wishes.LEAST_LABELS,
        "span": curves.SPAN,
        "sharpness": curves.SHARPNESS,
        "least_pool_asked": curves.LEAST_POOL_ASKED,
        "shift": noisy_labels.SHIFT,
        "bend": noisy_labels.BEND,
        "run_noise_logit": posterior.RUN_NOISE_LOGIT,
        "run_noise_points": posterior.RUN_NOISE_POINTS,
    }


def prices_as_dict(wish: Wish, prices: PlanPrices) -> dict[str, Any]:
    """Returns prices as the page computes with them.

    Args:
      wish: names the models.
      prices: of the task.
    """
    today = dataclasses.replace(prices, compute_factor=1.0)
    return {
        "label_usd": prices.label_usd,
        "compute_factor": prices.compute_factor,
        "llm_factor": prices.llm_factor,
        "computing": computing_as_dict(prices.book, prices.like),
        "accelerators": [dataclasses.asdict(each) for each in prices.accelerators],
        "llms": [dataclasses.asdict(llm) | {"stderr": llm.stderr} for llm in prices.llms],
        "finetune_ratios": {name: prices.finetune_ratio(name) for name in wish.teachers},
        "distill_ratios": {
            teacher: {student: prices.distill_ratio(teacher, student) for student in wish.students}
            for teacher in wish.teachers
        },
        "serving_usd_per_million": {
            "teacher": {name: today.serving_usd_per_million(name, "teacher") for name in wish.teachers},
            "student": {name: today.serving_usd_per_million(name, "student") for name in wish.students},
        },
    }


def computing_as_dict(book: PriceBook, task: str) -> dict[str, Any]:
    """Returns what `costs.finetune_cost` and `costs.distill_cost_per_1k` read of a book.

    Args:
      book: the price book; a scaled one gives its scale, and its base's prices below `base`.
      task: a task whose computing it prices.
    """
    if book.base is not None:
        return {"scale": book.scale, "base": computing_as_dict(book.base, book.base_task or task)}
    limited = sorted(
        (entry.max_n_labels, entry.usd)
        for key, entry in book.entries.items()
        if key.startswith(f"distill/{task}/") and entry.max_n_labels
    )
    return {
        "finetune_usd": [[n_labels, entry.usd] for n_labels, entry in book.finetune_points(task).items()],
        "finetune_rounding_usd": book.finetune_rounding_usd,
        "distill_usd_per_1k": [list(pair) for pair in limited],
        "distill_usd_per_1k_above": book.distill_per_1k(task, _MANY_LABELS).usd,
    }


def _draws(draws: Draws) -> dict[str, Any]:
    """Draws as whole numbers, a list for each parameter, of which the page takes the decimals off again."""
    unit = 10**posterior.DIGITS
    arrays = {name: np.rint(getattr(draws, name) * unit).astype(int) for name in ("drawn", "linear", "dice")}
    columns = {name: array.T.tolist() for name, array in arrays.items()}
    return columns | {"unit": unit, "floor": draws.floor}
