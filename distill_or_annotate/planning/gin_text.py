"""A plan as a scenario that `doa run` executes."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from distill_or_annotate.ledger.cap import ceil_usd
from distill_or_annotate.planning.options import Option
from distill_or_annotate.planning.outcomes import PlanningError
from distill_or_annotate.scenarios import Scenario
from distill_or_annotate.scenarios.scenario import AXES

_HEAD = """from __gin__ import dynamic_registration

from distill_or_annotate import scenarios

scenarios.Scenario:
"""


def scenario_text(option: Option, pilot: Mapping[str, Any], about: str, max_usd: float) -> str:
    """Returns the gin file of an option: the pilot's scenario with what the plan buys.

    Args:
      option: what to buy.
      pilot: the pilot's scenario, as its manifest has it: task, models, gin files, price book.
      about: one line on where the plan comes from.
      max_usd: what a run of it costs in all, labels at hand included: each run's books stand alone.

    Raises:
      PlanningError: the pilot's manifest has no scenario, or of another make.
    """
    if option.llm or option.strategy == "teacher":
        how = (
            f"doa annotate --model {option.llm}"
            if option.llm
            else "doa run with strategies = ('distill',), n_unlabeled = 0"
        )
        raise PlanningError(
            f"write_gin: {option.name} is not what a planned run buys. Fix: {how}, or plan without "
            f"{'--llm' if option.llm else '--served-per-month'}."
        )
    if not pilot:
        raise PlanningError(
            "write_gin: the results name no scenario whose stages could be run. Fix: --results with the folder of a "
            "run of `doa run`, which has a manifest.json."
        )
    known = {field.name: field for field in dataclasses.fields(Scenario)}
    if unknown := sorted(set(pilot) - set(known)):
        raise PlanningError(f"write_gin: the pilot's scenario has unknown fields {unknown}. Fix: run the pilot again.")
    values = {name: _one(name, value) for name, value in pilot.items()}
    values |= {"name": f"{values['name']}_plan", "n_labels": option.n_labels, "total_usd": ()}
    values |= {role: getattr(option, role) for role in ("teacher", "student") if getattr(option, role)}
    if option.n_unlabeled:
        values |= {"strategies": ("distill",), "additional_usd": (), "n_unlabeled": (option.n_unlabeled,)}
    else:
        values |= {"strategies": ("annotate",), "additional_usd": (0.0,), "n_unlabeled": ()}
    lines = [f"  {name} = {value!r}" for name, value in values.items() if value != _default(known[name])]
    return f"# {about}\n# Command: doa run FILE --max-usd {ceil_usd(max_usd):.2f}\n{_HEAD}" + "\n".join(lines) + "\n"


def _one(name: str, value: Any) -> Any:
    """A field as gin takes it; of an axis with several values the first."""
    if isinstance(value, list):
        value = tuple(value)
    return value[0] if name in AXES and isinstance(value, tuple) else value


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default
