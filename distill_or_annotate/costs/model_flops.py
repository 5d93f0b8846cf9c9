"""Operations of each model size at each task's lengths, as our forecast counts them: unpriced sizes are priced by them.

`python benchmarks/model_flops.py` makes the file: operations of a forward pass on one example, counted matrix product
by matrix product on the program itself, at the lengths of Table 8. Writing a target takes as many, a training step
three times as many, which is counted there too. Memory, the number of accelerators and how well they are used are not
in it, so every price that rests on it is marked `estimated`.
"""

import functools
import json
import pathlib

from distill_or_annotate import paper

FILE = pathlib.Path(__file__).with_name("model_flops.json")
# A training step, in forward passes.
STEP_PASSES = 3
# Sides of an example, and what the paper's facts call their lengths.
LENGTHS = (("input", "source"), ("target", "target"))
# The two sizes that a price book's rates are for, by family of models.
PRICED_PAIRS = {"t5_1_1": ("t5_1_1_xxl", "t5_1_1_small"), "mini": ("mini_teacher", "mini_student")}


def family(model: str) -> str | None:
    """Returns the family of a model whose size is counted; None for others.

    Args:
      model: a model's name, such as 't5_1_1_xl' or 'mini_teacher'.
    """
    return next((name for name in PRICED_PAIRS if model in _counted(name)), None)


def models() -> list[str]:
    """Returns the names of all models that are counted."""
    return [model for name in PRICED_PAIRS for model in _counted(name)]


def forward(task: str, model: str) -> int:
    """Returns the operations of a pass on an example of a task; a task not of the paper is taken for its first.

    Args:
      task: the task.
      model: a model that has a family.

    Raises:
      KeyError: the model is not counted.
    """
    return _counted(family(model) or "", task)[model]


def finetune_ratio(task: str, model: str) -> float:
    """Returns how many times the priced teacher's fine-tuning a model's costs, on as many labels and epochs.

    Args:
      task: the task.
      model: a model that has a family.
    """
    teacher, _ = PRICED_PAIRS[family(model)]
    return forward(task, model) / forward(task, teacher)


def distill_ratio(task: str, teacher: str, student: str) -> float:
    """Returns how many times the priced pair's distillation another pair's costs, in the paper's loop.

    There the teacher writes each target once, and runs in each step of the student's epochs (Table 8).

    Args:
      task: the task.
      teacher: a model that has a family.
      student: one of the same family.
    """
    priced = PRICED_PAIRS[family(teacher)]
    return _distilling(task, teacher, student) / _distilling(task, *priced)


def _distilling(task: str, teacher: str, student: str) -> float:
    epochs = paper.task(_paper_task(task))["epochs"]["value"]
    return (1 + epochs) * forward(task, teacher) + epochs * STEP_PASSES * forward(task, student)


def _paper_task(task: str) -> str:
    return task if task in paper.task_names() else paper.task_names()[0]


@functools.cache
def _counted(family_name: str, task: str = "") -> dict[str, int]:
    counted = json.loads(FILE.read_text(encoding="utf-8"))
    return counted.get("mini" if family_name == "mini" else _paper_task(task), {})
