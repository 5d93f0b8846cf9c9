"""A small run: a study on scaled prices with one unaffordable, one degenerate and one missing cell."""

import dataclasses
import json

import numpy as np
import pytest

from distill_or_annotate.ledger import Ledger
from distill_or_annotate.metrics.evaluation import Scorer
from distill_or_annotate.prices import load_book
from distill_or_annotate.scenarios import Scenario, cells, expand, teacher_cell

# The shipped book's scale follows the quickstart; the numbers worked out here are for this one.
BOOK = dataclasses.replace(load_book("quickstart_scaled"), scale=0.06)
SCORES = {
    ("annotate", 0.0): 31.2,
    ("annotate", 3.0): 32.9,
    ("annotate", 6.0): 36.4,
    ("annotate", 12.0): 39.8,
    ("annotate", 21.5): 43.3,
    ("distill", 6.0): 12.0,
    ("distill", 12.0): 49.5,
    ("teacher", 4.05): 66.0,
}
SCENARIO = Scenario(
    name="quickstart",
    task="mini",
    n_labels=300,
    additional_usd=(0, 3, 6, 12, 21.5),
    price_book="quickstart_scaled",
    teacher_gin="teacher.gin",
    capture_gin="capture.gin",
    distill_gin="distill.gin",
    annotate_gin="annotate.gin",
)


def result_row(cell, score, seed=0, **changes):
    """Returns a results.jsonl row for a cell; a score of 12.0 is that of a degenerate model."""
    is_degenerate = score == 12.0
    return {
        "task": "mini",
        "strategy": cell.strategy,
        "mode": "fair",
        "n_labels": cell.n_labels,
        "n_unlabeled": cell.n_unlabeled,
        "teacher": "mini_teacher",
        "student": "mini_student",
        "data_seed": 0,
        "seed": seed,
        "initial_usd": cell.initial_usd,
        "additional_usd": cell.additional_usd,
        "total_usd": cell.total_usd,
        "gpu_hours": cell.gpu_hours,
        "metric": "entity_f1",
        "score": score,
        "stderr": 1.1,
        "degenerate": {
            "flagged": is_degenerate,
            "reasons": ["80% of outputs are <one> sentence"] if is_degenerate else [],
        },
        "floor": {"empty": 0.0, "constant": 8.1, "lookup": 26.3},
        "parts": {"entity_precision": score + 1, "entity_recall": score - 1},
        "run_ids": [f"{cell.strategy}-{cell.additional_usd:g}-s{seed}"],
        **changes,
    }


@pytest.fixture
def result_cells():
    """The planned cells and the teacher's."""
    return [*cells(SCENARIO, BOOK), teacher_cell(SCENARIO, BOOK)]


@pytest.fixture
def rows(result_cells):
    """The rows of results.jsonl."""
    scored = [(cell, SCORES.get((cell.strategy, round(cell.additional_usd, 6)))) for cell in result_cells]
    return [result_row(cell, score) for cell, score in scored if score is not None]


@pytest.fixture
def write_run(tmp_path):
    """Writes a run's folder from result rows."""

    def write(rows, name="run", manifest=True, ledger=True):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        if manifest:
            planned = [{**cell.as_dict(), "stage": f"{cell.strategy}-0a1b"} for cell in cells(SCENARIO, BOOK)]
            values = {
                "scenario": SCENARIO.as_dict(),
                "cells": planned,
                "command": "doa run x.gin",
                "assumptions": ["A & B."],
            }
            (folder / "manifest.json").write_text(json.dumps(values))
        if ledger:
            book = Ledger(folder / "ledger.jsonl")
            price = load_book("quickstart_scaled").label("mini")
            book.buy_labels(stage="label", task="mini", first_label=0, last_label=382, data_seed=0, price=price)
            for stage in expand(SCENARIO, BOOK):
                if stage.kind == "finetune":
                    book.open_attempt(stage.name, charges=stage.charges).settle(seconds=90)
                    book.open_attempt(stage.name).settle(seconds=30, wasted=True)
        return folder

    return write


@pytest.fixture
def run_folder(write_run, rows):
    """The small run."""
    return write_run(rows)


LABELS = ("supports", "refutes", "unclear")


@dataclasses.dataclass
class Answered:
    """Writes the answers of a run's models where its evaluations would."""

    folder: str
    n_examples: int = 200

    def rows(self, share_right, seed, **fields):
        """Test examples with predictions of which about a share is right; the same examples every time."""
        targets = np.random.default_rng(0).choice(LABELS, size=self.n_examples, p=(0.6, 0.3, 0.1))
        drawn = np.random.default_rng(seed).random(self.n_examples)
        return [
            {"source": f"example {i}", "target": str(target), **{name: value(i) for name, value in fields.items()}}
            | {"prediction": str(target) if drawn[i] < share_right else LABELS[0 if target != LABELS[0] else 1]}
            for i, target in enumerate(targets)
        ]

    def add(self, row, share_right, seed, **fields):
        """Returns a result whose score its answers on disk give."""
        (run_id,), rows = row["run_ids"], self.rows(share_right, seed, **fields)
        scorer = Scorer("accuracy", LABELS)
        score = scorer.scores(rows, [each["prediction"] for each in rows])["accuracy"]
        stage = self.folder / "stages" / f"evaluate-{run_id}"
        stage.mkdir(parents=True)
        facts = {"metric": "accuracy", "mode": "fair", "score": score, "subject": run_id, "labels": list(LABELS)}
        (stage / "evaluation.json").write_text(json.dumps(facts))
        (stage / "predictions.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
        return {**row, "metric": "accuracy", "score": score, "floor": {"constant": 40.0}}


@pytest.fixture
def answered_run(write_run, result_cells):
    """Makes a run whose models' answers are on disk: annotate and distill at two budgets, and the teacher."""

    def make(data_seeds=(0,), train_seeds=(0,), name="answered", **fields):
        folder = write_run([], name=name)
        answered, rows = Answered(folder), []
        shares = {("annotate", 6.0): 0.6, ("distill", 6.0): 0.8, ("annotate", 12.0): 0.7, ("distill", 12.0): 0.71}
        for cell in result_cells:
            share = 0.9 if cell.strategy == "teacher" else shares.get((cell.strategy, round(cell.additional_usd, 6)))
            for data_seed in data_seeds if share else ():
                for train_seed in train_seeds:
                    named = f"{cell.strategy}-{cell.additional_usd:g}-d{data_seed}t{train_seed}"
                    seeds = {"data_seed": data_seed, "train_seed": train_seed, "run_ids": [named]}
                    seed = sum(map(ord, named)) + data_seed
                    rows.append(answered.add(result_row(cell, 1.0, **seeds), share, seed, **fields))
        (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return folder

    return make
