"""`doa predict`: a table in, the same table with a model's predictions out."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_or_annotate.serving import inputs, output

if TYPE_CHECKING:
    from distill_or_annotate.serving.models import LoadedModel
    from distill_or_annotate.serving.predictor import Prediction, Predictor
    from distill_or_annotate.serving.task_facts import TaskFacts

EXAMPLE = "doa predict --model runs/my_student --input reviews.csv --field text --output predicted.jsonl"

_INPUT_TOKENS, _OUTPUT_TOKENS = 512, 128
_BATCHES_A_WINDOW = 16
"""Rows are sorted by length within so many batches, and written when all of them are done."""
_CONFIDENCES = ("sequence", "token")


class UsageError(ValueError):
    """Arguments that do not go together."""


@dataclasses.dataclass
class _Tally:
    rows: int = 0
    truncated: int = 0
    empty: int = 0
    unfinished: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `doa predict`."""
    add = parser.add_argument
    add("--model", required=True, help="a stage's or T5X model folder, one checkpoint_<step>, a Hugging Face folder, a "
        ".safetensors file, or mini_student, mini_teacher")  # fmt: skip
    add("--input", required=True, metavar="FILE", help="JSON lines, CSV, TSV or text (by its ending); - reads standard "
        "input")  # fmt: skip
    add("--output", metavar="FILE", type=Path, help="JSON lines; without it they go to standard output. The same "
        "command goes on where it was stopped: OUTPUT.meta.json says what the file was made from")  # fmt: skip
    add("--overwrite", action="store_true", help="begin again although the output exists")
    add("--format", choices=inputs.FORMATS, help="what the input holds, where its ending does not say")
    add("--field", default="source", metavar="NAME", help="the field or column with the text (default: %(default)s)")
    add("--on-bad-row", choices=("stop", "skip"), default="stop", help="what to do about a row that cannot be used "
        "(default: %(default)s)")  # fmt: skip
    add("--task", metavar="NAME", help="take prefix, label words and lengths of this task; without it the text goes to "
        "the model as it is")  # fmt: skip
    add("--task-module", metavar="MODULE", help="the module that registers a task of your own")
    add("--vocabulary", type=Path, metavar="PATH", help="SentencePiece model; by default the one that came with the "
        "model or its task's")  # fmt: skip
    add("--labels", metavar="A,B,...", help="score these texts and answer with the best; confidence is the softmax of "
        "their log-probabilities (each the sum over its tokens and the end of sequence)")  # fmt: skip
    add("--scores", action="store_true", help="add field `scores`: the log-probability of each label")
    add("--decode", action="store_true", help="let the model write, although the task has label words")
    add("--beam", type=int, default=1, metavar="N", help="beams of the search; 1 takes the likeliest token each time "
        "(default: %(default)s)")  # fmt: skip
    add("--confidence", choices=_CONFIDENCES, help="of what the model wrote: `sequence` is the probability of all "
        "its tokens, the end of sequence included; `token` their geometric mean (default: sequence)")  # fmt: skip
    add("--max-input-tokens", type=int, metavar="N", help="longer inputs are cut, and counted (default: the task's, "
        f"else the model's config.gin, else {_INPUT_TOKENS})")  # fmt: skip
    add("--max-output-tokens", type=int, metavar="N", help="longest output (default: the task's, else the model's "
        f"config.gin, else {_OUTPUT_TOKENS})")  # fmt: skip
    add("--batch-size", type=int, default=32, metavar="N", help="texts at once (default: %(default)s)")
    add("--dtype", choices=("float32", "bfloat16"), help="type of the computation (default: as it was trained)")


def run(args: argparse.Namespace) -> int:
    """Predict, write, and say on standard error what was cut or empty."""
    if args.batch_size < 1:
        raise UsageError(f"--batch-size is {args.batch_size}; allowed: 1 and more.")
    if args.output and args.input != inputs.STDIN and _same_file(args.input, args.output):
        raise UsageError(f"--output {args.output} is the input. Fix: another name.")
    taken = frozenset({"prediction", "confidence", *(["scores"] if args.scores else [])})
    with inputs.opened(args.input, args.field, args.format, taken, args.on_bad_row == "skip") as table:
        for problem in table.bad[:3]:
            _say(f"left out: {problem}")
        predictor, settings = _predictor(args, table.n_rows)
        if args.output is None:
            with output.to_stdout() as stream:
                _predict(args, table, predictor, stream, 0)
            return 0
        made_from = {
            "input": table.sha256,
            "rows": table.n_rows,
            "--format": table.form,
            "--field": table.field,
            "--on-bad-row": args.on_bad_row,
            "model": predictor.loaded.fingerprint(),
            **settings,
        }
        with output.to_file(args.output, made_from, table.n_rows, args.overwrite) as (stream, n_done):
            if n_done:
                complete = n_done == table.n_rows
                _say(f"{args.output} {'is complete' if complete else 'is gone on with'}: {n_done} rows are there")
                if complete:
                    return 0
            try:
                _predict(args, table, predictor, stream, n_done)
            except KeyboardInterrupt:
                _say(f"stopped; the same command goes on after the rows in {args.output}")
                raise
    return 0


def _same_file(first: str, second: Path) -> bool:
    return second.exists() and os.path.exists(first) and os.path.samefile(first, second)


def _predictor(args: argparse.Namespace, n_rows: int) -> tuple[Predictor, dict[str, Any]]:
    """The model with its settings, and those of them that determine what comes out."""
    labels = _labels(args.labels)
    if args.decode and labels:
        raise UsageError("--decode and --labels contradict each other. Fix: leave one out.")
    from distill_or_annotate.serving import models, predictor

    loaded = models.load(args.model, args.vocabulary, args.dtype)
    task = _task(args, loaded)
    if loaded.labels and task and sorted(task.labels) != sorted(loaded.labels):
        raise UsageError(
            f"--task {task.name} has the labels {', '.join(task.labels) or 'none'}; {args.model} is an encoder that "
            f"chooses among {', '.join(loaded.labels)}. Fix: its own task, {loaded.recorded.task}."
        )
    if not labels and not args.decode:
        labels = loaded.labels or (task.labels if task else ())
    for flag, given in (("--beam", args.beam != 1), ("--confidence", args.confidence)):
        if labels and given:
            raise UsageError(
                f"{flag} is for what a model writes; here labels are scored. Fix: --decode, or leave it out."
            )
    if args.scores and not labels:
        raise UsageError("--scores needs label words. Fix: --labels A,B,... or the --task that has some.")
    recorded = (loaded.recorded and loaded.recorded.lengths) or {}
    input_tokens = _first(args.max_input_tokens, task and task.input_tokens, recorded.get("inputs"), _INPUT_TOKENS)
    output_tokens = _first(args.max_output_tokens, task and task.target_tokens, recorded.get("targets"), _OUTPUT_TOKENS)
    _use_compilation_cache()
    made = predictor.Predictor(
        loaded,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        labels=labels,
        prefix=task.prefix if task else "",
        beams=args.beam,
        batch_size=min(args.batch_size, 1 << max(0, n_rows - 1).bit_length()),
    )
    return made, {
        "prefix": task.prefix if task else "",
        "--labels": list(labels),
        "--scores": args.scores,
        "--beam": args.beam,
        "--confidence": None if labels else args.confidence or _CONFIDENCES[0],
        "--max-input-tokens": input_tokens,
        "--max-output-tokens": None if labels else output_tokens,
    }


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)


def _labels(words: str | None) -> tuple[str, ...]:
    if words is None:
        return ()
    # As a line of CSV, so that a label may hold a comma.
    found = tuple(word.strip() for word in next(csv.reader([words], skipinitialspace=True), []))
    if not found:
        raise UsageError("--labels is empty. Fix: --labels A,B,...")
    return found


def _task(args: argparse.Namespace, loaded: LoadedModel) -> TaskFacts | None:
    recorded = loaded.recorded
    trained_on = recorded.task if recorded else None
    if args.task is None:
        if trained_on:
            _say(f"note: trained on task {trained_on!r}; --task {trained_on} adds its prefix and label words")
        return None
    from distill_or_annotate.serving import task_facts

    its_own = recorded is not None and trained_on is not None and args.task.startswith(trained_on)
    return task_facts.facts(args.task, args.task_module or (recorded.task_module if its_own else None))


def _use_compilation_cache() -> None:
    from t5x import gin_utils

    gin_utils.use_compilation_cache()


def _predict(args: argparse.Namespace, table: inputs.Table, predictor: Predictor, stream: Any, n_done: int) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    window = predictor.batch_size * _BATCHES_A_WINDOW
    # From the beginning of a window, so that rows meet in the same batches as if nothing had stopped them.
    start, tally, began = n_done // window * window, _Tally(), time.monotonic()
    console = Console(stderr=True)
    columns = (TextColumn("predicting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=table.n_rows, completed=start)
        for rows in _windows(table.rows(start), window):
            texts = [row[table.field] for row in rows]
            found = predictor.predict(texts, lambda n: progress.advance(bar, n))
            already = max(0, n_done - start)
            lines = [_line(args, row, made) for row, made in zip(rows[already:], found[already:], strict=True)]
            stream.write("".join(lines).encode())
            stream.flush()
            start += len(rows)
            _count(tally, texts[already:], found[already:])
    _report(table, predictor, tally, time.monotonic() - began)


def _windows(rows: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    window: list[dict[str, Any]] = []
    for row in rows:
        window.append(row)
        if len(window) == size:
            yield window
            window = []
    if window:
        yield window


def _line(args: argparse.Namespace, row: dict[str, Any], made: Prediction) -> str:
    confidence = made.probability
    if args.confidence == "token":
        confidence **= 1 / made.tokens
    added: dict[str, Any] = {"prediction": made.text, "confidence": _rounded(confidence)}
    if args.scores:
        added["scores"] = {label: _rounded(score) for label, score in made.scores.items()}
    return json.dumps(row | added, ensure_ascii=False) + "\n"


def _rounded(value: float) -> float:
    """Six digits: what is beyond them is the order of additions."""
    return float(f"{value:.6g}")


def _count(tally: _Tally, texts: Sequence[str], found: Sequence[Prediction]) -> None:
    tally.rows += len(found)
    tally.empty += sum(not text.strip() for text in texts)
    tally.truncated += sum(made.truncated for made in found)
    tally.unfinished += sum(not made.ended for made in found)


def _report(table: inputs.Table, predictor: Predictor, tally: _Tally, seconds: float) -> None:
    import jax

    parts = [f"{tally.rows} rows in {seconds:.1f} s on {jax.devices()[0].device_kind}"]
    if tally.truncated:
        parts.append(f"{tally.truncated} inputs were cut to {predictor.input_tokens} tokens")
    if tally.empty:
        parts.append(f"{tally.empty} inputs were empty")
    if tally.unfinished:
        parts.append(f"{tally.unfinished} outputs were stopped at {predictor.output_tokens} tokens")
    if table.bad:
        parts.append(f"{len(table.bad)} rows were left out")
    _say("; ".join(parts))


def _say(text: str) -> None:
    print(f"doa predict: {text}", file=sys.stderr)
