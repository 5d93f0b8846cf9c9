"""Times steps, decoding and the way to the first step against a peer: `python benchmarks/step_time.py --peer hf`.

Ours and the peer run in turns on the same machine, each in a process of its own that stays alive, and a ratio is one of
medians: noise that lasts longer than a turn meets both. Prints JSON; `ratio` is the peer's seconds over ours.

Work is named WORK:SHAPE. `train` is a fine-tuning step with AdamW, `decode` greedy decoding of a batch, `start` the
time from a new process to the end of its first training step, with an empty compilation cache and with a filled one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import track

sys.path.insert(0, str(Path(__file__).parent / "workers"))

from process import Worker

# Upstream T5X has the names that our worker uses, so the same script times it.
_SCRIPTS = {"ours": "ours.py", "hf": "hf.py", "t5x": "ours.py", "small_pages": "ours.py"}
# For that peer alone: memory in pages of 2 MB (Linux with transparent huge pages at `madvise`) or of 4 kB.
_PAGES = {"ours": "glibc.malloc.hugetlb=1", "small_pages": "glibc.malloc.hugetlb=0"}
_WORK = ("train:B", "decode:A", "start:B")


def main() -> None:
    """Times the work named on the command line and prints JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog="example: python benchmarks/step_time.py --work train:B --rounds 3"
    )
    parser.add_argument("--peer", choices=["hf", "t5x", "small_pages", "none"], default="none")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has the peer's packages")
    parser.add_argument("--work", nargs="+", metavar="WORK:SHAPE", default=_WORK, help=f"default: {' '.join(_WORK)}")
    parser.add_argument("--rounds", type=int, default=7, help="turns that each system gets")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions in a turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    pythons = {"ours": sys.executable} | ({} if args.peer == "none" else {args.peer: args.peer_python})
    workers = {name: _worker(name, python, args) for name, python in pythons.items()}
    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {args.threads} threads, float32",
        "python": platform.python_version(),
        "systems": {name: worker.about for name, worker in workers.items()},
        "work": {},
    }
    steady = [name for name in args.work if not name.startswith("start:")]
    for pair in steady:
        report["work"][pair] = _steady(workers, *pair.split(":"), args)
    for worker in workers.values():
        worker.close()
    for pair in [name for name in args.work if name not in steady]:
        report["work"][pair] = _start(pythons, pair.split(":")[1], args)
    text = json.dumps(report, indent=1)
    print(text)
    if args.output:
        args.output.write_text(text + "\n", encoding="utf-8")


def _worker(name: str, python: str, args: argparse.Namespace, cache: str = "") -> Worker:
    variables = {"JAX_COMPILATION_CACHE_DIR": cache}
    if args.peer == "small_pages":
        variables["GLIBC_TUNABLES"] = _PAGES[name]
    return Worker(_SCRIPTS[name], python, args.threads, variables)


def _turns(label: str, rounds: int):
    return track(range(rounds), label, console=Console(stderr=True), transient=True)


def _steady(workers: dict[str, Worker], work: str, shape: str, args: argparse.Namespace) -> dict:
    """Work that repeats in processes that stay alive."""
    first = {name: worker.ask("prepare", work, shape)["seconds"][0] for name, worker in workers.items()}
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    for _ in _turns(f"{work} {shape}", args.rounds):
        for name, worker in workers.items():
            seconds[name] += worker.ask("run", work, shape, str(args.repeat))["seconds"]
    row = {"first_seconds": {name: round(value, 3) for name, value in first.items()}, **_summary(seconds)}
    if args.peer != "none":
        row["ratio"] = round(row["median_seconds"][args.peer] / row["median_seconds"]["ours"], 2)
    return row


def _start(pythons: dict[str, str], shape: str, args: argparse.Namespace) -> dict:
    """From a new process to the end of its first training step."""
    seconds: dict[str, list[float]] = {}
    for _ in _turns(f"start {shape}", max(args.rounds // 2, 1)):
        for name, python in pythons.items():
            with tempfile.TemporaryDirectory() as cache:
                for state in ("cold",) if name == "hf" else ("cold", "cached"):
                    start = time.perf_counter()
                    worker = _worker(name, python, args, cache)
                    worker.ask("prepare", "train", shape)
                    seconds.setdefault(f"{name}_{state}", []).append(time.perf_counter() - start)
                    worker.close()
    row = _summary(seconds)
    if args.peer != "none":
        medians = row["median_seconds"]
        row["ratio"] = {
            state: round(
                medians.get(f"{args.peer}_{state}", medians[f"{args.peer}_cold"]) / medians[f"ours_{state}"], 2
            )
            for state in ("cold", "cached")
        }
    return row


def _summary(seconds: dict[str, list[float]]) -> dict:
    return {
        "median_seconds": {name: round(statistics.median(values), 4) for name, values in seconds.items()},
        "spread": {name: [round(min(values), 4), round(max(values), 4)] for name, values in seconds.items()},
    }


if __name__ == "__main__":
    main()
