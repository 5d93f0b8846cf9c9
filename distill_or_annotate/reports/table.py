"""The rows of a report: per task and initial budget, both strategies at every additional budget, as in Table 2."""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from distill_or_annotate.reports.inputs import RunFiles, seeds_of

STRATEGY_NAMES = {"annotate": "Ann.", "distill": "Dist."}


@dataclasses.dataclass(frozen=True)
class ReportCell:
    """One number of the report, or the reason why there is none.

    Attributes:
      status: score | degenerate | unaffordable | missing.
      value: mean score over the seeds, in percent; None without one.
      stderr: standard error of it, in percent; over seeds if they differ, else the row's own; None without one.
      n_seeds: models behind the value.
      total_usd: initial and additional dollars; None where unknown.
      bought: what the additional dollars bought, for people.
      note: why it is degenerate, unaffordable, missing or cut at the pool; empty otherwise.
      run_ids: runs behind the value, one per model.
      seeds: (data seed, training seed) of each model, in the same order.
      n_labels: labels the model was trained on; 0 where unknown.
      n_unlabeled: unlabeled examples distilled into it.
      capped: whether the dollars would have bought more than the pool holds.
      floors: name -> score of a model that learnt nothing or next to nothing from the same labels; of several data
        seeds the mean.
    """

    status: str
    value: float | None = None
    stderr: float | None = None
    n_seeds: int = 0
    total_usd: float | None = None
    bought: str = ""
    note: str = ""
    run_ids: tuple[str, ...] = ()
    seeds: tuple[tuple[int, int], ...] = ()
    n_labels: int = 0
    n_unlabeled: int = 0
    capped: bool = False
    floors: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def display(self) -> str:
        """The cell in print; a dagger marks a degenerate model."""
        if self.value is None:
            return "N/A" if self.status == "unaffordable" else "missing"
        mark = "†" if self.status == "degenerate" else ""
        return f"{self.value:.1f}{mark}" + (f" ± {self.stderr:.1f}" if self.stderr is not None else "")


@dataclasses.dataclass(frozen=True)
class Block:
    """One study: a task with its initial labels.

    Attributes:
      task: base task.
      mode: paper | fair.
      n_labels: initial labels N.
      initial_usd: what they cost.
      metric: name of the score, higher is better.
      budgets_usd: additional budgets, rising.
      rows: strategy -> one cell per budget.
      teacher: the teacher's cell.
      floors: name -> score at the initial labels of a model that learnt nothing or next to nothing; of several data
        seeds the mean.
      models: teacher and student, by name; empty where unknown.
      others: strategy, additional budget and cell of the paper's other systems, in the order of both.
      names_models: whether the title names them, since a run has others too.
    """

    task: str
    mode: str
    n_labels: int
    initial_usd: float
    metric: str
    budgets_usd: tuple[float, ...]
    rows: Mapping[str, tuple[ReportCell, ...]]
    teacher: ReportCell
    floors: Mapping[str, float]
    models: tuple[str, str] = ("", "")
    others: tuple[tuple[str, float, ReportCell], ...] = ()
    names_models: bool = False

    @property
    def title(self) -> str:
        """The study in a few words."""
        models = f", {self.models[0]} into {self.models[1]}" if self.names_models else ""
        return f"{self.task}, {self.n_labels:,} initial labels (${self.initial_usd:,.2f}), {self.mode} mode{models}"

    @property
    def metric_name(self) -> str:
        """The metric as people write it."""
        return self.metric.replace("_", " ").replace("f1", "F1")

    @property
    def scored(self) -> tuple[ReportCell, ...]:
        """Its cells with a score, the teacher's among them."""
        cells = [cell for row in self.rows.values() for cell in row]
        cells += [self.teacher, *(cell for *_, cell in self.others)]
        return tuple(cell for cell in cells if cell.value is not None)

    def winner(self, column: int) -> str | None:
        """Returns the strategy with the higher score in a column.

        None without two scores, where they print alike, or where the higher one is a degenerate model's.

        Args:
          column: position among the budgets.
        """
        values = {name: row[column].value for name, row in self.rows.items() if row[column].value is not None}
        if len(values) < 2 or len({f"{value:.1f}" for value in values.values()}) < 2:
            return None
        best = max(values, key=values.get)
        return None if self.rows[best][column].status == "degenerate" else best


def blocks_of(run: RunFiles) -> list[Block]:
    """Returns the blocks of a run, in a fixed order.

    Args:
      run: its files.
    """
    planned = _planned(run.manifest)
    groups: dict[tuple, list[Mapping[str, Any]]] = defaultdict(list)
    for row in run.results:
        groups[row["task"], row["mode"], round(row["initial_usd"], 6), *_models(row, {})].append(row)
    for key in planned:
        groups.setdefault(key, [])
    blocks = [_block(key, rows, planned.get(key, [])) for key, rows in sorted(groups.items())]
    several = len({block.models for block in blocks}) > 1
    return [dataclasses.replace(block, names_models=several) for block in blocks]


def _models(row: Mapping[str, Any], scenario: Mapping[str, Any]) -> tuple[str, str]:
    """Teacher and student of a row; those of a study with one each where the row does not say."""
    named = (row.get(axis, scenario.get(axis)) for axis in ("teacher", "student"))
    return tuple(name if isinstance(name, str) else "" for name in named)


def _planned(manifest: Mapping[str, Any]) -> dict[tuple, list[Mapping[str, Any]]]:
    scenario, planned = manifest.get("scenario", {}), defaultdict(list)
    for cell in manifest.get("cells", []):
        key = (cell.get("task", scenario.get("task", "")), cell.get("mode", scenario.get("mode", "")))
        planned[*key, round(cell["initial_usd"], 6), *_models(cell, scenario)].append(cell)
    return dict(planned)


def _block(key: tuple, rows: Sequence[Mapping], planned: Sequence[Mapping]) -> Block:
    task, mode, initial_usd, *models = key
    plan = {(cell["strategy"], round(cell["additional_usd"], 6)): cell for cell in planned}
    found: dict[tuple, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        budget = None if row["strategy"] == "teacher" else round(row["additional_usd"], 6)
        found[row["strategy"], budget].append(row)
    keys = [pair for pair in {*plan, *found} if pair[0] in STRATEGY_NAMES]
    budgets = tuple(sorted({budget for _, budget in keys}))
    strategies = [name for name in STRATEGY_NAMES if any(strategy == name for strategy, _ in keys)]
    n_labels = min([cell["n_labels"] for cell in [*planned, *rows]])
    cells = {
        name: tuple(
            _cell(found.get((name, budget), []), plan.get((name, budget)), name, n_labels) for budget in budgets
        )
        for name in strategies
    }
    floors = _floors(rows)
    return Block(
        task=task,
        mode=mode,
        n_labels=n_labels,
        initial_usd=initial_usd,
        metric=next((" by ".join(filter(None, (row["metric"], row.get("similarity_model")))) for row in rows), "score"),
        budgets_usd=budgets,
        rows=cells,
        teacher=_cell(found.get(("teacher", None), []), None, "teacher", n_labels),
        floors=dict(sorted(floors.items(), key=lambda item: (item[1], item[0]))),
        models=tuple(models),
        others=tuple(
            (strategy, budget, _cell(rows, plan.get((strategy, budget)), strategy, n_labels))
            for (strategy, budget), rows in sorted(found.items(), key=lambda item: (item[0][0], item[0][1] or 0.0))
            if strategy not in (*STRATEGY_NAMES, "teacher")
        ),
    )


def _cell(rows: Sequence[Mapping], plan: Mapping | None, strategy: str, n_labels: int) -> ReportCell:
    if not rows:
        return _empty_cell(plan, strategy, n_labels)
    scores = [row["score"] for row in rows]
    mean = math.fsum(scores) / len(scores)
    # Seeds that made one and the same model (a language model's labels know no data seed) leave the error of its test.
    if len(set(scores)) > 1:
        variance = math.fsum((score - mean) ** 2 for score in scores) / (len(scores) - 1)
        stderr = math.sqrt(variance / len(scores))
    else:
        stderr = rows[0].get("stderr")
    flags = [row["degenerate"] for row in rows if row.get("degenerate") and row["degenerate"]["flagged"]]
    reasons = {reason for flag in flags for reason in flag.get("reasons") or ["no reason given"]}
    which = f"{len(flags)} of {len(rows)} models: " if len(rows) > 1 else ""
    notes = [which + "; ".join(sorted(reason.replace("+-", "±") for reason in reasons))] if reasons else []
    if plan and plan.get("capped_by_pool"):
        notes.append("the dollars would have bought more than the pool holds")
    return ReportCell(
        # One unlucky seed of three does not make a mean worthless; half of them do.
        status="degenerate" if flags and 2 * len(flags) >= len(rows) else "score",
        value=mean,
        stderr=stderr,
        n_seeds=len(rows),
        total_usd=rows[0]["total_usd"],
        bought=_bought(rows[0], strategy, n_labels),
        note="; ".join(notes),
        run_ids=tuple(str(run_id) for row in rows for run_id in row.get("run_ids") or []),
        seeds=tuple(seeds_of(row) for row in rows),
        n_labels=rows[0]["n_labels"],
        n_unlabeled=rows[0].get("n_unlabeled") or 0,
        capped=bool((plan or rows[0]).get("capped_by_pool")),
        floors=_floors(rows),
    )


def _floors(rows: Sequence[Mapping]) -> dict[str, float]:
    """Each floor's mean over data seeds, whose labels teach it something else, at the fewest labels of the rows."""
    found: dict[str, dict[int, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    # Those of a language model's labels are learnt from other labels than the block's.
    for row in [row for row in rows if not row.get("n_llm_labels")] or rows:
        for name, score in (row.get("floor") or {}).items():
            found[name][row["n_labels"]][seeds_of(row)[0]] = score
    # A floor learnt from the labels rises with them: a block shows the one of its initial labels.
    fewest = {name: by_labels[min(by_labels)].values() for name, by_labels in found.items()}
    return {name: math.fsum(scores) / len(scores) for name, scores in fewest.items()}


def _empty_cell(plan: Mapping | None, strategy: str, n_labels: int) -> ReportCell:
    if plan is None:
        return ReportCell(
            "missing", note=f"no result of strategy {strategy}, and no plan that says whether it was meant"
        )
    if not plan["affordable"]:
        return ReportCell("unaffordable", total_usd=plan["total_usd"], note=plan["reason"])
    stage = f" (stage {plan['stage']})" if plan.get("stage") else ""
    bought = _bought(plan, strategy, n_labels)
    note = f"not run yet: {strategy} with {bought or 'the initial labels'}{stage}; run the scenario again"
    return ReportCell("missing", total_usd=plan["total_usd"], bought=bought, note=note)


def _bought(row: Mapping[str, Any], strategy: str, n_labels: int) -> str:
    if row.get("n_llm_labels"):
        # What was asked for and set aside was not bought.
        asked = row.get("llm_labels") or {}
        count, usd = asked.get("n_labelled", row["n_llm_labels"]), asked.get("usd")
        # The budget counts the book's price a label; the tokens may have cost less.
        return f"{count:,} language-model labels" + (f", billed ${usd:,.2f}" if usd is not None else "")
    if strategy in ("annotate", "general_distill"):
        return f"+{row['n_labels'] - n_labels:,} labels" if row["n_labels"] > n_labels else ""
    if strategy in ("distill", "self_distill"):
        hours = f"{row['gpu_hours']:,.0f} GPU-h, " if row.get("gpu_hours") is not None else ""
        return f"{hours}{row.get('n_unlabeled') or 0:,} unlabeled"
    return ""
