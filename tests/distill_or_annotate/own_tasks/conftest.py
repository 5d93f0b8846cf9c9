"""A table that a user might have: 200 invented reviews with learnable labels, and a pool of more."""

import csv
import random

import pytest

_GOOD, _BAD = ("lovely", "splendid", "crisp", "generous", "warm"), ("dull", "stale", "rude", "broken", "cold")
_THINGS = ("soup", "staff", "room", "tea", "bread", "service", "view")


def _review(rng: random.Random) -> tuple[str, str]:
    good = rng.random() < 0.5
    words = (rng.choice(_THINGS), rng.choice(_GOOD if good else _BAD), rng.randrange(1000), rng.choice(_THINGS))
    return "The {} was {}, table {}, near the {}.".format(*words), "positive" if good else "negative"


def reviews(n_rows: int, seed: int) -> list[tuple[str, str]]:
    """Rows of text and label, no text twice."""
    rng, rows = random.Random(seed), {}
    while len(rows) < n_rows:
        rows.update([_review(rng)])
    return list(rows.items())


@pytest.fixture
def user_folder(tmp_path, monkeypatch):
    """A user's folder, away from the checkout: reviews.csv with 200 rows and pool.txt with 300 texts."""
    rows = reviews(500, seed=1)
    with (tmp_path / "reviews.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows[:200]])
    (tmp_path / "pool.txt").write_text("".join(f"{text}\n" for text, _ in rows[200:]), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path
