"""The paper's N, dollars and pools as values that gin files bind, shrunk by the scale of the price book.

A scaled book shrinks N, U and dollars alike, so that a study with small models keeps the paper's ratios. Each function
takes `task`, the study's task, and `book`, the name of its price book; a scaled book says which task of the paper it
stands for.
"""

from typing import Any

from distill_or_annotate import paper
from distill_or_annotate.prices import load_book

# Where the paper prints no numbers of its own for a table or figure, those of Table 2 are taken.
N_LABELS = ("table2", "table2_largest", "table6", "table11", "figure2", "all")
BUDGETS = ("table2", "table2_largest", "table2_ends", "table4", "table11", "gpt35")


def by_form(form: str, **values: Any) -> Any:
    """Returns the value of a form of the study.

    Args:
      form: the form, such as xxl or mini.
      **values: form -> value.

    Raises:
      ValueError: the scenario binds none for that form.
    """
    if form not in values:
        raise ValueError(
            f"FORM: received {form!r}; this scenario has the forms {', '.join(values)}. Fix: set FORM to one of them, "
            f"or bind its values (by_form.{form} = ...)."
        )
    return values[form]


def by_mode(mode: str, paper: Any, fair: Any) -> Any:
    """Returns what a form binds for a mode: how its models are trained, for one.

    Args:
      mode: paper | fair.
      paper: the value in paper mode.
      fair: the value in fair mode.

    Raises:
      ValueError: an unknown mode.
    """
    _check("mode", mode, ("paper", "fair"))
    return {"paper": paper, "fair": fair}[mode]


def search(name: str, **values: Any) -> Any:
    """Returns a search of the form by its name.

    Args:
      name: its name; `off` is none.
      **values: name -> `Scenario.search`.

    Raises:
      ValueError: the form has none of that name.
    """
    if name not in values:
        raise ValueError(f"SEARCH: received {name!r}; allowed: {', '.join(values)}.")
    return values[name]


def learning_rate(task: str, model: str) -> float:
    """Returns the learning rate of Table 8.

    Args:
      task: a task of the paper.
      model: teacher | student.

    Raises:
      ValueError: an unknown task or model.
    """
    _check("model", model, ("teacher", "student"))
    facts = paper.task(_known(task))
    return facts["teacher_learning_rate" if model == "teacher" else "learning_rate"]["value"]


def learning_rates(task: str, times: tuple[float, ...]) -> tuple[float, ...]:
    """Returns rates for a search: multiples of Table 8's for the student.

    Args:
      task: a task of the paper.
      times: the multiples.
    """
    rate = learning_rate(task, "student")
    # As a person would write them: 3e-05 * 3 is 9.000000000000001e-05.
    return tuple(float(f"{rate * factor:.6g}") for factor in times)


def paper_task(task: str) -> str:
    """Returns the registered name of a task of the paper with rows, pool and metric as its reference code has them.

    Args:
      task: its name.

    Raises:
      UnknownTaskError: the paper has no such task.
    """
    return f"{_known(task)}_paper"


def task_gin(task: str) -> str:
    """Returns the gin file of a task of the paper.

    Args:
      task: its name.

    Raises:
      UnknownTaskError: the paper has no such task.
    """
    return f"gin/tasks/{_known(task)}.gin"


def n_labels(table: str, task: str, book: str, least: int = 1) -> tuple[int, ...]:
    """Returns the initial labels N of a table or figure, rising.

    Args:
      table: one of N_LABELS; `all` is the whole training part.
      task: the study's task.
      book: name of its price book.
      least: what a shrunken N is raised to, at least 1.

    Raises:
      ValueError: an unknown table or task.
    """
    _check("table", table, N_LABELS)
    named, scale = _paper_task(task, book)
    if table == "all":
        counts = [paper.task(named)["train"]["value"]]
    elif table == "table6":
        counts = [5000]
    elif table == "figure2":
        counts = paper.facts()["figure2"]["n_labels"]
    else:
        counts = [block["n_labels"] for block in blocks(table.split("_")[0], named)]
        counts = counts[-1:] if table.endswith("_largest") else counts
    return tuple(sorted({max(least, round(count * scale)) for count in counts}))


def additional_usd(table: str, task: str, book: str) -> tuple[float, ...]:
    """Returns the additional dollars of a table or figure, rising.

    Args:
      table: one of BUDGETS; `table2_ends` is nothing and Table 2's most, `gpt35` the language-model budget of
        Section 5.
      task: the study's task.
      book: name of its price book.

    Raises:
      ValueError: an unknown table or task.
    """
    _check("table", table, BUDGETS)
    named, scale = _paper_task(task, book)
    facts = paper.facts()
    if table == "gpt35":
        budgets = [facts["gpt35"]["wlp"]["budget"]]
    elif table == "table4":
        columns = ("distill", "annotate_same_score", "annotate_upper_bound")
        budgets = [entry[1] for column in columns if (entry := facts["table4"][column].get(named))]
    else:
        found = {usd for block in blocks(table.split("_")[0], named) for usd in block["additional_usd"]}
        budgets = {"table2_largest": [max(found)], "table2_ends": [0, max(found)]}.get(table, found)
    return tuple(sorted({round(usd * scale, 6) for usd in budgets}))


def total_usd(task: str, book: str) -> tuple[float, ...]:
    """Returns the total budget of Figure 3: the larger N of Table 2 and its largest additional dollars.

    The paper prints no dollars for that figure; this reading keeps N = 5,000 (10,000 for two tasks) within it.

    Args:
      task: the study's task.
      book: name of its price book.
    """
    (count,), (usd,) = n_labels("table2_largest", task, book), additional_usd("table2_largest", task, book)
    return (round(count * load_book(book).label(task).usd + usd, 2),)


def n_unlabeled(task: str, book: str, largest_only: bool = False) -> tuple[int, ...]:
    """Returns the pool sizes U of Figure 2: none, 10,000 and 100,000.

    Args:
      task: the study's task.
      book: name of its price book.
      largest_only: leave out the one in between.
    """
    _, scale = _paper_task(task, book)
    counts = paper.facts()["figure2"]["n_unlabeled"]
    return tuple(round(count * scale) for count in (counts[::2] if largest_only else counts))


def train_size(task: str, book: str) -> int:
    """Returns the number of labelled training examples.

    Args:
      task: the study's task.
      book: name of its price book.
    """
    return n_labels("all", task, book)[0]


def pool_size(task: str, book: str) -> int:
    """Returns the number of unlabeled examples: Table 5's, or what Tables 2 and 11 use where that is more.

    Args:
      task: the study's task.
      book: name of its price book.
    """
    named, scale = _paper_task(task, book)
    printed = [
        1000 * (count + 1) - 1
        for table in ("table2", "table11")
        for block in blocks(table, named)
        for count in block["unlabeled_k"]
        if count is not None
    ]
    return round(max(paper.task(named)["unlabeled"]["value"], *printed) * scale)


def blocks(table: str, task: str) -> list[dict[str, Any]]:
    """Returns the blocks of Table 2 or 11 for a task of the paper, by rising N.

    Args:
      table: table2 | table11.
      task: the task.
    """
    paper.task(task)
    found = [block for block in paper.facts()[table]["rows"] if block["task"] == task]
    return sorted(found, key=lambda block: block["n_labels"])


def _paper_task(task: str, book: str) -> tuple[str, float]:
    """The task of the paper that a study stands for, and the scale it stands at."""
    prices = load_book(book)
    return _known(prices.base_task or task), prices.scale


def _known(task: str) -> str:
    try:
        paper.task(task)
    except paper.UnknownTaskError as error:
        raise paper.UnknownTaskError(f"{error} Fix: --set TASK=wlp, or another of these.") from error
    return task


def _check(field: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{field}: received {value!r}; allowed: {', '.join(allowed)}.")
