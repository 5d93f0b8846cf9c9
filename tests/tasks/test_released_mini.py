"""The released tasks split here: no text on two sides, one split from files in any order, a pool without labels."""

import json
import random

import pytest

from distill_or_annotate.tasks import registry, released_mini, variants

_CLAIMS = [f"Claim number {number} is made" for number in range(40)]


def _rows(task):
    draw = random.Random(3)
    labels = registry.get(task).labels
    if task == "stanceosaurus":
        sources = [f"claim: {claim} tweet: reply {number}" for claim in _CLAIMS for number in range(8)]
    elif task == "multipit_id":
        sources = [f"sentence1: text {n} sentence2: text {n + draw.choice((1, 200, 400))}" for n in range(300)]
    else:
        sources = [f"Fact {number} holds." for number in range(300)]
    return [{"source": source, "target": draw.choice(labels)} for source in sources]


@pytest.mark.parametrize("task", released_mini.TASKS)
def test_no_text_stands_on_two_sides_and_nothing_is_lost(task):
    rows = _rows(task)
    parts = released_mini.split_rows(task, rows)
    labelled = {name: parts[name] for name in ("train", "validation", "test")}
    assert sum(map(len, labelled.values())) == len(rows) and all(labelled.values())
    texts = {
        name: {text for row in part for text in released_mini.shared_texts(task, row["source"])}
        for name, part in labelled.items()
    }
    assert not texts["train"] & texts["test"] and not texts["train"] & texts["validation"]
    assert not texts["validation"] & texts["test"]


@pytest.mark.parametrize("task", released_mini.TASKS)
def test_files_in_another_order_give_the_same_split(task):
    rows = _rows(task)
    shuffled = random.Random(1).sample(rows, len(rows))
    assert released_mini.split_rows(task, shuffled) == released_mini.split_rows(task, rows)


def test_the_pool_is_the_training_text_without_labels_in_an_order_of_its_own():
    parts = released_mini.split_rows("fever", _rows("fever"))
    pool = [row["source"] for row in parts["unlabeled"]]
    train = [row["source"] for row in parts["train"]]
    assert sorted(pool) == sorted(train) and pool != train
    assert {row["target"] for row in parts["unlabeled"]} == {""}


def test_a_source_with_several_targets_keeps_the_most_frequent():
    rows = [{"source": "A fact.", "target": target} for target in ("SUPPORTS", "REFUTES", "REFUTES")]
    rows += [{"source": "Another.", "target": target} for target in ("SUPPORTS", "REFUTES")]
    parts = released_mini.split_rows("fever", rows)
    kept = {row["source"]: row["target"] for name in ("train", "validation", "test") for row in parts[name]}
    assert kept == {"A fact.": "REFUTES", "Another.": "REFUTES"}


def test_the_tasks_read_whatever_labelled_files_there_are(tmp_path, monkeypatch):
    rows = _rows("fever")
    lines = [json.dumps(row) + "\n" for row in rows]
    (tmp_path / "fever_dev_all.part60.json").write_text("".join(lines[:200]))
    (tmp_path / "fever_train_all.json").write_text("".join(lines[200:]))
    monkeypatch.setenv("DOA_DATA_DIR", str(tmp_path))
    assert sum(len(registry.rows("fever_mini", split)) for split in ("train", "validation", "test")) == 300
    pool = variants.pool("fever_mini")
    assert len(pool.rows) == len(registry.rows("fever_mini", "train")) and pool.n_excluded == 0
    assert registry.get("fever_mini").metric == "accuracy"


def test_without_files_it_says_which_are_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("DOA_DATA_DIR", str(tmp_path))
    with pytest.raises(OSError, match="multipit_id"):
        registry.rows("multipit_id_mini", "train")
