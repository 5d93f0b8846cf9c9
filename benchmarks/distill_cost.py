"""What a student costs with a live teacher and with a captured one: `python benchmarks/distill_cost.py --peer hf`.

The paper's loop decodes targets once, then runs the teacher in each step. A capture decodes once and stores what the
teacher knew; its students train on files. Both go over a small pool in turns, in processes that stay alive; what the
whole run takes is extrapolated from the medians: one pass of the teacher, then so many epochs. Compilation is not in
it. A capture's seconds include writing the store, a student's reading it through SeqIO. Prints JSON; `ratio` is the
live teacher's cost over the captured one's.

`--flops-only` runs nothing: it counts XXL -> Small, 100,000 examples and 50 epochs, at the lengths of the six tasks.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import statistics
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import track

sys.path.insert(0, str(Path(__file__).parent / "workers"))

from distilling import KEPT_TOKENS, PAIRS
from process import Worker

_SCRIPTS = {"ours": "distill_ours.py", "hf": "distill_hf.py"}
_PARTS = {
    "ours": ("generate", "live", "capture_topk", "topk", "capture_hidden", "hidden"),
    "hf": ("generate", "live"),
}
# Of a hidden state: bfloat16 keeps 8 bits.
_ROUNDING = 2**-8


def main() -> None:
    """Times or counts what the command line names and prints JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog="example: python benchmarks/distill_cost.py --flops-only"
    )
    parser.add_argument("--peer", choices=["hf", "none"], default="none")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has the peer's packages")
    parser.add_argument("--shapes", choices=["C-B", "tiny"], default="C-B", help="teacher and student that are timed")
    parser.add_argument("--batches", type=int, default=4, help="batches of the pool")
    parser.add_argument("--rounds", type=int, default=5, help="turns that each part gets")
    parser.add_argument("--epochs", type=int, help="of the whole run; default: 10, and 50 with --flops-only")
    parser.add_argument("--examples", type=int, default=100_000, help="of the pool, with --flops-only")
    parser.add_argument("--flops-only", action="store_true", help="count, time nothing")
    parser.add_argument("--model", choices=sorted(PAIRS), default="xxl-small", help="what --flops-only counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    for name in ("batches", "rounds", "examples"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} is {getattr(args, name)}; at least 1 is needed.")
    args.epochs = args.epochs or (50 if args.flops_only else 10)
    text = json.dumps(_counted(args) if args.flops_only else _timed(args), indent=1)
    print(text)
    if args.output:
        args.output.write_text(text + "\n", encoding="utf-8")


def _timed(args: argparse.Namespace) -> dict:
    pythons = {"ours": sys.executable} | ({} if args.peer == "none" else {args.peer: args.peer_python})
    workers = {name: Worker(_SCRIPTS[name], python, args.threads) for name, python in pythons.items()}
    ready = {name: worker.ask("prepare", args.shapes, str(args.batches)) for name, worker in workers.items()}
    turns: dict[str, dict[str, list[float]]] = {name: {part: [] for part in _PARTS[name]} for name in workers}
    for _ in track(range(args.rounds), args.shapes, console=Console(stderr=True), transient=True):
        for part in _PARTS["ours"]:
            for name, worker in workers.items():
                if part in _PARTS[name]:
                    turns[name][part] += worker.ask("run", part)["seconds"]
    for worker in workers.values():
        worker.close()
    # Late: while it runs, no other thread pool of ours should be about.
    from distill_flops import of_a_batch, ratios, totals

    medians = {name: {part: statistics.median(s) for part, s in parts.items()} for name, parts in turns.items()}
    total = totals(medians["ours"], args.epochs)
    flops = {part: args.batches * count for part, count in of_a_batch(*PAIRS[args.shapes]).items()}
    facts = ready["ours"]
    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {args.threads} threads, float32",
        "python": platform.python_version(),
        "systems": {name: worker.about for name, worker in workers.items()},
        "teacher": dataclasses.asdict(PAIRS[args.shapes][0]),
        "student": dataclasses.asdict(PAIRS[args.shapes][1]),
        "pool_batches": args.batches,
        "epochs": args.epochs,
        "prepare_seconds": {name: round(answer["seconds"][0], 1) for name, answer in ready.items()},
        "median_seconds": {name: _rounded(parts) for name, parts in medians.items()},
        "spread_seconds": {
            name: {part: [round(min(s), 4), round(max(s), 4)] for part, s in parts.items()}
            for name, parts in turns.items()
        },
        "total_seconds": _rounded(total),
        "ratio": ratios(total),
        "flops": flops,
        "total_flops": totals(flops, args.epochs),
        "ratio_flops": ratios(totals(flops, args.epochs)),
        "teacher_share": {"seconds": _share_of_seconds(medians["ours"], total), "flops": _share(flops, args.epochs)},
        "store_bytes": facts["store_bytes"],
        "head_bytes": facts["head_bytes"],
        "targets_agree": facts["targets_agree"],
        "loss": _losses(facts),
    }
    if args.peer != "none":
        peer = medians[args.peer]
        peer_total = peer["generate"] + args.epochs * peer["live"]
        report["total_seconds"][args.peer] = round(peer_total, 4)
        report["ratio_to_peer"] = {way: round(peer_total / seconds, 2) for way, seconds in total.items()}
    return report


def _losses(facts: dict) -> dict:
    """How far the students of the stores are from the live teacher's, on the same batches from the same start."""
    curves, final = facts["losses_by_step"], facts["final_losses"]
    difference = {
        kind: max(abs(a - b) / b for a, b in zip(curves[kind], curves["live"], strict=True)) for kind in curves
    }
    return {
        "by_step": curves,
        # A bucketed loss is at most the whole one, so only that of hidden states is comparable step by step.
        "hidden_largest_relative_difference": difference["hidden"],
        "hidden_within_bfloat16_rounding": difference["hidden"] <= _ROUNDING,
        "final_against_live_teacher": final,
        "final_relative_difference": {kind: final[kind] / final["live"] - 1 for kind in ("topk", "hidden")},
    }


def _share_of_seconds(parts: dict, total: dict) -> dict[str, float]:
    """The teacher's share: its pass; with a live teacher also what a step takes longer than one from `topk`."""
    live = total["live"] - total["topk"] + parts["capture_topk"]
    spent = {"live": live, "topk": parts["capture_topk"], "hidden": parts["capture_hidden"]}
    return {way: round(seconds / total[way], 3) for way, seconds in spent.items()}


def _share(flops: dict, epochs: int) -> dict[str, float]:
    from distill_flops import totals

    total = totals(flops, epochs)
    spent = {
        "live": flops["generate"] + epochs * flops["teacher"],
        "topk": flops["capture_topk"],
        "hidden": flops["capture_hidden"] + epochs * (flops["hidden"] - flops["topk"]),
    }
    return {way: round(count / total[way], 3) for way, count in spent.items()}


def _counted(args: argparse.Namespace) -> dict:
    from distill_flops import of_a_batch, ratios, totals

    from distill_or_annotate import paper
    from distill_or_annotate.capture import sizes

    teacher, student = PAIRS[args.model]
    report = {"model": args.model, "examples": args.examples, "epochs": args.epochs, "tasks": {}}
    for name in track(paper.task_names(), "count", console=Console(stderr=True), transient=True):
        room = paper.task(name)
        lengths = {
            "input_tokens": room["max_source_tokens"]["value"],
            "target_tokens": room["max_target_tokens"]["value"],
        }
        batch = of_a_batch(dataclasses.replace(teacher, **lengths), dataclasses.replace(student, **lengths))
        flops = {part: count * args.examples / teacher.batch for part, count in batch.items()}
        total = totals(flops, args.epochs)
        positions = args.examples * lengths["target_tokens"]
        report["tasks"][name] = {
            **lengths,
            "flops_per_pass": flops,
            "total_flops": total,
            "teacher_share": _share(flops, args.epochs),
            "distribution_bytes": {
                kind: positions * sizes.bytes_per_position(kind, teacher.d_model, teacher.vocab, KEPT_TOKENS)
                for kind in ("topk", "hidden")
            },
            "ratio": ratios(total),
        }
    return report


def _rounded(numbers: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in numbers.items()}


if __name__ == "__main__":
    main()
