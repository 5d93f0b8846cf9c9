"""What a stage does: a T5X program in this process, or scores from what one decoded."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from distill_or_annotate.pipeline import evaluation, gates, llm_labels, programs, results, study
from distill_or_annotate.pipeline.deadline import Deadline
from distill_or_annotate.pipeline.manifest import write_json
from distill_or_annotate.pipeline.program import Program
from distill_or_annotate.scenarios import SELECTION_SPLIT, Scenario, Stage
from distill_or_annotate.scenarios.cells import LLM


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
            _evaluate(stage, stages, folder, stages_dir)
            return
        if stage.kind == "llm_label":
            _label(stage, scenario, folder, on_step)
            return
        if stage.kind == "select":
            _select(stage, stages, folder, stages_dir, on_step)
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


def _evaluate(stage: Stage, stages: Sequence[Stage], folder: Path, stages_dir: Path) -> None:
    labels = programs.known_labels(stage, stages, stages_dir)
    found = evaluation.evaluate(stages_dir / stage.depends_on[0], stage.reads, labels, mode=stage.mode)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in found.pop("predictions")]
    (folder / "predictions.jsonl").write_text("".join(lines), encoding="utf-8")
    write_json(folder / results.EVALUATION, {**found, "subject": stage.depends_on[0]})


def _label(stage: Stage, scenario: Scenario, folder: Path, on_step: Callable[[int, int | None], None]) -> None:
    try:
        llm_labels.label(stage, scenario, study.prices(scenario), folder, on_step)
    except (ValueError, OSError, llm_labels.NoLabels) as error:
        raise StageError(stage.name, f"failed: {type(error).__name__}: {error}") from error


def _select(stage: Stage, stages: Sequence[Stage], folder: Path, stages_dir: Path, on_step) -> None:
    """The candidate with the highest score on dev, of equal ones the first; then its answers on test."""
    by_name = {other.name: other for other in stages}
    candidates = [by_name[name] for name in stage.depends_on]
    found = []
    for candidate in candidates:
        # Floors are for the chosen one; learning them for each candidate would take longer than scoring it.
        on_dev = evaluation.evaluate(
            stages_dir / candidate.name, stage.reads, None, split=SELECTION_SPLIT, mode=stage.mode
        )
        found.append({"stage": candidate.name, "macros": _searched(candidate, candidates), "score": on_dev["score"]})
    best = max(range(len(found)), key=lambda number: found[number]["score"])
    folder_of_best, labels = stages_dir / candidates[best].name, programs.known_labels(stage, stages, stages_dir)
    on_dev = evaluation.evaluate(folder_of_best, stage.reads, labels, split=SELECTION_SPLIT, mode=stage.mode)
    kept = {name: on_dev[name] for name in gates.KEPT}
    _run(stage, programs.chosen(candidates[best], folder, stages_dir), folder, on_step)
    content = {"split": SELECTION_SPLIT, "chosen": found[best]["stage"], "macros": found[best]["macros"]}
    write_json(folder / results.SELECTION, {**content, "on_dev": kept, "candidates": found})


def _searched(candidate: Stage, candidates: Sequence[Stage]) -> dict[str, Any]:
    """The macros in which the candidates differ."""
    first = candidates[0].macros
    differing = [name for name in first if any(other.macros[name] != first[name] for other in candidates)]
    return {name: candidate.macros[name] for name in differing}


def title(stage: Stage) -> str:
    """What a stage does, in a few words.

    Args:
      stage: the stage.
    """
    if stage.kind == "label":
        return f"label: {stage.n_labels} from {stage.first_label}"
    if stage.kind == "finetune":
        return f"teacher: {stage.model} on {stage.n_labels} labels"
    if stage.kind in ("annotate", "general_distill"):
        return f"{stage.kind}: {stage.model} on {stage.n_labels} labels"
    if stage.kind == "capture":
        return f"capture: {stage.model} labels {stage.n_unlabeled} sentences"
    if stage.kind == "distill":
        return f"distill: {stage.model} on {stage.n_unlabeled} unlabeled and {stage.n_labels} gold"
    if stage.kind == "llm_label":
        return f"llm_label: {stage.n_unlabeled} labels from a language model"
    if stage.kind in LLM:
        human = f" and {stage.n_labels} human labels" if stage.kind == "human_llm_annotate" else ""
        return f"{stage.kind}: {stage.model} on {stage.n_unlabeled} labels of a language model{human}"
    if stage.kind == "select":
        return f"select: {stage.trains_as}, the best of {len(stage.depends_on)} on dev"
    strategy, usd = stage.serves[0][:2]
    return f"evaluate: {stage.model}, {strategy} +${usd:g}"
