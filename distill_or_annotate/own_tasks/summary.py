"""What `doa task add` prints: the splits, the labels, what was chosen, and the commands that come next."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from distill_or_annotate.own_tasks.labels import CLASS_METRICS, entity_types
from distill_or_annotate.own_tasks.making import Made
from distill_or_annotate.preprocess.rows import Row

_MOST_LABELS = 20


def show(made: Made) -> None:
    """Prints a task that was made.

    Args:
      made: the task.
    """
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    task = made.task
    table = Table(title=f"{task.name}: {task.metric.replace('_', ' ')}, {task.models} models", title_justify="left")
    for heading in ("split", "rows", "longest", f"cut at {task.input_tokens}", f"targets cut at {task.target_tokens}"):
        table.add_column(heading, justify="left" if heading == "split" else "right")
    for split, rows in made.rows.items():
        cut = made.truncations[split]
        longest = f"{cut.longest_source_tokens} tokens"
        targets = "-" if split == "unlabeled" else f"{cut.n_targets_truncated:,}"
        table.add_row(split, f"{len(rows):,}", longest, f"{cut.n_sources_truncated:,}", targets)
    console.print(table)
    if task.labels:
        _show_labels(made, console)
    for text in (*made.forms, *task.remarks):
        console.print(f"  {text}", markup=False, style="yellow" if text.startswith("CAUTION") else None)
    label = made.book.label(task.name)
    console.print(f"A label costs ${label.usd:g} ({label.source}); training: the mean of the paper's six tasks.")
    console.print(f"Written to {made.root / task.folder}, all of it yours to edit:")
    console.print("  " + ", ".join(made.names), markup=False)
    console.print("\nNext:")
    for command, reason in next_commands(made):
        console.print(f"  {command}\n      {reason}", markup=False)


def next_commands(made: Made) -> list[tuple[str, str]]:
    """Returns the commands that come next, each with what it does.

    Args:
      made: the task.
    """
    from distill_or_annotate.pipeline.program import Program

    task = made.task
    away = [(f"cd {shlex.quote(str(made.root))}", "tasks are found from there")] * (made.root != Path.cwd())
    if task.models == "t5":
        train = Program("t5x.train", (task.path(f"{task.name}_train.gin"),))
        return [*away, (train.command(), "T5 1.1 Small on all labels, from the public checkpoint; on a GPU or TPU")]
    study = task.path(f"{task.name}_study.gin")
    macros = {"N_LABELS": made.study.n_labels, "MAX_STEPS": 3, "MODEL_DIR": f"runs/{task.name}_try"}
    steps = Program("t5x.train", ("gin/experiments/mini_annotate.gin", task.path(f"{task.name}.gin")), macros)
    return [
        *away,
        (f"doa run {study} --dry-run", "what the study buys and runs; nothing is spent"),
        (f"doa run {study}", "annotate and distill for the same dollars, and report"),
        (steps.command(), "three training steps with plain T5X"),
    ]


def _show_labels(made: Made, console) -> None:
    from rich.table import Table

    task = made.task
    splits = [split for split in made.rows if split != "unlabeled"]
    table = Table()
    table.add_column("label" if task.metric in CLASS_METRICS else "entity")
    for split in splits:
        table.add_column(split, justify="right")
    counts = {split: _counts(task.metric, made.rows[split]) for split in splits}
    for label in task.labels[:_MOST_LABELS]:
        table.add_row(label, *(f"{counts[split][label.upper()]:,}" for split in splits))
    console.print(table)
    if len(task.labels) > _MOST_LABELS:
        console.print(f"  and {len(task.labels) - _MOST_LABELS} more labels")


def _counts(metric: str, rows: Sequence[Row]) -> Counter[str]:
    words = entity_types(rows) if metric == "entity_f1" else [row["target"] for row in rows]
    return Counter(word.upper() for word in words)
