"""Simulated annotators from a TOML file: `doa annotate --simulate annotators.toml`."""

import difflib
import json
import pathlib
import tomllib
from collections.abc import Mapping
from typing import Any

from distill_or_annotate.annotators import confusion as confusion_module
from distill_or_annotate.annotators import votes
from distill_or_annotate.annotators.confusion import Confusion, ConfusionError
from distill_or_annotate.annotators.forms import ENTITIES, TEXT, LabelForm
from distill_or_annotate.annotators.items import replace_file
from distill_or_annotate.annotators.simulated import ADJUDICATOR, Annotators, Simulated, SimulationError, SpanNoise
from distill_or_annotate.preprocess.rows import Row

SIMULATED = "simulated"
"""What stands as `annotators` in each line of simulated labels."""
_FIELDS = (
    "n_annotators",
    "usd_per_judgement",
    "adjudication",
    "adjudicator_usd",
    "adjudicator_accuracy",
    "batch_size",
    "seed",
    "accuracy",
    "confusion",
    "votes",
    "spans",
)


def read_annotators(path: pathlib.Path, form: LabelForm, gold: Mapping[str, str]) -> Annotators:
    """Reads a group of annotators.

    Their mistakes are one of `accuracy`, a table `confusion`, or `votes`: a file to which the matrix is fitted, see
    `votes.fitted`.

    Args:
      path: the TOML file.
      form: the task.
      gold: source -> true label, as far as known.

    Raises:
      SimulationError: a field that is not known, missing or without effect, a value that cannot be, or a task of free
        text.
    """
    if form.kind == TEXT:
        raise SimulationError(f"--simulate: {form.task} has no labels to confuse. Fix: take a task that has.")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise SimulationError(f"{path}: no TOML ({error}). Fix: see docs/annotating.md for an example.") from None
    for field in data:
        if field not in _FIELDS:
            near = difflib.get_close_matches(field, _FIELDS, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise SimulationError(f"{path}: unknown field {field!r}; {hint}allowed: {', '.join(_FIELDS)}.")
    if "usd_per_judgement" not in data:
        raise SimulationError(f"{path}: usd_per_judgement is missing. Fix: write what one judgement costs in dollars.")
    try:
        known = {name: data[name] for name in ("n_annotators", "adjudication", "adjudicator_usd", "batch_size", "seed")
                 if name in data}  # fmt: skip
        accuracy = data.get("adjudicator_accuracy")
        _check_effects(path, data, form)
        return Annotators(
            _confusion(path, data, form, gold),
            data["usd_per_judgement"],
            spans=SpanNoise(**data.get("spans", {})),
            adjudicator=confusion_module.assumed(form.labels, accuracy) if accuracy is not None else None,
            **known,
        )
    except ConfusionError as error:
        raise SimulationError(f"{path}: {error}") from None
    except TypeError as error:
        raise SimulationError(f"{path}: a field has a wrong form ({error}). Fix: see docs/annotating.md.") from None


def _check_effects(path: pathlib.Path, data: Mapping[str, Any], form: LabelForm) -> None:
    """Refuses fields that would change nothing."""
    if "spans" in data and form.kind != ENTITIES:
        raise SimulationError(f"{path}: [spans] has no effect, since {form.task} has no entities. Fix: leave it out.")
    if "adjudicator_accuracy" in data and data.get("adjudication") != ADJUDICATOR:
        raise SimulationError(
            f'{path}: adjudicator_accuracy has no effect without adjudication = "{ADJUDICATOR}". Fix: add that, or '
            "leave it out."
        )


def _confusion(path: pathlib.Path, data: Mapping[str, Any], form: LabelForm, gold: Mapping[str, str]) -> Confusion:
    given = [name for name in ("accuracy", "confusion", "votes") if name in data]
    if len(given) != 1:
        raise SimulationError(
            f"{path}: {' and '.join(given) or 'nothing'} says how they err. Fix: one of accuracy, confusion, votes."
        )
    if given == ["accuracy"]:
        return confusion_module.assumed(form.labels, data["accuracy"])
    if given == ["confusion"]:
        return confusion_module.from_shares(form.labels, data["confusion"])
    return votes.fitted(path.parent / data["votes"], form, gold)


def write_labels(path: pathlib.Path, rows: list[Row], found: Simulated) -> None:
    """Writes simulated labels in the form of a language model's, each marked as what it is.

    Args:
      path: the file; simulated labels that stand there are replaced.
      rows: the rows that were labelled, and maybe more.
      found: what the annotators gave for the first of them.

    Raises:
      SimulationError: the file holds labels that were not simulated.
    """
    _check_replaceable(path)
    lines = []
    for row, label, given in zip(rows, found.labels, found.votes, strict=False):
        line = {"source": row["source"], "prediction": label, "inputs": {"inputs_pretokenized": row["source"]}}
        line |= {"votes": list(given), "annotators": SIMULATED, "confusion": found.provenance}
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lines)


def _check_replaceable(path: pathlib.Path) -> None:
    """Labels that somebody paid for are not written over."""
    if not path.exists():
        return
    mark = f'"annotators": "{SIMULATED}"'.encode()
    if any(line.strip() and mark not in line for line in path.read_bytes().split(b"\n")):
        raise SimulationError(f"{path} holds labels that were not simulated. Fix: another --out.")
