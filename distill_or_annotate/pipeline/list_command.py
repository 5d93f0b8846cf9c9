"""`doa list`: every packaged scenario, what it asks for and what to expect."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

EXAMPLE = "doa list --form mini"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `doa list`."""
    parser.add_argument("--form", help="one form only: xxl (the paper's models) or mini (models for CPUs)")
    parser.add_argument("--task", help="tables and figures for one task only, such as fever; default wlp and mini")
    parser.add_argument("--json", action="store_true", help="print JSON: all of it, published scores included")


def run(args: argparse.Namespace) -> int:
    """Print the scenarios as a table, or as JSON."""
    from distill_or_annotate.pipeline import catalogue
    from distill_or_annotate.pipeline.terminal import print_table

    found = [entry.as_dict() for entry in catalogue.entries(args.form, args.task)]
    if args.json:
        print(json.dumps(found, indent=1))
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading, justify in (
        ("scenario", "left"),
        ("form", "left"),
        ("task", "left"),
        ("data", "left"),
        ("stages", "right"),
        ("device-hours", "right"),
        ("dollars", "right"),
        ("scores to expect", "left"),
    ):
        table.add_column(heading, justify=justify, no_wrap=True)
    for row in found:
        table.add_row(
            row["name"] + (" *" if row["asks_llm"] else ""),
            row["form"] or "-",
            row["task"],
            _data(row["data"]),
            str(row["stages"]),
            f"{row['device_hours']:,g}" + (" c" if "CPU" in row["device_hours_unit"] else " g"),
            f"{row['scenario_usd']:,.2f}" + ("~" if row["estimated"] else "") + (" s" if row["scaled"] else ""),
            _scores(row["expected"], row["scaled"]),
        )
    print_table(table)
    Console(highlight=False, soft_wrap=True).print(
        "\n* buys labels from a language model: set OPENAI_BASE_URL and OPENAI_API_KEY (docs/annotating.md)."
        "\nc: hours of two CPU cores, g: A40 GPU-hours."
        "\n~ some prices are estimated, s: scaled dollars, nobody's bill. Dollars count each label and each stage once."
        "\ndoa show NAME explains one; doa list --form xxl --task fever lists another task; --json prints all of it."
    )
    return 0


def _data(data: dict) -> str:
    if not data["needs"]:
        return "embedded"
    return "here" if data["here"] else f"{len(data['missing'])} of {len(data['needs'])} missing"


def _scores(expected: dict, scaled: bool) -> str:
    ours, published = expected["ours"], expected["published"]
    parts = [f"ours {_span(ours)}"] if ours else []
    if published and not scaled:
        parts.append(f"paper {_span(published)}")
    return "; ".join(parts) or "-"


def _span(rows: Sequence[dict]) -> str:
    """Lowest to highest score of each strategy."""
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row["strategy"], []).append(row["score"])
    short = {"annotate": "Ann.", "distill": "Dist.", "teacher": "T.", "self_distill": "Self-dist."}
    spans = (f"{short.get(name, name)} {_range(min(scores), max(scores))}" for name, scores in found.items())
    return ", ".join(spans)


def _range(low: float, high: float) -> str:
    return f"{low:.1f}" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f}-{high:.1f}"
