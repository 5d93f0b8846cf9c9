"""What a label costs, derived from what annotators are paid: the paper's derivations, and other redundancies."""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from typing import Any

from distill_or_annotate import paper
from distill_or_annotate.costs.arithmetic import CostError, check_usd


@dataclasses.dataclass(frozen=True)
class LabelPrice:
    """The price of one label and how it comes about.

    Attributes:
      task: the task.
      usd: dollars per label.
      annotators: judgements bought for each label.
      adjudication: share of labels, 0 to 1, for which one more judgement settles a disagreement.
      judgement_usd: dollars for one judgement, as the paper prints it.
      derivation: the paper's derivation.
      unrounded_usd: what the inputs come to with the paper's number of annotators, which the paper rounds.
      inputs: the numbers that went in: name, meaning, value, unit, source.
      provenance: published with the paper's redundancy, estimated with another one.
    """

    task: str
    usd: float
    annotators: int
    adjudication: float
    judgement_usd: float
    derivation: str
    unrounded_usd: float
    inputs: tuple[dict[str, Any], ...]
    provenance: str

    def as_dict(self) -> dict[str, Any]:
        """Returns the price as JSON-ready values."""
        return {**dataclasses.asdict(self), "inputs": list(self.inputs)}


def label_price(
    task: str,
    *,
    annotators: int | None = None,
    adjudication: float = 0.0,
    adjudicator_usd: float | None = None,
    inputs: Mapping[str, float] | None = None,
) -> LabelPrice:
    """Returns the price of one label: annotators * judgement_usd + adjudication * adjudicator_usd.

    With nothing but a task it is the price printed in Table 1.

    Args:
      task: a task of the paper.
      annotators: judgements bought for each label, at least 1; None takes the paper's (2 for stanceosaurus, else 1).
      adjudication: share of labels, 0 to 1, that an adjudicator judges on top.
      adjudicator_usd: dollars for the adjudicator's judgement, above 0; None takes that of any other.
      inputs: numbers of the paper's derivation that are other ones here, by name, each above 0.

    Raises:
      UnknownTaskError: the paper prices no such task.
      CostError: a number is out of range, or the derivation has no such input.
    """
    printed_usd = paper.task(task)["usd_per_label"]["value"]
    facts = paper.facts()["annotation"][task]
    usual = facts["annotators"]["value"]
    annotators = usual if annotators is None else _check_annotators(annotators)
    adjudication = _check_share(adjudication)
    used = [_changed(each, inputs or {}) for each in facts["inputs"]]
    _check_names(task, inputs or {}, [each["name"] for each in used])
    # The paper rounds: its own numbers give its own price.
    one_usd = printed_usd / usual if used == facts["inputs"] else _product(used)
    last_usd = one_usd if adjudicator_usd is None else check_usd("adjudicator_usd", adjudicator_usd, positive=True)
    as_printed = annotators == usual and adjudication == 0 and used == facts["inputs"]
    return LabelPrice(
        task=task,
        usd=printed_usd if as_printed else round(annotators * one_usd + adjudication * last_usd, 6),
        annotators=annotators,
        adjudication=adjudication,
        judgement_usd=round(one_usd, 6),
        derivation=facts["derivation"],
        unrounded_usd=round(_product(used) * usual, 6),
        inputs=(*used, _judgements(facts["annotators"], annotators)),
        provenance="published" if as_printed else "estimated",
    )


def _product(inputs: list[dict[str, Any]]) -> float:
    product = 1.0
    for each in inputs:
        product *= 1 / each["value"] if each["divides"] else each["value"]
    return product


def _changed(each: dict[str, Any], inputs: Mapping[str, float]) -> dict[str, Any]:
    if each["name"] not in inputs:
        return each
    value = check_usd(each["name"], inputs[each["name"]], positive=True)
    return {**each, "value": value, "source": f"given in place of {each['value']} ({each['source']})"}


def _judgements(usual: dict[str, Any], annotators: int) -> dict[str, Any]:
    named = {"name": "annotators", "meaning": "judgements bought for each label", **usual, "divides": False}
    if annotators != usual["value"]:
        named |= {"value": annotators, "source": f"given in place of {usual['value']} ({usual['source']})"}
    return named


def _check_names(task: str, inputs: Mapping[str, float], known: list[str]) -> None:
    for name in inputs:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise CostError(f"inputs: the price of {task} has no {name!r}; {hint}allowed: {', '.join(known)}.")


def _check_annotators(annotators: int) -> int:
    if isinstance(annotators, bool) or not isinstance(annotators, int) or not 1 <= annotators <= 100:
        raise CostError(f"annotators: received {annotators!r}; it must be a whole number from 1 to 100.")
    return annotators


def _check_share(adjudication: float) -> float:
    number = isinstance(adjudication, int | float) and not isinstance(adjudication, bool)
    if not number or not math.isfinite(adjudication) or not 0 <= adjudication <= 1:
        raise CostError(
            f"adjudication: received {adjudication!r}; it must be a share of the labels, 0 to 1. Fix: 0.2 for a fifth."
        )
    return float(adjudication)
