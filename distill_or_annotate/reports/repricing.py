"""What would change the answer: the measured models at other prices of a label and of computing.

A model's score stays what it is when prices move; what moves is the dollars at which it can be had. Between
neighbouring cells the score is taken to be linear in labels, and in dollars of computing; nothing is said beyond them.
"""

import dataclasses
from collections.abc import Sequence

from distill_or_annotate.reports.table import Block


@dataclasses.dataclass(frozen=True)
class BreakEven:
    """A price at which both strategies score the same with the same dollars.

    Attributes:
      budget_usd: additional dollars of both.
      price: the price, as a multiple of today's.
      is_bound: whether it is but a bound, since no measured cell lies beyond: `at least` above 1, `below` under it.
      sentence: what it means.
    """

    budget_usd: float
    price: float
    is_bound: bool
    sentence: str


def crossing(points: Sequence[tuple[float, float]], score: float) -> float | None:
    """Returns the lowest x at which the line through points reaches a score; None where it never does.

    Args:
      points: (x, score) pairs.
      score: the score.
    """
    points = sorted(points)
    for position, (x, value) in enumerate(points):
        if value >= score:
            if position == 0:
                return x
            before_x, before = points[position - 1]
            return before_x + (x - before_x) * (score - before) / (value - before)
    return None


def label_break_even(block: Block) -> BreakEven | None:
    """Returns the price of a label at which annotating scores what distilling does, at the largest common budget.

    Args:
      block: the study.
    """
    column = _common_column(block)
    if column is None:
        return None
    budget_usd, score = block.budgets_usd[column], block.rows["distill"][column].value
    labels = [(cell.n_labels, cell.value) for cell in block.rows["annotate"] if cell.value is not None]
    price_usd, most = block.initial_usd / block.n_labels, max(n for n, _ in labels)
    needed = crossing(labels, score)
    at = f"At +${budget_usd:,.2f}"
    if needed is not None and needed <= block.n_labels:
        return None
    if needed is None and most <= block.n_labels:
        return None
    even_usd = budget_usd / ((most if needed is None else needed) - block.n_labels)
    factor = even_usd / price_usd
    if needed is None:
        # Labels are whole: what the budget buys at today's price may cost a little less than the budget.
        factor = min(factor, 1.0)
        less = "less than that" if factor == 1 else f"less than ${even_usd:,.4g}"
        sentence = (
            f"{at}: no measured number of labels (up to {most:,}) scores {score:.1f}. A label at ${price_usd:,.4g} "
            f"would have to cost {less} before annotating could catch up; how much is not known."
        )
        return BreakEven(budget_usd, factor, True, sentence)
    turns = "below" if factor < 1 else "above"
    winner = "annotating" if factor < 1 else "distilling"
    sentence = (
        f"{at}: about {needed:,.0f} labels score {score:.1f} too, so a label {turns} ${even_usd:,.4g} "
        f"({factor:.2g} times today's ${price_usd:,.4g}) makes {winner} the better buy."
    )
    return BreakEven(budget_usd, factor, False, sentence)


def compute_break_even(block: Block) -> BreakEven | None:
    """Returns the price of computing at which distilling scores what annotating does, at the largest common budget.

    Args:
      block: the study.
    """
    column = _common_column(block)
    if column is None:
        return None
    budget_usd, score = block.budgets_usd[column], block.rows["annotate"][column].value
    points = [
        (usd, cell.value)
        for usd, cell in zip(block.budgets_usd, block.rows["distill"], strict=True)
        if cell.value is not None
    ]
    at, needed = f"At +${budget_usd:,.2f}", crossing(points, score)
    if needed is None:
        best = max(value for _, value in points)
        sentence = (
            f"{at}: no measured distilled model (best {best:.1f}) reaches the {score:.1f} of annotating, so cheaper "
            "computing alone is not known to change the answer."
        )
        return BreakEven(budget_usd, 0.0, True, sentence)
    factor, is_bound = budget_usd / needed, needed == min(usd for usd, _ in points)
    if is_bound:
        sentence = (
            f"{at}: computing could cost at least {factor:.2g} times as much before distilling fell to the {score:.1f} "
            f"of annotating, since the models distilled at +${needed:,.2f} already score that."
        )
    else:
        turns, winner = ("above", "annotating") if factor > 1 else ("below", "distilling")
        sentence = (
            f"{at}: computing {turns} {factor:.2g} times today's price makes {winner} the better buy; distilling "
            f"reaches {score:.1f} at about +${needed:,.2f} today."
        )
    return BreakEven(budget_usd, factor, is_bound, sentence)


def _common_column(block: Block) -> int | None:
    """Position of the largest budget, above 0, with a score of both strategies, where the two differ."""
    if not {"annotate", "distill"} <= set(block.rows):
        return None
    common = [
        column
        for column, usd in enumerate(block.budgets_usd)
        if usd > 0 and all(block.rows[name][column].value is not None for name in ("annotate", "distill"))
    ]
    if not common:
        return None
    # Two models that nothing was learnt by, or that print alike, have no price at which they turn.
    pair = [block.rows[name][common[-1]] for name in ("annotate", "distill")]
    if all(cell.status == "degenerate" for cell in pair) or len({f"{cell.value:.1f}" for cell in pair}) == 1:
        return None
    return common[-1]
