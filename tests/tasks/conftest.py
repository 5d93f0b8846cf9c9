"""Rows of the six tasks in the form of the released files, with invented text, and a small vocabulary of T5's form."""

import json

import pytest

from distill_or_annotate.tasks import vocabularies

PREFIXES = {
    "wlp": "wlp",
    "stanceosaurus": "stanceosaurus",
    "fever": "fever",
    "multipit_id": "multipit_id",
    "multipit_gen": "multipit",
    "natural_questions": "nq",
}
GOLDEN = {
    "wlp": {
        "source": "Chill the lysis buffer on ice for 5 min.",
        "target": "Chill [Action] lysis buffer [Reagent] ice [Location] 5 min [Time]",
    },
    "stanceosaurus": {
        "source": "claim: Onions cure a cold tweet: @USER they do not , see HTTPURL [SEP] Onions in socks !",
        "target": "Refuting",
    },
    "fever": {"source": "Oil floats on water.", "target": "SUPPORTS"},
    "multipit_id": {
        "source": "sentence1: Rain has stopped play . sentence2: No more play today , it rains",
        "target": "YES",
    },
    "multipit_gen": {"source": "Rain has stopped play .", "target": "No more play today , it rains"},
    "natural_questions": {
        "source": "who wrote the opera fidelio?",
        "target": "Beethoven",
        "targets": ["Beethoven", "Ludwig van Beethoven"],
    },
}
LABELS = {
    "stanceosaurus": ("Supporting", "Irrelevant", "Refuting", "Discussing", "Querying"),
    "fever": ("SUPPORTS", "REFUTES"),
    "multipit_id": ("YES", "NO"),
}
SIZES = {"train": 160, "dev": 6, "test": 6, "unlabeled": 12}


def invented_rows(task: str, split: str) -> list[dict]:
    """The golden row first in `train`; of `unlabeled`, row 0 is a test (or dev) source and row 1 a training source."""
    source = "claim: {} {} tweet: it is so" if task == "stanceosaurus" else "sentence {} of the {} part"
    words = LABELS.get(task, ("words [Action]" if task == "wlp" else "some words",))
    rows = [{"source": source.format(i, split), "target": words[i % len(words)]} for i in range(SIZES[split])]
    if split == "train":
        rows[0] = GOLDEN[task]
    if split == "unlabeled":
        scored = "dev" if task in ("fever", "natural_questions") else "test"
        rows[0] = {"source": source.format(3, scored).upper(), "target": ""}
        rows[1] = {"source": source.format(7, "train"), "target": ""}
    return rows


def write_released(folder, splits=("train", "dev", "test", "unlabeled")):
    """Files of all six tasks, named as released; FEVER and NQ have no test file."""
    for task, prefix in PREFIXES.items():
        for split in splits:
            if split == "test" and task in ("fever", "natural_questions"):
                continue
            lines = [json.dumps(row) + "\n" for row in invented_rows(task, split)]
            (folder / f"{prefix}_{split}_all.json").write_text("".join(lines))


@pytest.fixture(scope="session")
def golden():
    """Task to the row whose strings are compared whole."""
    return GOLDEN


@pytest.fixture(scope="session")
def invented():
    """(task, split as in file names) to rows."""
    return invented_rows


@pytest.fixture
def released(tmp_path, monkeypatch):
    """A data folder with the invented rows, and an empty cache."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("DOA_DATA_DIR", str(folder))
    monkeypatch.setenv("DOA_CACHE_DIR", str(tmp_path / "cache"))
    write_released(folder)
    return folder


@pytest.fixture(scope="session")
def small_vocabulary_file(tmp_path_factory):
    """A vocabulary of T5's form, learnt from the invented rows."""
    texts = [
        text for task in PREFIXES for row in invented_rows(task, "train") for text in (row["source"], row["target"])
    ]
    path = tmp_path_factory.mktemp("vocabulary") / "small.model"
    path.write_bytes(vocabularies.learn([f"{task}: {text}" for task in PREFIXES for text in texts], 150, 100))
    return str(path)
