"""`doa run`: a scenario from its dollars to its report."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_or_annotate.quiet import import_quietly
from distill_or_annotate.scenarios.scenario import STAGE_KINDS

if TYPE_CHECKING:
    from rich.console import Console

    from distill_or_annotate.pipeline.runner import Outcome, Study

EXAMPLE = "doa run gin/experiments/quickstart.gin --run-dir runs/quickstart --max-usd 150"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `doa run`."""
    parser.add_argument("scenario", help="a scenario's gin file, or the bare name of a packaged one (quickstart)")
    parser.add_argument(
        "--run-dir", type=Path, help="the run's folder; default runs/NAME. An interrupted run resumes there"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="override a field of the scenario"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="distill from a teacher that is not above the floors and the student on dev; the report says so",
    )
    parser.add_argument(
        "--max-usd",
        type=float,
        metavar="B",
        help="never spend more than these scenario dollars: what does not fit is not started, and a higher cap goes on",
    )
    parser.add_argument(
        "--stages-dir", type=Path, help="folder of finished stages, shared between runs; default RUN/stages"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print stages, dollars and commands; run and spend nothing"
    )
    parser.add_argument("--graph", type=Path, metavar="FILE.svg", help="draw the stages and what each needs")
    parser.add_argument("--stage", metavar="NAME", help="run this one stage alone; those it needs must be finished")
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="hand the graph to Snakemake, N stages at a time (extra: workflow)"
    )
    parser.add_argument(
        "--executor", metavar="NAME", help="where Snakemake runs the stages: local, slurm, kubernetes, ... (a plugin)"
    )
    parser.add_argument(
        "--workflow-args", default="", metavar="TEXT", help="more arguments for Snakemake, as one quoted text"
    )


def run(args: argparse.Namespace) -> int:
    """Run a scenario to its report; print the table, and the report's path as the last line."""
    from distill_or_annotate.pipeline import gin_files

    if args.jobs is not None and args.jobs < 1:
        raise ValueError(f"--jobs: received {args.jobs}; it must be at least 1.")
    with gin_files.user_files(gin_files.locate(args.scenario)):
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    from rich.console import Console

    from distill_or_annotate.pipeline import gin_files, llm_labels
    from distill_or_annotate.scenarios import check_runnable

    console = Console()
    started = time.monotonic()
    study, gin_text = _study(args)
    scenario = study.scenario
    if args.graph:
        from distill_or_annotate.pipeline import graph

        args.graph.parent.mkdir(parents=True, exist_ok=True)
        args.graph.write_text(graph.svg(study), encoding="utf-8")
    if args.dry_run:
        from distill_or_annotate.pipeline import telling

        telling.print_plan(study, console)
        return 0

    check_runnable(scenario)
    if args.stage:
        from distill_or_annotate.pipeline import single_stage

        stage = single_stage.find(study, args.stage)  # before the heavy imports: a wrong name is said at once
    # On a cluster's node only the stage that asks needs the key.
    to_run = [stage] if args.stage else study.stages
    llm_labels.check_endpoint(scenario, to_run, study.store.is_finished)
    from distill_or_annotate.pipeline import gates, locks, preparing

    preparing.prepare_environment()
    # Heavy imports from here on; a person who waits should know for what.
    console.print(
        f"{scenario.name}: {len(study.stages)} stages in {study.run_dir}. Loading TensorFlow and JAX ...",
        highlight=False,
    )
    from distill_or_annotate.pipeline import study as study_module

    import_quietly("tensorflow", "seqio")
    spec = study_module.import_task(scenario)
    try:
        gates.check_encoders(scenario, spec.labels, spec.metric)
        gates.check_programs([each for each in to_run if not study.store.is_finished(each.name)], study.store.folder)
        hashes = preparing.data_hashes(spec)
        dev_is_test = gates.check_dev(scenario, hashes)
    except gates.GateError as error:
        _say(console, str(error))
        return 1
    if args.stage:
        preparing.claim(study.run_dir, scenario.as_dict(), hashes)
        study.store.claim(hashes)
        return single_stage.run(study, stage, console, _again(args))
    used = _gin_files_of(scenario)
    content = _manifest(study, hashes | {name: gin_files.digest(name) for name in used}, console)
    content["assumptions"] += [dev_is_test] if dev_is_test else []
    # The folder's lock before its first file: two walks over one ledger would each believe what the other changes.
    with locks.folder_lock(study.run_dir):
        preparing.claim(study.run_dir, scenario.as_dict(), hashes)
        study.store.claim(hashes)
        (study.run_dir / "scenario.gin").write_text(gin_text, encoding="utf-8")
        status = _walk(study, content, args, console)
    console.print(f"{time.monotonic() - started:.0f} s in all.", highlight=False)
    if page := _page(study):
        print(page)
    return status


def _study(args: argparse.Namespace) -> tuple[Study, str]:
    """The study that the arguments name, and its scenario as gin text; nothing heavy is imported."""
    from distill_or_annotate.ledger import Ledger
    from distill_or_annotate.pipeline import catalogue, gin_files, study
    from distill_or_annotate.pipeline.billing import billing_of
    from distill_or_annotate.pipeline.runner import Study
    from distill_or_annotate.pipeline.store import Store, stages_folder
    from distill_or_annotate.scenarios import expand_all

    scenario, gin_text = study.read(args.scenario, [*args.set, *(["force=True"] if args.force else [])])
    catalogue.check_served(args.scenario, study.form_and_task(args.scenario, args.set))
    run_dir = args.run_dir or Path("runs") / scenario.name
    folder = stages_folder(run_dir, args.stages_dir)
    # Named from here on: a scheduler's job does not see this process's environment.
    args.stages_dir = None if folder == run_dir / "stages" else folder
    book = study.prices(scenario)
    stages = expand_all(scenario, book, {name: gin_files.digest(name) for name in _gin_files_of(scenario)})
    ledger = Ledger(run_dir / "ledger.jsonl", max_usd=args.max_usd)
    billing = billing_of(scenario, book)
    return Study(scenario, stages, billing, ledger, Store(folder, ledger.path), run_dir), gin_text


def _gin_files_of(scenario: Any) -> list[str]:
    from distill_or_annotate.pipeline import study

    return study.gin_files_of(scenario)


def _manifest(study: Study, digests: dict[str, str], console: Console) -> dict[str, Any]:
    from distill_or_annotate.pipeline import manifest, preparing, results
    from distill_or_annotate.tasks import registry

    scenario = study.scenario
    content = manifest.manifest(scenario.as_dict(), shlex.join(["doa", *sys.argv[1:]]), digests)
    truncated = registry.truncations(scenario.reads).summary()
    by_encoders = preparing.encoder_truncations(scenario)
    for line in (f"training data: {truncated}", *by_encoders):
        console.print(line, highlight=False)
    return content | {
        "truncations": "; ".join([truncated, *by_encoders]),
        "assumptions": scenario.remarks(),
        "price_book": scenario.price_book,
        "stages_dir": str(study.store.folder.absolute()),
        "cells": results.planned_cells(scenario, study.billing.book),
    }


def _walk(study: Study, content: dict[str, Any], args: argparse.Namespace, console: Console) -> int:
    """Do what can be done, here or through Snakemake; write the report of it; say what is missing."""
    from distill_or_annotate.pipeline import gates, manifest, runner, telling, work

    manifest.write_json(study.run_dir / "manifest.json", content)
    elsewhere, failures, at_cap = args.jobs is not None or args.executor is not None, "", ()
    try:
        if elsewhere:
            from distill_or_annotate.pipeline import workflow

            # What is finished or bought needs no job.
            reached = runner.run(study, console, start=("label",)).reached
            words = _words(args)
            handed = workflow.hand_over(study, reached, words, args.jobs or 1, args.executor, args.workflow_args)
            failures, at_cap = handed.failures, handed.at_cap
        outcome = runner.run(study, console, start=("label",) if elsewhere else STAGE_KINDS)
        outcome.note_stopped(at_cap)
    except (gates.GateError, work.StageError) as error:
        if os.environ.get("DOA_DEBUG"):
            raise
        # What was scored before it is in the report, with its flags.
        _report(study, content, [str(error)], console)
        _say(console, str(error) + _alone(error, args))
        return 1
    told = gates.notes(study.stages, study.store.folder)
    told += [sentence] if (sentence := telling.sharing(study, outcome)) else []
    if told:
        console.print(telling.sharing(study, outcome), highlight=False, end="\n" if outcome.shared else "")
    _report(study, content, told, console)
    return _status(study, outcome, failures, _again(args), console)


def _report(study: Study, content: dict[str, Any], told: Sequence[str], console: Console) -> None:
    from distill_or_annotate import reports
    from distill_or_annotate.pipeline import manifest, telling

    if told:
        content["assumptions"] += told
        manifest.write_json(study.run_dir / "manifest.json", content)
    reports.build(study.run_dir)
    reports.print_run(study.run_dir, console)
    run = reports.read_run(study.run_dir)
    cells = [cell for block in reports.blocks_of(run) for cell in block.scored]
    if said := telling.degenerate(run.results, cells):
        _say(console, said)


def _status(study: Study, outcome: Outcome, failures: str, command: str, console: Console) -> int:
    from distill_or_annotate.pipeline import deadline, telling

    if outcome.is_whole:
        return 0
    if failures:
        _say(console, failures)
    if study.ledger.max_usd is not None and (outcome.refused or outcome.stopped):
        _say(console, telling.stopped_short(study, outcome, command))
        return 1 if failures else deadline.CAP_STATUS
    return 1


def _say(console: Console, text: str) -> None:
    console.print(text, style="red", markup=False, highlight=False, soft_wrap=True)


def _alone(error: Exception, args: argparse.Namespace) -> str:
    """The command that runs a failed stage alone, with the run's books."""
    stage = getattr(error, "stage", None)
    return f"\n  with the run's books: {_again(args)} --stage {stage}" if stage else ""


def _words(args: argparse.Namespace) -> list[str]:
    """The command line's words that say which study runs where; not how, nor under which cap."""
    words = ["doa", "run", args.scenario]
    words += ["--run-dir", str(args.run_dir)] if args.run_dir else []
    for pair in args.set:
        words += ["--set", pair]
    words += ["--force"] if args.force else []
    return words + (["--stages-dir", str(args.stages_dir)] if args.stages_dir else [])


def _again(args: argparse.Namespace) -> str:
    return shlex.join(_words(args))


def _page(study: Study) -> Path | None:
    page = study.run_dir / "report" / "index.html"
    return page.absolute() if page.exists() else None
