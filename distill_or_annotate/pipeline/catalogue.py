"""The packaged scenarios, each with what it asks for: data, device-hours, dollars, and the scores to expect."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from distill_or_annotate import paper
from distill_or_annotate.pipeline import gin_files, study
from distill_or_annotate.preprocess import built, rows
from distill_or_annotate.prices import PriceBook
from distill_or_annotate.scenarios import Scenario, Stage, all_cells, expand_all, is_encoder
from distill_or_annotate.scenarios.cells import LLM
from distill_or_annotate.scenarios.expected import published_scores

# What the forms serve; a user's own forms are run, but not listed.
FORMS = {"xxl": paper.task_names(), "mini": ("mini", "wlp", "fever", "stanceosaurus")}
_SHOWN_TASKS = {"xxl": ("wlp",), "mini": ("mini", "wlp")}
# Seconds of a stage with mini models on two cores (docs/results.md); they vary by half with the machine and its load.
_MINI_SECONDS = {"finetune": 70, "capture": 30, "annotate": 30, "distill": 45, "evaluate": 3, "select": 8}
_MINI_SECONDS |= {"llm_annotate": 30, "human_llm_annotate": 30, "general_distill": 60}
# Tables for tasks of label words alone; the first is the one that is listed.
_SERVES = {"table10": ("fever", "stanceosaurus")}
# These need mini models of two sizes, which exist for the embedded text and for WLP's alone.
_TWO_SIZES, _OF_TWO_SIZES = ("table3", "figure4", "figure5"), ("mini", "wlp")
# `make bench-mini` runs these over several data seeds.
_BENCHMARK, _BENCHMARKED = "bench_mini.json", ("quickstart", "quickstart_cls")
# The packaged encoder and its first two layers: between the medians of real_fever's and real_multipit_id's stages
# (their ledgers), which had one core and not two; general_distill is one stage of Table 10.
_ENCODER_SECONDS = {"finetune": 380, "capture": 95, "annotate": 140, "distill": 115, "general_distill": 390}
_HEADER = re.compile(r"(?:#.*\n)+")
_ENTRY = re.compile(r"^(Question|A result means|Command|Forms|Expected|Needs): ", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Listed:
    """A scenario as the list shows it.

    Attributes:
      name: bare name, as `doa run` takes it.
      form: xxl | mini | '' for a scenario without forms.
      task: the macro TASK, or the scenario's task.
      about: what the file's header says: title, question, a_result_means.
      command: what runs it.
      scenario: the scenario.
      book: its prices.
      stages: its stages.
    """

    name: str
    form: str
    task: str
    about: Mapping[str, str]
    command: str
    scenario: Scenario
    book: PriceBook
    stages: tuple[Stage, ...]

    @property
    def asks_llm(self) -> bool:
        """Whether it buys labels from a language model, for which `doa run` needs an endpoint and its key."""
        return bool(set(LLM) & set(self.scenario.strategies))

    def usd_by_kind(self) -> dict[str, float]:
        """Returns the scenario dollars of its purchases (label, api, device), each thing bought once."""
        n_labels = sum(stage.n_new_labels for stage in self.stages)
        found = {"label": n_labels * self.book.label(self.scenario.task).usd, "api": 0.0, "device": 0.0}
        for stage in self.stages:
            for charge in stage.charges:
                found[charge.kind] += charge.quantity * charge.unit_price_usd
        return {kind: round(usd, 2) for kind, usd in found.items()}

    def is_estimated(self) -> bool:
        """Returns whether any of the dollars rest on an estimate."""
        return any(charge.source == "estimated" for stage in self.stages for charge in stage.charges)

    def device_hours(self) -> tuple[float, str]:
        """Returns hours of device time and what they are hours of."""
        if all(model.startswith("mini") for model in self.scenario.values("teacher")):
            seconds = sum(_seconds(stage) for stage in self.stages)
            return round(seconds / 3600, 2), "hours of two CPU cores, from earlier runs"
        return round(self.usd_by_kind()["device"] / self.book.gpu_hour().usd, 1), "A40 GPU-hours, from the prices"

    def published(self) -> list[dict[str, Any]]:
        """Returns the paper's scores for it; of a scaled study those of the paper's study that it stands for."""
        return published_scores(self.name, self.book.base_task or self.scenario.task)

    def ours(self) -> list[dict[str, Any]]:
        """Returns our rows, where docs/results/ of the checkout holds this study's results.jsonl or benchmark."""
        folder = gin_files.home() / "docs" / "results"
        path = folder / self.scenario.name / "results.jsonl"
        if path.is_file():
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        benchmark = folder / _BENCHMARK
        return self._benchmarked(benchmark) if self.name in _BENCHMARKED and benchmark.is_file() else []

    def _benchmarked(self, path: Path) -> list[dict[str, Any]]:
        """Rows of the benchmark over the quickstart's studies, one for each cell and data seed."""
        content = json.loads(path.read_text(encoding="utf-8"))
        measured = content["tasks"][self.scenario.task]["cells"]
        found = []
        for single, cell in all_cells(self.scenario, self.book):
            scores = measured.get(f"{cell.strategy} +${cell.additional_usd:g}", {"scores": []})["scores"]
            for seed, score in zip(content["seeds"], scores, strict=False):
                models = {"teacher": single.teacher, "student": single.student, "data_seed": seed, "train_seed": 0}
                found.append({**cell.as_dict(), **models, "score": score})
        return found

    def as_dict(self) -> dict[str, Any]:
        """Returns the entry as JSON-ready values."""
        hours, unit = self.device_hours()
        usd = self.usd_by_kind()
        needs, missing = data_of(self)
        fields = ("strategy", "n_labels", "n_unlabeled", "additional_usd", "data_seed", "train_seed", "score", "stderr")
        return {
            "name": self.name,
            "form": self.form,
            "task": self.task,
            "title": self.about["title"],
            "command": self.command,
            "asks_llm": self.asks_llm,
            "data": {"needs": needs, "missing": missing, "here": not missing},
            "cells": len(all_cells(self.scenario, self.book)),
            "stages": len(self.stages),
            "device_hours": hours,
            "device_hours_unit": unit,
            "scenario_usd": round(sum(usd.values()), 2),
            "scenario_usd_by_kind": usd,
            "estimated": self.is_estimated(),
            "price_book": self.book.name,
            "scaled": self.book.is_scaled,
            "expected": {
                "published": self.published(),
                "published_task": self.book.base_task or self.scenario.task,
                "ours": [{field: row.get(field) for field in fields} for row in self.ours()],
            },
        }


def entries(form: str | None = None, task: str | None = None) -> Iterator[Listed]:
    """The packaged scenarios: tables and figures in their forms first, then the others.

    Args:
      form: one form only; None for all.
      task: one task only; None for WLP in xxl form and both tasks in mini form.

    Yields:
      One entry for each form and task of a scenario.

    Raises:
      ValueError: no such form, or no form that serves the task.
    """
    if form is not None and form not in FORMS:
        raise ValueError(f"--form: received {form!r}; allowed: {', '.join(FORMS)}.")
    pairs = [
        (name, served)
        for name, tasks in FORMS.items()
        for served in tasks
        if form in (None, name) and (served == task or (task is None and served in _SHOWN_TASKS[name]))
    ]
    if not pairs:
        allowed = sorted({served for name in FORMS if form in (None, name) for served in FORMS[name]})
        raise ValueError(f"--task: received {task!r}; allowed: {', '.join(allowed)}.")
    folder = gin_files.home() / "gin" / "experiments"
    for path in sorted((folder / "paper").glob("*.gin"), key=_number):
        serves = _SERVES.get(path.stem)
        if serves and task is None:
            own = [(name, serves[0]) for name in dict.fromkeys(name for name, _ in pairs)]
        else:
            own = [(name, served) for name, served in pairs if serves is None or served in serves]
        if path.stem in _TWO_SIZES:
            own = [(name, served) for name, served in own if name != "mini" or served in _OF_TWO_SIZES]
        for name, served in own:
            yield listed(path.stem, {"FORM": name, "TASK": served})
    if task is None:
        for path in sorted(folder.glob("*.gin")):
            if "scenarios.Scenario" in path.read_text(encoding="utf-8"):
                entry = listed(path.stem)
                if form is None or entry.scenario.values("teacher")[0].startswith("mini") == (form == "mini"):
                    yield entry


def check_served(name: str, form_and_task: tuple[str, str] | None) -> None:
    """Refuse a form and task of which a table's models do not exist.

    Args:
      name: the scenario, as `study.read` takes it.
      form_and_task: its FORM and TASK; None where it has none.

    Raises:
      ValueError: it needs mini models of two sizes, and the task's text has one.
    """
    form, task = form_and_task or ("", "")
    is_ours = gin_files.locate(name).resolve().is_relative_to(gin_files.home().resolve() / "gin")
    has_one = form == "mini" and task in FORMS["mini"] and task not in _OF_TWO_SIZES
    if is_ours and Path(name).stem in _TWO_SIZES and has_one:
        raise ValueError(
            f"TASK: received {task!r}; {Path(name).stem} needs mini models of two sizes, which exist for "
            f"{', '.join(_OF_TWO_SIZES)}. Fix: one of those, or FORM=xxl."
        )


def listed(name: str, macros: Mapping[str, Any] | None = None, overrides: Sequence[str] = ()) -> Listed:
    """One scenario with what it asks for.

    Args:
      name: as `study.read` takes it.
      macros: FORM and TASK, where it has them.
      overrides: further `FIELD=VALUE` or `MACRO=VALUE` pairs.

    Raises:
      ValueError: the file is no scenario, or an override names nothing that it has.
    """
    pairs = [*(f"{macro}={value}" for macro, value in (macros or {}).items()), *overrides]
    scenario, _ = study.read(name, pairs)
    book = study.prices(scenario)
    digests = {file: gin_files.digest(file) for file in study.gin_files_of(scenario)}
    about = header(gin_files.locate(name).read_text(encoding="utf-8"))
    own = (macros["FORM"], macros["TASK"]) if macros else study.form_and_task(name, pairs)
    check_served(name, own)
    form, task = own or ("", scenario.task)
    return Listed(
        name=Path(name).stem,
        form=form,
        task=task,
        about=about,
        command=" ".join([f"doa run {name}", *(f"--set {pair}" for pair in _spelt(form, task, overrides))]),
        scenario=scenario,
        book=book,
        stages=tuple(expand_all(scenario, book, digests)),
    )


def header(text: str) -> dict[str, str]:
    """What the comment at the top of a scenario's file says.

    Args:
      text: the file.

    Returns:
      title, and question, a_result_means, command, forms, expected, needs where it has them.
    """
    match = _HEADER.match(text)
    lines = "\n".join(line.lstrip("#").strip() for line in (match[0] if match else "").splitlines())
    parts = _ENTRY.split(lines)
    found = {"title": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))
    return {key.lower().replace(" ", "_"): " ".join(value.split()) for key, value in found.items()}


def data_of(entry: Listed) -> tuple[list[str], list[str]]:
    """What a scenario reads that does not come with us, and what of it is not here.

    Args:
      entry: the scenario.

    Returns:
      Both as phrases.
    """
    scenario = entry.scenario
    if scenario.task in ("mini", "mini_cls", "mini_pooled", "mini_prefixed"):
        return [], []
    needs: dict[str, bool] = {}
    official = scenario.task.removesuffix("_mini")
    if official in rows.RELEASED_PREFIXES:
        needs |= _splits(scenario, official)
    if scenario.task == "wlp_mini":
        cache = Path(os.environ.get("DOA_CACHE_DIR") or Path.home() / ".cache" / "distill_or_annotate")
        files = [cache / "pretrained" / "wlp" / f"{model}.safetensors" for model in ("mini_teacher", "mini_student")]
        needs["mini models of WLP text (make pretrain-wlp)"] = all(path.is_file() for path in files)
    elif scenario.task.endswith("_mini"):
        cache = Path(os.environ.get("DOA_CACHE_DIR") or Path.home() / ".cache" / "distill_or_annotate")
        here = (cache / "pretrained" / "released" / "mini_student.safetensors").is_file()
        needs["mini_student of the released text (make pretrain-released)"] = here
    for model in (*scenario.values("teacher"), *scenario.values("student")):
        if model.startswith("t5_1_1_"):
            needs[f"checkpoints/{model}"] = gin_files.find_folder(f"checkpoints/{model}") is not None
    if "general_distill" in scenario.strategies and (folder := gin_files.encoder_folder(scenario.compact)):
        needs[folder] = Path(folder).is_dir()
    return list(needs), [name for name, here in needs.items() if not here]


def _splits(scenario: Scenario, task: str) -> dict[str, bool]:
    """The parts of a task's data that a study reads, and whether they lie in DOA_DATA_DIR."""
    if scenario.task.endswith("_mini") and scenario.task != "wlp_mini":
        return {f"labelled rows of {task} (DOA_DATA_DIR)": _has_any_labels(task)}
    wanted = ["train"]
    if scenario.task == task:  # the mini study splits one part itself
        wanted.append("test" if paper.task(task)["test"]["value"] else "validation")
        wanted += ["unlabeled"] if {"distill", "self_distill"} & set(scenario.strategies) else []
    try:
        folder = rows.data_dir()
        here = {split for split in wanted if rows.find_files(folder, rows.RELEASED_PREFIXES[task], split)}
        here |= set(built.splits(task))
    except (OSError, ValueError):
        here = set()
    return {f"{task} {split} (DOA_DATA_DIR)": split in here for split in wanted}


def _has_any_labels(task: str) -> bool:
    """Whether any labelled part of a released task is here: the mini study splits what there is."""
    try:
        folder = rows.data_dir()
    except OSError:
        return False
    prefix = rows.RELEASED_PREFIXES[task]
    return any(rows.find_files(folder, prefix, split) for split in ("train", "validation", "test"))


def _seconds(stage: Stage) -> float:
    by_model = _ENCODER_SECONDS if is_encoder(stage.model) else _MINI_SECONDS
    return by_model.get(stage.kind, 0)


def _spelt(form: str, task: str, overrides: Sequence[str]) -> list[str]:
    names = {pair.split("=")[0] for pair in overrides}
    own = [pair for pair in (f"FORM={form}", f"TASK={task}") if form and pair.split("=")[0] not in names]
    return [*own, *overrides]


def _number(path: Path) -> tuple[str, int]:
    word, digits = re.fullmatch(r"(\D+)(\d*)", path.stem).groups()
    return ({"table": "0"}.get(word, word), int(digits or 0))
