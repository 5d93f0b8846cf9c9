"""What a stage does: a T5X program in this process, or scores from what one decoded."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from distill_or_annotate.pipeline import evaluation, gates, programs, results
from distill_or_annotate.pipeline.deadline import Deadline
from distill_or_annotate.pipeline.manifest import write_json
from distill_or_annotate.pipeline.program import Program
from distill_or_annotate.scenarios import Scenario, Stage


class StageError(RuntimeError):
    """A stage failed; the text names its log and the command that runs its program alone.

    Attributes:
      stage: its name.
    """

    def __init__(self, stage: str, text: str):
        self.stage = stage
        super().__init__(f"stage {stage} {text}")


def do(
    stage: Stage,
    scenario: Scenario,
    stages: Sequence[Stage],
    stages_dir: Path,
    on_step: Callable[[int, int | None], None],
    deadline: Deadline,
) -> None:
    """Do a stage's work; what an interrupted attempt left is gone on with.

    Args:
      stage: the stage, no purchase of labels.
      scenario: the study.
      stages: its stages.
      stages_dir: their folders.
      on_step: receives the number of the last step and that of all.
      deadline: ends it at its reserve.

    Raises:
      ReserveReached: it was stopped there.
      GateError: the teacher of a capture is not worth distilling.
      StageError: it failed.
    """
    folder = stages_dir / stage.name
    with deadline:
        if stage.kind == "evaluate":
            _evaluate(stage, folder, stages_dir)
            return
        if stage.kind == "capture":
            gates.check_teacher(stage, scenario, stages, stages_dir, folder)
        program = programs.program(stage, stages_dir)
        (folder / "command.txt").write_text(program.command() + "\n", encoding="utf-8")
        _run(stage, programs.resuming(program, folder), folder, on_step)


def evaluate_as_it_stands(stage: Stage, stages_dir: Path) -> None:
    """Decode what a training stage was stopped at, as if its steps had ended there.

    Args:
      stage: a finetune, annotate or distill stage.
      stages_dir: the stages' folders.

    Raises:
      StageError: it has no checkpoint yet, or decoding failed.
    """
    folder = stages_dir / stage.name
    step = programs.last_step(folder)
    if step is None:
        raise StageError(
            stage.name,
            "used up its device time before a first checkpoint. Fix: a larger budget, a cheaper "
            "mesh (Scenario.mesh), or the paper's rates (Scenario.mesh='').",
        )
    program = programs.program(stage, stages_dir)
    macros = {**program.macros, "TRAIN_STEPS": step, "train.run_eval_before_training": True}
    _run(stage, Program(program.module, program.gin_files, macros), folder, lambda *_: None)


def _run(stage: Stage, program: Program, folder: Path, on_step: Callable[[int, int | None], None]) -> None:
    from distill_or_annotate.trainer import progress as trainer_progress

    log_file = folder / "log.txt"
    try:
        with trainer_progress.listening(on_step):
            program.run(log_file)
    except Exception as error:
        raise StageError(
            stage.name,
            f"failed: {type(error).__name__}: {error}\n  log: {log_file}\n  alone: {program.command()}",
        ) from error


def _evaluate(stage: Stage, folder: Path, stages_dir: Path) -> None:
    labels = f"{stage.task}_n{stage.n_labels}_s{stage.data_seed}"
    found = evaluation.evaluate(stages_dir / stage.depends_on[0], stage.task, labels)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in found.pop("predictions")]
    (folder / "predictions.jsonl").write_text("".join(lines), encoding="utf-8")
    write_json(folder / results.EVALUATION, {**found, "subject": stage.depends_on[0]})


def title(stage: Stage) -> str:
    """What a stage does, in a few words.

    Args:
      stage: the stage.
    """
    if stage.kind == "label":
        return f"label: {stage.n_labels} from {stage.first_label}"
    if stage.kind == "finetune":
        return f"teacher: {stage.model} on {stage.n_labels} labels"
    if stage.kind == "annotate":
        return f"annotate: {stage.model} on {stage.n_labels} labels"
    if stage.kind == "capture":
        return f"capture: {stage.model} labels {stage.n_unlabeled} sentences"
    if stage.kind == "distill":
        return f"distill: {stage.model} on {stage.n_unlabeled} unlabeled and {stage.n_labels} gold"
    if stage.kind == "llm_label":
        return f"llm_label: {stage.n_unlabeled} labels from a language model"
    if stage.kind != "evaluate":
        return f"{stage.kind}: {stage.model} on {stage.n_labels} labels (planned)"
    strategy, usd = stage.serves[0][:2]
    return f"evaluate: {stage.model}, {strategy} +${usd:g}"
