"""What a label from a language model costs, as the paper has it (Section 5): $0.02 per 1,000 tokens, 32 examples."""

import dataclasses
import datetime

from distill_or_annotate import paper
from distill_or_annotate.prices import PriceBook


@dataclasses.dataclass(frozen=True)
class LlmPrice:
    """Dollars of one label.

    Attributes:
      usd: dollars per label.
      price_entry: where it stands.
      date: day on which it held.
    """

    usd: float
    price_entry: str
    date: datetime.date


def llm_label(book: PriceBook, task: str) -> LlmPrice | None:
    """Returns the price of a label from the paper's model; None for the tasks that it did not label.

    Args:
      book: the study's prices; a scaled one has the price of its base's task, since only budgets shrink.
      task: the task.
    """
    facts = paper.facts()
    priced = facts["gpt35"].get(book.base_task or task)
    if not isinstance(priced, dict):
        return None
    date = datetime.date.fromisoformat(facts["paper"]["date"])
    return LlmPrice(priced["usd_per_label"], f"paper:gpt35/{book.base_task or task}", date)
