"""The floor that learns from label words: TF-IDF and logistic regression."""

import random

from distill_or_annotate.metrics import floors
from distill_or_annotate.metrics.evaluation import Scorer, evaluate

LABELS = ("NO", "YES")


def _rows(n, seed):
    draw = random.Random(seed)
    fill = ["rain", "play", "today", "again", "it", "was"]
    return [
        {"source": " ".join([*draw.sample(fill, 3), word]), "target": target}
        for word, target in (draw.choice((("good", "YES"), ("bad", "NO"))) for _ in range(n))
    ]


def test_it_learns_a_word_that_decides():
    train, test = _rows(60, 0), _rows(40, 1)
    assert floors.tfidf_floor(test, train, LABELS) == [row["target"] for row in test]


def test_it_stands_among_the_floors_where_labels_are_known_and_flags_a_model_that_is_no_better():
    train, test = _rows(60, 0), _rows(40, 1)
    result = evaluate(Scorer("accuracy", LABELS), test, [row["target"] for row in test], train)
    assert result["floors"]["tfidf_logistic"] == 100.0
    assert any("'tfidf_logistic' (100.0)" in reason for reason in result["degenerate"]["reasons"])
    assert "tfidf_logistic" not in evaluate(Scorer("accuracy", LABELS), test, ["YES"] * 40)["floors"]


def test_the_same_labels_give_the_same_floor_in_any_spelling():
    train, test = _rows(60, 0), _rows(40, 1)
    spelt = [{**row, "target": f" {row['target'].lower()} "} for row in train]
    assert floors.tfidf_floor(test, spelt, LABELS) == floors.tfidf_floor(test, train, LABELS)


def test_one_class_and_no_class_are_answered_without_learning():
    test = _rows(3, 1)
    assert floors.tfidf_floor(test, [{"source": "x", "target": "yes"}], LABELS) == ["YES"] * 3
    assert floors.tfidf_floor(test, [{"source": "x", "target": "perhaps"}], LABELS) == [""] * 3


def test_texts_of_marks_and_single_letters_are_no_error():
    train = [{"source": "!", "target": "YES"}, {"source": "a", "target": "NO"}]
    assert floors.tfidf_floor([{"source": "! !"}, {"source": "a"}], train, LABELS) == ["YES", "NO"]


def test_macro_f1_has_a_floor_that_answers_with_rare_classes():
    draw = random.Random(2)
    words = [draw.choice(["rain", "play", "today"]) for _ in range(120)]
    rows = [{"source": f"{word} it", "target": "YES" if i % 12 == 0 else "NO"} for i, word in enumerate(words)]
    found = Scorer("macro_f1", LABELS).floors(rows, rows)
    assert set(found["tfidf_logistic"]) == {"NO"} and set(found["tfidf_balanced"]) == {"NO", "YES"}
    assert "tfidf_balanced" not in Scorer("accuracy", LABELS).floors(rows, rows)
