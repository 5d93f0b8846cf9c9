"""What models that the price book does not price cost: its prices times the ratio of what our forecast counts.

A book prices one pair, T5 v1.1 XXL to Small (a scaled book the mini models that stand for it). For other sizes:

  fine-tuning a teacher of T operations a pass:          usd * T / T0
  1,000 distilled examples with a student of S:          usd * ((1 + E) T + 3 E S) / ((1 + E) T0 + 3 E S0)

with T0 and S0 the priced pair and E the student's epochs: the teacher writes each target once and runs in each step,
the student's training step is three passes. Operations are those on an example at the task's lengths, as the forecast
counts them (`costs.model_flops`). Each such price is marked `estimated`.
"""

import dataclasses

from distill_or_annotate.costs import Cost, model_flops
from distill_or_annotate.costs import distill_cost_per_1k as priced_distill_per_1k
from distill_or_annotate.costs import finetune_cost as priced_finetune
from distill_or_annotate.prices import PriceBook

# The encoders of gin/models, and their first layers (`minilm_2`).
_ENCODERS = ("minilm", "bert", "distilbert")


def is_encoder(model: str) -> bool:
    """Returns whether a model is an encoder with a classifier: it has no decoder, and no book prices its size.

    Args:
      model: a teacher, student or compact model of a scenario.
    """
    return model.startswith(_ENCODERS)


def finetune_cost(book: PriceBook, task: str, n_labels: int, teacher: str) -> Cost:
    """Returns the cost of fine-tuning a teacher of any size once.

    Args:
      book: the prices.
      task: the task.
      n_labels: labels, at least 1.
      teacher: a model; one whose size is not counted costs what the book says.
    """
    cost = priced_finetune(book, task, n_labels)
    if model_flops.family(teacher) is None:
        return cost
    return _times(cost, model_flops.finetune_ratio(book.base_task or task, teacher))


def distill_cost_per_1k(book: PriceBook, task: str, n_labels: int, teacher: str, student: str) -> Cost:
    """Returns the cost of distilling 1,000 examples for any two sizes.

    Args:
      book: the prices.
      task: the task.
      n_labels: initial labels, at least 1.
      teacher: a model; where the size of one of the two is not counted, the book's price stands.
      student: a model.
    """
    cost = priced_distill_per_1k(book, task, n_labels)
    family = model_flops.family(teacher)
    if family is None or family != model_flops.family(student):
        return cost
    return _times(cost, model_flops.distill_ratio(book.base_task or task, teacher, student))


def _times(cost: Cost, factor: float) -> Cost:
    return cost if factor == 1 else dataclasses.replace(cost, usd=cost.usd * factor, provenance="estimated")
