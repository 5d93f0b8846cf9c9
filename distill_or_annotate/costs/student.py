"""What fine-tuning the student on labels costs: nothing in the paper, a share of the teacher's where it counts."""

from distill_or_annotate import paper
from distill_or_annotate.costs import model_flops
from distill_or_annotate.costs.arithmetic import CostError
from distill_or_annotate.costs.teacher import Cost, check_n_labels, finetune_line
from distill_or_annotate.prices import PriceBook


def student_training_cost(book: PriceBook, task: str, n_labels: int, student: str = "t5_1_1_small") -> Cost:
    """Returns the cost of fine-tuning the student once on `n_labels`.

    A book may price it: `student_finetune/TASK`, dollars per 1,000 labels. Otherwise it is the teacher's cost on as
    many labels, not rounded up, times the ratio of operations and of epochs (Table 8), and marked `estimated`. Small
    models use an accelerator worse than large ones, so the true cost is higher.

    Args:
      book: the prices; a scaled book takes those of its base.
      task: a task that the book, or its base through `base_task`, prices.
      n_labels: labels, at least 1.
      student: a T5 v1.1 size; the name of a mini model stands for the smallest.

    Raises:
      CostError: n_labels is out of range, or the model is unknown.
      PriceBookError: the book prices no run of the task.
    """
    check_n_labels(n_labels)
    if f"student_finetune/{task}" in book.entries or "student_finetune/*" in book.entries:
        entry = book.entry(f"student_finetune/{task}")
        usd = entry.usd * n_labels / 1000
        return Cost(usd, entry.provenance, (f"{entry.book}:{entry.id}",), entry.date)
    line = finetune_line(book, task, n_labels)
    task = book.base_task or task
    ratio = model_flops.finetune_ratio(task, _model(student)) * _epochs(task)
    return Cost(line.usd * ratio, "estimated", line.price_entries, line.date)


def _model(student: str) -> str:
    model = "t5_1_1_small" if student.startswith("mini_") else student
    if model_flops.family(model) is None:
        raise CostError(f"student: received {student!r}; allowed: {', '.join(model_flops.models())}.")
    return model


def _epochs(task: str) -> float:
    """The student's epochs per epoch of the teacher; a task that the paper does not have is trained as those it has."""
    facts = paper.task(task if task in paper.task_names() else paper.task_names()[0])
    return facts["epochs"]["value"] / facts["teacher_epochs"]["value"]
