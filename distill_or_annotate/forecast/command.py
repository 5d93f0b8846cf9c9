"""`doa forecast`: does an experiment fit on accelerators that are not here, how long would it run, and for how much?

Every distinct program is compiled for the mesh. Nothing is trained, and neither data nor checkpoint is read.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any

from distill_or_annotate.forecast import devices
from distill_or_annotate.prices import load_book

EXAMPLE = "doa forecast --gin_file gin/experiments/xxl_to_small.gin --mesh v5p-8"
_COMPILERS = 2
_GROUPS = {
    "finetune": ("finetune",),
    "capture": ("encode", "capture"),
    "distill": ("distill_live", "distill_captured"),
    "train": ("train",),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments.

    Args:
      parser: receives them.
    """
    parser.add_argument(
        "--gin_file", action="append", required=True, help="a scenario, or one T5X program's gin files in order"
    )
    parser.add_argument(
        "--mesh", action="append", required=True, help=f"several may be given: {', '.join(devices.mesh_names())}"
    )
    parser.add_argument("--task", action="append", default=[], help="gin/tasks/TASK.gin for the file's own; several")
    parser.add_argument("--only", action="append", choices=sorted(_GROUPS), default=[], help="these programs alone")
    parser.add_argument("--set", action="append", default=[], metavar="MACRO=VALUE", help="a gin macro")
    parser.add_argument("--examples", type=int, default=100_000, help="unlabeled examples to distill (default: 100000)")
    parser.add_argument("--book", default=None, help="price book (default: cloud; local for CPUs)")
    parser.add_argument("--prices", default=None, help="a TOML file of price books instead of the shipped one")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--markdown", default=None, metavar="FILE", help="write the tables to a file, too")
    parser.add_argument("--measure", action="store_true", help="on CPU meshes: run each program, too")
    parser.add_argument("--again", action="store_true", help="compile also what was compiled before")


def run(args: argparse.Namespace) -> int:
    """Compiles what is not known yet, and prints the forecast.

    Args:
      args: gin_file, mesh, task, only, set, examples, book, prices, json, markdown, measure, again.

    Returns:
      0 where everything fits, 1 where something does not.

    Raises:
      ValueError: an unknown mesh, macro or book, or a configuration that can't be compiled.
      FileNotFoundError: a gin file is missing.
    """
    if args.examples < 1:
        raise ValueError(f"--examples is {args.examples}; allowed: at least 1.")
    meshes = [devices.mesh_facts(name) for name in dict.fromkeys(args.mesh)]
    if args.measure and not all(facts.device.is_cpu for facts in meshes):
        raise ValueError("--measure runs programs on the CPU; --mesh names other devices. Fix: --mesh cpu-1.")
    for facts in meshes:  # what can't be priced is said before anything is compiled
        _book(args, facts).entry(facts.device.price)
    from distill_or_annotate.forecast import meshes as meshes_lib

    meshes_lib.prepare(meshes)
    _quiet()
    found = _forecast(args, meshes)
    fits = all(row.fits for rows in found.values() for row in rows.values())
    if args.json:
        print(json.dumps(_as_json(found, args), indent=2))
    else:
        _print_tables(found, meshes)
    if args.markdown:
        Path(args.markdown).write_text(_as_markdown(found), encoding="utf-8")
    return 0 if fits else 1


def _quiet() -> None:
    """Keeps greetings of libraries and warnings about macros, which are for those who train, off the terminal."""
    import os

    from absl import logging

    from distill_or_annotate.quiet import import_quietly

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import_quietly("seqio", "t5x.train")
    logging.set_verbosity(logging.FATAL)


def _book(args: argparse.Namespace, facts: devices.MeshFacts) -> Any:
    return load_book(args.book or ("local" if facts.device.is_cpu else "cloud"), args.prices)


def _forecast(args: argparse.Namespace, meshes: Sequence[devices.MeshFacts]) -> dict[tuple[str, str], dict[str, Any]]:
    """(task, mesh) -> kind -> row."""
    from distill_or_annotate.forecast import bill, local_cpu, measuring, programs

    wanted = {kind for group in args.only for kind in _GROUPS[group]}
    jobs = []
    for task in args.task or [""]:
        files = [*args.gin_file, *([f"gin/tasks/{task}.gin"] if task else [])]
        for program in programs.experiment(files, _bindings(args.set), args.examples):
            if not wanted or program.kind in wanted:
                jobs += [(task, facts, program) for facts in meshes]
    if not jobs:
        raise ValueError(f"--only {' '.join(args.only)}: the experiment has no such program.")
    found: dict[tuple[str, str], dict[str, Any]] = {}
    # Compilers work in C++ on one core each while Python traces the next program.
    with _Progress(len(jobs)) as progress, futures.ThreadPoolExecutor(_COMPILERS) as pool:
        running: dict[str, futures.Future] = {}
        waiting = [(job, _asked(job[2], job[1], args.again, pool, running)) for job in jobs]
        for (task, facts, program), costs in waiting:
            progress.starts(f"{program.title}{f', {task}' if task else ''}, {facts.name}")
            device = local_cpu.measured(facts.device, facts.chips) if facts.device.is_cpu else facts.device
            row = bill.row(program.kind, costs(), facts, device, _book(args, facts))
            if args.measure:
                step, _ = programs.trace(program, facts)
                row = dataclasses.replace(row, measured_seconds=measuring.measured_seconds(step))
            found.setdefault((task or _stem(args.gin_file), facts.name), {})[program.kind] = row
            progress.ends()
    return found


def costs_of(program: Any, facts: devices.MeshFacts, again: bool = False) -> Any:
    """Costs of a program on a mesh: known ones, or those of compiling it now.

    Args:
      program: a `programs.Program`.
      facts: the mesh.
      again: compile it even if it was compiled before.

    Returns:
      `programs.Costs`.

    Raises:
      ValueError: the configuration can't be compiled.
    """
    with futures.ThreadPoolExecutor(1) as pool:
        return _asked(program, facts, again, pool, {})()


def _asked(
    program: Any, facts: devices.MeshFacts, again: bool, pool: futures.Executor, running: dict[str, futures.Future]
) -> Callable[[], Any]:
    """Traces a program that is not known, hands it to a compiler, and returns what waits for its costs."""
    from distill_or_annotate.forecast import cache, programs

    asked = cache.request_key(program, facts)
    known = None if again else cache.read(asked)
    if known is not None:
        return lambda: known
    started = time.monotonic()
    try:
        step, facts_known = programs.trace(program, facts)
    except (AttributeError, ImportError, KeyError, NameError, SyntaxError, TypeError) as error:
        raise ValueError(
            f"{program.title} ({', '.join(program.gin_files)}) can't be traced: {type(error).__name__}: "
            f"{str(error).strip()[:600]}"
        ) from error
    lowered = step.lower()
    key = cache.program_key(lowered.as_text(), facts)
    tracing_seconds = time.monotonic() - started
    kept = None if again else cache.read(key)

    def compiled() -> Any:
        costs = programs.compile_costs(lowered, facts_known, facts.chips, time.monotonic() - tracing_seconds)
        cache.write(key, costs)
        return costs

    # Two tasks of one shape are one program.
    future = running.get(key)
    if kept is None and future is None:
        future = running[key] = pool.submit(compiled)

    def costs() -> Any:
        found = kept if kept is not None else future.result()
        own = {name: facts_known[name] for name in ("parameters", "batch_size", "steps")}
        found = dataclasses.replace(found, **own)
        cache.write(asked, found)
        return found

    return costs


def _bindings(pairs: Sequence[str]) -> tuple[str, ...]:
    for pair in pairs:
        if not re.match(r"^[\w./]+=", pair):
            raise ValueError(f"--set {pair!r}: must be MACRO=VALUE, such as --set BATCH_SIZE=64.")
    return tuple(" = ".join(pair.split("=", 1)) for pair in pairs)


def _stem(gin_files: Sequence[str]) -> str:
    return Path(gin_files[0]).stem


def _as_json(found: dict[tuple[str, str], dict[str, Any]], args: argparse.Namespace) -> dict[str, Any]:
    from distill_or_annotate.forecast import bill, cache, roofline

    return {
        "gin_file": args.gin_file,
        "examples": args.examples,
        "versions": cache.versions(),
        "utilisation": dataclasses.asdict(roofline.ACCELERATOR),
        "forecasts": [
            {
                "task": task,
                "mesh": mesh,
                "programs": [dataclasses.asdict(row) for row in rows.values()],
                "ways": bill.ways(rows),
            }
            for (task, mesh), rows in found.items()
        ],
    }


def _print_tables(found: dict[tuple[str, str], dict[str, Any]], meshes: Sequence[devices.MeshFacts]) -> None:
    from distill_or_annotate.forecast import bill, roofline, table

    for (task, mesh), rows in found.items():
        compiled_as = next(iter(rows.values())).compiled_as
        cells = [table.cells(row) for row in rows.values()]
        table.show(f"{task} on {mesh}: bytes on one device ({compiled_as})", table.HEADINGS, cells, turned=True)
    ways = [line for (task, mesh), rows in found.items() for line in table.way_cells(task, mesh, bill.ways(rows))]
    if ways:
        table.show("Distillation, capture of the targets included", table.WAY_HEADINGS, ways)
    print(f"Roofline: {roofline.ACCELERATOR}; CPUs: {roofline.CPU}.")
    for facts in {facts.device.name: facts for facts in meshes}.values():
        print(f"{facts.device.title}: {facts.device.source}, read on {facts.device.date}.")
    if any(facts.stand_in for facts in meshes):
        margin = f"{bill.GPU_MARGIN:.0%}"
        print(f"GPUs can't be compiled for: their memory is that of the TPU compile, with {margin} kept free.")


def _as_markdown(found: dict[tuple[str, str], dict[str, Any]]) -> str:
    from distill_or_annotate.forecast import bill, table

    lines = [[task, *table.cells(row)] for (task, _), rows in found.items() for row in rows.values()]
    ways = [line for (task, mesh), rows in found.items() for line in table.way_cells(task, mesh, bill.ways(rows))]
    return table.markdown(table.WAY_HEADINGS, ways) + "\n" + table.markdown(["task", *table.HEADINGS], lines)


class _Progress:
    """One bar over the programs; away from a terminal a line for each."""

    def __init__(self, n_jobs: int):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True, highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._n_jobs = n_jobs

    def __enter__(self) -> _Progress:
        self._bar.start()
        self._job = self._bar.add_task("forecast", total=self._n_jobs)
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        sys.stderr.flush()

    def starts(self, title: str) -> None:
        """Names the program at work."""
        self._title, self._started = title, time.monotonic()
        self._bar.update(self._job, description=title)

    def ends(self) -> None:
        """Counts it."""
        self._bar.advance(self._job)
        if not self._console.is_terminal:
            self._console.print(f"{self._title}: {time.monotonic() - self._started:.0f} s")
