"""Which T5X program a stage is: its gin file, and the macros that tie it to the stages before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from distill_or_annotate.pipeline import gin_files
from distill_or_annotate.pipeline.program import Program
from distill_or_annotate.scenarios import Stage
from distill_or_annotate.scenarios.cells import LLM

MODEL = "model"  # a stage's model folder, within its own
PREDICTIONS = "predictions"
LLM_LABELS = "labels.jsonl"  # what a language model answered, in the folder of its stage
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
    common = {"TASK": stage.reads}
    labels = {"N_LABELS": stage.n_labels, "DATA_SEED": stage.data_seed, "RANDOM_SEED": stage.train_seed}
    if stage.kind in ("finetune", "annotate", "general_distill"):
        macros = {**common, **labels, "MODEL_DIR": str(folder / MODEL)}
        module = "t5x.train"
    elif stage.kind in LLM:
        module = "t5x.train"
        with_gold = stage.kind == "human_llm_annotate"
        macros = {
            **common,
            **labels,
            "LLM_LABELS": str(before["llm_label"] / LLM_LABELS),
            "N_LLM_LABELS": stage.n_unlabeled,
            "GOLD": stage.gold if with_gold else None,
            "N_EXAMPLES": stage.n_unlabeled + (stage.n_labels if with_gold else 0),
            "MODEL_DIR": str(folder / MODEL),
        }
    elif stage.kind == "capture":
        module = "t5x.infer"
        macros = {
            **common,
            "N_UNLABELED": stage.n_unlabeled,
            "GIVEN_TASK": stage.gold,
            "CHECKPOINT_PATH": str(_teacher(before) / MODEL),
            "INFER_OUTPUT_DIR": str(folder / PREDICTIONS),
        }
    elif stage.kind == "distill" and gin_files.includes(stage.gin_file, _CAPTURED):
        module = "t5x.train"
        macros = {
            **common,
            "N_UNLABELED": stage.n_unlabeled,
            "RANDOM_SEED": stage.train_seed,
            "STORE": str(before["capture"] / PREDICTIONS),
            "GOLD": stage.gold,
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
            "TEACHER_PATH": str(_teacher(before) / MODEL),
            "PREDICTIONS": str(before["capture"] / PREDICTIONS / PREDICTIONS_PATTERN),
            "MODEL_DIR": str(folder / MODEL),
        }
    else:
        return None
    files = tuple(name for name in (stage.gin_file, stage.task_gin, stage.overlay_gin) if name)
    return Program(module, files, {**macros, **stage.macros})


def known_labels(stage: Stage, stages: Sequence[Stage], stages_dir: Path) -> str:
    """The variant whose labels an evaluated or selected model had: people's, a language model's, or both.

    Args:
      stage: an evaluate or select stage.
      stages: those of its study.
      stages_dir: folder that holds each stage's folder under its name.

    Returns:
      A registered name, or one that `variants.variant` registers; floors that learn are given its rows.
    """
    from distill_or_annotate.tasks import variants

    by_name = {other.name: other for other in stages}
    trained = stage
    while trained.kind in ("evaluate", "select"):
        trained = by_name[trained.depends_on[0]]
    if trained.kind not in LLM:
        return stage.gold
    bought = next(name for name in trained.depends_on if name.startswith("llm_label-"))
    with_gold = stage.gold if trained.kind == "human_llm_annotate" else None
    return variants.answered(
        stage.reads, stages_dir / bought / LLM_LABELS, stage.n_unlabeled, with_gold, stage.data_seed
    )


def _teacher(before: Mapping[str, Path]) -> Path:
    """The folder of what teaches: a fine-tuned teacher, or the student itself."""
    return next(before[kind] for kind in ("finetune", "annotate", "select") if kind in before)


def chosen(candidate: Stage, folder: Path, stages_dir: Path) -> Program:
    """The program that decodes test with the candidate that a selection chose, without a step of training.

    Args:
      candidate: the chosen stage, finished.
      folder: of the selection; its model folder gets a link to the candidate's last checkpoint.
      stages_dir: folder that holds each stage's folder under its name.

    Returns:
      A program whose outputs lie in the selection's folder.
    """
    step = last_step(stages_dir / candidate.name)
    link = folder / MODEL / f"checkpoint_{step}"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        # Relative, so that a store of stages may be moved.
        link.symlink_to(Path("..", "..", candidate.name, MODEL, link.name), target_is_directory=True)
    trained = program(candidate, stages_dir)
    macros = {name: value for name, value in trained.macros.items() if name != "EVAL_SPLIT"}
    macros |= {"MODEL_DIR": str(folder / MODEL), "TRAIN_STEPS": step, "train.run_eval_before_training": True}
    return Program(trained.module, trained.gin_files, macros)


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
