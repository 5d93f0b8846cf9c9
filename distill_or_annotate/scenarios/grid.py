"""A study over several values of an axis: a grid of studies with one each, which share what is equal."""

import dataclasses
import itertools
from collections.abc import Mapping

from distill_or_annotate.prices import PriceBook
from distill_or_annotate.scenarios.cells import Cell, cells
from distill_or_annotate.scenarios.expansion import expand
from distill_or_annotate.scenarios.scenario import AXES, Scenario, ScenarioError
from distill_or_annotate.scenarios.stages import Stage, merged, with_new_labels


def singles(scenario: Scenario) -> list[Scenario]:
    """Returns the scenarios with one value per axis, the last axis (training seeds) varying fastest.

    Args:
      scenario: the study; with one value per axis it is returned as it is.
    """
    if not any(isinstance(getattr(scenario, axis), tuple) for axis in AXES):
        return [scenario]
    grid = itertools.product(*(scenario.values(axis) for axis in AXES))
    return [dataclasses.replace(scenario, **dict(zip(AXES, values, strict=True))) for values in grid]


def all_cells(scenario: Scenario, book: PriceBook | None = None) -> list[tuple[Scenario, Cell]]:
    """Returns every cell of the grid with the single scenario that it belongs to.

    Args:
      scenario: the study.
      book: its prices; None loads the one that it names.

    Raises:
      PriceBookError: the book does not price the task.
    """
    book = book or scenario.book()
    return [(single, cell) for single in singles(scenario) for cell in cells(single, book)]


def expand_all(
    scenario: Scenario, book: PriceBook | None = None, gin_digests: Mapping[str, str] | None = None
) -> list[Stage]:
    """Returns the stages of the whole grid, each once, sorted so that each stands after those it depends on.

    Stages are merged by name, which is made of all that determines them. Captures by one teacher are merged into the
    largest: smaller pools are prefixes of it.

    Args:
      scenario: the study.
      book: its prices; None loads the one that it names.
      gin_digests: gin file -> digest of its contents; None hashes names alone.

    Raises:
      ScenarioError: a strategy lacks its gin file.
      PriceBookError: the book does not price the task.
    """
    book = book or scenario.book()
    by_name: dict[str, Stage] = {}
    for single in singles(scenario):
        for stage in expand(single, book, gin_digests):
            by_name[stage.name] = merged(by_name.get(stage.name, stage), stage.serves)
    return with_new_labels(_with_one_capture_a_teacher(list(by_name.values())))


def check_runnable(scenario: Scenario) -> None:
    """Refuses a study that can be priced here, but not run.

    Args:
      scenario: the study.

    Raises:
      ScenarioError: general_distill without an encoder's gin file.
    """
    if "general_distill" in scenario.strategies and not scenario.general_gin:
        others = tuple(strategy for strategy in scenario.strategies if strategy != "general_distill")
        fix = f', or leave it out: --set "strategies={others!r}"' if others else ""
        raise ScenarioError(
            f"Scenario.general_gin: received ''; general_distill trains {scenario.compact!r} with it. Bind the gin "
            f"file of an encoder for task {scenario.task!r}{fix}."
        )


def _with_one_capture_a_teacher(stages: list[Stage]) -> list[Stage]:
    largest: dict[tuple, Stage] = {}
    for stage in stages:
        if stage.kind == "capture":
            before = largest.get(_capture_key(stage), stage)
            bigger = max(before, stage, key=lambda capture: capture.n_unlabeled)
            largest[_capture_key(stage)] = merged(merged(bigger, before.serves), stage.serves)
    renamed = {stage.name: largest[_capture_key(stage)].name for stage in stages if stage.kind == "capture"}
    done: dict[str, Stage] = {}
    for stage in stages:
        if stage.kind == "capture":
            kept = largest[_capture_key(stage)]
            done.setdefault(kept.name, kept)
        else:
            depends_on = tuple(renamed.get(name, name) for name in stage.depends_on)
            done[stage.name] = dataclasses.replace(stage, depends_on=depends_on)
    return list(done.values())


def _capture_key(stage: Stage) -> tuple:
    return (stage.depends_on, stage.gin_file, stage.task_gin, tuple(sorted(stage.macros.items())))
