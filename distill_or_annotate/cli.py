"""The `doa` command: names its sub-commands, imports only the one that is asked for."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import NamedTuple

from distill_or_annotate import __version__


class _Command(NamedTuple):
    module: str
    summary: str


# Each module offers `add_arguments(parser)`, `run(args) -> exit status` and `EXAMPLE`.
_COMMANDS = {
    "run": _Command("distill_or_annotate.pipeline.command", "run a scenario: spend its dollars, train, report"),
    "list": _Command(
        "distill_or_annotate.pipeline.list_command", "the packaged scenarios: data, hours, dollars, scores"
    ),
    "show": _Command(
        "distill_or_annotate.pipeline.show_command", "explain a scenario: cells, costs, what a result would mean"
    ),
    "report": _Command("distill_or_annotate.reports.command", "rebuild the report of a run from its files"),
    "plan": _Command("distill_or_annotate.planning.command", "what a budget should buy, how surely, what to try first"),
    "cost": _Command("distill_or_annotate.costs.command", "what additional dollars buy under each strategy"),
    "prices": _Command("distill_or_annotate.prices.command", "the prices at hand, how old, and where they come from"),
    "paper costs": _Command(
        "distill_or_annotate.costs.paper_command", "what the paper's dollars bought, computed from prices"
    ),
    "annotate": _Command("distill_or_annotate.annotators.command", "labels from a language model, under a cap"),
    "forecast": _Command(
        "distill_or_annotate.forecast.command", "what an experiment takes on accelerators that are not here"
    ),
    "capture": _Command("distill_or_annotate.capture.command", "write a teacher's targets and distributions, once"),
    "convert": _Command("distill_or_annotate.interop.command", "turn a model into another form (Hugging Face, T5X)"),
    "export": _Command("distill_or_annotate.serving.export_command", "write a model for other programs to serve"),
    "predict": _Command("distill_or_annotate.serving.predict_command", "a model's predictions for the rows of a file"),
    "evaluate": _Command(
        "distill_or_annotate.pipeline.evaluate_command", "score a file of predictions, with floors and warnings"
    ),
    "bench-model": _Command(
        "distill_or_annotate.serving.bench_command", "measure what serving a model takes and costs"
    ),
    "doctor": _Command(
        "distill_or_annotate.doctor.command", "say what is installed and reachable, and how to mend the rest"
    ),
    "data build": _Command(
        "distill_or_annotate.data.building.command", "turn a data set's official files into a TFDS folder"
    ),
    "data fetch": _Command("distill_or_annotate.data.fetching.command", "download a data set's public files"),
    "data check": _Command("distill_or_annotate.data.checking.command", "count, measure and question a task's data"),
    "task add": _Command("distill_or_annotate.own_tasks.command", "make a task of your own from a table"),
}
_GROUPS = {
    "paper": "the paper's numbers, and ours beside them",
    "data": "official files, downloads and checks",
    "task": "tasks of your own",
}


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and run one sub-command.

    Args:
      argv: arguments without the program's name; None takes `sys.argv`.

    Returns:
      The exit status: 0 for success, 1 for work that failed, 2 for input that cannot be used, 3 for a run that stopped
        at its cap, 130 for Ctrl-C.
    """
    argv = sys.argv[1:] if argv is None else argv
    name = _chosen_name(argv)
    parser = argparse.ArgumentParser(
        prog="doa",
        description="Distill or annotate: what does the next dollar buy?",
        epilog="example: doa run gin/experiments/quickstart.gin",
    )
    parser.add_argument("--version", action="version", version=f"doa {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    groups = {
        group: commands.add_parser(group, help=summary, description=summary).add_subparsers(
            metavar="COMMAND", required=True
        )
        for group, summary in _GROUPS.items()
    }
    chosen = None
    for key, command in _COMMANDS.items():
        # Only the chosen module is imported: `doa --help` must answer at once, and `run` brings JAX with it.
        module = importlib.import_module(command.module) if key == name else None
        epilog = f"example: {module.EXAMPLE}" if module else None
        group, _, word = key.rpartition(" ")
        into = groups[group] if group else commands
        sub = into.add_parser(word, help=command.summary, description=command.summary, epilog=epilog)
        if module:
            module.add_arguments(sub)
            chosen = module
    args = parser.parse_args(argv)
    try:
        return chosen.run(args)
    except KeyboardInterrupt:
        hint = " The same command goes on where this one stopped." if name in ("run", "annotate") else ""
        print(f"doa {name}: interrupted.{hint}", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        # What a person can mend is said in one message; DOA_DEBUG=1 shows where it came from.
        if os.environ.get("DOA_DEBUG"):
            raise
        print(f"doa {name}: {error}", file=sys.stderr)
        return 2


def program() -> None:
    """Runs `main` as a process of its own, and ends it with the status that `main` returns."""
    status = main()
    deadline = sys.modules.get("distill_or_annotate.pipeline.deadline")
    if deadline and deadline.has_ended_work():
        # Threads of XLA and TensorFlow that were left at work crash when the interpreter takes itself down.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _chosen_name(argv: list[str]) -> str | None:
    """The sub-command that the words name: one of a group takes two of them."""
    words = [word for word in argv if not word.startswith("-")]
    return " ".join(words[: 2 if words[:1] and words[0] in _GROUPS else 1]) or None


if __name__ == "__main__":
    program()
