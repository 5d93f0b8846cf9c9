"""What a language model's label costs: the tokens that the paper counted (Section 5) or the study names, at the book's
prices."""

import dataclasses
from collections.abc import Sequence

from distill_or_annotate import paper
from distill_or_annotate.costs import Cost, api_label_cost, api_models
from distill_or_annotate.prices import PriceBook


def llm_label(book: PriceBook, task: str, model: str, tokens_per_label: Sequence[int] | None = None) -> Cost | None:
    """Returns the cost of one label; None where nobody counted tokens or the book does not price the model.

    Args:
      book: the study's prices; a scaled one has those of its base and of its base's task, since only budgets shrink.
      task: the task.
      model: name of the language model in the book, such as text-davinci-003.
      tokens_per_label: tokens of a request and of its answer; None takes the paper's count.
    """
    counted = paper.facts()["gpt35"].get(book.base_task or task)
    priced = book.base or book
    if model not in api_models(priced):
        return None
    if tokens_per_label is not None:
        sent, received = tokens_per_label
        cost = api_label_cost(priced, model, input_tokens=sent, output_tokens=received)
        return dataclasses.replace(cost, provenance="estimated")
    if not isinstance(counted, dict):
        return None
    return api_label_cost(priced, model, input_tokens=counted["tokens_per_label"], output_tokens=0)


def why_none(book: PriceBook, task: str, model: str) -> str:
    """Returns why there is no such label.

    Args:
      book: as `llm_label` takes it.
      task: as `llm_label` takes it.
      model: as `llm_label` takes it.
    """
    models = api_models(book.base or book)
    if model not in models:
        return f"book {book.name} prices no labels by {model}; Scenario.llm may be {', '.join(models) or 'none'}"
    return (
        f"the paper counts no tokens of a language-model label of task {book.base_task or task}; bind "
        "Scenario.llm_options['tokens_per_label'], of a request and its answer (doa annotate --estimate)"
    )
