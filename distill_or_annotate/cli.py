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
    "report": _Command("distill_or_annotate.reports.command", "rebuild the report of a run from its files"),
    "cost": _Command("distill_or_annotate.costs.command", "what additional dollars buy under each strategy"),
    "convert": _Command("distill_or_annotate.interop.command", "turn a T5X checkpoint into safetensors"),
}


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and run one sub-command.

    Args:
      argv: arguments without the program's name; None takes `sys.argv`.

    Returns:
      The exit status: 0 for success, 2 for input that cannot be used, 1 for work that failed, 130 for Ctrl-C.
    """
    argv = sys.argv[1:] if argv is None else argv
    name = next((word for word in argv if not word.startswith("-")), None)
    parser = argparse.ArgumentParser(
        prog="doa",
        description="Distill or annotate: what does the next dollar buy?",
        epilog="example: doa run gin/experiments/quickstart.gin",
    )
    parser.add_argument("--version", action="version", version=f"doa {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = None
    for key, command in _COMMANDS.items():
        # Only the chosen module is imported: `doa --help` must answer at once, and `run` brings JAX with it.
        module = importlib.import_module(command.module) if key == name else None
        epilog = f"example: {module.EXAMPLE}" if module else None
        sub = commands.add_parser(key, help=command.summary, description=command.summary, epilog=epilog)
        if module:
            module.add_arguments(sub)
            chosen = module
    args = parser.parse_args(argv)
    try:
        return chosen.run(args)
    except KeyboardInterrupt:
        hint = " The same command goes on where this one stopped." if name == "run" else ""
        print(f"doa {name}: interrupted.{hint}", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        # What a person can mend is said in one message; DOA_DEBUG=1 shows where it came from.
        if os.environ.get("DOA_DEBUG"):
            raise
        print(f"doa {name}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
