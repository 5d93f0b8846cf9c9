"""What a teacher must show before a study pays for its pass over the pool and for distilling from it.

  1. Before anything is trained: teacher and student have one vocabulary. Nothing forces this gate, for a distribution
     over other pieces means nothing to the student.
  2. Before the capture: on dev, the teacher is above every floor and above the student that had the same labels.
     `doa run --force` (or `Scenario.force`) goes on all the same, and the report says so.

A teacher whose answers can be had by rote can teach no others. On test nothing is decided: it is for scores.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill_or_annotate.pipeline import evaluation, programs, results
from distill_or_annotate.pipeline.manifest import write_json
from distill_or_annotate.pipeline.program import Program
from distill_or_annotate.scenarios import Scenario, Stage

FINDINGS = "gates.json"
DEV = "validation"
# What is kept of an evaluation on dev.
KEPT = ("metric", "score", "stderr", "floors", "degenerate", "n_examples")


class GateError(RuntimeError):
    """A gate is shut: going on would spend money on nothing; the text says which, and what would open it."""


def check_vocabulary(stages: Sequence[Stage], stages_dir: Path) -> None:
    """Refuse a study whose student cannot read what its teacher says.

    Args:
      stages: the study's stages; without a distillation there is nothing to check.
      stages_dir: their folders.

    Raises:
      GateError: the vocabularies differ; both sizes are named.
    """
    by_name = {stage.name: stage for stage in stages}
    pairs = {}
    for student in stages:
        if student.kind == "distill":
            teacher = next((by_name[name] for name in student.depends_on if by_name[name].kind == "finetune"), None)
            if teacher is None:
                continue  # the student teaches itself
            pairs.setdefault((teacher.model, student.model), (teacher, student))
    for teacher, student in pairs.values():
        _check_pair(teacher, student, stages_dir)


def _check_pair(teacher: Stage, student: Stage, stages_dir: Path) -> None:
    models = [programs.program(stage, stages_dir).macro("MODEL") for stage in (teacher, student)]
    sizes = [model.module.config.vocab_size for model in models]
    if sizes[0] != sizes[1]:
        raise GateError(
            f"network.T5Config.vocab_size is {sizes[0]} for the teacher ({teacher.gin_file}) and {sizes[1]} for the "
            f"student ({student.gin_file}); distillation needs one vocabulary. Fix: use two models of one family."
        )
    if models[0].output_vocabulary != models[1].output_vocabulary:
        raise GateError(
            f"teacher ({teacher.gin_file}) and student ({student.gin_file}) both have {sizes[0]} pieces, but not the "
            "same ones; distillation needs one vocabulary. Fix: bind one VOCABULARY in both."
        )


def check_dev(scenario: Scenario, hashes: Mapping[str, str]) -> str:
    """Refuse a search on the rows that scores are of.

    Args:
      scenario: the study.
      hashes: `TASK/SPLIT` -> digest of the split's rows, see `preparing.data_hashes`.

    Returns:
      What a report has to say where dev is test, as it is for the paper's tasks without a test part; else ''.

    Raises:
      GateError: dev is test, and candidates would be chosen on it.
    """
    rows = {name.rpartition("/")[2]: digest for name, digest in hashes.items()}
    if DEV not in rows or rows[DEV] != rows.get("test"):
        return ""
    if scenario.search or scenario.student_search:
        raise GateError(
            f"Scenario.search: dev and test of {scenario.reads} are the same rows, so a search would choose on what is "
            f"scored. Fix: search={{}} and student_search={{}} (SEARCH=off), or a task with a dev part of its own."
        )
    return f"Dev and test of {scenario.reads} are the same rows: what stops a study on dev was decided on test."


def check_encoders(scenario: Scenario, labels: Sequence[str], metric: str) -> None:
    """Refuse an encoder for a task that does not choose one of a few label words.

    Args:
      scenario: the study.
      labels: the task's label words; entity types are none.
      metric: the task's metric.

    Raises:
      GateError: it has an encoder and no label words.
    """
    if "general_distill" in scenario.strategies and (not labels or metric == "entity_f1"):
        others = tuple(name for name in scenario.strategies if name != "general_distill")
        raise GateError(
            f"general_distill trains an encoder that chooses a label word, and task {scenario.task!r} ({metric}) has "
            f'none. Fix: a task such as fever, or --set "strategies={others!r}".'
        )


def check_programs(stages: Sequence[Stage], stages_dir: Path) -> None:
    """Refuse a study one of whose stages has no configuration that can be read, before anything is bought.

    Of stages that differ in numbers alone the first stands for all.

    Args:
      stages: those that have yet to run.
      stages_dir: their folders.

    Raises:
      GateError: a gin file is missing, or binds what is not there, or an encoder's folder is not here.
    """
    seen = set()
    for stage in stages:
        program = programs.program(stage, stages_dir)
        kind = program and (program.module, program.gin_files, tuple(program.macros), repr(stage.macros))
        if program is None or kind in seen:
            continue
        seen.add(kind)
        try:
            folder = program.macro("ENCODER", None)
        except Exception as error:  # gin raises what the files' imports and functions raise
            raise GateError(
                f"stage {stage.name} ({', '.join(program.gin_files)}) cannot be configured, and nothing was run: "
                f"{type(error).__name__}: {error}"
            ) from error
        if folder and not Path(folder).is_dir():
            raise GateError(
                f"stage {stage.name} trains {stage.model} from {folder}, and no such folder is here. Nothing was run. "
                f"Fix: save the model and its tokenizer there (docs/encoders.md), or name another, as in "
                f"--set \"macros={{'{stage.kind}': {{'ENCODER': 'FOLDER'}}}}\"."
            )


def check_teacher(capture: Stage, scenario: Scenario, stages: Sequence[Stage], stages_dir: Path, folder: Path) -> None:
    """Score the teacher of a capture on dev against the floors and the student on the same labels; once, then kept.

    Args:
      capture: the stage that is about to start.
      scenario: the study.
      stages: its stages; the teacher's, and the student's on the same labels if there is one, are finished.
      stages_dir: their folders.
      folder: where the findings go (`gates.json`).

    Raises:
      GateError: the teacher is not above all of them, and the scenario does not force it.
    """
    if not (folder / FINDINGS).exists():
        write_json(folder / FINDINGS, _findings(capture, stages, stages_dir, folder))
    check_findings(scenario, folder)


def check_findings(scenario: Scenario, folder: Path) -> None:
    """Refuse what was found before, by this run or by another that shares the stage.

    Args:
      scenario: the study.
      folder: of a stage; only captures have findings.

    Raises:
      GateError: a gate was found shut, and the scenario does not force it.
    """
    path = folder / FINDINGS
    if not path.exists():
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    if found["shut"] and not scenario.force:
        raise GateError(
            f"the teacher is not worth distilling: {'; '.join(found['shut'])}. Nothing was spent on the pool yet. Fix: "
            "buy more labels (Scenario.n_labels), train the teacher longer, or go on all the same with --force."
        )


def notes(stages: Sequence[Stage], stages_dir: Path) -> list[str]:
    """What a reader of the report must know of the gates.

    Args:
      stages: the study's stages.
      stages_dir: their folders.

    Returns:
      A sentence for each capture that was forced, and one for what could not be compared; empty where all is well.
    """
    told = []
    for stage in stages:
        path = stages_dir / stage.name / FINDINGS
        if stage.kind == "capture" and path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["shut"]:
                told.append(f"Distilled by force, past the gates: {'; '.join(found['shut'])}.")
            told += [f"A gate could not be tried: {reason}." for reason in found["untried"]]
    return told


def compared_students(capture: Stage, stages: Sequence[Stage]) -> list[Stage]:
    """The students that the teacher of a capture is compared with: those before it that had the same labels.

    A study of several students trains the others after it, since they wait for what it leaves too.

    Args:
      capture: the stage.
      stages: the study's stages, in order.
    """
    teacher = next(stage for stage in stages if stage.name in capture.depends_on)
    if teacher.kind != "finetune":
        return []  # the student teaches itself
    alike = (teacher.n_labels, teacher.data_seed, teacher.train_seed)
    found = [
        stage
        for stage in stages[: [stage.name for stage in stages].index(capture.name)]
        if stage.trains_as == "annotate" and (stage.n_labels, stage.data_seed, stage.train_seed) == alike
    ]
    # A selection stands for its candidates.
    return [stage for stage in found if stage.kind == "select"] or found


def _findings(capture: Stage, stages: Sequence[Stage], stages_dir: Path, folder: Path) -> dict[str, Any]:
    from distill_or_annotate.tasks import registry

    teacher = next(stage for stage in stages if stage.name in capture.depends_on)
    students = compared_students(capture, stages)
    if DEV not in registry.get(teacher.reads).available_splits():
        return {"shut": [], "untried": [f"task {teacher.reads!r} has no split {DEV!r} to compare the teacher on"]}
    scores = {"teacher": _on_dev(teacher, stages_dir, folder / "teacher_on_dev")}
    score, metric = scores["teacher"]["score"], scores["teacher"]["metric"]
    reasons = scores["teacher"]["degenerate"]["reasons"]
    shut = [f"on dev its {metric} is {score:.1f}, {', '.join(reasons)}"] if reasons else []
    untried = []
    if students:
        scores["student"] = _on_dev(students[0], stages_dir, folder / "student_on_dev")
        if score <= scores["student"]["score"]:
            shut.append(
                f"on dev its {metric} is {score:.1f}, not above the {scores['student']['score']:.1f} of the student on "
                f"the same {teacher.n_labels} labels"
            )
    elif teacher.kind == "finetune":
        untried.append(
            f"no student is trained on the teacher's {teacher.n_labels} labels alone, so the teacher was compared with "
            "floors only"
        )
    return {"shut": shut, "untried": untried, "split": DEV, **scores}


def _on_dev(stage: Stage, stages_dir: Path, folder: Path) -> Mapping[str, Any]:
    """Scores of a trained stage's last checkpoint on dev, decoded by the program that trained it, without a step."""
    selection = stages_dir / stage.name / results.SELECTION
    if selection.exists():
        return json.loads(selection.read_text(encoding="utf-8"))["on_dev"]
    folder.mkdir(parents=True, exist_ok=True)
    trained = programs.program(stage, stages_dir)
    macros = {
        **trained.macros,
        "MODEL_DIR": str(folder / programs.MODEL),
        "INITIAL_CHECKPOINT_PATH": str(stages_dir / stage.name / programs.MODEL),
        "TRAIN_STEPS": 0,
        "train.run_eval_before_training": True,
        "train.eval_period": 1,
        "infer_eval/utils.DatasetConfig.split": DEV,
        "utils.RestoreCheckpointConfig.mode": "latest",
        "utils.CheckpointConfig.save": None,
    }
    log_file = folder / "log.txt"
    program = Program(trained.module, trained.gin_files, macros)
    try:
        program.run(log_file)
    except Exception as error:
        raise GateError(
            f"{stage.name} could not be scored on dev: {type(error).__name__}: {error}\n"
            f"  log: {log_file}\n  alone: {program.command()}"
        ) from error
    found = evaluation.evaluate(folder, stage.reads, stage.gold, split=DEV, mode=stage.mode)
    return {name: found[name] for name in KEPT}
