"""Times a fine-tuning step and greedy decoding against a peer: `python benchmarks/step_time.py --peer hf`.

Ours and the peer run in turns on the same machine, each in a process of its own that stays alive, and a ratio is one of
medians: noise that lasts longer than a turn meets both. Prints JSON; `ratio` is the peer's seconds over ours.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

_WORKERS = Path(__file__).parent / "workers"
_WORK = (("train", "B"), ("decode", "A"))


class Worker:
    """A system under the clock, in a process of its own.

    Args:
      name: `ours` or `hf`.
      python: interpreter that has its packages.
      threads: threads it may use.
    """

    def __init__(self, name: str, python: str, threads: int):
        # The affinity is inherited: thread pools size themselves by it.
        cores = sorted(os.sched_getaffinity(0))[:threads]
        self.process = subprocess.Popen(
            [python, str(_WORKERS / f"{name}.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if not os.environ.get("DOA_DEBUG") else None,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(len(cores))},
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        self.about = self._answer()

    def ask(self, *words: str) -> list[float]:
        """Seconds of each repetition of the work that the words name."""
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        return self._answer()["seconds"]

    def close(self) -> None:
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(
                f"{self.process.args[1]} ended with status {self.process.wait()}. DOA_DEBUG=1 shows what it said. The "
                "peer hf needs torch and transformers: pip install '.[parity]', or name an interpreter that has them "
                "with --peer-python."
            )
        return json.loads(line)


def main() -> None:
    """Times the work named on the command line and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", choices=["hf", "none"], default="none")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has the peer's packages")
    parser.add_argument("--work", nargs="+", metavar="WORK:SHAPE", default=[":".join(pair) for pair in _WORK])
    parser.add_argument("--rounds", type=int, default=7, help="turns that each system gets")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions in a turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    workers = {"ours": Worker("ours", sys.executable, args.threads)}
    if args.peer != "none":
        workers[args.peer] = Worker(args.peer, args.peer_python, args.threads)
    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {args.threads} threads, float32",
        "python": platform.python_version(),
        "systems": {name: worker.about for name, worker in workers.items()},
        "work": {pair: _measure(workers, *pair.split(":"), args) for pair in args.work},
    }
    for worker in workers.values():
        worker.close()
    text = json.dumps(report, indent=1)
    print(text)
    if args.output:
        args.output.write_text(text + "\n", encoding="utf-8")


def _measure(workers: dict[str, Worker], work: str, shape: str, args: argparse.Namespace) -> dict:
    first = {name: worker.ask("prepare", work, shape)[0] for name, worker in workers.items()}
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(args.rounds):
        for name, worker in workers.items():
            seconds[name] += worker.ask("run", work, shape, str(args.repeat))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    row = {
        "first_seconds": {name: round(value, 3) for name, value in first.items()},
        "median_seconds": {name: round(value, 4) for name, value in medians.items()},
        "spread": {name: [round(min(v), 4), round(max(v), 4)] for name, v in seconds.items()},
    }
    if len(medians) > 1:
        row["ratio"] = round(medians[args.peer] / medians["ours"], 2)
    return row


if __name__ == "__main__":
    main()
