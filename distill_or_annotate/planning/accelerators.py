"""Where the teacher runs: as the price book says, or on slices whose hours a forecast counted."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from distill_or_annotate import paper
from distill_or_annotate.planning.outcomes import PlanningError
from distill_or_annotate.prices import load_book

# The way to distill that a forecast is read for: the cheaper one that all our studies take.
_WAY = "teacher captured once"
_TOLERANCE = 0.01
# Whose prices an hour forecasts and spot capacity have.
_BOOK = "cloud"


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """A slice of accelerators.

    Attributes:
      name: its mesh, such as `v5p-8`.
      finetune_usd_per_1k: dollars of fine-tuning the teacher on 1,000 labels.
      distill_usd_per_1k: dollars of distilling 1,000 unlabeled examples.
    """

    name: str
    finetune_usd_per_1k: float
    distill_usd_per_1k: float


def of_forecasts(
    files: Sequence[pathlib.Path], task: str, like: str, meshes: Sequence[str], spot: float | None = None
) -> list[Accelerator]:
    """Returns the slices of forecasts on which the teacher's programs fit.

    Args:
      files: what `doa forecast --json` printed.
      task: the task being planned.
      like: task whose computing prices hold where no forecast is of the task.
      meshes: names; none takes all.
      spot: share of the work, at least 0, that is done again when spot capacity is taken away; None rents on demand.

    Raises:
      PlanningError: a file is no forecast, a mesh is in none or has no spot price, or two disagree.
    """
    if spot is not None and not 0 <= spot < 10:
        raise PlanningError(f"spot: received {spot!r}; it must be the share of work done again, such as 0.1.")
    entries = [(path, each, said) for path in files for said in [_read(path)] for each in said["forecasts"]]
    tasks = {each["task"] for _, each, _ in entries}
    wanted = next((name for name in (task, like) if name in tasks), "")
    if not wanted:
        known = ", ".join(sorted(tasks))
        raise PlanningError(f"forecast: none is of {task!r} or {like!r}, but of {known}. Fix: forecast it, or --like.")
    found: dict[str, Accelerator] = {}
    short: set[str] = set()
    for path, each, said in entries:
        if each["task"] != wanted or (meshes and each["mesh"] not in meshes):
            continue
        slice_ = _slice(each, said, wanted)
        if slice_ is None:
            short.add(each["mesh"])
            continue
        slice_ = slice_ if spot is None else _on_spot(slice_, spot)
        _agree(found.setdefault(slice_.name, slice_), slice_, path)
    _check_meshes(meshes, found, short, {each["mesh"] for _, each, _ in entries if each["task"] == wanted})
    return list(found.values())


def _read(path: pathlib.Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        if not all({"task", "mesh", "programs", "ways"} <= set(each) for each in said["forecasts"]):
            raise KeyError("forecasts")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PlanningError(
            f"forecast: {path} is not what `doa forecast --json` prints ({error}). Fix: doa forecast --gin_file "
            "gin/experiments/xxl_to_small.gin --mesh v5p-8 --json > FILE."
        ) from error
    return said


def _slice(each: dict[str, Any], said: dict[str, Any], task: str) -> Accelerator | None:
    """One mesh; None where a program does not fit on it."""
    programs = {program["kind"]: program for program in each["programs"]}
    if "finetune" not in programs or _WAY not in each["ways"]:
        raise PlanningError(
            f"forecast: {each['task']} on {each['mesh']} lacks fine-tuning or the way {_WAY!r}. Fix: forecast a "
            "scenario without --only."
        )
    run, way = programs["finetune"], each["ways"][_WAY]
    if not (run["fits"] and way["fits"]):
        return None
    facts = paper.task(task if task in paper.task_names() else paper.task_names()[0])
    steps = 1000 * facts["teacher_epochs"]["value"] / run["costs"]["batch_size"]
    finetune_usd = run["usd"] / run["costs"]["steps"] * steps
    return Accelerator(each["mesh"], finetune_usd, way["usd"] / said["examples"] * 1000)


def _on_spot(slice_: Accelerator, spot: float) -> Accelerator:
    """The slice at the price of capacity that may be taken away, some of the work done twice."""
    prices = load_book(_BOOK).entries
    stem = f"device_hour/{slice_.name.rpartition('-')[0].replace('-', '_')}"
    usual = next((key for key in sorted(prices) if key.startswith(stem) and not key.endswith("_spot")), "")
    if f"{usual}_spot" not in prices:
        raise PlanningError(f"spot: book {_BOOK} has no spot price for {slice_.name!r}. Fix: plan without --spot.")
    factor = prices[f"{usual}_spot"].usd / prices[usual].usd * (1 + spot)
    return Accelerator(slice_.name, slice_.finetune_usd_per_1k * factor, slice_.distill_usd_per_1k * factor)


def _agree(one: Accelerator, other: Accelerator, path: pathlib.Path) -> None:
    for field in ("finetune_usd_per_1k", "distill_usd_per_1k"):
        first, second = getattr(one, field), getattr(other, field)
        if abs(first - second) > _TOLERANCE * max(first, second):
            raise PlanningError(
                f"forecast: {path} contradicts another on {one.name}: {field} ${second:,.2f} and ${first:,.2f}. Fix: "
                "name one of them."
            )


def _check_meshes(meshes, found, short, known) -> None:
    for mesh in meshes:
        if mesh in short and mesh not in found:
            raise PlanningError(f"mesh: the teacher does not fit on {mesh!r}. Fix: a larger slice.")
        if mesh not in known:
            raise PlanningError(
                f"mesh: no forecast has {mesh!r}; allowed: {', '.join(sorted(known)) or 'none'}. Fix: doa forecast "
                f"--mesh {mesh} --json, and --forecast FILE."
            )
    if not found:
        raise PlanningError(f"forecast: the teacher fits on none of {', '.join(sorted(short))}. Fix: a larger slice.")
