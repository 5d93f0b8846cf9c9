"""Which T5X program a stage is: its gin file, and the macros that tie it to the stages before it."""

from __future__ import annotations

from pathlib import Path

from distill_or_annotate.pipeline import gin_files
from distill_or_annotate.pipeline.program import Program
from distill_or_annotate.scenarios import Stage

MODEL = "model"  # a stage's model folder, within its own
PREDICTIONS = "predictions"
# What t5x.infer writes there, however many shards it ran as.
PREDICTIONS_PATTERN = "*-predict.jsonl-?????-of-?????"

# What tells a student that trains on a store from one with a live teacher.
_CAPTURED = "gin/runs/distill_captured.gin"


def program(stage: Stage, stages_dir: Path) -> Program | None:
    """The program of a stage; None for stages that run none.

    Args:
      stage: one of `scenarios.expand`.
      stages_dir: folder that holds each stage's folder under its name.

    Returns:
      A program whose outputs lie in the stage's folder.
    """
    folder = stages_dir / stage.name
    before = {name.split("-")[0]: stages_dir / name for name in stage.depends_on}
    common = {"TASK": stage.task}
    gold = f"{stage.task}_n{stage.n_labels}_s{stage.data_seed}"
    if stage.kind in ("finetune", "annotate"):
        labels = {"N_LABELS": stage.n_labels, "DATA_SEED": stage.data_seed, "RANDOM_SEED": stage.train_seed}
        macros = {**common, **labels, "MODEL_DIR": str(folder / MODEL)}
        module = "t5x.train"
    elif stage.kind == "capture":
        module = "t5x.infer"
        macros = {
            **common,
            "N_UNLABELED": stage.n_unlabeled,
            "GIVEN_TASK": gold,
            "CHECKPOINT_PATH": str(before["finetune"] / MODEL),
            "INFER_OUTPUT_DIR": str(folder / PREDICTIONS),
        }
    elif stage.kind == "distill" and gin_files.includes(stage.gin_file, _CAPTURED):
        module = "t5x.train"
        macros = {
            **common,
            "N_UNLABELED": stage.n_unlabeled,
            "RANDOM_SEED": stage.train_seed,
            "STORE": str(before["capture"] / PREDICTIONS),
            "GOLD": gold,
            "MODEL_DIR": str(folder / MODEL),
        }
    elif stage.kind == "distill":
        module = "t5x.train"
        macros = {
            **common,
            "N_LABELS": stage.n_labels,
            "N_UNLABELED": stage.n_unlabeled,
            "DATA_SEED": stage.data_seed,
            "RANDOM_SEED": stage.train_seed,
            "TEACHER_PATH": str(before["finetune"] / MODEL),
            "PREDICTIONS": str(before["capture"] / PREDICTIONS / PREDICTIONS_PATTERN),
            "MODEL_DIR": str(folder / MODEL),
        }
    else:
        return None
    files = (stage.gin_file, stage.task_gin) if stage.task_gin else (stage.gin_file,)
    return Program(module, files, {**macros, **stage.macros})


def resuming(program: Program, folder: Path) -> Program:
    """The same program over what an interrupted attempt left behind.

    T5X returns at once from a training run whose last checkpoint is already there, so one that was stopped between its
    checkpoint and its evaluation must evaluate first.

    Args:
      program: the stage's program.
      folder: the stage's folder.

    Returns:
      The program, told to evaluate before it trains when there is a checkpoint.
    """
    if program.module == "t5x.train" and last_step(folder) is not None:
        return Program(program.module, program.gin_files, {**program.macros, "train.run_eval_before_training": True})
    return program


def last_step(folder: Path) -> int | None:
    """The step of the last whole checkpoint of a training stage; None where there is none.

    Args:
      folder: the stage's folder.
    """
    # One that is being written has a longer name.
    names = [path.name.removeprefix("checkpoint_") for path in (folder / MODEL).glob("checkpoint_*")]
    return max((int(name) for name in names if name.isdigit()), default=None)
