"""Everything that a report says of a run, worked out once for the page and for the Markdown."""

import dataclasses

from distill_or_annotate.costs import Assumptions
from distill_or_annotate.ledger import Totals, totals_of
from distill_or_annotate.reports import classes, energy, purchase_answer
from distill_or_annotate.reports.answer import Answer, answer_of
from distill_or_annotate.reports.beside import beside
from distill_or_annotate.reports.certainty import Comparison, comparisons, frontier_comparisons, with_nested_errors
from distill_or_annotate.reports.figure_data import FigureData, run_figures
from distill_or_annotate.reports.grids import Grid
from distill_or_annotate.reports.inputs import RunFiles
from distill_or_annotate.reports.predictions import Predictions
from distill_or_annotate.reports.purchases import Purchases, is_a_grid, purchases_of
from distill_or_annotate.reports.systems import systems_grid
from distill_or_annotate.reports.table import Block, blocks_of

_ALWAYS = (
    "Scores are of the test split; nothing was chosen on it.",
    "Local dollars count every second that this machine worked, whatever the study pays for.",
)


@dataclasses.dataclass(frozen=True)
class StudyReport:
    """What is said of one study.

    Attributes:
      block: its table.
      answer: the manager's page.
      compared: paired differences at equal dollars.
      per_class: change from teacher to student; None where there are no classes or no answers.
      published: ours beside the published; None where nothing is.
    """

    block: Block
    answer: Answer
    compared: tuple[Comparison, ...]
    per_class: Grid | None
    published: Grid | None


@dataclasses.dataclass(frozen=True)
class GridReport:
    """What is said of one study over labels L and unlabeled examples U.

    Attributes:
      purchases: its models.
      answer: the manager's page.
    """

    purchases: Purchases
    answer: Answer


@dataclasses.dataclass(frozen=True)
class RunReport:
    """What is said of one run.

    Attributes:
      run: its files.
      totals: of its ledger.
      studies: one per block.
      grids: studies over L and U, which then stand for the blocks; empty where dollars are varied.
      figures: those of the paper that it has models for.
      energy: of each stage.
      energy_grid: the same by kind of stage; None where nothing ran.
      systems: all models, where there are other systems than annotating and distilling; else None.
      assumptions: one sentence each.
    """

    run: RunFiles
    totals: Totals
    studies: tuple[StudyReport, ...]
    grids: tuple[GridReport, ...]
    figures: tuple[FigureData, ...]
    energy: tuple[energy.StageEnergy, ...]
    energy_grid: Grid | None
    systems: Grid | None
    assumptions: tuple[str, ...]


def assembled(run: RunFiles, beside_published: bool = False) -> RunReport:
    """Works out a run's report.

    Args:
      run: its files.
      beside_published: whether to set the paper's numbers beside ours.
    """
    predictions = Predictions(run)
    blocks = with_nested_errors(blocks_of(run), predictions)
    compared = comparisons(blocks, predictions)
    studies = [
        StudyReport(
            block=block,
            answer=answer_of(block, found, run.manifest),
            compared=tuple(found),
            per_class=_per_class(block, predictions),
            published=beside(block, run.manifest) if beside_published else None,
        )
        for block, found in zip(blocks, compared, strict=True)
    ]
    bought = purchases_of(blocks) if is_a_grid(run.manifest) else []
    grids = [
        GridReport(each, purchase_answer.answer_of(each, found, run.manifest))
        for each, found in zip(bought, frontier_comparisons(bought, predictions), strict=True)
    ]
    stages = energy.stage_energy(run.ledger)
    return RunReport(
        run=run,
        totals=totals_of(run.ledger),
        studies=tuple(studies),
        grids=tuple(grids),
        figures=tuple(run_figures(run.name, blocks, is_grid=bool(bought))),
        energy=tuple(stages),
        energy_grid=energy.grid_of(stages, energy.billed_gpu_hours(run.ledger)) if stages else None,
        systems=systems_grid(blocks),
        assumptions=_assumptions(run),
    )


def _per_class(block: Block, predictions: Predictions) -> Grid | None:
    changes, budget_usd = classes.class_changes(block, predictions)
    return classes.grid_of(changes, budget_usd) if changes else None


def _assumptions(run: RunFiles) -> tuple[str, ...]:
    scenario = run.manifest.get("scenario", {})
    mode = scenario.get("mode") or next((row["mode"] for row in run.results), "fair")
    said = [*Assumptions.for_mode(mode, **(scenario.get("assumptions") or {})).sentences(), *_ALWAYS]
    return tuple(dict.fromkeys([*said, *map(str, run.manifest.get("assumptions", []))]))
