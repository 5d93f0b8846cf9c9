"""The stages of a study: what has to be bought, trained, captured and scored, each thing once."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from distill_or_annotate.costs import Cost
from distill_or_annotate.ledger import Charge
from distill_or_annotate.prices import PriceBook
from distill_or_annotate.scenarios import model_sizes
from distill_or_annotate.scenarios.cells import DISTILLING, LLM, Cell, cells, distilling_costs
from distill_or_annotate.scenarios.llm_labels import llm_label
from distill_or_annotate.scenarios.scenario import PLANNED_STRATEGIES, Scenario, ScenarioError


@dataclasses.dataclass(frozen=True)
class Stage:
    """One step of a study; its name is its folder and changes when what determines its output does.

    Attributes:
      kind: label | finetune | capture | distill | annotate | evaluate; also llm_label and the
        names of the strategies that are planned and do not run yet.
      name: KIND-HASH.
      task: base task.
      depends_on: names of the stages whose files it reads.
      n_labels: labels it trains on, or buys, or (a capture) gold labels whose distributions it also keeps.
      n_unlabeled: unlabeled examples it reads; 0 where it reads none.
      first_label: for `label`, the first position it buys; 0 otherwise.
      model: model it trains or runs; '' for `label`.
      gin_file: gin file of its program; '' where it runs none.
      task_gin: gin file of the task, read after it; '' where the stage needs none.
      macros: gin macros on top of those the pipeline sets.
      data_seed: seed of the label shuffle.
      train_seed: seed of training.
      charges: what the scenario owes once the stage is done, in dollars of its price book.
      serves: (strategy, additional_usd) of every cell that needs the stage.
      n_new_labels: for `label`, how many of its labels no stage before it buys; a label is paid for once.
    """

    kind: str
    name: str
    task: str
    depends_on: tuple[str, ...]
    n_labels: int
    n_unlabeled: int
    first_label: int
    model: str
    gin_file: str
    task_gin: str
    macros: Mapping[str, Any]
    data_seed: int
    train_seed: int
    charges: tuple[Charge, ...]
    serves: tuple[tuple[str, float], ...]
    n_new_labels: int = 0


def expand(
    scenario: Scenario, book: PriceBook | None = None, gin_digests: Mapping[str, str] | None = None
) -> list[Stage]:
    """Returns the stages of a study with one value per axis, sorted so that each stands after those it depends on.

    Equal work is one stage: the teacher and the capture of the largest pool serve every distilled cell, smaller pools
    being prefixes of it; budgets that buy the same labels share a model.

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
        distilled = [cell for cell in affordable if cell.strategy == "distill"]
        if scenario.total_usd and not affordable:
            return []
        everyone = tuple(_key(cell) for cell in affordable)
        label = self._label(0, scenario.n_labels, everyone)
        taught = [cell for cell in affordable if cell.strategy in ("distill", "teacher")]
        if taught:
            serves = tuple(_key(cell) for cell in taught)
            teacher = self._train("finetune", scenario.teacher, scenario.n_labels, (label,), serves)
            self._evaluate(teacher)
        if distilled:
            serves = tuple(_key(cell) for cell in distilled)
            self._evaluate_student_on_same_labels(affordable, label)
            capture = self._capture(teacher, max(cell.n_unlabeled for cell in distilled), serves)
            for cell in distilled:
                self._evaluate(self._distill(cell, label, teacher, capture))
        for cell in affordable:
            if cell.strategy == "annotate":
                bought = (label,)
                if cell.n_labels > scenario.n_labels:
                    bought += (self._label(scenario.n_labels, cell.n_labels, (_key(cell),)),)
                self._evaluate(self._train("annotate", scenario.student, cell.n_labels, bought, (_key(cell),)))
            elif cell.strategy in PLANNED_STRATEGIES:
                self._evaluate(self._planned(cell, label))
        return with_new_labels(list(self.by_name.values()))

    def _evaluate_student_on_same_labels(self, affordable: list[Cell], label: Stage) -> None:
        """The student that had the teacher's labels stands before the capture: a gate there compares the two."""
        for cell in affordable:
            if cell.strategy == "annotate" and cell.n_labels == self.scenario.n_labels:
                self._evaluate(self._train("annotate", self.scenario.student, cell.n_labels, (label,), (_key(cell),)))

    def _label(self, first: int, last: int, serves) -> Stage:
        determines = {"first": first, "last": last}
        return self._add("label", "", (), determines, serves, n_labels=last - first, first_label=first)

    def _train(self, kind: str, model: str, n_labels: int, labels: tuple[Stage, ...], serves) -> Stage:
        charges = ()
        if kind == "finetune":
            cost = model_sizes.finetune_cost(self.book, self.scenario.task, n_labels, model)
            charges = (("run", 1, cost),)
        determines = {"n_labels": n_labels, "train_seed": self.scenario.train_seed}
        return self._add(kind, model, labels, determines, serves, n_labels=n_labels, charges=charges)

    def _capture(self, teacher: Stage, n_unlabeled: int, serves) -> Stage:
        determines = {"n_unlabeled": n_unlabeled, "teacher": teacher.name}
        # The labels are the teacher's, so its name determines them too; the capture scores them after the pool.
        counts = {"n_labels": teacher.n_labels, "n_unlabeled": n_unlabeled}
        return self._add("capture", teacher.model, (teacher,), determines, serves, **counts)

    def _distill(self, cell: Cell, label: Stage, teacher: Stage, capture: Stage) -> Stage:
        scenario = self.scenario
        # The capture stands here by what made it, not by its size: a larger pool later leaves this model as it is.
        determines = {
            "n_labels": cell.n_labels,
            "n_unlabeled": cell.n_unlabeled,
            "teacher": teacher.name,
            "capture": [*self._gin(capture.gin_file), dict(capture.macros)],
            "train_seed": scenario.train_seed,
        }
        _, rate = distilling_costs(scenario, self.book, "distill")
        return self._add(
            "distill",
            scenario.student,
            (label, teacher, capture),
            determines,
            (_key(cell),),
            n_labels=cell.n_labels,
            n_unlabeled=cell.n_unlabeled,
            charges=(("1000 unlabeled examples", cell.n_unlabeled / 1000, rate),),
        )

    def _planned(self, cell: Cell, label: Stage) -> Stage:
        """A model of a strategy that is priced and planned here, and cannot be trained yet."""
        scenario, strategy, serves = self.scenario, cell.strategy, (_key(cell),)
        counts = {"n_labels": cell.n_labels, "n_unlabeled": cell.n_unlabeled}
        after: tuple[Stage, ...] = (label,)
        charges: tuple = ()
        if strategy in LLM:
            price = llm_label(self.book, scenario.task, scenario.llm)
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
            bought = {"n_llm_labels": cell.n_llm_labels, "llm": scenario.llm}
            after += (self._add("llm_label", "", (), bought, serves, n_unlabeled=cell.n_llm_labels, charges=(charge,)),)
        elif strategy in DISTILLING:
            _, rate = distilling_costs(scenario, self.book, strategy)
            charges = (("1000 unlabeled examples", cell.n_unlabeled / 1000, rate),)
        elif cell.n_labels > scenario.n_labels:
            after += (self._label(scenario.n_labels, cell.n_labels, serves),)
        llm = scenario.llm if strategy in LLM else ""
        determines = {**counts, "n_llm_labels": cell.n_llm_labels, "llm": llm, "train_seed": scenario.train_seed}
        return self._add(strategy, scenario.student, after, determines, serves, charges=charges, **counts)

    def _evaluate(self, subject: Stage) -> Stage:
        counts = {"n_labels": subject.n_labels, "n_unlabeled": subject.n_unlabeled}
        return self._add("evaluate", subject.model, (subject,), {"subject": subject.name}, subject.serves, **counts)

    def _gin(self, gin_file: str) -> list[str]:
        """What a stage is configured by: its gin file and the task's, each with its digest."""
        names = [gin_file, self.scenario.task_gin] if gin_file and self.scenario.task_gin else [gin_file]
        return [text for name in names for text in (name, self.gin_digests.get(name, ""))]

    def _add(self, kind, model, after, determines, serves, *, charges=(), n_labels=0, n_unlabeled=0, first_label=0):
        scenario = self.scenario
        gin_file, macros = scenario.gin_file(kind), scenario.stage_macros(kind)
        if not gin_file and kind in ("finetune", "capture", "distill", "annotate"):
            field = "teacher_gin" if kind == "finetune" else f"{kind}_gin"
            raise ScenarioError(
                f"Scenario.{field}: received ''; the strategies {', '.join(scenario.strategies)} need the gin file of "
                f"their {kind} stage. Bind Scenario.{field}."
            )
        everything = {
            "kind": kind,
            "task": scenario.task,
            "data_seed": scenario.data_seed,
            "mode": "" if kind == "label" else scenario.mode,
            "model": model,
            "gin": self._gin(gin_file),
            "macros": macros,
            **determines,
        }
        if scenario.mesh and scenario.mode == "fair" and charges:
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
        )
        self.by_name[name] = stage
        return stage


def with_new_labels(stages: list[Stage]) -> list[Stage]:
    """Returns the stages with the number of labels that each is the first to buy.

    Args:
      stages: in the order in which they buy.
    """
    bought: dict[tuple[str, int], set[int]] = {}
    done = []
    for stage in stages:
        if stage.kind == "label":
            before = bought.setdefault((stage.task, stage.data_seed), set())
            wanted = set(range(stage.first_label, stage.first_label + stage.n_labels))
            stage = dataclasses.replace(stage, n_new_labels=len(wanted - before))
            before |= wanted
        done.append(stage)
    return done


def merged(stage: Stage, serves: tuple[tuple[str, float], ...]) -> Stage:
    """Returns the stage, serving further cells too.

    Args:
      stage: a stage.
      serves: keys of cells; those it serves already are not named twice.
    """
    return dataclasses.replace(stage, serves=stage.serves + tuple(key for key in serves if key not in stage.serves))


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
