"""Language models as annotators: what a label of theirs costs and how right it is."""

import dataclasses
import math

from distill_or_annotate import paper
from distill_or_annotate.costs import api_label_cost, api_models
from distill_or_annotate.planning.outcomes import PlanningError
from distill_or_annotate.prices import PriceBook

# Standard error of a score that nobody measured, on the logit scale.
UNMEASURED = 0.4
# Whose prompts stand for those of a task that Section 5 of the paper has not.
_LIKE = "wlp"
# Of a prompt with 32 examples and its answer, the answer is one example's target among 33 pairs: about this share.
_OUTPUT_SHARE = 0.03


@dataclasses.dataclass(frozen=True)
class LanguageModel:
    """An annotator that is a language model.

    Attributes:
      name: as the price book has it.
      usd: dollars of a label.
      score: what its labels score against gold, in percent of the task's metric.
      n_gold: gold labels that it was measured on; 0 where it is guessed.
      chance: the score of blind guessing, 0 to 1.
      note: where price and score come from.
    """

    name: str
    usd: float
    score: float
    n_gold: int
    chance: float
    note: str

    @property
    def stderr(self) -> float:
        """Standard error of the score on the logit scale."""
        share = min(max(self.score / 100, 0.003), 0.997)
        return 1 / math.sqrt(self.n_gold * share * (1 - share)) if self.n_gold else UNMEASURED


def language_model(
    name: str, book: PriceBook, task: str, usd: float | None, score: float | None, n_gold: int, n_classes: int
) -> LanguageModel:
    """Returns a language model as an annotator of a task.

    Args:
      name: the model.
      book: the price book.
      task: the task.
      usd: dollars of a label; None takes the paper's tokens for the task (Section 5) at the book's prices.
      score: against gold, percent.
      n_gold: gold labels that it was measured on; 0 where it is a guess.
      n_classes: of the task; 0 where it has none.

    Raises:
      PlanningError: there is no price or no score of the model, or one is out of range.
    """
    if score is None:
        raise PlanningError(
            f"llm_score: nothing says how right the labels of {name!r} are. Fix: --llm-score PERCENT --llm-gold N, "
            "which `doa annotate --gold FILE` measures on 50 or more gold labels."
        )
    if not 0 < score < 100 or n_gold < 0:
        raise PlanningError(f"llm_score: received {score!r} on {n_gold!r} labels; allowed: 0 to 100, on at least 0.")
    priced = "as was said"
    if usd is None:
        usd, priced = _price(name, book, task)
    if not math.isfinite(usd) or usd <= 0:
        raise PlanningError(f"llm_usd: received {usd!r}; it must be dollars above 0.")
    measured = f"measured on {n_gold:,} gold labels" if n_gold else "a guess: measure it with `doa annotate --gold`"
    note = f"A label of {name} costs ${usd:.3g} ({priced}) and scores {score:g} ({measured})."
    return LanguageModel(name, usd, score, n_gold, 1 / n_classes if n_classes > 1 else 0.0, note)


def _price(name: str, book: PriceBook, task: str) -> tuple[float, str]:
    facts = paper.facts()["gpt35"]
    like = task if task in facts else _LIKE
    tokens = facts[like]["tokens_per_label"]
    if name == facts["model"]:
        return facts[like]["usd_per_label"], f"Section 5 of the paper, for {like}"
    if name not in api_models(book):
        raise PlanningError(
            f"llm: book {book.name} prices no {name!r}; allowed: {', '.join(api_models(book)) or 'none'}. Fix: "
            "--llm-usd DOLLARS a label, which `doa annotate --estimate` prints, or --book current."
        )
    output = round(tokens * _OUTPUT_SHARE)
    usd = api_label_cost(book, name, input_tokens=tokens - output, output_tokens=output).usd
    return usd, f"{tokens:,} tokens, as the paper's prompts for {like} have, at the book's prices"
