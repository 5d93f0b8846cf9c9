"""What a run says before it starts (the plan) and when it ends short of its end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

from distill_or_annotate.ledger.cap import ceil_usd, charges_usd, usd_text
from distill_or_annotate.pipeline import billing as billing_module
from distill_or_annotate.pipeline import programs, work
from distill_or_annotate.pipeline.runner import Outcome, Study
from distill_or_annotate.scenarios import Stage

if TYPE_CHECKING:
    from distill_or_annotate.reports import ReportCell


def print_plan(study: Study, console: Console) -> None:
    """Print each stage with its dollars and its command, and the dollars of all.

    Args:
      study: the study.
      console: where to write.
    """
    plan = billing_module.plan(study.stages, study.billing)
    n_finished = 0
    for stage in study.stages:
        command = programs.program(stage, study.store.folder)
        usd = plan["usd"][stage.name]
        cost = f" (${usd:,.2f})" if usd else ""
        state = ""
        if study.store.is_finished(stage.name):
            n_finished += 1
            state = " [done]" if study.store.is_ours(stage.name) else " [done by another run]"
        console.print(f"{stage.name}  {work.title(stage)}{cost}{state}", markup=False, highlight=False)
        if command:
            console.print("    " + command.command(), markup=False, highlight=False, soft_wrap=True)
    book = study.billing.book.name
    lines = [
        f"{len(study.stages)} stages, {n_finished} of them finished. Scenario dollars of book {book}: "
        f"{billing_module.parts_text(plan, ' + ')} = {usd_text(plan['total_usd'])}; "
        f"--max-usd {ceil_usd(plan['total_usd']):.2f} covers them."
    ]
    if study.billing.device is not None:
        count, device = study.billing.n_devices, study.billing.device
        lines.append(
            f"Measured time of {count} x {device.id} at ${device.usd:g} an hour is billed: the device dollars above "
            "limit it, and --max-usd alone limits stages without any (capture, students on labels)."
        )
    if study.ledger.max_usd is not None:
        total_usd, max_usd = plan["total_usd"], study.ledger.max_usd
        fits = "all of it fits" if total_usd <= max_usd + 1e-6 else f"{usd_text(total_usd - max_usd)} do not fit"
        lines.append(f"Under --max-usd {max_usd:g} {fits}.")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def stopped_short(study: Study, outcome: Outcome, command: str) -> str:
    """One paragraph: what the cap kept from being done, and how to go on.

    Args:
      study: the study.
      outcome: of its walk; not whole.
      command: the command line that runs the study, without its cap.
    """
    rows = study.ledger.rows()
    totals = study.ledger.totals()
    missing = [study.by_name[name] for name in (*outcome.refused, *outcome.stopped, *outcome.waiting)]
    settled_usd = totals.scenario_usd
    needed_usd = settled_usd + totals.reserved_scenario_usd + _unpaid_usd(study, missing, rows)
    parts = [
        f"Stopped at the cap of {usd_text(study.ledger.max_usd)}: {usd_text(settled_usd)} are spent, "
        f"{len(outcome.reached)} of {len(study.stages)} stages done."
    ]
    if outcome.refused:
        listed = ", ".join(f"{name} ({usd_text(refused.worst_usd)})" for name, refused in outcome.refused.items())
        parts.append(f"Not started, since it does not fit: {listed}.")
    if outcome.stopped:
        parts.append(f"Stopped at its reserve, to go on from its last checkpoint: {', '.join(outcome.stopped)}.")
    if outcome.waiting:
        count = len(outcome.waiting)
        parts.append("1 stage needs those." if count == 1 else f"{count} stages need those.")
    more = " (or more)" if study.billing.device is not None else ""
    # A stage whose time has no rate needs more than was left, and nobody knows how much.
    raised = max(ceil_usd(needed_usd), 0.0) if not more else ceil_usd(max(needed_usd, 1.25 * study.ledger.max_usd))
    parts.append(
        "What is done is kept, and the report shows it. To go on where it stopped: "
        f"{command} --max-usd {raised:.2f}{more}"
    )
    return " ".join(parts)


def _unpaid_usd(study: Study, stages: list[Stage], rows: list[dict]) -> float:
    """Planned dollars of stages, without what the ledger holds of them."""
    labels_usd = math.fsum(study.billing.planned_usd(stage) for stage in stages if stage.kind == "label")
    paid_usd = math.fsum(
        row["usd"] for row in rows if row["kind"] == "label" and row["stage"] in {stage.name for stage in stages}
    )
    owed = [
        charge for stage in stages for charge in (study.owed(stage) if stage.kind == "llm_label" else stage.charges)
    ]
    return labels_usd - paid_usd + charges_usd(rows, owed)


def sharing(study: Study, outcome: Outcome) -> str:
    """A sentence on the stages that other runs had finished; '' where there are none.

    Args:
      study: the study.
      outcome: of its walk.
    """
    if not outcome.shared:
        return ""
    return (
        f"{len(outcome.shared)} of {len(study.stages)} stages were finished by other runs that share "
        f"{study.store.folder}: this study is charged for them, and they took no time here."
    )


def degenerate(rows: Sequence[Mapping[str, Any]], cells: Sequence[ReportCell]) -> str:
    """One paragraph on the models that learnt nothing; '' where there are none.

    Args:
      rows: those of results.jsonl.
      cells: the report's cells with a score, each of one model or of one a seed.
    """
    flagged = [row for row in rows if (row.get("degenerate") or {}).get("flagged")]
    if not flagged:
        return ""
    first = flagged[0]
    reasons = "; ".join(first["degenerate"].get("reasons") or ["no reason given"])
    n_marked = sum(cell.status == "degenerate" for cell in cells)
    marked = f"{n_marked} of {len(cells)} cells have the mark †: half of their models or more."
    return (
        f"{len(flagged)} of {len(rows)} models are degenerate, the {first['strategy']} model at {first['n_labels']:,} "
        f"labels for one: {reasons}. {marked} Their scores tell nothing of the strategies."
    )
