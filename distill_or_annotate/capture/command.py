"""`doa capture`: the teacher over a pool, once; what that takes, before; and whether a store is sound, after."""

from __future__ import annotations

import argparse
import json
import sys

from distill_or_annotate.capture import estimate

EXAMPLE = "doa capture gin/experiments/mini_capture.gin --set N_UNLABELED=4287"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments.

    Args:
      parser: receives them.
    """
    parser.add_argument("gin_file", nargs="*", help="a capture's gin file, and others to be read after it")
    parser.add_argument("--set", action="append", default=[], metavar="MACRO=VALUE", help="value of a gin macro")
    parser.add_argument("--verify", metavar="STORE", help="compare a store with its checksums, and do nothing else")
    parser.add_argument("--estimate", action="store_true", help="print what it would take, and do nothing else")
    group = parser.add_argument_group("for --estimate")
    group.add_argument("--task", default="wlp", help="a task of the paper, for its lengths (default: %(default)s)")
    group.add_argument("--input-tokens", type=int, help="longest input; default: the task's")
    group.add_argument("--target-tokens", type=int, help="longest target; default: the task's")
    group.add_argument("--n-unlabeled", type=int, default=100_000, help="examples (default: %(default)s)")
    group.add_argument("--teacher", default="t5_1_1_xxl", help="default: %(default)s")
    group.add_argument("--student", default="t5_1_1_small", help="default: %(default)s")
    group.add_argument("--mesh", default="v5p-8", help="accelerators, as in gin/mesh/ (default: %(default)s)")
    group.add_argument("--batch-size", type=int, default=256, help="examples decoded together (default: %(default)s)")
    group.add_argument("--k", type=int, default=32, help="tokens that topk keeps (default: %(default)s)")
    group.add_argument("--epochs", type=float, default=50, help="of the student (default: %(default)s)")
    group.add_argument(
        "--memory-gb", type=float, default=32, help="host memory that a store may fill (default: %(default)s)"
    )
    group.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Captures, estimates or verifies.

    Args:
      args: as `add_arguments` declares them.

    Returns:
      0; 1 where a store is not sound.

    Raises:
      ValueError: naming the argument and the fix.
    """
    if args.verify:
        return _verify(args.verify)
    if args.estimate:
        return _estimate(args)
    if not args.gin_file:
        raise ValueError(f"no gin file. Give a capture's, for example: {EXAMPLE}; or --estimate, or --verify STORE.")
    return _capture(args)


def _capture(args: argparse.Namespace) -> int:
    from distill_or_annotate.quiet import import_quietly

    bindings = [_binding(pair) for pair in args.set]
    print("Loading TensorFlow and JAX ...", file=sys.stderr)
    import_quietly("tensorflow", "seqio")
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    from distill_or_annotate.trainer.progress import listening
    from t5x import gin_utils, infer

    entry = gin_utils.parse_for(infer, "infer", gin_files=args.gin_file, gin_bindings=bindings)
    with Progress(TextColumn("captured {task.completed:,.0f} examples"), TimeElapsedColumn()) as bar:
        shown = bar.add_task("capture", total=None)
        with listening(lambda examples, _: bar.update(shown, completed=examples)):
            entry()
    return 0


def _binding(pair: str) -> str:
    name, separator, value = pair.partition("=")
    if not separator or not name:
        raise ValueError(f"--set {pair!r}: MACRO=VALUE is needed, such as N_UNLABELED=1000 or KIND=hidden.")
    return f"{name} = {_literal(value)}"


def _literal(value: str) -> str:
    """A gin literal: numbers, quoted text and references as they are, other words quoted."""
    import ast

    if value[:1] in ("@", "%"):
        return value
    try:
        ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return repr(value)
    return value


def _verify(store: str) -> int:
    from distill_or_annotate.capture import header, writer

    problems = writer.verify(store)
    for line in problems:
        print(line)
    counts = header.read(writer.Path(store)).counts
    if not problems:
        print(
            f"{store}: {counts['examples']:,} examples in {counts['shards']} shards, {counts['bytes']:,} bytes, sound."
        )
    return 1 if problems else 0


def _estimate(args: argparse.Namespace) -> int:
    from distill_or_annotate.paper.facts import task

    for name in ("n_unlabeled", "batch_size", "k", "epochs", "memory_gb"):
        if getattr(args, name) <= 0:
            raise ValueError(f"--{name.replace('_', '-')} is {getattr(args, name)}; it must be above 0.")
    lengths = [args.input_tokens, args.target_tokens]
    if None in lengths:
        facts = task(args.task)
        known = (facts["max_source_tokens"]["value"], facts["max_target_tokens"]["value"])
        lengths = [given or default for given, default in zip(lengths, known, strict=True)]
    inputs, targets = lengths
    machine = _machine(args.mesh)
    teacher, student = estimate.model(args.teacher), estimate.model(args.student)
    found = estimate.stores(teacher, student, machine, args.n_unlabeled, inputs, targets, args.k)
    seconds = estimate.capture_seconds(teacher, machine, args.n_unlabeled, inputs, targets, args.batch_size)
    best = estimate.recommended(found, args.memory_gb * 1e9)
    usd = {kind.kind: kind.train_seconds_per_epoch * args.epochs / 3600 * machine.usd_per_hour for kind in found}
    capture_usd = seconds / 3600 * machine.usd_per_hour
    if args.json:
        stores = {
            one.kind: {
                "bytes": one.store_bytes,
                "read_bytes_per_second": one.read_bytes_per_second,
                "train_usd": usd[one.kind],
            }
            for one in found
        }
        print(json.dumps({"capture_seconds": seconds, "capture_usd": capture_usd, "stores": stores, "take": best.kind}))
        return 0
    print(f"{args.n_unlabeled:,} examples of {inputs}/{targets} tokens, {args.teacher} to {args.student}, {args.mesh}:")
    print(f"  capture, every target at full length: {seconds / 3600:,.2f} hours, ${capture_usd:,.2f}")
    for one in found:
        name = one.kind if one.kind == "hidden" else f"top-{args.k}"
        print(
            f"  {name:7} {one.store_bytes / 1e9:9,.1f} GB; training reads {one.read_bytes_per_second / 1e9:,.2f} GB/s; "
            f"{args.epochs:g} epochs ${usd[one.kind]:,.2f}"
        )
    why = (
        "fits in memory, is exact, and serves every temperature"
        if best.kind == "hidden"
        else f"hidden states would not fit in {args.memory_gb:g} GB of memory and be read from disk at each epoch"
    )
    print(f"Take {best.kind}: {why}.")
    print(
        f"An account at {estimate.FLOPS_SHARE:.0%} of the peak FLOP/s and {estimate.MEMORY_SHARE:.0%} of the memory's "
        f"bandwidth, ${machine.usd_per_hour:,.2f} an hour; positions are ragged on disk, so bytes are an upper bound. "
        "doa forecast compiles the programs."
    )
    return 0


def _machine(mesh: str) -> estimate.Machine:
    from distill_or_annotate.forecast.devices import mesh_facts
    from distill_or_annotate.prices import load_book

    facts = mesh_facts(mesh)
    device = facts.device
    if device.peak_flops is None or device.memory_bandwidth is None:
        raise ValueError(f"--mesh {mesh}: nothing is known of its peaks; give a mesh of accelerators, such as v5p-8.")
    usd = load_book("cloud").entry(device.price).usd * facts.chips
    return estimate.Machine(mesh, device.peak_flops * facts.chips, device.memory_bandwidth * facts.chips, usd)
