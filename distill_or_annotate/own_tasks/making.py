"""From a request to a task: reads the tables, splits, checks, chooses, and writes all files at once."""

from __future__ import annotations

import dataclasses
import datetime
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from distill_or_annotate.own_tasks import files, labels, prices, splits, study, vocabulary
from distill_or_annotate.own_tasks.files import OwnTask
from distill_or_annotate.own_tasks.study import StudyPlan
from distill_or_annotate.own_tasks.tables import BadRow, TableError, read_table
from distill_or_annotate.preprocess.lengths import Truncations, count_truncations
from distill_or_annotate.preprocess.rows import Row
from distill_or_annotate.prices import PriceBook

T5_VOCABULARY_VARIABLE = "DOA_T5_VOCAB"
_MOST_TOKENS = {"mini": 256, "t5": 512}
# Below it the standard error of an accuracy of one half is above 5 points.
_ENOUGH_TEST_ROWS = 100
# Where T5's vocabulary cannot be read; English text has four to five.
_CHARACTERS_A_TOKEN = 3


@dataclasses.dataclass(frozen=True)
class Request:
    """What a user asks for.

    Args:
      name: the task's name.
      root: folder that commands are run from.
      folder: folder of tasks below it.
      files: split -> file; `train` is there.
      text_cols: columns of the source, see `splits.rows_of`.
      label_col: column of the target.
      metric: the score; None chooses.
      label_usd: dollars per label; None takes the paper's mean.
      prompt: text before each source.
      models: mini or t5.
      seed: seed of the split.
      encoding: of text files; None is UTF-8 or what a mark says.
      delimiter: of CSV files; None finds out.
      on_bad_row: stop or skip.
      exclude_evaluation_sources: whether the pool loses them; it is refused otherwise.
      command: the command line.
      today: the day.
    """

    name: str
    root: Path
    folder: str
    files: Mapping[str, str]
    text_cols: tuple[str, ...]
    label_col: str
    metric: str | None = None
    label_usd: float | None = None
    prompt: str = ""
    models: str = "mini"
    seed: int = splits.SPLIT_SEED
    encoding: str | None = None
    delimiter: str | None = None
    on_bad_row: str = "stop"
    exclude_evaluation_sources: bool = False
    command: str = ""
    today: datetime.date = dataclasses.field(default_factory=datetime.date.today)


@dataclasses.dataclass(frozen=True)
class Made:
    """A task that was made.

    Args:
      task: what its files say.
      root: folder that commands are run from.
      rows: split -> rows.
      truncations: split -> what the lengths cut off.
      book: its prices.
      study: its study's numbers.
      forms: how each file was read.
      names: what was written, as names in the folder of tasks.
    """

    task: OwnTask
    root: Path
    rows: Mapping[str, Sequence[Row]]
    truncations: Mapping[str, Truncations]
    book: PriceBook
    study: StudyPlan
    forms: tuple[str, ...]
    names: tuple[str, ...] = ()


def make(request: Request) -> Made:
    """Makes a task and writes its files.

    Args:
      request: what is asked for.

    Returns:
      What was made.

    Raises:
      TableError: the data or the request cannot be used; nothing is written then.
      OSError: a file cannot be read or written.
    """
    rows, metric, words, remarks, forms = _read(request)
    model, encode = b"", None
    if request.models == "mini":
        symbols = [f"[{word}]" for word in words] if metric == "entity_f1" else words
        texts = [request.prompt + row["source"] for row in [*rows["train"], *rows["unlabeled"]]]
        texts += [row["target"] for row in rows["train"] if row["target"]]
        model, n_pieces = vocabulary.learn(texts, symbols)
        encode, vocab_size = vocabulary.encoder(model), vocabulary.vocab_size(n_pieces)
        remarks.append(f"a vocabulary of {n_pieces:,} pieces was learnt from the training texts and the pool")
    else:
        encode, vocab_size = _t5_encoder(remarks), 0
    input_tokens, target_tokens = vocabulary.lengths(
        rows["train"], rows["unlabeled"], encode, request.prompt, _MOST_TOKENS[request.models]
    )
    task = OwnTask(
        name=request.name,
        folder=request.folder,
        metric=metric,
        labels=words,
        prefix=request.prompt,
        input_tokens=input_tokens,
        target_tokens=target_tokens,
        models=request.models,
        vocab_size=vocab_size,
        splits=tuple(rows),
        several_answers=any("targets" in row for each in rows.values() for row in each),
        example=rows["train"][0],
        command=request.command,
        day=request.today.isoformat(),
        remarks=tuple(remarks),
    )
    book = prices.book(request.name, request.label_usd, request.today)
    made = Made(
        task=task,
        root=request.root,
        rows=rows,
        truncations={
            split: count_truncations(each, encode, input_tokens, target_tokens, request.prompt)
            for split, each in rows.items()
        },
        book=book,
        study=study.plan(book, request.name, len(rows["train"]), len(rows["unlabeled"])),
        forms=forms,
    )
    return dataclasses.replace(made, names=_write(made, model))


def _read(request: Request) -> tuple[dict[str, list[Row]], str, tuple[str, ...], list[str], tuple[str, ...]]:
    read, bad, forms, remarks = {}, {}, [], []
    for split, path in request.files.items():
        label_col = None if split == "unlabeled" else request.label_col
        columns = [*request.text_cols, *([] if label_col is None else [label_col])]
        table = read_table(path, columns, request.encoding, request.delimiter)
        # Whether an empty label is one depends on the metric, and where that is not given, on the labels.
        entities = request.metric == "entity_f1" or (
            label_col is not None
            and request.metric is None
            and labels.choose_metric([splits.one_space(cells[label_col]) for _, cells in table.cells]) == "entity_f1"
        )
        read[split], bad[split] = splits.rows_of(table, request.text_cols, label_col, entities, request.on_bad_row)
        forms.append(f"{split}: {path} ({table.form})")
        remarks += _skipped(split, path, bad[split])
    metric = request.metric or labels.choose_metric([row["target"] for row in read["train"]])
    unlabeled = read.pop("unlabeled", None)
    labels.check_several(metric, [row for rows in read.values() for row in rows])
    given = [split for split in splits.EVALUATION if split in read]
    # Of files of their own the labels are held against those of training; a cut by chance may take a rare one along.
    known = labels.label_words(metric, read["train"])
    for split in given:
        labels.check_known(split, request.files[split], metric, read[split], known)
    if metric in labels.CLASS_METRICS:
        for split in read:
            read[split], n_respelt = labels.one_spelling(read[split], known)
            remarks += [f"{split}: {n_respelt} labels written in another case"] * bool(n_respelt)
    parts, cut = splits.hold_out(read, request.seed)
    pool, left_out = splits.pool(parts, unlabeled, request.exclude_evaluation_sources, request.seed)
    lacking = set(known) - set(labels.label_words(metric, parts["train"]))
    remarks += [f"CAUTION: no training row is left with the label {word!r}" for word in sorted(lacking)]
    n_test = len(parts["test"])
    if n_test < _ENOUGH_TEST_ROWS:
        stderr = 50 / n_test**0.5
        remarks.append(
            f"CAUTION: {n_test} test rows: a score's standard error is up to {stderr:.0f} points; label more"
        )
    return {**parts, "unlabeled": pool}, metric, known, remarks + cut + left_out, tuple(forms)


def _skipped(split: str, path: str, bad: Sequence[BadRow]) -> list[str]:
    if not bad:
        return []
    return [f"{split}: {len(bad)} rows of {path} left out (the first, line {bad[0].line}: {bad[0].problem})"]


def _t5_encoder(remarks: list[str]) -> Callable[[str], Sequence[int]]:
    path = os.environ.get(T5_VOCABULARY_VARIABLE, "")
    if Path(path).is_file():
        return vocabulary.encoder(Path(path).read_bytes())
    remarks.append(
        f"lengths and truncation are estimates ({_CHARACTERS_A_TOKEN} characters a token): set "
        f"{T5_VOCABULARY_VARIABLE} to T5's sentencepiece.model and add the task again to count"
    )
    return lambda text: range(-(-len(text) // _CHARACTERS_A_TOKEN))


def _write(made: Made, model: bytes) -> tuple[str, ...]:
    """Writes into a folder beside, then moves: an interrupted command leaves no half task."""
    task, folder = made.task, made.root / made.task.folder
    texts = {
        f"{task.name}.py": files.task_file(task),
        f"{task.name}.gin": files.gin_file(task),
        f"{task.name}_prices.toml": prices.toml_of(made.book),
        **{f"{task.name}/{split}.jsonl": files.json_lines(list(rows)) for split, rows in made.rows.items()},
    }
    if task.models == "mini":
        texts |= {f"{task.name}_study.gin": files.study_file(task, made.study), **files.pretraining_files(task)}
    else:
        texts[f"{task.name}_train.gin"] = files.t5_train_file(task, made.study)
    folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".adding-", dir=folder))
    try:
        (scratch / task.name).mkdir()
        for name, text in texts.items():
            (scratch / name).write_text(text, encoding="utf-8")
        if model:
            (scratch / task.name / "vocab.model").write_bytes(model)
        names = (*(name for name in texts if "/" not in name), task.name)
        for name in names:
            target = folder / name
            if target.exists():
                raise TableError(f"name: {target} is there already. Fix: another name, or remove it first.")
            os.replace(scratch / name, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return names
