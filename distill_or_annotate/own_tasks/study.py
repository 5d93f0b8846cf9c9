"""Which study fits the data: how many labels are at hand, which budgets, from what the data and the prices allow."""

from __future__ import annotations

import dataclasses
import math

from distill_or_annotate.costs import distill_cost_per_1k, finetune_cost
from distill_or_annotate.prices import PriceBook

# Of the budget that a distilled model needs at the least, what is spent beyond the teacher.
_BEYOND_TEACHER = 1.25


@dataclasses.dataclass(frozen=True)
class StudyPlan:
    """The numbers of a study.

    Args:
      n_labels: labels at hand: half of the training rows, so that the other half can be bought.
      additional_usd: budgets, rising, the first 0.
      max_labels: training rows.
      max_unlabeled: texts of the pool.
    """

    n_labels: int
    additional_usd: tuple[float, ...]
    max_labels: int
    max_unlabeled: int


def plan(book: PriceBook, task: str, n_train: int, n_pool: int) -> StudyPlan:
    """Chooses budgets: nothing, one that pays for a teacher and a little more, one that buys all that is left.

    Args:
      book: prices of the task.
      task: the task.
      n_train: training rows, at least 2.
      n_pool: texts of the pool, at least 1.

    Returns:
      The numbers.
    """
    n_labels = n_train // 2
    teacher_usd = finetune_cost(book, task, n_labels).usd
    rate_usd = distill_cost_per_1k(book, task, n_labels).usd
    least_usd = teacher_usd * _BEYOND_TEACHER
    all_labels_usd = (n_train - n_labels) * book.label(task).usd
    whole_pool_usd = teacher_usd + n_pool / 1000 * rate_usd
    middle = _round_up(least_usd)
    largest = _round_up(max(all_labels_usd, min(whole_pool_usd, 4 * least_usd)))
    budgets = (0.0, middle, largest) if largest > middle else (0.0, middle)
    return StudyPlan(n_labels, budgets, n_train, n_pool)


def _round_up(usd: float) -> float:
    """The next amount of two digits: 3.01 becomes 3.1, 41.2 becomes 42."""
    grid = 10.0 ** (math.floor(math.log10(usd)) - 1)
    return round(math.ceil(usd / grid - 1e-9) * grid, 10)
