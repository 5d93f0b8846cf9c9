"""The stage `llm_label`: a language model labels the first sources of the pool, within the stage's reserve.

The price book says what the labels cost at most; the bill is what the tokens of the requests cost. A cap that is
reached before the last label ends the stage with the labels that it bought.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_or_annotate.pipeline import llm_bills
from distill_or_annotate.pipeline.manifest import write_json
from distill_or_annotate.pipeline.programs import LLM_LABELS
from distill_or_annotate.scenarios import Scenario, Stage

if TYPE_CHECKING:
    from distill_or_annotate.annotators.endpoint import Endpoint
    from distill_or_annotate.prices import PriceBook

SUMMARY = "llm.json"
# What `Scenario.llm_options` may hold, and the paper's values of what is not given.
OPTIONS: Mapping[str, Any] = {
    "model": None,  # the endpoint's name for it; None takes Scenario.llm
    "shots": 32,
    "shot_pool": 100,
    "fixed_shots": False,
    "concurrency": 8,
    "output_tokens": 256,
    "tokens_per_label": None,  # (of a request, of its answer): what the budget counts; None takes the paper's count
    "timeout_seconds": 60.0,
    "token_limit_field": "max_completion_tokens",
    "temperature": None,
}


class NoLabels(RuntimeError):
    """A language model gave no label that could be used."""


def options(scenario: Scenario) -> dict[str, Any]:
    """How the language model is asked.

    Args:
      scenario: the study.

    Returns:
      OPTIONS with those of the scenario.

    Raises:
      ValueError: the scenario has an unknown one.
    """
    unknown = sorted(set(scenario.llm_options) - set(OPTIONS))
    if unknown:
        raise ValueError(
            f"Scenario.llm_options: received {', '.join(unknown)}; allowed: {', '.join(OPTIONS)}. Fix: leave it out."
        )
    return {**OPTIONS, **scenario.llm_options}


def check_endpoint(scenario: Scenario, stages: Sequence[Stage], is_finished: Callable[[str], bool]) -> None:
    """Refuse a study whose labels cannot be bought here, before it buys anything else.

    Args:
      scenario: the study.
      stages: its stages.
      is_finished: stage name -> whether it is done.

    Raises:
      ValueError: no client or no key for a language model that has yet to be asked, or an unknown option.
    """
    if any(stage.kind == "llm_label" and not is_finished(stage.name) for stage in stages):
        try:
            _endpoint(scenario)
        except ValueError as error:
            raise ValueError(
                f"{scenario.name} buys labels from {options(scenario)['model'] or scenario.llm}, and it cannot be "
                f"asked: {error} Nothing was spent. The address is OPENAI_BASE_URL, the key OPENAI_API_KEY."
            ) from error


def label(
    stage: Stage, scenario: Scenario, book: PriceBook, folder: Path, on_step: Callable[[int, int | None], None]
) -> None:
    """Label the first sources of the pool, or go on where an interrupted attempt stopped.

    Args:
      stage: the stage.
      scenario: the study.
      book: its prices.
      folder: the stage's; it gets the labels, their books and a summary.
      on_step: receives the number of labelled sources and that of all.

    Raises:
      NoLabels: not one label was bought.
      ValueError: the endpoint refuses everything, or the books belong to another labelling.
    """
    from distill_or_annotate.annotators import forms, labelling, prompts
    from distill_or_annotate.annotators.token_prices import token_prices
    from distill_or_annotate.annotators.workers import Settings
    from distill_or_annotate.tasks import registry, variants

    asked = options(scenario)
    spec = registry.get(stage.reads)
    labelled = registry.rows(variants.labelled(stage.reads, stage.n_labels, stage.data_seed), "train")
    shot_pool = min(asked["shot_pool"], len(labelled))
    prompter = prompts.make_prompter(
        forms.of_spec(stage.task, spec.metric, spec.labels),
        labelled,
        n_shots=min(asked["shots"], shot_pool),
        shot_pool=shot_pool,
        fixed=asked["fixed_shots"],
        seed=stage.data_seed,
    )
    sources = [row["source"] for row in registry.rows(variants.unlabeled(stage.reads, stage.n_unlabeled), "unlabeled")]
    summary = labelling.label_pool(
        sources,
        prompter,
        _endpoint(scenario),
        token_prices(book.base or book, scenario.llm),
        folder / LLM_LABELS,
        max_usd=math.fsum(charge.usd for charge in stage.charges),
        settings=Settings(output_tokens=asked["output_tokens"], concurrency=asked["concurrency"]),
        retry_unbilled=True,  # a study has no flag for it, and what was refused may be mended
        on_progress=lambda progress: on_step(progress.n_labelled + progress.n_set_aside, progress.n_items),
    )
    if not summary.n_labelled:
        raise NoLabels(f"no label was bought: {summary.stopped_at_cap or dict(summary.set_aside)}")
    write_json(
        folder / SUMMARY,
        {
            "n_asked": summary.n_items,
            "n_labelled": summary.n_labelled,
            "set_aside": dict(summary.set_aside),
            "stopped_at_cap": summary.stopped_at_cap,
            "model": asked["model"] or scenario.llm,
            "shots": prompter.n_shots,
            "usd": llm_bills.spent_usd(folder),
        },
    )


def summary(folder: Path) -> dict[str, Any] | None:
    """What a finished stage has come to; None where it is no such stage.

    Args:
      folder: the stage's.
    """
    path = folder / SUMMARY
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _endpoint(scenario: Scenario) -> Endpoint:
    from distill_or_annotate.annotators.endpoint import Endpoint

    asked = options(scenario)
    return Endpoint(
        asked["model"] or scenario.llm,
        timeout_seconds=asked["timeout_seconds"],
        token_limit_field=asked["token_limit_field"],
        temperature=asked["temperature"],
    )
