"""Sizes of models as the curves take them: decades of operations above the model that the price book is for."""

import math

from distill_or_annotate.costs import model_flops

_PLACES = {"teacher": 0, "student": 1}


def is_counted(model: str) -> bool:
    """Returns whether a model's operations are counted.

    Args:
      model: its name.
    """
    return model_flops.family(model) is not None


def decades(model: str, task: str, role: str) -> float:
    """Returns log10 of a model's operations over those of the priced model of its family.

    Args:
      model: its name; one that is not counted is taken for the priced one, which gives 0.
      task: the task, whose lengths count.
      role: teacher | student, whichever it is used as.
    """
    family = model_flops.family(model)
    if family is None:
        return 0.0
    priced = model_flops.PRICED_PAIRS[family][_PLACES[role]]
    return math.log10(model_flops.forward(task, model) / model_flops.forward(task, priced))


def serving_operations(model: str, task: str) -> float:
    """Returns the operations of one prediction: reading the input and writing the target, a pass each.

    Args:
      model: a model that is counted.
      task: the task, whose lengths count.
    """
    return 2.0 * model_flops.forward(task, model)
