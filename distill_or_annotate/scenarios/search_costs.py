"""What a search for learning rate and epochs costs: whether its candidates pay for themselves, and how much."""

from distill_or_annotate.costs import Cost, model_flops, student_training_cost
from distill_or_annotate.prices import PriceBook
from distill_or_annotate.scenarios.scenario import Scenario


def charges_each_candidate(scenario: Scenario) -> bool:
    """Returns whether each candidate of a search owes its own training, or all of them together what one owes.

    Together they owe it where a student's training is free, as in the paper. Where time is measured nothing is owed by
    a rate: the candidates of a distillation share the time that was bought, and those on labels are billed for theirs.

    Args:
      scenario: the study.
    """
    is_measured = scenario.mesh and scenario.mode == "fair"
    return not is_measured and not scenario.assumed().student_training_is_free


def trained_again(scenario: Scenario, book: PriceBook, n_labels: int) -> Cost | None:
    """Returns what a candidate after the first owes for training the student on labels; None where it owes nothing.

    Args:
      scenario: the study, with one value per axis.
      book: its prices.
      n_labels: labels that it is trained on, at least 1.
    """
    if not charges_each_candidate(scenario):
        return None
    return student_training_cost(book, scenario.task, n_labels, priced_student(scenario))


def priced_student(scenario: Scenario) -> str:
    """Returns the student, or the one that the books price where nobody knows its size.

    Args:
      scenario: the study, with one value per axis.
    """
    return scenario.student if model_flops.family(scenario.student) else "t5_1_1_small"
