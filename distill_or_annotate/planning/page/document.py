"""The page of a plan: templates filled with numbers; one file without network."""

import html
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from distill_or_annotate.planning.advice import Advice
from distill_or_annotate.planning.outcomes import Evidence
from distill_or_annotate.planning.page.numbers import numbers_of
from distill_or_annotate.planning.posterior import Draws
from distill_or_annotate.planning.prices import PlanPrices
from distill_or_annotate.planning.text import kept_text, pilot_text, recommendation
from distill_or_annotate.planning.wishes import Wish

_FOLDER = pathlib.Path(__file__).parent
# In the order in which the page reads them: each builds on those before it.
_SCRIPTS = ("prices.js", "options.js", "scores.js", "advice.js", "text.js", "chart.js", "controls.js", "view.js")
_PLACE = re.compile(r"\{\{(\w+)\}\}")


def page(
    advice: Advice, evidence: Evidence, wish: Wish, prices: PlanPrices, draws: Draws, assumed: Sequence[str]
) -> str:
    """Returns the page.

    Args:
      advice: the recommendation at today's prices, which readers without scripts get.
      evidence: what it rests on.
      wish: budget and what is there.
      prices: of the task.
      draws: the task's curves, rounded as `Draws.rounded` does.
      assumed: one sentence each.
    """
    numbers = numbers_of(evidence, wish, prices, draws) | {
        "pilots": [pilot_text(pilot) for pilot in advice.pilots],
        "pilot_gain_points": advice.pilots[0].gain_points if advice.pilots else 0.0,
        "assumptions": list(assumed),
        "kept": {"score": advice.kept.outcome.score, "text": kept_text(advice.kept)} if advice.kept else None,
    }
    known = len(evidence.outcomes)
    known_text = (
        f"{known} models of this task are known." if known else "Nothing of this task is known: the prior alone."
    )
    return _filled({
        "title": _escaped(f"{evidence.task}: what ${wish.budget_usd:,.2f} should buy"),
        "task": _escaped(evidence.task),
        "style": _read("page.css"),
        "budget": _escaped(f"${wish.budget_usd:,.2f}"),
        "known": known_text,
        "noscript": "".join(f"<p>{_escaped(said)}</p>" for said in recommendation(advice)),
        "numbers": _embedded(numbers),
        "scripts": "\n".join(map(_read, _SCRIPTS)),
    })  # fmt: skip


def _filled(values: Mapping[str, str]) -> str:
    """The template with each {{name}} replaced once; what is put in is not read again."""
    return _PLACE.sub(lambda place: values[place[1]], _read("page.html"))


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _escaped(text: str) -> str:
    return html.escape(text, quote=True)


def _embedded(values: Any) -> str:
    """JSON that cannot end the script element that holds it."""
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
