"""`doa run`: a scenario from its dollars to its report."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from pathlib import Path

from distill_or_annotate.quiet import import_quietly
from distill_or_annotate.scenarios.scenario import GIN_KINDS

EXAMPLE = "doa run gin/experiments/quickstart.gin --run-dir runs/quickstart"


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
        "--dry-run", action="store_true", help="print cells, stages and commands; run and spend nothing"
    )


def run(args: argparse.Namespace) -> int:
    """Run a scenario to its report; print the table, and the report's path as the last line."""
    from distill_or_annotate.pipeline import gin_files

    with gin_files.user_files(gin_files.locate(args.scenario)):
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    from rich.console import Console

    from distill_or_annotate.pipeline import gin_files, study
    from distill_or_annotate.scenarios import check_runnable, expand_all

    console = Console()
    started = time.monotonic()
    scenario, gin_text = study.read(args.scenario, [*args.set, *(["force=True"] if args.force else [])])
    run_dir = args.run_dir or Path("runs") / scenario.name
    book = study.prices(scenario)
    used = [scenario.task_gin, *(scenario.gin_file(kind) for kind in GIN_KINDS)]
    digests = {name: gin_files.digest(name) for name in used if name}
    stages = expand_all(scenario, book, digests)
    if args.dry_run:
        _print_plan(stages, run_dir, console)
        return 0

    check_runnable(scenario)
    _prepare_environment()
    # Heavy imports from here on; a person who waits should know for what.
    console.print(
        f"{scenario.name}: {len(stages)} stages in {run_dir}. Loading TensorFlow and JAX ...", highlight=False
    )
    from distill_or_annotate import reports
    from distill_or_annotate.pipeline import gates, locks, manifest, results, runner

    import_quietly("tensorflow", "seqio")
    from distill_or_annotate.tasks import registry

    hashes = _data_hashes(study.import_task(scenario))
    content = manifest.manifest(scenario.as_dict(), shlex.join(["doa", *sys.argv[1:]]), digests | hashes)
    truncated = registry.truncations(scenario.task).summary()
    console.print(f"training data: {truncated}", highlight=False)
    content |= {
        "truncations": truncated,
        "assumptions": list(scenario.notes),
        "price_book": scenario.price_book,
        "cells": results.planned_cells(scenario, book),
    }
    # The folder's lock before its first file: two walks over one ledger would each believe what the other changes.
    with locks.folder_lock(run_dir):
        _claim(run_dir, scenario.as_dict(), hashes)
        (run_dir / "scenario.gin").write_text(gin_text, encoding="utf-8")
        manifest.write_json(run_dir / "manifest.json", content)
        try:
            runner.run(scenario, stages, book, run_dir, console)
        except (gates.GateError, runner.StageError) as error:
            if os.environ.get("DOA_DEBUG"):
                raise
            console.print(str(error), style="red", markup=False, highlight=False)
            return 1
        if told := gates.notes(stages, run_dir / "stages"):
            content["assumptions"] += told
            manifest.write_json(run_dir / "manifest.json", content)
        page = reports.build(run_dir)
    reports.print_blocks(reports.blocks_of(reports.read_run(run_dir)), console)
    console.print(f"{time.monotonic() - started:.0f} s in all.", highlight=False)
    print(page.absolute())
    return 0


def _print_plan(stages, run_dir: Path, console) -> None:
    from distill_or_annotate.pipeline import programs, runner

    for stage in stages:
        command = programs.program(stage, run_dir / "stages")
        charge = sum(charge.quantity * charge.unit_price_usd for charge in stage.charges)
        cost = f" (${charge:,.2f})" if charge else ""
        heading = (
            f"{stage.name}  {runner.title(stage) if stage.kind != 'label' else f'buy {stage.n_labels} labels'}{cost}"
        )
        console.print(heading, markup=False, highlight=False)
        if command:
            console.print("    " + command.command(), markup=False, highlight=False, soft_wrap=True)


def _prepare_environment() -> None:
    """Before JAX and TensorFlow start: quiet logs, compiled programs kept across stages and runs."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from distill_or_annotate.interop.shipped import cache_dir

    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache_dir() / "compiled"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def _claim(run_dir: Path, scenario: dict, hashes: dict[str, str]) -> None:
    """Refuse a folder that holds a run of another scenario or on other data: it would mix two studies."""
    path = run_dir / "manifest.json"
    if not path.exists():
        return
    content = json.loads(path.read_text(encoding="utf-8"))
    before = content["scenario"]
    now = json.loads(json.dumps(scenario))
    # A run that a gate stopped goes on by force, and the other way round.
    changed = sorted(name for name in {*before, *now} - {"force"} if before.get(name) != now.get(name))
    if changed:
        raise ValueError(
            f"{run_dir} holds a run of another scenario (differs in {', '.join(changed)}). "
            "Fix: give --run-dir a new folder, or remove that one."
        )
    # A stage's name knows its settings, not its data: finished stages would be taken over as they are.
    other = sorted(name for name, value in hashes.items() if content["data"].get(name, value) != value)
    if other:
        raise ValueError(
            f"{run_dir} holds a run on other data ({', '.join(other)} changed since). "
            "Fix: give --run-dir a new folder, or restore the data (DOA_DATA_DIR)."
        )


def _data_hashes(spec) -> dict[str, str]:
    """SHA-256 of each split's rows, and of what the task makes of them: neither is in a stage's name."""
    from distill_or_annotate.preprocess.text import content_hash

    hashes = {
        f"{spec.name}/{split}": content_hash((f"{row['source']}\t{row['target']}" for row in spec.rows(split)), 64)
        for split in spec.available_splits()
    }
    settings = (spec.version, spec.prefix, spec.metric, spec.mode, spec.input_tokens, spec.target_tokens)
    return hashes | {f"{spec.name} settings": content_hash((*settings, *spec.labels), 64)}
