"""A study as data: its budgets become cells, its cells become stages that share what is equal."""

from distill_or_annotate.scenarios import published
from distill_or_annotate.scenarios.cells import Cell, cells, teacher_cell
from distill_or_annotate.scenarios.expansion import expand
from distill_or_annotate.scenarios.grid import all_cells, check_runnable, expand_all, singles
from distill_or_annotate.scenarios.model_sizes import is_encoder
from distill_or_annotate.scenarios.scenario import (
    ALL_STRATEGIES,
    AXES,
    LLM_LABELS_GIN,
    MODES,
    SELECTION_SPLIT,
    STAGE_KINDS,
    STRATEGIES,
    TRAINING_KINDS,
    Scenario,
    ScenarioError,
)
from distill_or_annotate.scenarios.stages import Stage

__all__ = [
    "ALL_STRATEGIES",
    "AXES",
    "LLM_LABELS_GIN",
    "MODES",
    "SELECTION_SPLIT",
    "STAGE_KINDS",
    "STRATEGIES",
    "TRAINING_KINDS",
    "Cell",
    "Scenario",
    "ScenarioError",
    "Stage",
    "all_cells",
    "cells",
    "check_runnable",
    "expand",
    "expand_all",
    "is_encoder",
    "published",
    "singles",
    "teacher_cell",
]
