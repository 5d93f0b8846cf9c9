"""Kills `doa annotate` at random moments and compares its books with the server's invoice.

  python benchmarks/annotate_kills.py --kills 10

The server is the rehearsal one, in this process: real HTTP, a tenth of all requests failing in every way it knows,
tokens billed as play money. Each attempt is the real command in a process of its own, sent SIGKILL after it has had a
random number of requests. Afterwards each item must be labelled once, and
invoice <= settled + unconfirmed <= cap.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from distill_or_annotate.annotators.rehearsal import RehearsalServer, rehearsal_prices
from distill_or_annotate.annotators.rehearsal_model import RehearsalModel

EXAMPLE = "python benchmarks/annotate_kills.py --kills 10"
MAX_USD = 2.0
# `refused` sets an item aside for good, and a `timeout` takes seconds.
FAULTS = {
    "rate_limited": 0.02, "server_error": 0.01, "billed_error": 0.01, "dropped": 0.01, "dropped_billed": 0.01,
    "truncated": 0.01, "malformed": 0.01, "no_choices": 0.01, "no_usage": 0.01,
}  # fmt: skip
_BOOK = '[books.rehearsal]\ntitle = "play money"\ndescription = "for rehearsals"\n'
_ENTRY = (
    '[[books.rehearsal.entries]]\nid = "api/rehearsal/{part}"\nusd = {usd}\nunit = "1000000 tokens"\n'
    'date = 2026-11-21\nsource = "play money"\nprovenance = "assumption"\n'
)


def measure(
    n_kills: int, n_items: int, *, seed: int = 0, delay_seconds: float = 0.02, concurrency: int = 4
) -> dict[str, Any]:
    """Labels a pool while killing the process that does it, then compares.

    Args:
      n_kills: how often, at least 0.
      n_items: items of the pool.
      seed: of the moments and of the server's failures.
      delay_seconds: what the server takes for an answer.
      concurrency: requests at a time.

    Returns:
      Counts, dollars, and whether the law holds.
    """
    rows = [
        {"source": f"Mix sample {i} well .", "target": f"Mix [Action] sample {i} [Reagent]"} for i in range(n_items)
    ]
    prices = rehearsal_prices()
    model = RehearsalModel({row["source"]: row["target"] for row in rows}, prices, faults=FAULTS, seed=seed)
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as name, RehearsalServer(model, delay_seconds=delay_seconds) as server:
        folder = Path(name)
        command = _command(folder, rows, server.url, concurrency)
        left = n_items
        kills = []
        for number in range(n_kills):
            # Spread over the whole pool: each attempt may do about an equal part of what is left.
            n_more = chance.randint(1, max(1, 2 * left // (n_kills - number + 1)))
            kills.append(_killed_after(command, server, n_more, chance.uniform(0, 2 * delay_seconds)))
            left = n_items - _n_lines(folder / "labels.jsonl")
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment())
        if done.returncode:
            raise SystemExit(f"the last attempt ended with {done.returncode}: {done.stderr}")
        summary = json.loads(done.stdout)
        labels = Counter(json.loads(line)["source"] for line in (folder / "labels.jsonl").open(encoding="utf-8"))
        answered = Counter(
            row["item"]
            for row in map(json.loads, (folder / "labels.jsonl.ledger.jsonl").open(encoding="utf-8"))
            if row.get("outcome") == "answered"
        )
    money, invoice_usd = summary["balance"], model.invoice_usd()
    books_usd = money["settled_usd"] + money["unconfirmed_usd"]
    return {
        "n_items": n_items,
        "n_kills": sum(kills),
        "n_labelled_once": sum(count == 1 for count in labels.values()),
        "n_set_aside": summary["n_set_aside"],
        "n_paid_answers_of_one_item": max(answered.values()),
        "n_requests": server.n_requests,
        "n_billed": len(model.invoice),
        "invoice_usd": round(invoice_usd, 6),
        "settled_usd": round(money["settled_usd"], 6),
        "unconfirmed_usd": round(money["unconfirmed_usd"], 6),
        "max_usd": MAX_USD,
        "law_holds": invoice_usd <= books_usd + 1e-9 <= MAX_USD + 1e-6,
    }


def _killed_after(command: list[str], server: RehearsalServer, n_requests: int, wait_seconds: float) -> bool:
    before = server.n_requests
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=_environment())
    while process.poll() is None and server.n_requests < before + n_requests:
        time.sleep(0.001)
    time.sleep(wait_seconds)
    process.send_signal(signal.SIGKILL)
    _, told = process.communicate()
    if process.returncode > 0:
        raise SystemExit(f"an attempt ended with {process.returncode}: {told.decode()}")
    return process.returncode == -signal.SIGKILL


def _command(folder: Path, rows: list[dict[str, str]], url: str, concurrency: int) -> list[str]:
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    prices = rehearsal_prices()["standard"]
    parts = {"input": prices.input_usd, "cached_input": prices.cached_input_usd, "output": prices.output_usd}
    entries = [_ENTRY.format(part=part, usd=usd) for part, usd in parts.items()]
    (folder / "prices.toml").write_text("".join([_BOOK, *entries]), encoding="utf-8")
    words = ["annotate", "--task", "wlp", "--pool", folder / "pool.jsonl", "--out", folder / "labels.jsonl"]
    words += ["--shot-file", folder / "pool.jsonl", "--shots", 4, "--shot-pool", 20, "--model", "rehearsal", "--json"]
    words += ["--base-url", url, "--price-book", "rehearsal", "--prices", folder / "prices.toml"]
    words += ["--max-usd", MAX_USD, "--max-output-tokens", 64, "--concurrency", concurrency, "--attempts", 12]
    words += ["--backoff-seconds", 0.01]
    return [sys.executable, "-m", "distill_or_annotate.cli", *map(str, words)]


def _environment() -> dict[str, str]:
    return {**os.environ, "OPENAI_API_KEY": "rehearsal"}


def _n_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def main(argv: list[str] | None = None) -> None:
    """Prints what `measure` finds, as JSON.

    Args:
      argv: arguments without the program's name; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], epilog=f"example: {EXAMPLE}")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    found = measure(args.kills, args.items, seed=args.seed)
    print(json.dumps(found, indent=2))
    if not found["law_holds"] or found["n_labelled_once"] + found["n_set_aside"] != args.items:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
