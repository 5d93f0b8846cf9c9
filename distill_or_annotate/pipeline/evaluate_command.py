"""`doa evaluate`: a file of predictions in; its score, parts, floors and whether the model learnt anything out."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from distill_or_annotate.pipeline import prediction_rows, scored_task

EXAMPLE = "doa evaluate --task fever --mode fair --predictions predictions.jsonl --train fever_train_all.json"


class UsageError(ValueError):
    """Arguments that do not go together."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `doa evaluate`."""
    add = parser.add_argument
    add("--task", required=True, metavar="NAME", help="the task that was predicted; it says metric and labels")
    add("--mode", choices=("fair", "paper"), help="fair: the field's own scorers; paper: the reference's metrics, "
        "quirks included (default: the task's, which is fair but for TASK_paper)")  # fmt: skip
    add("--predictions", required=True, type=Path, metavar="FILE", help="JSON lines with source, target (or targets) "
        "and prediction; what t5x.infer wrote will do")  # fmt: skip
    add("--train", metavar="FILE_OR_N", help="the labels that the model had, for floors that learn: JSON lines with "
        "source and target, or their number, which takes them from the task's data and needs SeqIO")  # fmt: skip
    add("--data-seed", type=int, default=0, metavar="K", help="of --train N: which N (default: %(default)s)")
    add("--metric", metavar="NAME", help="another metric than the task's, such as chrf_ibleu, which needs no encoder")
    add("--similarity-model", metavar="NAME", help="for bert_ibleu: minilm, microsoft/deberta-xlarge-mnli, or a "
        "Hugging Face folder with a BERT (default: DOA_SIMILARITY_MODEL, else minilm)")  # fmt: skip
    add("--seed", type=int, default=0, metavar="K", help="seed of the bootstrap (default: %(default)s)")
    add("--task-module", metavar="MODULE", help="the module that registers a task of your own")
    add("--json", action="store_true", help="write one JSON object instead of tables")
    add("--strict", action="store_true", help="exit with status 1 when the model is degenerate")


def run(args: argparse.Namespace) -> int:
    """Score, print, and say on standard error whether the model is degenerate."""
    from distill_or_annotate.metrics.evaluation import Scorer, evaluate

    _check_seeds(args)
    task = scored_task.find(args.task, args.task_module)
    scorer = Scorer(args.metric or task.metric, task.labels, args.mode or task.mode, args.similarity_model)
    file = prediction_rows.read(args.predictions, task.prefixes)
    _check(file, scorer.label_words(), scorer.takes_one_target)
    train = _train_rows(args, task, scorer.label_words(), scorer.takes_one_target)
    with _waiting(args.json, f"scoring {len(file.rows):,} predictions"):
        result = evaluate(scorer, file.rows, file.predictions, train, seed=args.seed)
    told = {"task": args.task, "predictions": str(args.predictions), "n_train": None if train is None else len(train)}
    found: dict[str, Any] = told | result
    if args.json:
        print(json.dumps(found, ensure_ascii=False, allow_nan=False))
    else:
        from distill_or_annotate.pipeline import evaluate_table

        evaluate_table.show(found)
    return _finish(found, args.strict)


def _finish(found: dict[str, Any], strict: bool) -> int:
    judged = found["degenerate"]
    if not judged["flagged"]:
        return 0
    print(f"doa evaluate: this model is degenerate: {'; '.join(judged['reasons'])}.", file=sys.stderr)
    return 1 if strict else 0


def _check_seeds(args: argparse.Namespace) -> None:
    for flag, seed in (("--seed", args.seed), ("--data-seed", args.data_seed)):
        if seed < 0:
            raise UsageError(f"{flag}: received {seed}. Fix: a whole number of 0 and more.")


def _train_rows(args: argparse.Namespace, task: scored_task.ScoredTask, labels: tuple[str, ...], one_target: bool):
    if args.train is None:
        return None
    path = Path(args.train)
    if path.exists():
        file = prediction_rows.read(path, task.prefixes, with_predictions=False)
        _check(file, labels, one_target)
        return file.rows
    if args.train.isdecimal() and int(args.train) > 0:
        return scored_task.labelled_rows(args.task, int(args.train), args.data_seed, args.task_module)
    raise UsageError(
        f"--train: {args.train!r} is neither a file nor a number of labels. Fix: JSON lines with source and target, or "
        "a number of 1 and more."
    )


def _check(file: prediction_rows.PredictionFile, labels: tuple[str, ...], one_target: bool) -> None:
    """Refuse, with its line, a row that the metric has no use for."""
    known = {label.strip().upper() for label in labels}
    for i, row in enumerate(file.rows):
        if one_target and "targets" in row:
            problem = f"{len(row['targets'])} accepted answers {row['targets'][:3]}; this task has one. Fix: give one"
            raise file.refuse(i, "targets", problem)
        if known and row["target"].strip().upper() not in known:
            problem = f"{row['target'][:60]!r} is not among the labels {', '.join(labels)}. Fix: the row, or --task"
            raise file.refuse(i, "target", problem)


def _waiting(quiet: bool, text: str) -> contextlib.AbstractContextManager[Any]:
    if quiet or not sys.stderr.isatty():
        return contextlib.nullcontext()
    from rich.console import Console

    return Console(stderr=True).status(text)
