"""A study as data: its budgets become cells, its cells become stages that share what is equal."""

from distill_or_annotate.scenarios import published
from distill_or_annotate.scenarios.cells import Cell, cells, teacher_cell
from distill_or_annotate.scenarios.grid import all_cells, check_runnable, expand_all, singles
from distill_or_annotate.scenarios.scenario import (
    AXES,
    MODES,
    PLANNED_STRATEGIES,
    STAGE_KINDS,
    STRATEGIES,
    Scenario,
    ScenarioError,
)
from distill_or_annotate.scenarios.stages import Stage, expand

__all__ = [
    "AXES",
    "MODES",
    "PLANNED_STRATEGIES",
    "STAGE_KINDS",
    "STRATEGIES",
    "Cell",
    "Scenario",
    "ScenarioError",
    "Stage",
    "all_cells",
    "cells",
    "check_runnable",
    "expand",
    "expand_all",
    "published",
    "singles",
    "teacher_cell",
]
