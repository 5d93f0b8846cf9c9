"""Runs Snakemake over a study's graph.

Every stage is a process of its own then, so each loads TensorFlow and JAX again; they share the stage store and
the ledger, whose lock keeps the cap whatever runs at once. Run folder and stage store must be seen by every machine.
"""

from __future__ import annotations

import importlib.util
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from distill_or_annotate.pipeline.deadline import CAP_STATUS
from distill_or_annotate.pipeline.runner import Study
from distill_or_annotate.pipeline.workflow.snakefile import log, mark, snakefile, status

# Executors that Snakemake has without a plugin.
_BUILT_IN = ("local", "dryrun", "touch")


@dataclass(frozen=True)
class Handed:
    """What Snakemake could not do.

    Attributes:
      failures: what the stages that failed had to say; '' where none did.
      at_cap: names of the stages that did not fit the cap, or stopped at their reserve.
    """

    failures: str = ""
    at_cap: tuple[str, ...] = ()


class WorkflowError(ValueError):
    """Snakemake, or the plugin of an executor, is not installed."""


def hand_over(
    study: Study, reached: Sequence[str], words: Sequence[str], jobs: int, executor: str | None, more: str = ""
) -> Handed:
    """Have Snakemake run the stages; those that fail, and those that need them, are left out.

    Args:
      study: the study; the caller holds its run folder's lock.
      reached: names of the stages that need no job, in the graph's order.
      words: the command line that runs it, without what says how.
      jobs: stages at a time.
      executor: local, or the name of an installed plugin such as slurm or kubernetes; None is local.
      more: further arguments for Snakemake, as one text.

    Returns:
      The stages that failed, and those that ended at the cap.

    Raises:
      WorkflowError: Snakemake or the executor's plugin is not installed.
    """
    executor = executor or "local"
    _check_installed(executor)
    folder = (study.run_dir / "workflow").absolute()
    for name in ("done", "logs"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    # The marks are this run's; in the graph's order, since a mark that is older than one before it counts as stale.
    for stage in study.stages:
        path = folder / mark(stage.name)
        path.touch() if stage.name in reached else path.unlink(missing_ok=True)
        (folder / status(stage.name)).unlink(missing_ok=True)
    if len(reached) == len(study.stages):
        return Handed()
    cap = [] if study.ledger.max_usd is None else ["--max-usd", repr(study.ledger.max_usd)]
    doa = [sys.executable, "-m", "distill_or_annotate", *words[1:], *cap]
    (folder / "Snakefile").write_text(snakefile(study, doa, folder, Path.cwd()), encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(folder / "Snakefile"), "--directory", str(folder)]
    command += ["--jobs", str(jobs), "--executor", executor, "--keep-going", "--rerun-triggers", "mtime"]
    # What a killed job left is gone on with, so nothing is to be removed; greedy: the graph needs no solver.
    command += ["--rerun-incomplete", "--nolock", "--scheduler", "greedy", "--quiet", "host", "reason"]
    done = subprocess.run([*command, *shlex.split(more)], check=False)
    return _handed(study, folder, done.returncode)


def _check_installed(executor: str) -> None:
    if importlib.util.find_spec("snakemake") is None:
        raise WorkflowError(
            "--jobs and --executor hand the stages to Snakemake, which is not installed. Fix: pip install "
            "'distill-or-annotate[workflow]', or leave both out: the stages then run one after the other here."
        )
    plugin = f"snakemake_executor_plugin_{executor.replace('-', '_')}"
    if executor not in _BUILT_IN and importlib.util.find_spec(plugin) is None:
        raise WorkflowError(
            f"--executor: Snakemake has no executor {executor!r} here; without a plugin it has {', '.join(_BUILT_IN)}. "
            f"Fix: pip install {plugin.replace('_', '-')}."
        )


def _handed(study: Study, folder: Path, returncode: int) -> Handed:
    told, at_cap = [], []
    for stage in study.stages:
        found = _read(folder / status(stage.name)).strip()
        if (folder / mark(stage.name)).exists() or not found:
            continue
        if found == str(CAP_STATUS):
            at_cap.append(stage.name)
        else:
            told.append(f"{_last_lines(folder / log(stage.name))}\n  output: {folder / log(stage.name)}")
    if returncode and not told and not at_cap:
        told.append(f"Snakemake ended with status {returncode}; its messages stand above.")
    return Handed("\n".join(told), tuple(at_cap))


def _last_lines(path: Path, n_lines: int = 4) -> str:
    return "\n".join([line for line in _read(path).splitlines() if line.strip()][-n_lines:])


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
