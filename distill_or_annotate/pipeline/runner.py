"""Walks a study's stages in order, in one process, and keeps its books.

Why the steps stand in this order:
  1. Attempts that a dead process left open are settled before anything starts: money already spent stays spent.
  2. A stage's attempt is opened, its worst case reserved, before its work, and settled after its end mark is on disk. A
     kill in between leaves a mark, and step 1 of the next run settles the attempt as work that was done.
  3. A stage that does not fit the cap is left out, and so are those that need it; what fits goes on.
  4. The results file is made anew from the stages' own files, so an interrupted run and an uninterrupted one end alike.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from rich.console import Console

from distill_or_annotate.ledger import Attempt, CapReached, Charge, Ledger
from distill_or_annotate.pipeline import gates, llm_bills, llm_labels, programs, results, work
from distill_or_annotate.pipeline.billing import Billing
from distill_or_annotate.pipeline.deadline import TERMINATED_STATUS, Deadline, ReserveReached, Terminated
from distill_or_annotate.pipeline.locks import FolderBusyError, folder_lock
from distill_or_annotate.pipeline.progress import StudyProgress
from distill_or_annotate.pipeline.store import Store
from distill_or_annotate.scenarios import STAGE_KINDS, Scenario, Stage

# How often a stage that waits for others to give their reserves back looks again.
_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Study:
    """What a walk goes over.

    Attributes:
      scenario: the study.
      stages: its stages, each after those it reads.
      billing: how they are paid for.
      ledger: the run's books, with its cap.
      store: the stages on disk.
      run_dir: the run's folder.
    """

    scenario: Scenario
    stages: Sequence[Stage]
    billing: Billing
    ledger: Ledger
    store: Store
    run_dir: Path

    @cached_property
    def by_name(self) -> dict[str, Stage]:
        """Name -> stage."""
        return {stage.name: stage for stage in self.stages}

    def owed(self, stage: Stage) -> tuple[Charge, ...]:
        """What a stage that is not done has yet to pay by the book's rates.

        Args:
          stage: the stage.
        """
        if stage.kind == "llm_label":
            return llm_bills.owed(self.ledger, stage, self.store.folder / stage.name)
        return self.billing.charges(stage)


@dataclass
class Outcome:
    """What became of a walk.

    Attributes:
      reached: names of the stages that are finished and paid for, in order.
      shared: those of them that another run had finished.
      refused: stage -> why the cap keeps it from starting.
      stopped: names of the stages that ended at their reserve; they go on from their last checkpoints.
      waiting: names of the stages that need one of those above, or were not to be started.
    """

    reached: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    refused: dict[str, CapReached] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)

    def note_stopped(self, names: Collection[str]) -> None:
        """Notes stages that other processes stopped at their reserve.

        Args:
          names: those that ended at the cap; the refused ones among them are known.
        """
        stopped = [name for name in self.waiting if name in names]
        self.waiting = [name for name in self.waiting if name not in stopped]
        self.stopped += stopped

    @property
    def is_whole(self) -> bool:
        """Whether every stage was reached."""
        return not (self.refused or self.stopped or self.waiting)


def run(study: Study, console: Console, *, start: Collection[str] = STAGE_KINDS) -> Outcome:
    """Run every stage that is not finished and fits the cap, and write `results.jsonl`.

    Args:
      study: the study; the caller holds its run folder's lock.
      console: receives progress.
      start: kinds of stages to start; those of other kinds are paid for where they are finished, and no more.

    Returns:
      What was reached, and what was not and why.

    Raises:
      GateError: if the teacher is not worth distilling and the scenario does not force it.
      StageError: if a stage fails; the stages before it keep what they did.
    """
    reconcile(study)
    outcome = Outcome()
    unfinished = {stage.kind for stage in study.stages if not study.store.is_finished(stage.name)}
    if "distill" in unfinished and "distill" in start:
        gates.check_vocabulary(study.stages, study.store.folder)
    try:
        with StudyProgress(console, study.stages, study.billing, study.store) as progress:
            for stage in study.stages:
                _walk_to(study, stage, outcome, start, progress)
    except (gates.GateError, work.StageError):
        _write_results(study, outcome)  # what was reached before it has its scores, and its flags
        raise
    _write_results(study, outcome)
    return outcome


def _walk_to(study: Study, stage: Stage, outcome: Outcome, start: Sequence[str], progress: StudyProgress) -> None:
    if not set(needs(stage, study.stages)) <= set(outcome.reached):
        outcome.waiting.append(stage.name)
        return
    try:
        if stage.kind not in start and not study.store.is_finished(stage.name):
            study.ledger.check(stage.name, study.owed(stage))
            outcome.waiting.append(stage.name)
            return
        run_stage(study, stage, progress)
    except CapReached as refused:
        outcome.refused[stage.name] = refused
    except ReserveReached:
        outcome.stopped.append(stage.name)
    else:
        outcome.reached.append(stage.name)
        if not study.store.is_ours(stage.name):
            outcome.shared.append(stage.name)


def _write_results(study: Study, outcome: Outcome) -> None:
    reached = [study.by_name[name] for name in outcome.reached]
    rows = results.result_rows(study.scenario, reached, study.store.folder, study.billing.book)
    results.write_rows(study.run_dir / "results.jsonl", rows)


def needs(stage: Stage, stages: Sequence[Stage]) -> list[str]:
    """Names of the stages that must be finished before one starts: what it reads, and what its gate compares.

    Args:
      stage: the stage.
      stages: the study's stages.
    """
    students = gates.compared_students(stage, stages) if stage.kind == "capture" else []
    return list(dict.fromkeys([*stage.depends_on, *(student.name for student in students)]))


def run_stage(study: Study, stage: Stage, progress: StudyProgress) -> None:
    """Run one stage, or pay for it where it is finished; another process that runs it is waited for.

    Args:
      study: what it belongs to.
      stage: the stage; those it depends on are finished.
      progress: shows it.

    Raises:
      CapReached: it does not fit the cap.
      ReserveReached: it was stopped at its reserve; it goes on from its last checkpoint once the cap is raised.
      GateError: its teacher is not worth distilling.
      StageError: it failed.
    """
    with folder_lock(study.store.folder / stage.name, wait_seconds=math.inf):
        if study.store.is_finished(stage.name):
            _pay(study, stage)
            progress.skip(stage)
        elif stage.kind == "label":
            with progress.stage(stage, work.title(stage)):
                _pay(study, stage)
                last = stage.first_label + stage.n_labels
                study.store.finish(stage.name, first_label=stage.first_label, last_label=last)
        else:
            _attempt(study, stage, progress)


def _pay(study: Study, stage: Stage) -> None:
    """What a finished stage owes; what is in the ledger already is not owed again."""
    if stage.kind == "label":
        study.ledger.buy_labels(
            stage=stage.name,
            task=stage.task,
            first_label=stage.first_label,
            last_label=stage.first_label + stage.n_labels,
            data_seed=stage.data_seed,
            price=study.billing.book.label(stage.task),
        )
    elif stage.kind == "llm_label":
        folder = study.store.folder / stage.name
        if study.store.is_ours(stage.name):
            llm_bills.settle(study.ledger, stage, folder, finished=True)
        else:
            bill = llm_labels.summary(folder) or {}
            llm_bills.settle_shared(study.ledger, stage, folder, bill.get("usd"))
    elif study.store.is_ours(stage.name):
        study.ledger.charge(stage.name, study.billing.charges(stage))
    else:
        mark = study.store.mark(stage.name)
        study.ledger.charge(stage.name, study.billing.elsewhere(stage, mark.get("device_seconds", 0.0)))
        gates.check_findings(study.scenario, study.store.folder / stage.name)


def _attempt(study: Study, stage: Stage, progress: StudyProgress) -> None:
    budget = _budget_seconds(study, stage)
    attempt = _opened(study, stage, budget)
    seconds = attempt.reserve_seconds - attempt.seconds if attempt.reserve_seconds else math.inf
    n_devices = study.billing.n_devices if study.billing.is_measured(stage) else 1
    try:
        with progress.stage(stage, work.title(stage)) as on_step:
            used = study.ledger.device_seconds(stage.name)
            facts = {"attempt": attempt.id}
            try:
                folder, before = study.store.folder, programs.last_step(study.store.folder / stage.name)
                deadline = Deadline(seconds, lambda: _overran(attempt))
                work.do(stage, study.scenario, study.stages, folder, on_step, deadline)
                used += _billed_seconds(attempt) * n_devices
            except ReserveReached:
                # A capture keeps what it has written; training, what it has saved.
                kept = stage.kind == "capture" or programs.last_step(folder / stage.name) != before
                note = "stopped at its reserve; " + ("what it had done is saved" if kept else "nothing was saved")
                row = attempt.settle(finished=False, wasted=not kept, note=note, seconds=_billed_seconds(attempt))
                used += row["quantity"]
                if budget is None:
                    raise
                # The hours that the rates grant are used up: the model is taken as it stands.
                work.evaluate_as_it_stands(stage, study.store.folder)
                facts["stopped_by"] = "device time"
            # The end mark before the settlement: see step 2 above.
            study.store.finish(stage.name, **facts, device_seconds=round(used, 3), seconds=round(used / n_devices, 3))
        _settle_requests(study, stage, finished=True)
        attempt.settle(seconds=_billed_seconds(attempt))
    except SystemExit as stopped:
        _settle_requests(study, stage, finished=False)
        saved = stopped.code == TERMINATED_STATUS and not isinstance(stopped, Terminated)
        attempt.settle(finished=False, wasted=not saved, note=f"ended with status {stopped.code}")
        raise
    except ReserveReached:
        raise
    except BaseException as error:
        _settle_requests(study, stage, finished=False)
        attempt.settle(wasted=True, note=f"{type(error).__name__}: {error}"[:300])
        raise


def _settle_requests(study: Study, stage: Stage, finished: bool) -> None:
    if stage.kind == "llm_label":
        llm_bills.settle(study.ledger, stage, study.store.folder / stage.name, finished=finished)


def _billed_seconds(attempt: Attempt) -> float:
    """The time of an attempt whose work ended within its reserve; what the books take after it is no work."""
    return min(attempt.seconds, attempt.reserve_seconds or math.inf)


def _overran(attempt: Attempt) -> None:
    """The last deed of a process whose stage does not end: its whole reserve is spent, and no more."""
    attempt.settle(wasted=True, seconds=attempt.reserve_seconds, note="ended with its process at its reserve")
    print(
        f"stage {attempt.stage} did not end at its reserve, and its process was ended. A higher --max-usd goes on from "
        "its last checkpoint; the report is that of the run before.",
        file=sys.stderr,
    )


def _budget_seconds(study: Study, stage: Stage) -> float | None:
    if not study.billing.is_measured(stage):
        return None
    used = {stage.name: study.ledger.device_seconds(stage.name)}
    for name in stage.depends_on:
        mark = study.store.mark(name) or {}
        used[name] = mark.get("device_seconds", 0.0)
    return study.billing.budget_seconds(stage, study.by_name, used)


def _opened(study: Study, stage: Stage, budget_seconds: float | None) -> Attempt:
    """Reserve the stage's worst case; wait where running stages may give back what it needs."""
    billing = study.billing
    if stage.kind == "llm_label":
        llm_bills.open_account(study.store.folder / stage.name)
    charges, time_of = study.owed(stage), {}
    if billing.is_measured(stage):
        # A millisecond for a budget that is used up: the model is evaluated as it stands.
        reserve = None if budget_seconds is None else max(0.001, budget_seconds)
        time_of = {"price": billing.device, "devices": billing.n_devices, "reserve_seconds": reserve}
    while True:
        try:
            return study.ledger.open_attempt(stage.name, charges=charges, **time_of)
        except CapReached as refused:
            if not refused.may_fit_later:
                raise
        time.sleep(_POLL_SECONDS)
        reconcile(study)


def reconcile(study: Study) -> None:
    """Settle what dead processes left open in the study's ledger.

    Args:
      study: the study.
    """
    store, busy = study.store, []
    for stage in study.stages:
        # Where nothing is reserved for a stage any more, nothing was spent on it in this study's name.
        reserved_usd = study.ledger.reserved_usd(stage.name) if stage.kind == "llm_label" else None
        if reserved_usd is None:
            continue
        try:
            with folder_lock(store.folder / stage.name):
                finished = store.is_finished(stage.name)
                if not finished or store.is_ours(stage.name):
                    folder = store.folder / stage.name
                    llm_bills.settle(study.ledger, stage, folder, finished=finished, most_usd=reserved_usd)
        except FolderBusyError:
            busy.append(stage.name)  # whoever holds the folder is at its books, and what they say is not known yet
    study.ledger.reconcile(finished=lambda name: store.is_finished(name) and store.is_ours(name), keep=busy)
