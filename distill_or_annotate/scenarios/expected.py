"""What the paper printed for a table or figure, as rows that stand beside a study's cells."""

from collections.abc import Iterator
from typing import Any

from distill_or_annotate import paper
from distill_or_annotate.scenarios.published import blocks

_TABLE10 = {
    "annotate": "t5_small_annotate",
    "general_distill": "distilbert_annotate",
    "distill": "t5_xxl_to_small_distill",
}


def published_scores(name: str, task: str) -> list[dict[str, Any]]:
    """Returns the printed scores that a scenario's models are to be compared with.

    Args:
      name: a table or figure, such as table2; of figures those points that a table holds.
      task: a task of the paper.

    Returns:
      Dicts with source, strategy, n_labels, additional_usd and n_unlabeled (None where not printed), score in percent;
      empty where nothing is published in numbers.
    """
    if task not in paper.task_names() or name not in _PUBLISHED:
        return []
    return list(_PUBLISHED[name](task))


def _row(source: str, strategy: str, n_labels: int, score: float | None, **numbers: Any) -> dict[str, Any]:
    return {
        "source": source,
        "strategy": strategy,
        "n_labels": n_labels,
        "additional_usd": numbers.get("additional_usd"),
        "n_unlabeled": numbers.get("n_unlabeled"),
        "score": score,
    }


def _grid(task: str, *tables: str) -> Iterator[dict[str, Any]]:
    """Every score of Table 2 or 11."""
    for table in tables:
        source = f"Table {table.removeprefix('table')}"
        for block in blocks(table, task):
            count = block["n_labels"]
            yield _row(source, "teacher", count, block["teacher"])
            for strategy in ("annotate", "distill"):
                for usd, score in zip(block["additional_usd"], block[strategy], strict=True):
                    if score is not None:
                        yield _row(source, strategy, count, score, additional_usd=usd)


def _largest(task: str) -> list[dict[str, Any]]:
    """Scores of Table 2 at its larger N."""
    rows = list(_grid(task, "table2"))
    count = max(row["n_labels"] for row in rows)
    return [row for row in rows if row["n_labels"] == count]


def _ends(task: str) -> Iterator[dict[str, Any]]:
    """Scores of Table 2 at its larger N, with no and with all additional dollars."""
    rows = _largest(task)
    most = max(row["additional_usd"] or 0 for row in rows)
    return (row for row in rows if row["additional_usd"] in (None, 0, most))


def _of_llm_budget(*tables: str) -> Any:
    def rows(task: str) -> Iterator[dict[str, Any]]:
        usd = paper.facts()["gpt35"]["wlp"]["budget"]
        return (row for row in _grid(task, *tables) if row["additional_usd"] in (None, usd))

    return rows


def _table3(task: str) -> Iterator[dict[str, Any]]:
    facts, count = paper.facts()["table3"], blocks("table2", task)[-1]["n_labels"]
    for strategy in ("self_distill", "distill"):
        student, teacher = facts[strategy][task]
        yield _row("Table 3", strategy, count, student, n_unlabeled=facts["unlabeled"])
        # What teaches itself is the student on the labels at hand.
        yield _row("Table 3", {"self_distill": "annotate"}.get(strategy, "teacher"), count, teacher)


def _table4(task: str) -> Iterator[dict[str, Any]]:
    facts, count = paper.facts()["table4"], blocks("table2", task)[-1]["n_labels"]
    for column in ("distill", "annotate_same_score", "annotate_upper_bound"):
        if entry := facts[column].get(task):
            yield _row("Table 4", column.split("_")[0], count, entry[0], additional_usd=entry[1])


def _table9(task: str) -> Iterator[dict[str, Any]]:
    score = paper.facts()["table9"][task][1]
    yield _row("Table 9", "teacher", paper.task(task)["train"]["value"], score)


def _table10(task: str) -> Iterator[dict[str, Any]]:
    facts, found = paper.facts()["table10"], blocks("table2", task)
    for position, column in enumerate(facts["columns"]):
        named, _, size = column.rsplit("_", 2)
        if named == task:
            block = next(block for block in found if block["n_labels"] == int(size.removesuffix("k")) * 1000)
            for strategy, row in _TABLE10.items():
                usd = max(block["additional_usd"])
                yield _row("Table 10", strategy, block["n_labels"], facts[row][position], additional_usd=usd)


def _figure2(task: str) -> Iterator[dict[str, Any]]:
    for row in _grid(task, "table11", "table2"):
        if row["strategy"] == "teacher" or row["additional_usd"] == 0:
            yield row
    yield from (row for row in _table3(task) if row["strategy"] == "distill")


def _figure3(task: str) -> Iterator[dict[str, Any]]:
    most = max(row["additional_usd"] or 0 for row in _largest(task))
    return (row for row in _largest(task) if row["additional_usd"] in (None, most))


_PUBLISHED = {
    "table2": lambda task: _grid(task, "table2"),
    "table3": _table3,
    "table4": _table4,
    "table9": _table9,
    "table10": _table10,
    "table11": lambda task: _grid(task, "table11"),
    "figure2": _figure2,
    "figure3": _figure3,
    "figure4": _ends,
    "figure5": _ends,
    "figure6": _of_llm_budget("table11"),
    "figure7": _of_llm_budget("table2"),
}
