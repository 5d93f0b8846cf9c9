"""How sure a table is: nested errors of its cells, paired differences at equal dollars, corrected over the table."""

import dataclasses
from collections.abc import Sequence

from distill_or_annotate.reports.predictions import Answers, Predictions
from distill_or_annotate.reports.purchases import Purchases
from distill_or_annotate.reports.table import Block, ReportCell

# Below this, after Holm's correction, a difference is called sure.
LEVEL = 0.05


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Distilling minus annotating at one budget.

    Attributes:
      budget_usd: additional dollars.
      points: the difference of the scores, in points.
      low: lower end of its 95% interval.
      high: upper end of it.
      p_value: two-sided, corrected over all comparisons of the table.
      n_models: models of the strategy that has fewer.
      n_data_seeds: data seeds among them.
      clusters: what examples were drawn in, such as `example` or `claim`.
    """

    budget_usd: float
    points: float
    low: float
    high: float
    p_value: float
    n_models: int
    n_data_seeds: int
    clusters: str

    @property
    def is_sure(self) -> bool:
        """Whether the corrected p-value is below the level."""
        return self.p_value < LEVEL

    @property
    def sentence(self) -> str:
        """What the comparison says and what it says nothing about."""
        ahead = "distilling ahead" if self.points > 0 else "annotating ahead" if self.points < 0 else "no difference"
        return f"At +${self.budget_usd:,.2f}: {ahead}, {self.points:+.1f} points ({self.interval}; {self.basis})."

    @property
    def interval(self) -> str:
        """The interval and its p-value; of one seed, whose next run nobody knows, the p-value alone."""
        return self._told(self.low, self.high)

    @property
    def lead_interval(self) -> str:
        """The same for the lead of whichever strategy is ahead, so that it holds the points by which it is."""
        return self._told(-self.high, -self.low) if self.points < 0 else self.interval

    def _told(self, low: float, high: float) -> str:
        p_value = f"corrected p {'below 0.001' if self.p_value < 0.001 else f'{self.p_value:.3f}'}"
        return p_value if self.n_models == 1 else f"95% interval {low:+.1f} to {high:+.1f}, {p_value}"

    @property
    def basis(self) -> str:
        """What was resampled."""
        drawn = f"test {self.clusters}s"
        if self.n_models == 1:
            return f"over {drawn} alone: one seed gives no interval"
        seeds = f"{self.n_models} models, {self.n_data_seeds} data seed{'s' if self.n_data_seeds > 1 else ''}"
        return f"over seeds and {drawn}: {seeds}"


def with_nested_errors(blocks: Sequence[Block], predictions: Predictions) -> list[Block]:
    """Returns the blocks with nested errors for cells of several seeds whose answers are at hand.

    Args:
      blocks: the studies of a run.
      predictions: its answers.
    """
    found = []
    for block in blocks:
        rows = {name: tuple(_with_error(cell, predictions) for cell in row) for name, row in block.rows.items()}
        others = tuple((strategy, usd, _with_error(cell, predictions)) for strategy, usd, cell in block.others)
        teacher = _with_error(block.teacher, predictions)
        found.append(dataclasses.replace(block, rows=rows, teacher=teacher, others=others))
    return found


def comparisons(blocks: Sequence[Block], predictions: Predictions) -> list[list[Comparison]]:
    """Returns for each block its paired differences, p-values corrected over all of them.

    Args:
      blocks: the studies of a run; together they are the table that the correction is over.
      predictions: its answers.
    """
    return _corrected(
        [[found for pair in _pairs(block) if (found := _compare(*pair, predictions))] for block in blocks]
    )


def frontier_comparisons(studies: Sequence[Purchases], predictions: Predictions) -> list[list[Comparison]]:
    """Returns for each study the best of both strategies within the dollars of each purchase on its frontier.

    Args:
      studies: the purchases of a run; together they are the table that the correction is over.
      predictions: its answers.
    """
    raw = []
    for study in studies:
        found: dict[tuple, Comparison] = {}
        for each in study.frontier():
            pair = [study.best(strategy, each.total_usd) for strategy in ("distill", "annotate")]
            if None not in pair and all(bought.is_sound for bought in pair):
                # Between two budgets that buy the same two models nothing changes: the lower one stands for both.
                names = tuple(bought.name for bought in pair)
                compared = _compare(each.total_usd, *(bought.cell for bought in pair), predictions)
                if compared and names not in found:
                    found[names] = compared
        raw.append(list(found.values()))
    return _corrected(raw)


def _corrected(raw: Sequence[Sequence[Comparison]]) -> list[list[Comparison]]:
    from distill_or_annotate.statistics import holm

    corrected = iter(holm([comparison.p_value for row in raw for comparison in row]))
    return [[dataclasses.replace(comparison, p_value=next(corrected)) for comparison in row] for row in raw]


def _pairs(block: Block) -> list[tuple[float, ReportCell, ReportCell]]:
    if not {"annotate", "distill"} <= set(block.rows):
        return []
    rows = zip(block.budgets_usd, block.rows["distill"], block.rows["annotate"], strict=True)
    return [(usd, distill, annotate) for usd, distill, annotate in rows if None not in (distill.value, annotate.value)]


def _compare(
    budget_usd: float, distill: ReportCell, annotate: ReportCell, predictions: Predictions
) -> Comparison | None:
    from distill_or_annotate.statistics import difference

    answers = [predictions.of_all(cell.run_ids) for cell in (distill, annotate)]
    if None in answers or answers[0][0].examples != answers[1][0].examples:
        return None
    models = [_models(cell, found) for cell, found in zip((distill, annotate), answers, strict=True)]
    if None in models:
        return None
    shown = answers[0][0]
    found = difference(*models, shown.scorer.headline, shown.clusters)
    clusters = shown.cluster_name if shown.clusters else "example"
    numbers = (found.value, found.low, found.high, found.p_value, found.n_models, found.n_data_seeds)
    return Comparison(budget_usd, *numbers, clusters)


def _with_error(cell: ReportCell, predictions: Predictions) -> ReportCell:
    from distill_or_annotate.statistics import estimate

    if cell.n_seeds < 2:
        return cell
    answers = predictions.of_all(cell.run_ids)
    models = _models(cell, answers) if answers else None
    if models is None:
        return cell
    found = estimate(models, answers[0].scorer.headline, answers[0].clusters)
    return dataclasses.replace(cell, value=found.value, stderr=found.stderr)


def _models(cell: ReportCell, answers: Sequence[Answers]):
    import numpy as np

    from distill_or_annotate.statistics import Models

    if len(answers) != len(cell.seeds) or len(set(cell.seeds)) != len(cell.seeds):
        return None
    return Models(cell.seeds, np.stack([each.counts for each in answers]))
