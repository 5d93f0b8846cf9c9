"""Walks a study's stages in order, in one process, and keeps its books.

Why the steps stand in this order:
  1. Attempts that a dead process left open are settled before anything starts: money already spent stays spent.
  2. A stage's attempt is opened before its work and settled after its end mark is on disk. A kill in between leaves a
     mark, and step 1 of the next run settles the attempt as work that was done.
  3. The results file is made anew from the stages' own files, so an interrupted run and an uninterrupted one end alike.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from distill_or_annotate.ledger import Ledger
from distill_or_annotate.pipeline import evaluation, gates, programs, results
from distill_or_annotate.pipeline.locks import folder_lock
from distill_or_annotate.pipeline.manifest import write_json
from distill_or_annotate.pipeline.progress import StudyProgress
from distill_or_annotate.prices import PriceBook
from distill_or_annotate.scenarios import Scenario, Stage

DONE = "done.json"


class StageError(RuntimeError):
    """A stage failed; the text names its log and the command that runs it alone."""


def run(scenario: Scenario, stages: Sequence[Stage], book: PriceBook, run_dir: Path, console: Console) -> None:
    """Run every stage that is not finished and write `results.jsonl`. The caller holds the run folder's lock.

    Args:
      scenario: the study.
      stages: its stages, each after those it reads.
      book: its prices.
      run_dir: the run's folder; holds the stages, the ledger and the results.
      console: receives progress.

    Raises:
      FolderBusyError: if another process runs one of the stages.
      GateError: if the teacher is not worth distilling and the scenario does not force it.
      StageError: if a stage fails; the stages before it keep what they did.
    """
    stages_dir = run_dir / "stages"
    ledger = Ledger(run_dir / "ledger.jsonl")
    ledger.reconcile(finished=lambda name: (stages_dir / name / DONE).exists())
    if any(stage.kind == "distill" and not (stages_dir / stage.name / DONE).exists() for stage in stages):
        gates.check_vocabulary(stages, stages_dir)
    with StudyProgress(console, len(stages)) as progress:
        for stage in stages:
            if (stages_dir / stage.name / DONE).exists():
                progress.skip()
                continue
            with folder_lock(stages_dir / stage.name):
                _run_stage(stage, scenario, stages, book, ledger, stages_dir, progress)
    results.write_rows(run_dir / "results.jsonl", results.result_rows(scenario, stages, stages_dir, book))


def _run_stage(
    stage: Stage,
    scenario: Scenario,
    stages: Sequence[Stage],
    book: PriceBook,
    ledger: Ledger,
    stages_dir: Path,
    progress: StudyProgress,
) -> None:
    folder = stages_dir / stage.name
    if stage.kind == "label":
        first, last = stage.first_label, stage.first_label + stage.n_labels
        price = book.label(stage.task)
        ledger.buy_labels(
            stage=stage.name,
            task=stage.task,
            first_label=first,
            last_label=last,
            data_seed=stage.data_seed,
            price=price,
        )
        with progress.stage(f"label: {stage.n_labels} for ${stage.n_labels * price.usd:,.2f}"):
            write_json(folder / DONE, {"first_label": first, "last_label": last})
        return
    with progress.stage(title(stage)) as on_step, ledger.open_attempt(stage.name, charges=stage.charges) as attempt:
        if stage.kind == "evaluate":
            _evaluate(stage, folder, stages_dir)
        else:
            if stage.kind == "capture":
                gates.check_teacher(stage, scenario, stages, stages_dir, folder)
            _train_or_infer(stage, folder, stages_dir, on_step)
        # The end mark before the settlement, which the block's end brings: see step 2 above.
        write_json(folder / DONE, {"attempt": attempt.id})


def _train_or_infer(stage: Stage, folder: Path, stages_dir: Path, on_step) -> None:
    from distill_or_annotate.trainer import progress as trainer_progress

    program = programs.program(stage, stages_dir)
    log_file = folder / "log.txt"
    (folder / "command.txt").write_text(program.command() + "\n", encoding="utf-8")
    try:
        with trainer_progress.listening(on_step):
            programs.resuming(program, folder).run(log_file)
    except Exception as error:
        raise StageError(
            f"stage {stage.name} failed: {type(error).__name__}: {error}\n"
            f"  log: {log_file}\n  alone: {program.command()}"
        ) from error


def _evaluate(stage: Stage, folder: Path, stages_dir: Path) -> None:
    labels = f"{stage.task}_n{stage.n_labels}_s{stage.data_seed}"
    found = evaluation.evaluate(stages_dir / stage.depends_on[0], stage.task, labels)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in found.pop("predictions")]
    (folder / "predictions.jsonl").write_text("".join(lines), encoding="utf-8")
    write_json(folder / results.EVALUATION, {**found, "subject": stage.depends_on[0]})


def title(stage: Stage) -> str:
    """What a stage does, in a few words."""
    if stage.kind == "finetune":
        return f"teacher: {stage.model} on {stage.n_labels} labels"
    if stage.kind == "annotate":
        return f"annotate: {stage.model} on {stage.n_labels} labels"
    if stage.kind == "capture":
        return f"capture: {stage.model} labels {stage.n_unlabeled} sentences"
    if stage.kind == "distill":
        return f"distill: {stage.model} on {stage.n_unlabeled} unlabeled and {stage.n_labels} gold"
    if stage.kind == "llm_label":
        return f"llm_label: {stage.n_unlabeled} labels from a language model"
    if stage.kind != "evaluate":
        return f"{stage.kind}: {stage.model} on {stage.n_labels} labels (planned only)"
    return f"evaluate: {stage.model}, {stage.serves[0][0]} +${stage.serves[0][1]:g}"
