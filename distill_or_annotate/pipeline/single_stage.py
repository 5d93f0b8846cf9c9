"""One stage of a study alone, with its reserve, its locks and its row in the ledger: what a scheduler's job runs."""

from __future__ import annotations

import difflib
import os

from rich.console import Console

from distill_or_annotate.ledger import CapReached
from distill_or_annotate.pipeline import gates, runner, work
from distill_or_annotate.pipeline.deadline import CAP_STATUS, ReserveReached
from distill_or_annotate.pipeline.progress import StudyProgress
from distill_or_annotate.pipeline.runner import Study
from distill_or_annotate.scenarios import Stage


def find(study: Study, name: str) -> Stage:
    """The stage of a name.

    Args:
      study: the study.
      name: the stage's.

    Returns:
      The stage; those it needs are finished.

    Raises:
      ValueError: there is no such stage, or one that it needs is not finished.
    """
    if name not in study.by_name:
        near = difflib.get_close_matches(name, study.by_name, n=3) or list(study.by_name)[:3]
        raise ValueError(
            f"--stage: the study has no stage {name!r}; near: {', '.join(near)}. --dry-run lists all of them."
        )
    stage = study.by_name[name]
    missing = [other for other in runner.needs(stage, study.stages) if not study.store.is_finished(other)]
    if missing:
        raise ValueError(f"--stage {name} needs {', '.join(missing)}, not finished yet. Fix: run that first.")
    return stage


def run(study: Study, stage: Stage, console: Console, command: str) -> int:
    """Run a stage; several processes may run stages of one study at a time.

    Args:
      study: the study.
      stage: one that `find` gave.
      console: receives progress.
      command: the command line that runs the study, for messages.

    Returns:
      The exit status: 0, or 1 where it failed, or 3 where it did not fit the cap or was stopped at its reserve.
    """
    try:
        runner.reconcile(study)
        with StudyProgress(console, [stage], study.billing, study.store) as progress:
            runner.run_stage(study, stage, progress)
    except CapReached as refused:
        text, status = str(refused), CAP_STATUS
    except ReserveReached:
        text, status = f"stage {stage.name} stopped at its reserve; it goes on from its last checkpoint.", CAP_STATUS
    except (gates.GateError, work.StageError) as error:
        if os.environ.get("DOA_DEBUG"):
            raise
        text, status = f"{error}\n  with the run's books: {command} --stage {stage.name}", 1
    else:
        return 0
    console.print(text, style="red", markup=False, highlight=False, soft_wrap=True)
    return status
