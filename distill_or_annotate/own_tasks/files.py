"""The files of a user's task, as text: a task file, its gin files and its study. Everything in them may be edited."""

from __future__ import annotations

import dataclasses
import json

from distill_or_annotate.own_tasks.study import StudyPlan
from distill_or_annotate.own_tasks.vocabulary import N_SENTINELS
from distill_or_annotate.preprocess.rows import Row

_SHOWN = 40
_PRETRAINING_STEPS = {"teacher": 1000, "student": 2000}
PRICES_NOTE = (
    "What training costs is the mean of the paper's six tasks with a T5-XXL teacher, not the cost of the mini models "
    "that were trained here."
)
NOTES = (
    "The mini models start from random weights: they have read nothing but the rows of this study.",
    PRICES_NOTE,
)
_STAGES = ("teacher", "capture", "distill", "annotate")
_MINI_VOCABULARY_IMPORT = "from distill_or_annotate.tasks.vocabularies import LazyVocabulary"
_T5_VOCABULARY_IMPORT = "from distill_or_annotate.tasks.vocabularies import t5_vocabulary as vocabulary"


@dataclasses.dataclass(frozen=True)
class OwnTask:
    """What the files say.

    Args:
      name: the task's name.
      folder: its folder, relative to where commands are run, such as `my_tasks`.
      metric: its metric.
      labels: label words or entity types.
      prefix: what stands before each source.
      input_tokens: input length, end of sequence included.
      target_tokens: target length, end of sequence included.
      models: mini or t5.
      vocab_size: rows of the embedding; 0 for T5's own.
      splits: the splits that there are.
      several_answers: whether some rows have several accepted targets.
      example: a row.
      command: the command that made the task.
      day: the day, ISO.
      remarks: what was cut or left out.
    """

    name: str
    folder: str
    metric: str
    labels: tuple[str, ...]
    prefix: str
    input_tokens: int
    target_tokens: int
    models: str
    vocab_size: int
    splits: tuple[str, ...]
    several_answers: bool
    example: Row
    command: str
    day: str
    remarks: tuple[str, ...]

    @property
    def package(self) -> str:
        """The folder as a Python package, such as `my_tasks`; '' where it is the working directory."""
        return ".".join(part for part in self.folder.split("/") if part != ".")

    @property
    def module(self) -> str:
        """The task file's dotted name."""
        return f"{self.package}.{self.name}" if self.package else self.name

    def path(self, name: str) -> str:
        """Returns a file of the task's folder as commands name it.

        Args:
          name: the file's name.
        """
        return name if self.folder == "." else f"{self.folder}/{name}"


def task_file(task: OwnTask) -> str:
    """Returns the Python file that registers the task.

    Args:
      task: the task.
    """
    mini = task.models == "mini"
    after = f" after {_quoted(task.prefix)}" if task.prefix else ""
    lines = [
        f'"""{task.name}: made by `doa task add` on {task.day}. Yours to edit.',
        "",
        "A row of its files:",
        f"  {_example(task.example)}",
        f"Input: the source{after}. Target: the target. Score: {task.metric.replace('_', ' ')}.",
        "",
        *(_sentence(remark) for remark in task.remarks),
        *([""] if task.remarks else []),
        "Change log: 1 first version.",
        '"""',
        "",
        "import functools",
        "import pathlib",
        "",
        "from distill_or_annotate.preprocess.rows import read_rows",
        f"from distill_or_annotate.tasks import {'pretraining, registry, variants' if mini else 'registry'}",
        "from distill_or_annotate.tasks.spec import TaskSpec",
        _MINI_VOCABULARY_IMPORT if mini else _T5_VOCABULARY_IMPORT,
        "",
        f'FOLDER = pathlib.Path(__file__).parent / "{task.name}"',
        "",
        "",
        "@functools.cache",
        "def rows(split):",
        '    """The rows of a split: JSON lines with `source` and `target`."""',
        '    return read_rows(FOLDER / f"{split}.jsonl").rows',
        "",
        "",
        *(_mini_functions(task.name) if mini else []),
        *_spec(task),
    ]
    if mini:
        lines.append(f'pretraining.register("{task.name}", text, vocabulary)')
    return "\n".join(lines) + "\n"


def _mini_functions(name: str) -> list[str]:
    return [
        "def vocabulary():",
        '    """The vocabulary, learnt from the training texts and the pool."""',
        f'    return LazyVocabulary(str(FOLDER / "vocab.model"), extra_ids={N_SENTINELS})',
        "",
        "",
        "def text(split):",
        '    """What mini models may be pre-trained on: the pool, which holds no evaluation source."""',
        "    del split  # one corpus, no parts",
        f'    return variants.pool("{name}").rows',
        "",
        "",
    ]


def _spec(task: OwnTask) -> list[str]:
    labels = [f"            {_quoted(label)}," for label in task.labels]
    splits = ", ".join(map(_quoted, task.splits))
    return [
        "registry.register(",
        "    TaskSpec(",
        f"        {_quoted(task.name)},",
        "        version=1,  # raise it whenever prefix, labels, splits or metric change",
        "        rows=rows,",
        "        vocabulary=vocabulary,",
        f"        input_tokens={task.input_tokens},",
        f"        target_tokens={task.target_tokens},",
        f"        metric={_quoted(task.metric)},",
        *(["        labels=(", *labels, "        ),"] if labels else []),
        f"        prefix={_quoted(task.prefix)},",
        f"        splits=({splits}),",
        *(["        several_answers=True,"] if task.several_answers else []),
        "    )",
        ")",
    ]


def gin_file(task: OwnTask) -> str:
    """Returns the task's gin file, which is read after an experiment's.

    Args:
      task: the task.
    """
    lines = [
        f"# {task.name}: made by `doa task add` on {task.day}. Yours to edit. Metric: {task.metric}.",
        "# Read after an experiment's file (a second --gin_file), or included by one.",
        "from __gin__ import dynamic_registration",
        "",
        f"from {task.package} import {task.name}" if task.package else f"import {task.name}",
        "",
        f"TASK = '{task.name}'",
        f"MIXTURE_OR_TASK_MODULE = '{task.module}'",
        f"TASK_FEATURE_LENGTHS = {{'inputs': {task.input_tokens}, 'targets': {task.target_tokens}}}",
        f"VOCABULARY = @{task.name}.vocabulary()",
    ]
    if task.models == "mini":
        lines += [
            f"VOCAB_SIZE = {task.vocab_size}",
            "# The shipped mini models know an invented language only. [] starts from random weights.",
            "INITIAL_CHECKPOINT_PATH = []",
        ]
    return "\n".join(lines) + "\n"


def study_file(task: OwnTask, study: StudyPlan) -> str:
    """Returns the scenario that asks the paper's question of this task.

    Args:
      task: the task.
      study: its numbers.
    """
    budgets = ", ".join(f"{usd:g}" for usd in study.additional_usd)
    lines = [
        f"# {task.name}: does the next dollar go to labels or to distillation? Made by `doa task add` on {task.day}.",
        f"# Command: doa run {task.path(task.name)}_study.gin",
        "from __gin__ import dynamic_registration",
        "",
        "from distill_or_annotate import scenarios",
        "",
        "scenarios.Scenario:",
        f"  name = '{task.name}'",
        f"  task = '{task.name}'",
        f"  task_gin = '{task.path(task.name)}.gin'",
        f"  task_module = '{task.module}'",
        f"  price_book = '{task.name}'",
        f"  prices = '{task.path(task.name)}_prices.toml'",
        f"  n_labels = {study.n_labels}  # labels at hand; the other training rows are there to be bought",
        f"  additional_usd = ({budgets})",
        f"  max_labels = {study.max_labels}",
        f"  max_unlabeled = {study.max_unlabeled}",
        "  notes = (",
        *(f"      {note!r}," for note in NOTES),
        "  )",
        *(
            f"  {name.split('_')[0]}_gin = 'gin/experiments/mini_{name}.gin'"
            for name in ("teacher", "capture", "distill_captured", "annotate")
        ),
    ]
    return "\n".join(lines) + "\n"


def t5_train_file(task: OwnTask, study: StudyPlan) -> str:
    """Returns the experiment that fine-tunes T5 1.1 Small on the task's labels.

    Args:
      task: a task of T5 models.
      study: its numbers.
    """
    name = f"{task.name}_train.gin"
    return _lines(
        f"# T5 1.1 Small on the labels of {task.name}, from the public checkpoint. For a GPU or TPU.",
        f"# Command: python -m t5x.train --gin_file={task.path(name)}",
        "# Commonly overridden: N_LABELS, DATA_SEED, RANDOM_SEED, MODEL_DIR.",
        "from __gin__ import dynamic_registration",
        "",
        "include 't5x/examples/t5/t5_1_1/small.gin'",
        "include 'gin/runs/labelled.gin'",
        f"include '{task.path(task.name)}.gin'",
        "",
        "INITIAL_CHECKPOINT_PATH = 'gs://t5-data/pretrained_models/t5x/t5_1_1_small/checkpoint_1000000'",
        "LOSS_NORMALIZING_FACTOR = 233472  # what the public checkpoints were trained with",
        f"MODEL_DIR = 'runs/{task.name}/t5_1_1_small'",
        f"N_LABELS = {study.max_labels}",
        "DATA_SEED = 0",
        "RANDOM_SEED = 0",
        "EPOCHS = 50",
        "DROPOUT_RATE = 0.1",
    )


def pretraining_files(task: OwnTask) -> dict[str, str]:
    """Returns the gin files that pre-train both mini models on the pool, and the study that starts from them.

    Args:
      task: a task of mini models.

    Returns:
      File name -> text.
    """
    files, start = {}, {}
    for model, steps in _PRETRAINING_STEPS.items():
        name = f"{task.name}_pretrain_{model}.gin"
        folder = f"runs/pretrain/{task.name}_{model}"
        start[model] = f"{{'INITIAL_CHECKPOINT_PATH': '{folder}/checkpoint_{steps}'}}"
        files[name] = _lines(
            f"# mini_{model}, pre-trained on the pool of {task.name}. Optional: see {task.name}_pretrained_study.gin.",
            f"# Command: python -m t5x.train --gin_file={task.path(name)}",
            "from __gin__ import dynamic_registration",
            "",
            f"include 'gin/experiments/mini_pretrain_{model}.gin'",
            f"include '{task.path(task.name)}.gin'",
            "",
            f"MIXTURE_OR_TASK_NAME = '{task.name}_pretrain'",
            f"MODEL_DIR = '{folder}'",
            f"TRAIN_STEPS = {steps}",
        )
    study = f"{task.name}_pretrained_study.gin"
    files[study] = _lines(
        f"# As {task.name}_study.gin, with mini models that have read the pool first.",
        f"# Command: doa run {task.path(study)}, after the commands of "
        f"{' and '.join(f'{task.name}_pretrain_{model}.gin' for model in _PRETRAINING_STEPS)}",
        "from __gin__ import dynamic_registration",
        "",
        "from distill_or_annotate import scenarios",
        "",
        f"include '{task.path(task.name)}_study.gin'",
        "",
        "scenarios.Scenario:",
        f"  name = '{task.name}_pretrained'",
        f"  notes = ({PRICES_NOTE!r},)",
        "  macros = {",
        f"      'finetune': {start['teacher']},",
        f"      'distill': {start['student']},",
        f"      'annotate': {start['student']},",
        "  }",
    )
    return files


def _lines(*lines: str) -> str:
    return "\n".join(lines) + "\n"


def json_lines(rows: list[Row]) -> str:
    """Returns rows in the released form.

    Args:
      rows: rows with `source` and `target`.
    """
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _quoted(text: str) -> str:
    """A Python string literal in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def _example(row: Row) -> str:
    shown = {key: row[key] for key in ("source", "target")}
    cut = {key: value if len(value) <= _SHOWN else value[:_SHOWN] + "..." for key, value in shown.items()}
    return _plain(json.dumps(cut, ensure_ascii=False))


def _sentence(text: str) -> str:
    return _plain(text[0].upper() + text[1:]) + "."


def _plain(text: str) -> str:
    """Text that a docstring can hold: no backslashes, no row of quotes."""
    return text.replace("\\", "/").replace('"""', '"')
