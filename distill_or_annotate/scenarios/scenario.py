"""What a study is: a task, labels at hand, budgets, strategies, models, seeds and prices."""

import dataclasses
import difflib
import math
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from distill_or_annotate.prices import PriceBook, load_book

MODES = ("paper", "fair")
STRATEGIES = ("annotate", "distill")
STAGE_KINDS = ("label", "finetune", "capture", "distill", "annotate", "evaluate")
GIN_KINDS = ("finetune", "capture", "distill", "annotate")
_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")


class ScenarioError(ValueError):
    """Raised for a scenario that can't be run as written."""


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A study. Gin files bind its fields; no field has a hidden meaning in another.

    Attributes:
      name: lower case, digits and underscores; names the run's folder.
      task: base task, such as `mini` or `wlp`.
      n_labels: labels at hand, N, at least 1.
      additional_usd: budgets on top of them, in dollars of the price book; each at least 0, none twice.
      strategies: any of annotate, distill.
      mode: paper (the paper's algorithm, quirks included) or fair (what an expert would do today).
      teacher: model name of the teacher.
      student: model name of the student.
      data_seed: seed of the shuffle that picks the labels.
      train_seed: seed of training.
      max_unlabeled: size of the unlabeled pool; what the dollars would buy beyond it is cut and said so.
      max_labels: size of the labelled training data, or None where labels never run out.
      price_book: name of a price book.
      prices: TOML file that holds the book; '' for the shipped ones.
      task_gin: gin file of the task, read after each stage's own, so that one set of experiments serves every task.
      task_module: module that registers the task, such as `my_tasks.reviews`; '' for the tasks that come with us.
      teacher_gin: gin file that fine-tunes the teacher.
      capture_gin: gin file that labels the pool.
      distill_gin: gin file that trains the student from the teacher.
      annotate_gin: gin file that trains the student on labels.
      macros: stage kind -> gin macro -> value, on top of those the pipeline sets.
      notes: what a reader of the report must know, one sentence each.
      force: distill even from a teacher that is not above every floor and above the student on dev.
    """

    name: str
    task: str
    n_labels: int
    additional_usd: tuple[float, ...]
    strategies: tuple[str, ...] = STRATEGIES
    mode: str = "fair"
    teacher: str = "mini_teacher"
    student: str = "mini_student"
    data_seed: int = 0
    train_seed: int = 0
    max_unlabeled: int = 100_000
    max_labels: int | None = None
    price_book: str = "paper"
    prices: str = ""
    task_gin: str = ""
    task_module: str = ""
    teacher_gin: str = ""
    capture_gin: str = ""
    distill_gin: str = ""
    annotate_gin: str = ""
    macros: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    force: bool = False

    def __post_init__(self):
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            self._refuse("name", "lower-case letters, digits and underscores, such as 'quickstart'")
        if not isinstance(self.task, str) or not self.task:
            self._refuse("task", "the name of a base task, such as 'mini'")
        if self.task_module and not all(part.isidentifier() for part in self.task_module.split(".")):
            self._refuse("task_module", "a module's dotted name, such as 'my_tasks.reviews'")
        self._check_choice("mode", self.mode, MODES)
        for field in ("additional_usd", "strategies"):
            if isinstance(getattr(self, field), str) or not hasattr(getattr(self, field), "__iter__"):
                self._refuse(field, "a tuple; write (value,) for a single one")
            # Gin hands lists and tuples over alike; one type keeps equal scenarios equal.
            object.__setattr__(self, field, tuple(getattr(self, field)))
            if not getattr(self, field) or len(set(getattr(self, field))) < len(getattr(self, field)):
                self._refuse(field, "at least one value, none of them twice")
        if isinstance(self.notes, str) or not all(isinstance(note, str) for note in self.notes):
            self._refuse("notes", "a tuple of sentences; write (sentence,) for a single one")
        object.__setattr__(self, "notes", tuple(self.notes))
        for usd in self.additional_usd:
            if isinstance(usd, bool) or not isinstance(usd, int | float) or not math.isfinite(usd) or usd < 0:
                self._refuse("additional_usd", "finite dollars, each at least 0")
        for strategy in self.strategies:
            self._check_choice("strategies", strategy, STRATEGIES)
        if not isinstance(self.force, bool):
            self._refuse("force", "True or False")
        self._check_count("n_labels", self.n_labels, 1)
        self._check_count("max_unlabeled", self.max_unlabeled, 1)
        self._check_count("data_seed", self.data_seed, 0)
        self._check_count("train_seed", self.train_seed, 0)
        if self.max_labels is not None:
            self._check_count("max_labels", self.max_labels, self.n_labels)
        self._check_macros()

    def gin_file(self, kind: str) -> str:
        """Returns the gin file of a stage kind, or '' for kinds that run no program.

        Args:
          kind: a stage kind.
        """
        return getattr(self, {"finetune": "teacher_gin"}.get(kind, f"{kind}_gin")) if kind in GIN_KINDS else ""

    def book(self) -> PriceBook:
        """Returns the prices of the study.

        Raises:
          PriceBookError: there is no such book, or its file is malformed.
          FileNotFoundError: there is no such file.
        """
        return load_book(self.price_book, pathlib.Path(self.prices).absolute() if self.prices else None)

    def as_dict(self) -> dict[str, Any]:
        """Returns the scenario as JSON-ready values."""
        data = dataclasses.asdict(self)
        return data | {field: list(getattr(self, field)) for field in ("additional_usd", "strategies", "notes")}

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
            self._refuse(field, f"a whole number, at least {low}")

    def _check_macros(self) -> None:
        for kind, values in self.macros.items():
            self._check_choice("macros", kind, GIN_KINDS)
            for macro, value in values.items():
                if not isinstance(value, str | int | float | bool | type(None)):
                    raise ScenarioError(
                        f"Scenario.macros[{kind!r}][{macro!r}]: received {value!r}; "
                        "it must be a text, a number, a bool or None, since it names the stage's folder."
                    )
