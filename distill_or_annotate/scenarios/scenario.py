"""What a study is: a task, labels at hand, budgets, strategies, models, seeds and prices."""

import dataclasses
import difflib
import itertools
import math
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from distill_or_annotate.costs import Assumptions, CostError
from distill_or_annotate.prices import PriceBook, load_book

MODES = ("paper", "fair")
# What a study compares unless it says otherwise; `teacher` is the teacher itself, as a model to serve.
STRATEGIES = ("annotate", "distill")
ALL_STRATEGIES = (*STRATEGIES, "teacher", "self_distill", "llm_annotate", "human_llm_annotate", "general_distill")
# Kinds of stages with a gin file of their own; students of language-model labels are configured as those of human ones.
GIN_KINDS = ("finetune", "capture", "distill", "annotate", "general_distill")
TRAINING_KINDS = ("finetune", "distill", "annotate", "general_distill", "llm_annotate", "human_llm_annotate")
STAGE_KINDS = ("label", "llm_label", "capture", *TRAINING_KINDS, "select", "evaluate")
SEARCHED_KINDS = ("annotate", "distill", "general_distill")
# Read after annotate_gin: the student's labels are those of a language model.
LLM_LABELS_GIN = "gin/runs/llm_labels.gin"
# Candidates of a search are scored here; test is decoded for the chosen one alone.
SELECTION_SPLIT = "validation"
_LIKE_ANNOTATE = ("llm_annotate", "human_llm_annotate")
# Fields that take one value or a tuple of them: a study is the grid over all.
AXES = ("n_labels", "teacher", "student", "data_seed", "train_seed")
BUDGETS = ("additional_usd", "total_usd", "n_unlabeled")
_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")
_MESH = re.compile(r"\w+-[1-9]\d*")


class ScenarioError(ValueError):
    """Raised for a scenario that can't be run as written."""


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A study. Gin files bind its fields; no field has a hidden meaning in another.

    Attributes:
      name: lower case, digits and underscores; names the run's folder.
      task: base task, such as `mini` or `wlp`.
      n_labels: labels at hand, N, at least 1; one or a tuple.
      additional_usd: budgets on top of them, in dollars of the price book; each at least 0, none twice. Exactly one of
        additional_usd, total_usd and n_unlabeled is given.
      total_usd: budgets that the labels at hand are paid from too; what is left is additional.
      n_unlabeled: pool sizes to distill instead of budgets, which then follow from the price book; 0 stands for the
        models without a pool (annotate, teacher).
      strategies: any of annotate, distill, teacher, self_distill, llm_annotate, human_llm_annotate, general_distill.
      mode: paper (the paper's algorithm, quirks included) or fair (what an expert would do today).
      teacher: model name of the teacher; one or a tuple.
      student: model name of the student; one or a tuple.
      compact: model name of what general_distill trains: an encoder that somebody distilled before any task.
      llm: the language model that llm_annotate and human_llm_annotate buy labels from, by its name in the price book.
      llm_options: what its annotator takes beside: `model` (the endpoint's name of it, where that differs) and
        fields of annotators.Request such as shots, shot_pool and fixed_shots; and `tokens_per_label`, of a request and
        of its answer, by which a budget buys labels, where the paper's count is not the one.
      data_seed: seed of the shuffle that picks the labels; one or a tuple.
      train_seed: seed of training; one or a tuple.
      max_unlabeled: size of the unlabeled pool; what the dollars would buy beyond it is cut and said so.
      max_labels: size of the labelled training data, or None where labels never run out.
      price_book: name of a price book.
      prices: TOML file that holds the book; '' for the shipped ones.
      mesh: devices of the price book that a fair study is billed for by measured time, such as 'v5e-8'; '' bills its
        rates, and so does the paper's mode.
      task_gin: gin file of the task, read after each stage's own, so that one set of experiments serves every task.
      paper_task: registered name of the task with rows, pool and metric as the paper's reference has them, such as
        'wlp_paper': what paper mode reads in place of `task`, which still names prices; '' for none.
      task_module: module that registers the task, such as `my_tasks.reviews`; '' for the tasks that come with us.
      teacher_gin: gin file that fine-tunes the teacher.
      capture_gin: gin file that labels the pool.
      distill_gin: gin file that trains the student from the teacher.
      annotate_gin: gin file that trains the student on labels.
      general_gin: gin file that trains the compact encoder on labels.
      search: stage kind (annotate, distill, general_distill) -> gin macro -> values; each combination is trained, and
        the one with the highest score on dev is the model. Empty: no search.
      student_search: student -> what `search` holds, in its place for that student: rates of one kind of network say
        nothing about another's.
      student_gin: student -> stage kind (annotate, distill) -> gin file, in place of those above for that student.
      macros: stage kind -> gin macro -> value, on top of those the pipeline sets.
      teacher_macros: teacher -> stage kind -> gin macro -> value, for the stages of that teacher alone.
      student_macros: student -> stage kind -> gin macro -> value, for the stages of that student alone.
      assumptions: fields of costs.Assumptions to set, such as {'engineer_is_free': False, 'engineer_hours': 8.0,
        'engineer_usd_per_hour': 60.0}; those of the mode stand for the others. What counts is added on top of each
        budget (Cell.on_top_usd).
      notes: what a reader of the report must know, one sentence each.
      force: distill even from a teacher that is not above every floor and above the student on dev.
    """

    name: str
    task: str
    n_labels: int | tuple[int, ...]
    additional_usd: tuple[float, ...] = ()
    total_usd: tuple[float, ...] = ()
    n_unlabeled: tuple[int, ...] = ()
    strategies: tuple[str, ...] = STRATEGIES
    mode: str = "fair"
    teacher: str | tuple[str, ...] = "mini_teacher"
    student: str | tuple[str, ...] = "mini_student"
    compact: str = "minilm"
    llm: str = "text-davinci-003"
    llm_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    data_seed: int | tuple[int, ...] = 0
    train_seed: int | tuple[int, ...] = 0
    max_unlabeled: int = 100_000
    max_labels: int | None = None
    price_book: str = "paper"
    prices: str = ""
    mesh: str = ""
    task_gin: str = ""
    paper_task: str = ""
    task_module: str = ""
    teacher_gin: str = ""
    capture_gin: str = ""
    distill_gin: str = ""
    annotate_gin: str = ""
    general_gin: str = ""
    student_search: Mapping[str, Mapping[str, Mapping[str, tuple[Any, ...]]]] = dataclasses.field(default_factory=dict)
    student_gin: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    search: Mapping[str, Mapping[str, tuple[Any, ...]]] = dataclasses.field(default_factory=dict)
    macros: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    teacher_macros: Mapping[str, Mapping[str, Mapping[str, Any]]] = dataclasses.field(default_factory=dict)
    student_macros: Mapping[str, Mapping[str, Mapping[str, Any]]] = dataclasses.field(default_factory=dict)
    assumptions: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    force: bool = False

    def __post_init__(self):
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            self._refuse("name", "lower-case letters, digits and underscores, such as 'quickstart'")
        if not isinstance(self.task, str) or not self.task:
            self._refuse("task", "the name of a base task, such as 'mini'")
        if not isinstance(self.paper_task, str):
            self._refuse("paper_task", "the name of a task, such as 'wlp_paper', or ''")
        if self.task_module and not all(part.isidentifier() for part in self.task_module.split(".")):
            self._refuse("task_module", "a module's dotted name, such as 'my_tasks.reviews'")
        self._check_choice("mode", self.mode, MODES)
        if not isinstance(self.mesh, str) or (self.mesh and not _MESH.fullmatch(self.mesh)):
            self._refuse("mesh", "a device of the price book and a count, such as 'v5e-8', or ''")
        for field in (*BUDGETS, "strategies"):
            if isinstance(getattr(self, field), str) or not hasattr(getattr(self, field), "__iter__"):
                self._refuse(field, "a tuple; write (value,) for a single one")
            # Gin hands lists and tuples over alike; one type keeps equal scenarios equal.
            object.__setattr__(self, field, tuple(getattr(self, field)))
            self._check_distinct(field)
        if not self.strategies:
            self._refuse("strategies", "at least one value, none of them twice")
        self._check_budgets()
        if isinstance(self.notes, str) or not all(isinstance(note, str) for note in self.notes):
            self._refuse("notes", "a tuple of sentences; write (sentence,) for a single one")
        object.__setattr__(self, "notes", tuple(self.notes))
        for field in ("llm", "compact"):
            if not isinstance(getattr(self, field), str) or not getattr(self, field):
                self._refuse(field, "the name of a model")
        tokens = self.llm_options.get("tokens_per_label")
        counts = tokens if isinstance(tokens, tuple | list) else (tokens,) if tokens is not None else (1, 0)
        if len(counts) != 2 or any(type(count) is not int or count < 0 for count in counts) or not sum(counts):
            self._refuse("llm_options", "with tokens_per_label = (tokens of a request, tokens of its answer)")
        self.assumed()
        for strategy in self.strategies:
            self._check_choice("strategies", strategy, ALL_STRATEGIES)
        if not isinstance(self.force, bool):
            self._refuse("force", "True or False")
        self._check_axes()
        self._check_count("max_unlabeled", self.max_unlabeled, 1)
        if self.max_labels is not None:
            self._check_count("max_labels", self.max_labels, max(self.values("n_labels")))
        self._check_macros("macros", self.macros)
        self._check_search()
        for by_kind in self.student_gin.values():
            for kind in by_kind:
                self._check_choice("student_gin", kind, ("annotate", "distill"))
        for field in ("teacher_macros", "student_macros"):
            for model, by_kind in getattr(self, field).items():
                self._check_macros(f"{field}[{model!r}]", by_kind)

    @property
    def reads(self) -> str:
        """The registered task whose rows, pool and metric it uses."""
        return self.paper_task if self.mode == "paper" and self.paper_task else self.task

    def values(self, axis: str) -> tuple[Any, ...]:
        """Returns the values of an axis, one or more.

        Args:
          axis: one of AXES.
        """
        value = getattr(self, axis)
        return value if isinstance(value, tuple) else (value,)

    def stage_macros(self, kind: str, teacher: str | None = None) -> dict[str, Any]:
        """Returns the gin macros of a stage kind, those of its models first, in a scenario with one value per axis.

        Args:
          kind: a stage kind.
          teacher: the model that teaches there; None for the scenario's.
        """
        macros: dict[str, Any] = {}
        kind = "annotate" if kind in _LIKE_ANNOTATE else kind
        if kind in ("finetune", "capture", "distill"):
            macros |= self.teacher_macros.get(teacher or self.teacher, {}).get(kind, {})
        if kind in ("annotate", "distill"):
            macros |= self.student_macros.get(self.student, {}).get(kind, {})
        return macros | dict(self.macros.get(kind, {}))

    def gin_file(self, kind: str) -> str:
        """Returns the gin file of a stage kind, or '' for kinds that run no program.

        Args:
          kind: a stage kind.
        """
        if kind not in (*GIN_KINDS, *_LIKE_ANNOTATE):
            return ""
        own = self.student_gin.get(self.student, {}) if isinstance(self.student, str) else {}
        return own.get("annotate" if kind in _LIKE_ANNOTATE else kind) or getattr(self, self.gin_field(kind))

    def gin_field(self, kind: str) -> str:
        """Returns the field that names the gin file of a stage kind.

        Args:
          kind: one of GIN_KINDS, or llm_annotate or human_llm_annotate.
        """
        known = {"finetune": "teacher_gin", "general_distill": "general_gin"}
        return known.get(kind, f"{'annotate' if kind in _LIKE_ANNOTATE else kind}_gin")

    def candidates(self, kind: str) -> list[dict[str, Any]]:
        """Returns the gin macros of each candidate of a searched kind, the last macro varying fastest; [] without.

        Args:
          kind: a stage kind.
        """
        kind = "annotate" if kind in _LIKE_ANNOTATE else kind
        by_kind = self.search
        if kind != "general_distill" and isinstance(self.student, str):
            by_kind = self.student_search.get(self.student, self.search)
        searched = by_kind.get(kind, {})
        if not searched:
            return []
        grid = itertools.product(*searched.values())
        return [dict(zip(searched, values, strict=True)) | {"EVAL_SPLIT": SELECTION_SPLIT} for values in grid]

    def book(self) -> PriceBook:
        """Returns the prices of the study.

        Raises:
          PriceBookError: there is no such book, or its file is malformed.
          FileNotFoundError: there is no such file.
        """
        return load_book(self.price_book, pathlib.Path(self.prices).absolute() if self.prices else None)

    def assumed(self) -> Assumptions:
        """Returns what is free and what counts: the mode's assumptions with those of the scenario.

        Raises:
          ScenarioError: an unknown assumption, or a value out of range.
        """
        try:
            return Assumptions.for_mode(self.mode, **self.assumptions)
        except CostError as error:
            raise ScenarioError(f"Scenario.assumptions: {error}") from error

    def remarks(self) -> list[str]:
        """Returns what a reader of the report must know: the notes, and one sentence for each assumption."""
        return [*self.notes, *self.assumed().sentences()]

    def as_dict(self) -> dict[str, Any]:
        """Returns the scenario as JSON-ready values."""
        data = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in data.items()}

    def _refuse(self, field: str, allowed: str) -> None:
        raise ScenarioError(f"Scenario.{field}: received {getattr(self, field)!r}; it must be {allowed}.")

    def _check_choice(self, field: str, value: Any, allowed: tuple[str, ...]) -> None:
        if value in allowed:
            return
        near = difflib.get_close_matches(str(value), allowed, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ScenarioError(f"Scenario.{field}: received {value!r}; {hint}allowed: {', '.join(allowed)}.")

    def _check_count(self, field: str, value: Any, low: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            each = ", or a tuple of such" if field in AXES else ""
            self._refuse(field, f"a whole number, at least {low}{each}")

    def _check_distinct(self, field: str) -> None:
        if len(set(getattr(self, field))) < len(getattr(self, field)):
            self._refuse(field, "at least one value, none of them twice")

    def _check_axes(self) -> None:
        for axis in AXES:
            value = getattr(self, axis)
            if isinstance(value, list | tuple):
                object.__setattr__(self, axis, tuple(value))
                self._check_distinct(axis)
                if not value:
                    self._refuse(axis, "at least one value, none of them twice")
                if len(value) == 1:
                    object.__setattr__(self, axis, value[0])
            for single in self.values(axis):
                if axis in ("teacher", "student"):
                    if not isinstance(single, str) or not single:
                        self._refuse(axis, "the name of a model, or a tuple of such names")
                else:
                    self._check_count(axis, single, 1 if axis == "n_labels" else 0)

    def _check_budgets(self) -> None:
        given = [field for field in BUDGETS if getattr(self, field)]
        if len(given) != 1:
            raise ScenarioError(
                f"Scenario.additional_usd: {' and '.join(given) or 'no budget'} given; a study has at least one value, "
                f"none of them twice, of exactly one of {', '.join(BUDGETS)}. Bind one, and leave the others ()."
            )
        for field in ("additional_usd", "total_usd"):
            for usd in getattr(self, field):
                if isinstance(usd, bool) or not isinstance(usd, int | float) or not math.isfinite(usd) or usd < 0:
                    self._refuse(field, "finite dollars, each at least 0")
        for count in self.n_unlabeled:
            self._check_count("n_unlabeled", count, 0)

    def _check_search(self) -> None:
        object.__setattr__(self, "search", self._searched("search", self.search))
        by_student = {
            student: self._searched(f"student_search[{student!r}]", by_kind)
            for student, by_kind in self.student_search.items()
        }
        object.__setattr__(self, "student_search", by_student)

    def _searched(self, where: str, by_kind: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, tuple[Any, ...]]]:
        for kind, values in by_kind.items():
            self._check_choice(where, kind, SEARCHED_KINDS)
            for macro, tried in values.items():
                if isinstance(tried, str) or not hasattr(tried, "__iter__") or not tuple(tried):
                    raise ScenarioError(
                        f"Scenario.{where}[{kind!r}][{macro!r}]: received {tried!r}; it must be a tuple of values."
                    )
                for value in tried:
                    self._check_macros(where, {kind: {macro: value}})
        return {kind: {macro: tuple(tried) for macro, tried in values.items()} for kind, values in by_kind.items()}

    def _check_macros(self, where: str, by_kind: Mapping[str, Mapping[str, Any]]) -> None:
        for kind, values in by_kind.items():
            self._check_choice(where, kind, GIN_KINDS)
            for macro, value in values.items():
                if not isinstance(value, str | int | float | bool | type(None)):
                    raise ScenarioError(
                        f"Scenario.{where}[{kind!r}][{macro!r}]: received {value!r}; "
                        "it must be a text, a number, a bool or None, since it names the stage's folder."
                    )
