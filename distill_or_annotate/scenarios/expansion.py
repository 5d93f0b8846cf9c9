"""From a study with one value per axis to its stages: equal work once, in an order in which it can be done."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from distill_or_annotate.costs import Cost
from distill_or_annotate.ledger import Charge
from distill_or_annotate.prices import PriceBook
from distill_or_annotate.scenarios import model_sizes
from distill_or_annotate.scenarios.cells import LLM, Cell, cells, distilling_costs
from distill_or_annotate.scenarios.llm_labels import llm_label
from distill_or_annotate.scenarios.scenario import GIN_KINDS, LLM_LABELS_GIN, Scenario, ScenarioError
from distill_or_annotate.scenarios.search_costs import charges_each_candidate, trained_again
from distill_or_annotate.scenarios.stages import Stage, merged, with_new_labels


def expand(
    scenario: Scenario, book: PriceBook | None = None, gin_digests: Mapping[str, str] | None = None
) -> list[Stage]:
    """Returns the stages of a study with one value per axis, sorted so that each stands after those it depends on.

    Equal work is one stage: the teacher and the capture of the largest pool serve every distilled cell, smaller pools
    being prefixes of it; budgets that buy the same labels share a model. A searched model is one stage for each
    candidate, and one that selects among them.

    Args:
      scenario: the study; grid.expand_all takes one with several values on an axis.
      book: its prices; None loads the one that it names.
      gin_digests: gin file -> digest of its contents, so that an edited file makes new stages; None hashes names alone.

    Raises:
      ScenarioError: a strategy lacks its gin file.
      PriceBookError: the book does not price the task.
    """
    return _Expansion(scenario, book or scenario.book(), gin_digests or {}).run()


class _Expansion:
    def __init__(self, scenario: Scenario, book: PriceBook, gin_digests: Mapping[str, str]):
        self.scenario, self.book, self.gin_digests = scenario, book, gin_digests
        self.by_name: dict[str, Stage] = {}

    def run(self) -> list[Stage]:
        """Returns the stages in order."""
        scenario = self.scenario
        affordable = [cell for cell in cells(scenario, self.book) if cell.affordable]
        if scenario.total_usd and not affordable:
            return []
        label = self._label(0, scenario.n_labels, tuple(_key(cell) for cell in affordable))
        taught = [cell for cell in affordable if cell.strategy in ("distill", "teacher")]
        if taught:
            serves = tuple(_key(cell) for cell in taught)
            teacher = self._train("finetune", scenario.teacher, scenario.n_labels, (label,), serves)
            self._evaluate(teacher)
            distilled = [cell for cell in taught if cell.strategy == "distill"]
            if distilled:
                self._evaluate_student_on_same_labels(affordable, label)
                self._distilled(distilled, label, teacher)
        for cell in affordable:
            if cell.strategy in ("annotate", "general_distill"):
                self._evaluate(self._annotated(cell, label))
            elif cell.strategy in LLM:
                self._evaluate(self._labelled_by_llm(cell, label))
        own = [cell for cell in affordable if cell.strategy == "self_distill"]
        if own:
            self._check_own_capture()
            student = self._student(label, tuple(_key(cell) for cell in own))
            self._evaluate(student)
            self._distilled(own, label, student)
        return with_new_labels(list(self.by_name.values()))

    def _evaluate_student_on_same_labels(self, affordable: list[Cell], label: Stage) -> None:
        """The student that had the teacher's labels stands before the capture: a gate there compares the two."""
        for cell in affordable:
            if cell.strategy == "annotate" and cell.n_labels == self.scenario.n_labels:
                self._evaluate(self._student(label, (_key(cell),)))

    def _student(self, label: Stage, serves) -> Stage:
        """The student on the labels at hand: a baseline, and what teaches in self-distillation."""
        return self._on_labels("annotate", self.scenario.student, self.scenario.n_labels, (label,), serves)

    def _label(self, first: int, last: int, serves) -> Stage:
        determines = {"first": first, "last": last}
        return self._add("label", "", (), determines, serves, n_labels=last - first, first_label=first)

    def _annotated(self, cell: Cell, label: Stage) -> Stage:
        scenario, bought, serves = self.scenario, (label,), (_key(cell),)
        if cell.n_labels > scenario.n_labels:
            bought += (self._label(scenario.n_labels, cell.n_labels, serves),)
        model = scenario.compact if cell.strategy == "general_distill" else scenario.student
        return self._on_labels(cell.strategy, model, cell.n_labels, bought, serves)

    def _on_labels(self, kind: str, model: str, n_labels: int, labels: tuple[Stage, ...], serves) -> Stage:
        """A compact model on labels, the best of its candidates where they are searched."""
        again = self._again(kind, n_labels)
        return self._best(
            kind,
            lambda macros, _, number: self._train(
                kind, model, n_labels, labels, serves, macros, again if number else ()
            ),
        )

    def _train(self, kind: str, model: str, n_labels: int, labels, serves, macros=None, charges: tuple = ()) -> Stage:
        if kind == "finetune":
            cost = model_sizes.finetune_cost(self.book, self.scenario.task, n_labels, model)
            charges = (("run", 1, cost),)
        determines = {"n_labels": n_labels, "train_seed": self.scenario.train_seed}
        return self._add(kind, model, labels, determines, serves, n_labels=n_labels, charges=charges, macros=macros)

    def _distilled(self, distilled: list[Cell], label: Stage, teacher: Stage) -> None:
        """One pass of a teacher over the largest pool, and a student for each cell."""
        serves = tuple(_key(cell) for cell in distilled)
        capture = self._capture(teacher, max(cell.n_unlabeled for cell in distilled), serves)
        for cell in distilled:
            # The default binds this turn's cell.
            def train(macros: Mapping[str, Any], part: float, _: int, cell: Cell = cell) -> Stage:
                return self._distill(cell, label, teacher, capture, macros, part)

            self._evaluate(self._best("distill", train))

    def _capture(self, teacher: Stage, n_unlabeled: int, serves) -> Stage:
        determines = {"n_unlabeled": n_unlabeled, "teacher": teacher.name}
        # The labels are the teacher's, so its name determines them too; the capture scores them after the pool.
        counts = {"n_labels": teacher.n_labels, "n_unlabeled": n_unlabeled}
        return self._add("capture", teacher.model, (teacher,), determines, serves, teacher=teacher.model, **counts)

    def _distill(self, cell: Cell, label: Stage, teacher: Stage, capture: Stage, macros, part: float) -> Stage:
        scenario = self.scenario
        # The capture stands here by what made it, not by its size: a larger pool later leaves this model as it is.
        determines = {
            "n_labels": cell.n_labels,
            "n_unlabeled": cell.n_unlabeled,
            "teacher": teacher.name,
            "capture": [*self._gin(capture.gin_file), dict(capture.macros)],
            "train_seed": scenario.train_seed,
        }
        _, rate = distilling_costs(scenario, self.book, cell.strategy)
        return self._add(
            "distill",
            scenario.student,
            (label, teacher, capture),
            determines,
            (_key(cell),),
            n_labels=cell.n_labels,
            n_unlabeled=cell.n_unlabeled,
            charges=(("1000 unlabeled examples", cell.n_unlabeled / 1000 * part, rate),),
            macros=macros,
            teacher=teacher.model,
            part=part,
        )

    def _check_own_capture(self) -> None:
        """The teacher's gin file makes the teacher's network; the student's macros as a teacher make it the student."""
        student = self.scenario.student
        if student != self.scenario.teacher and not self.scenario.teacher_macros.get(student, {}).get("capture"):
            raise ScenarioError(
                f"Scenario.teacher_macros: received none for {student!r}; self_distill runs the student as a teacher, "
                f"with Scenario.capture_gin. Bind teacher_macros = {{{student!r}: {{'capture': {{...}}}}}}, the macros "
                "that make the student's network there (gin/forms/mini.gin has an example)."
            )

    def _labelled_by_llm(self, cell: Cell, label: Stage) -> Stage:
        """The student on labels that a language model gave to the first sources of the pool."""
        scenario, serves = self.scenario, (_key(cell),)
        price = llm_label(self.book, scenario.task, scenario.llm, scenario.llm_options.get("tokens_per_label"))
        charge = Charge(
            key="",  # _add gives it the stage's name
            kind="api",
            quantity=cell.n_llm_labels,
            unit="label",
            unit_price_usd=price.usd,
            book=self.book.name,
            price_entry=" ".join(price.price_entries),
            price_date=price.date.isoformat(),
            source=_source(price),
        )
        bought = {
            "n_llm_labels": cell.n_llm_labels,
            "llm": scenario.llm,
            "llm_options": dict(scenario.llm_options),
            "n_labels": scenario.n_labels,  # the examples in its prompt are drawn from these
        }
        counts = {"n_labels": cell.n_labels, "n_unlabeled": cell.n_llm_labels}
        labels = self._add("llm_label", "", (label,), bought, serves, charges=(charge,), **counts)
        determines = {"n_labels": cell.n_labels, "llm_label": labels.name, "train_seed": scenario.train_seed}
        human_labels = 0 if cell.strategy == "llm_annotate" else cell.n_labels
        again = self._again(cell.strategy, cell.n_llm_labels + human_labels)

        def train(macros: Mapping[str, Any], _: float, number: int) -> Stage:
            charges = again if number else ()
            after = (label, labels)
            return self._add(
                cell.strategy, scenario.student, after, determines, serves, macros=macros, charges=charges, **counts
            )

        return self._best(cell.strategy, train)

    def _best(self, kind: str, train: Callable[[Mapping[str, Any], float, int], Stage]) -> Stage:
        """The one stage, or where the kind is searched the selection among one for each candidate.

        `train` takes a candidate's macros, its part of what one model owes, and its number.
        """
        candidates = self.scenario.candidates(kind)
        if not candidates:
            return train({}, 1.0, 0)
        part = 1.0 if charges_each_candidate(self.scenario) else 1 / len(candidates)
        trained = [train(macros, part, number) for number, macros in enumerate(candidates)]
        first = trained[0]
        counts = {"n_labels": first.n_labels, "n_unlabeled": first.n_unlabeled}
        determines = {"candidates": [stage.name for stage in trained]}
        return self._add("select", first.model, tuple(trained), determines, first.serves, **counts)

    def _again(self, kind: str, n_labels: int) -> tuple:
        """What each candidate after the first owes for training on labels; the first is paid for as any student is."""
        cost = trained_again(self.scenario, self.book, n_labels) if self.scenario.candidates(kind) else None
        return () if cost is None else (("run of a search", 1, cost),)

    def _evaluate(self, subject: Stage) -> Stage:
        counts = {"n_labels": subject.n_labels, "n_unlabeled": subject.n_unlabeled}
        # Stages of an earlier version, whose floors knew other labels, are not taken for these.
        floors = {"floors": "answered"} if subject.trains_as in LLM else {}
        determines = {"subject": subject.name, **floors}
        return self._add("evaluate", subject.model, (subject,), determines, subject.serves, **counts)

    def _gin(self, gin_file: str, overlay_gin: str = "") -> list[str]:
        """What a stage is configured by: its gin file, the task's and the overlay, each with its digest."""
        names = [gin_file, self.scenario.task_gin] if gin_file and self.scenario.task_gin else [gin_file]
        names += [overlay_gin] if overlay_gin else []
        return [text for name in names for text in (name, self.gin_digests.get(name, ""))]

    def _add(
        self,
        kind: str,
        model: str,
        after: tuple[Stage, ...],
        determines: Mapping[str, Any],
        serves: tuple[tuple[str, float], ...],
        *,
        charges: tuple = (),
        n_labels: int = 0,
        n_unlabeled: int = 0,
        first_label: int = 0,
        macros: Mapping[str, Any] | None = None,
        teacher: str | None = None,
        part: float = 1.0,
    ) -> Stage:
        scenario = self.scenario
        gin_file, macros = scenario.gin_file(kind), scenario.stage_macros(kind, teacher) | dict(macros or {})
        self._check_gin_file(kind, gin_file)
        overlay_gin = LLM_LABELS_GIN if kind in LLM else ""
        everything = {
            "kind": kind,
            "task": scenario.task,
            "data_seed": scenario.data_seed,
            "mode": "" if kind == "label" else scenario.mode,
            "model": model,
            "gin": self._gin(gin_file, overlay_gin),
            "macros": macros,
            **determines,
        }
        paper_task = scenario.reads if scenario.reads != scenario.task else ""
        if paper_task:
            everything["reads"] = paper_task
        elif kind in ("evaluate", "select") and scenario.mode == "paper":
            everything["metric"] = "paper"  # as rows and report say, whatever the task was registered with
        if scenario.mesh and scenario.mode == "fair" and charges and kind != "llm_label":
            # Measured time ends the training there, so dollars and devices determine the model.
            everything["budget"] = [scenario.mesh, math.fsum(count * cost.usd for _, count, cost in charges)]
        name = f"{kind}-{_digest(everything)}"
        if name in self.by_name:
            self.by_name[name] = merged(self.by_name[name], serves)
            return self.by_name[name]
        stage = Stage(
            kind=kind,
            name=name,
            task=scenario.task,
            depends_on=tuple(stage.name for stage in after),
            n_labels=n_labels,
            n_unlabeled=n_unlabeled,
            first_label=first_label,
            model=model,
            gin_file=gin_file,
            task_gin=scenario.task_gin if gin_file else "",
            overlay_gin=overlay_gin,
            mode=scenario.mode,
            paper_task=paper_task,
            macros=macros,
            data_seed=scenario.data_seed,
            train_seed=scenario.train_seed,
            charges=tuple(
                dataclasses.replace(charge, key=name)
                if isinstance(charge, Charge)
                else _charge(name, self.book, *charge)
                for charge in charges
            ),
            serves=tuple(serves),
            part=part,
        )
        self.by_name[name] = stage
        return stage

    def _check_gin_file(self, kind: str, gin_file: str) -> None:
        # Of a study without a compact encoder `check_runnable` says what is missing: it can be priced all the same.
        if not gin_file and kind in (*GIN_KINDS, *LLM) and kind != "general_distill":
            field = self.scenario.gin_field(kind)
            raise ScenarioError(
                f"Scenario.{field}: received ''; the strategies {', '.join(self.scenario.strategies)} need the gin "
                f"file of their {kind} stage. Bind Scenario.{field}."
            )


def _key(cell: Cell) -> tuple[str, float]:
    return (cell.strategy, cell.additional_usd)


def _digest(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, allow_nan=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _charge(stage_name: str, book: PriceBook, unit: str, quantity: float, cost: Cost) -> Charge:
    return Charge(
        key=stage_name,
        kind="device",
        quantity=quantity,
        unit=unit,
        unit_price_usd=cost.usd,
        book=book.name,
        price_entry=" ".join(cost.price_entries),
        price_date=cost.date.isoformat(),
        source=_source(cost),
    )


def _source(cost: Cost) -> str:
    return "estimated" if cost.provenance in ("estimated", "assumption") else "paper"
