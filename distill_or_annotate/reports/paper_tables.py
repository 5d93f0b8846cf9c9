"""The paper's tables in its own layout, from the numbers that it printed."""

from collections.abc import Callable, Sequence
from typing import Any

from distill_or_annotate import paper
from distill_or_annotate.reports.grids import Entry, Grid

TITLES = {
    "wlp": "WLP",
    "stanceosaurus": "Stanceosaurus",
    "fever": "FEVER",
    "multipit_id": "MultiPIT (identification)",
    "multipit_gen": "MultiPIT (generation)",
    "natural_questions": "Natural Questions",
}
_METRICS = {"f1": "F1", "accuracy": "accuracy", "bert_ibleu": "BERT-iBLEU"}
_NONE = Entry("–")


def paper_tables() -> dict[str, list[Grid]]:
    """Returns the paper's tables: name -> its parts, one per task where budgets differ from task to task."""
    return {name: make(paper.facts()) for name, make in _TABLES.items()}


def _budget_tables(name: str) -> Callable[[dict], list[Grid]]:
    def make(facts: dict) -> list[Grid]:
        rows = facts[name]["rows"]
        tasks = dict.fromkeys(row["task"] for row in rows)
        return [_budgets(name, [row for row in rows if row["task"] == task]) for task in tasks]

    return make


def _budgets(name: str, blocks: Sequence[dict[str, Any]]) -> Grid:
    task, width = blocks[0]["task"], max(len(block["additional_usd"]) for block in blocks)
    budgets = next(block["additional_usd"] for block in blocks if len(block["additional_usd"]) == width)
    rows: list[tuple[str, tuple[Entry, ...]]] = []
    for block in blocks:
        head = f"N = {block['n_labels']:,} (${block['initial_usd']:,}); T5-XXL teacher {block['teacher']:.1f}"
        rows += [(head, ()), *_strategies(block)]
    metric = _METRICS[paper.task(task)["metric"]["value"]]
    return Grid(
        title=f"Table {name.removeprefix('table')}: {TITLES[task]}",
        heads=("", *(f"+${usd}" for usd in budgets)),
        rows=tuple(rows),
        caption=f"T5-Small, {metric}, percent, by additional dollars. Below a score what they buy: labels; GPU-hours "
        "and thousands of unlabeled examples.",
    )


def _strategies(block: dict[str, Any]) -> list[tuple[str, tuple[Entry, ...]]]:
    annotate, distill = [], []
    columns = ("annotate", "distill", "extra_labels", "gpu_hours", "unlabeled_k")
    for ann, dist, labels, hours, unlabeled in zip(*(block[name] for name in columns), strict=True):
        annotate.append(Entry(f"{ann:.1f}", f"+{labels:,}", is_best=dist is not None and ann > dist))
        bought = "" if dist is None else f"{hours} GPU-h, {unlabeled}K"
        shown = "N/A" if dist is None else f"{dist:.1f}"
        distill.append(Entry(shown, bought, is_best=dist is not None and dist > ann))
    return [("T5-Small (Ann.)", tuple(annotate)), ("T5-XXL → T5-Small (Dist.)", tuple(distill))]


def _table3(facts: dict) -> list[Grid]:
    found = facts["table3"]
    rows = []
    for name, label in (("self_distill", "Self-distill., T5-Small"), ("distill", "Distill., T5-XXL")):
        for position, part in enumerate(("student", "teacher")):
            rows.append((f"{label}: {part}", tuple(Entry(f"{found[name][task][position]:.1f}") for task in TITLES)))
    notes = ("As printed for N = 5K; MultiPIT (generation) and Natural Questions are the N = 10K models of Table 2.",)
    caption = f"T5-Small students distilled on {found['unlabeled']:,} unlabeled examples, percent."
    return [Grid("Table 3: self-distillation", ("", *TITLES.values()), tuple(rows), caption, notes)]


def _table4(facts: dict) -> list[Grid]:
    found, rows = facts["table4"], []
    names = {
        "distill": "Distill., 100K unlabeled",
        "annotate_same_score": "Annotate, same score",
        "annotate_upper_bound": "Annotate, all labels",
    }
    for name, label in names.items():
        pairs = [found[name].get(task) for task in TITLES]
        rows.append(
            (label, tuple(Entry(f"{pair[0]:.1f}", f"${pair[1]:,}") if pair else Entry("N/A") for pair in pairs))
        )
    caption = "Score in percent, and below it the additional dollars that it takes."
    notes = ("Additional to the initial labels. N/A: the paper prints none.",)
    return [Grid("Table 4: dollars to the same score", ("", *TITLES.values()), tuple(rows), caption, notes)]


def _table6(facts: dict) -> list[Grid]:
    rows = []
    columns = (
        ("initial_usd_5k", "Initial 5K labels"),
        ("annotate_usd_1k", "1,000 more labels"),
        ("finetune_usd_5k", "Fine-tuning T5-XXL"),
        ("distill_usd_100k", "Distilling 100K"),
    )
    for task, title in TITLES.items():
        numbers = paper.task(task)
        rows.append((title, tuple(Entry(f"${numbers[name]['value']:,}") for name, _ in columns)))
    caption = "Dollars; N = 5,000, A40 GPUs at $1.875 an hour."
    notes = ("The unlabeled counts of Tables 2 and 11 contradict four cells that follow from it (doa paper costs).",)
    return [Grid("Table 6: costs", ("", *(name for _, name in columns)), tuple(rows), caption, notes)]


def _table9(facts: dict) -> list[Grid]:
    found = facts["table9"]
    rows = tuple(
        (label, tuple(Entry(f"{found[task][position]:.1f}") for task in TITLES))
        for position, label in enumerate(("Existing systems", "T5-XXL, all labels"))
    )
    micro = found["micro_f1_of_t5_xxl"]
    extra = ("T5-XXL, micro F1", tuple(Entry(f"{micro[task]:.1f}") if task in micro else _NONE for task in TITLES))
    caption = "Percent, with the whole training data."
    return [Grid("Table 9: the teacher on all labels", ("", *TITLES.values()), (*rows, extra), caption)]


def _table10(facts: dict) -> list[Grid]:
    found = facts["table10"]
    heads = []
    for column in found["columns"]:
        # The second part is the total of initial and additional dollars: 664 is 364 and 300 of Table 2.
        task, total_usd, count = column.rsplit("_", 2)
        heads.append(f"{TITLES[task]}, N = {count.upper()} (${int(total_usd):,})")
    names = {
        "t5_small_annotate": "T5-Small (Ann.)",
        "distilbert_annotate": "DistilBERT (Ann.)",
        "bert_base_annotate": "BERT-base (Ann.)",
        "t5_xxl_to_small_distill": "T5-XXL → T5-Small (Dist.)",
    }
    best = [max(found[name][place] for name in names) for place in range(len(heads))]
    rows = tuple(
        (
            label,
            tuple(Entry(f"{score:.1f}", is_best=score == best[place]) for place, score in enumerate(found[name])),
        )
        for name, label in names.items()
    )
    caption = "Percent, by task and N; in brackets the total dollars."
    return [Grid("Table 10: other compact models", ("", *heads), rows, caption)]


_TABLES = {
    "table2": _budget_tables("table2"),
    "table3": _table3,
    "table4": _table4,
    "table6": _table6,
    "table9": _table9,
    "table10": _table10,
    "table11": _budget_tables("table11"),
}
