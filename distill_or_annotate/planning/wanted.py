"""From the command line to a wish and prices: models by short names, other currencies, what was measured of serving."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import math
import pathlib
import re
from collections.abc import Collection, Sequence

from distill_or_annotate import paper
from distill_or_annotate.costs import model_flops
from distill_or_annotate.planning.accelerators import of_forecasts
from distill_or_annotate.planning.language_models import language_model
from distill_or_annotate.planning.outcomes import PlanningError
from distill_or_annotate.planning.prices import PlanPrices, prices_of
from distill_or_annotate.prices import load_book

# Classes of the paper's tasks that have them.
_CLASSES = {"fever": 2, "multipit_id": 2, "stanceosaurus": 5}
_FAMILY = "t5_1_1_"


def dollars(field: str, said: str | None, rates: Sequence[str]) -> float | None:
    """Returns an amount in dollars.

    Args:
      field: its name, for the message.
      said: such as '500', '$500', '500USD', '450EUR' or 'EUR 450'; None stays None.
      rates: `CUR=USD`, dollars of one unit of a currency.

    Raises:
      PlanningError: it is no amount, or of a currency without a rate.
    """
    if said is None:
        return None
    known = {"": 1.0, "$": 1.0, "USD": 1.0}
    for rate in rates:
        name, _, value = rate.partition("=")
        number = _number(value)
        if not number or number <= 0 or not name:
            raise PlanningError(f"rate: received {rate!r}; it must be CURRENCY=DOLLARS, such as --rate EUR=1.09.")
        known[name.strip().upper()] = number
    # A word in front or behind, a number between.
    match = re.fullmatch(
        r"\s*(?P<before>[^\d\s.+-]*)\s*(?P<number>[-+\d.,_e]*|nan|inf)\s*(?P<after>[^\d\s.]*)\s*", said
    )
    number = _number(match["number"].replace(",", "").replace("_", "")) if match else None
    if number is None:
        raise PlanningError(f"{field}: received {said!r}; it must be an amount, such as 500 or 450EUR.")
    currency = (match["before"] or match["after"]).upper()
    if currency not in known:
        raise PlanningError(
            f"{field}: received {said!r}, without a rate of {currency}. Fix: --rate {currency}=DOLLARS."
        )
    return number * known[currency]


def model_names(field: str, said: str, known: Collection[str] = ()) -> tuple[str, ...]:
    """Returns models by their full names.

    Args:
      field: its name, for the message.
      said: names with commas between; T5 v1.1 sizes may be short. '' is the priced model alone.
      known: models of the evidence, which may be named, too.

    Raises:
      PlanningError: a model is not counted.
    """
    if not said:
        return ("",)
    found = []
    for name in said.split(","):
        allowed = (*model_flops.models(), *known)
        full = next((each for each in (name, _FAMILY + name) if each in allowed), None)
        if full is None:
            short = [each.removeprefix(_FAMILY) for each in dict.fromkeys(allowed)]
            near = difflib.get_close_matches(name, short, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise PlanningError(f"{field}: received {name!r}; {hint}allowed: {', '.join(short)}.")
        found.append(full)
    return tuple(found)


def serving_of(files: Sequence[pathlib.Path]) -> tuple[tuple[str, float], ...]:
    """Returns dollars of a million predictions by model.

    Args:
      files: what `doa bench-model --json` printed.

    Raises:
      PlanningError: a file is none, has no dollars, or two disagree on a model.
    """
    found: dict[str, float] = {}
    for path in files:
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))["models"]
            measured = {row["model"]: row["usd_per_million_predictions"] for row in rows}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PlanningError(
                f"serving: {path} is not what `doa bench-model --json` prints ({error}). Fix: doa bench-model "
                "--model M --json > FILE."
            ) from error
        for model, usd in measured.items():
            if usd is None:
                raise PlanningError(f"serving: {path} has no dollars. Fix: bench again with --device-usd-per-hour.")
            if abs(found.setdefault(model, usd) - usd) > 1e-9:
                raise PlanningError(f"serving: {path} contradicts another on {model!r}. Fix: name one of them.")
    return tuple(sorted(found.items()))


def prices_for(args: argparse.Namespace) -> PlanPrices:
    """Returns the prices of a plan.

    Args:
      args: as `arguments.add_arguments` makes them.

    Raises:
      PlanningError: a price is missing, out of range or contradicts another.
    """
    book = load_book(args.book, args.prices)
    prices = prices_of(book, args.task, dollars("label_usd", args.label_usd, args.rate), args.like)
    if args.mesh and not args.forecast:
        raise PlanningError(
            f"mesh: {', '.join(args.mesh)} has no hours. Fix: doa forecast --gin_file gin/experiments/xxl_to_small.gin "
            f"--mesh {args.mesh[0]} --json > FILE, and --forecast FILE."
        )
    if args.spot is not None and not args.forecast:
        raise PlanningError("spot: without --forecast there are no hours to rent. Fix: --forecast FILE.")
    slices = of_forecasts(args.forecast, args.task, prices.like, args.mesh, args.spot) if args.forecast else []
    classes = args.classes if args.classes is not None else _CLASSES.get(prices.like if _is_paper(args.task) else "", 0)
    llms = [
        language_model(name, book, args.task, args.llm_usd, args.llm_score, args.llm_gold, classes) for name in args.llm
    ]
    notes = [*prices.notes, *(llm.note for llm in llms)]
    if slices:
        names = ", ".join(each.name for each in slices)
        how = "on demand" if args.spot is None else f"on spot capacity, {args.spot:.0%} of the work done again"
        notes.append(f"Computing is priced by a forecast of {names}, {how}: the teacher captured once.")
    if args.served_per_month and not args.serving:
        notes.append("Serving is estimated at a fifth of an A40's operations; --serving takes what was measured.")
    return dataclasses.replace(
        prices, accelerators=tuple(slices), llms=tuple(llms), serving_usd=serving_of(args.serving), notes=tuple(notes)
    )


def _is_paper(task: str) -> bool:
    return task in paper.task_names()


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if not math.isinf(found) else None
