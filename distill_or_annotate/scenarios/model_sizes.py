"""What models that the price book does not price cost: its prices times the ratio of the arithmetic.

A book prices one pair, T5 v1.1 XXL to Small (a scaled book the mini models that stand for it). For other sizes:

  fine-tuning a teacher of P parameters:  usd * P / P0
  1,000 distilled examples:               usd * (2 P + 6 S) / (2 P0 + 6 S0)

with P0 and S0 the priced pair. A training step of a network of P parameters takes about 6 P floating-point operations a
token, a forward pass 2 P; distilling with a live teacher runs the teacher forward and trains the student (S) on each
token. Memory, the number of accelerators and their utilisation are left out, so each such price is marked `estimated`.
"""

import dataclasses

from distill_or_annotate.costs import Cost
from distill_or_annotate.costs import distill_cost_per_1k as priced_distill_per_1k
from distill_or_annotate.costs import finetune_cost as priced_finetune
from distill_or_annotate.costs.student import PARAMETERS as T5_PARAMETERS
from distill_or_annotate.prices import PriceBook

# The mini models have these with the vocabulary of `mini`.
PARAMETERS = {**T5_PARAMETERS, "mini_student": 328_576, "mini_teacher": 2_789_120}
_PRICED_PAIRS = (("t5_1_1_xxl", "t5_1_1_small"), ("mini_teacher", "mini_student"))


def finetune_cost(book: PriceBook, task: str, n_labels: int, teacher: str) -> Cost:
    """Returns the cost of fine-tuning a teacher of any size once: the book's, times P / P0.

    Args:
      book: the prices.
      task: the task.
      n_labels: labels, at least 1.
      teacher: a model; one whose size is not known here costs what the book says.
    """
    cost = priced_finetune(book, task, n_labels)
    pair = _priced_pair(teacher)
    return cost if pair is None else _times(cost, PARAMETERS[teacher] / PARAMETERS[pair[0]])


def distill_cost_per_1k(book: PriceBook, task: str, n_labels: int, teacher: str, student: str) -> Cost:
    """Returns the cost of distilling 1,000 examples for any two sizes: the book's, times (2P + 6S) / (2P0 + 6S0).

    Args:
      book: the prices.
      task: the task.
      n_labels: initial labels, at least 1.
      teacher: a model; where the size of one of the two is not known here, the book's price stands.
      student: a model.
    """
    cost = priced_distill_per_1k(book, task, n_labels)
    pair = _priced_pair(teacher)
    if pair is None or pair != _priced_pair(student):
        return cost
    return _times(cost, _step_flops(teacher, student) / _step_flops(*pair))


def _step_flops(teacher: str, student: str) -> int:
    return 2 * PARAMETERS[teacher] + 6 * PARAMETERS[student]


def _priced_pair(model: str) -> tuple[str, str] | None:
    """The priced pair of a model's family; None for models whose size is not known."""
    if model not in PARAMETERS:
        return None
    return next(pair for pair in _PRICED_PAIRS if pair[0].rpartition("_")[0] == model.rpartition("_")[0])


def _times(cost: Cost, factor: float) -> Cost:
    return cost if factor == 1 else dataclasses.replace(cost, usd=cost.usd * factor, provenance="estimated")
