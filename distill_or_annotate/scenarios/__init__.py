"""A study as data: its budgets become cells, its cells become stages that share what is equal."""

from distill_or_annotate.scenarios.cells import Cell, cells, teacher_cell
from distill_or_annotate.scenarios.scenario import MODES, STAGE_KINDS, STRATEGIES, Scenario, ScenarioError
from distill_or_annotate.scenarios.stages import Stage, expand

__all__ = [
    "MODES",
    "STAGE_KINDS",
    "STRATEGIES",
    "Cell",
    "Scenario",
    "ScenarioError",
    "Stage",
    "cells",
    "expand",
    "teacher_cell",
]
