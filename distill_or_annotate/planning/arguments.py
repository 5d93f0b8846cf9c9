"""The planner's command line."""

import argparse
import pathlib


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments.

    Args:
      parser: receives them.
    """
    parser.add_argument("--task", required=True, help="the task, one of the paper's or your own")
    parser.add_argument(
        "--budget-usd", required=True, metavar="USD", help="dollars to spend; 450EUR with --rate EUR=1.09"
    )
    parser.add_argument(
        "--rate", action="append", default=[], metavar="CUR=USD", help="dollars of one unit of another currency"
    )
    _add_evidence(parser)
    _add_labels(parser)
    _add_models(parser)
    parser.add_argument("--book", default="paper", help="price book (default: paper)")
    parser.add_argument("--prices", default=None, help="a TOML file of price books instead of the shipped one")
    parser.add_argument("--like", default="", help="task whose computing prices hold where the task has none")
    parser.add_argument(
        "--write-gin", type=pathlib.Path, default=None, help="also write what to buy as a scenario for `doa run`"
    )
    parser.add_argument("--html", type=pathlib.Path, default=None, help="also write the plan as a page with sliders")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def _add_evidence(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--results", type=pathlib.Path, nargs="+", default=[], help="folders of runs whose models are evidence"
    )
    parser.add_argument(
        "--pilot",
        type=pathlib.Path,
        nargs="+",
        default=[],
        help="runs paid from this budget: evidence too, their dollars are gone and their labels at hand",
    )
    parser.add_argument("--prior", choices=("paper", "none"), default="paper", help="what is believed before evidence")


def _add_labels(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--label-usd", default=None, metavar="USD", help="dollars per label (default: the book's)")
    parser.add_argument("--labels-at-hand", type=int, default=0, help="labels that are there already (default: 0)")
    parser.add_argument("--max-labels", type=int, default=None, help="labels that can be had at most")
    parser.add_argument(
        "--max-unlabeled", type=int, default=100_000, help="unlabeled examples at hand (default: 100000)"
    )
    parser.add_argument("--llm", action="append", default=[], metavar="NAME", help="a language model that may annotate")
    parser.add_argument("--llm-usd", type=float, default=None, help="dollars of a label of it (default: the book's)")
    parser.add_argument("--llm-score", type=float, default=None, help="what its labels score against gold, percent")
    parser.add_argument("--llm-gold", type=int, default=0, metavar="N", help="gold labels that this was measured on")
    parser.add_argument("--classes", type=int, default=None, metavar="K", help="classes of the task (default: none)")


def _add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--teachers", default="", metavar="A,B", help="sizes to choose from, such as large,xl,xxl")
    parser.add_argument("--students", default="", metavar="A,B", help="sizes to choose from, such as small,base")
    parser.add_argument(
        "--forecast", type=pathlib.Path, nargs="+", default=[], help="computing as `doa forecast --json` counted it"
    )
    parser.add_argument("--mesh", action="append", default=[], help="a slice of a forecast (default: all)")
    parser.add_argument(
        "--spot", type=float, default=None, metavar="SHARE", help="rent spot capacity; this share of the work is redone"
    )
    parser.add_argument(
        "--served-per-month", type=float, default=0.0, metavar="M", help="predictions a month that the budget pays, too"
    )
    parser.add_argument("--months", type=float, default=12.0, help="how long (default: 12)")
    parser.add_argument(
        "--serving", type=pathlib.Path, nargs="+", default=[], help="what `doa bench-model --json` measured of models"
    )
