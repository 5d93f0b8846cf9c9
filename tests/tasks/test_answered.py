"""The part of a pool that a language model labelled, as a task."""

import json

import pytest

from distill_or_annotate.tasks import registry, variants


@pytest.fixture
def answers(tmp_path):
    """A file of answers to all but the second of the first five sources of the pool."""
    sources = [row["source"] for row in variants.pool("mini").rows[:5]]
    lines = [
        {"source": source, "prediction": f"{source.split()[0]} [Action]", "inputs": {"inputs_pretokenized": source}}
        for number, source in enumerate(sources)
        if number != 1
    ]
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path, sources


def test_what_was_set_aside_is_left_out(answers):
    path, sources = answers
    rows = registry.rows(variants.answered("mini", path, 5), "train")
    assert [row["source"] for row in rows] == [source for number, source in enumerate(sources) if number != 1]
    assert all(row["target"].endswith("[Action]") for row in rows)


def test_gold_rows_are_mixed_in_and_the_name_says_what_it_is_made_of(answers):
    path, _ = answers
    alone, mixed = variants.answered("mini", path, 5), variants.answered("mini", path, 5, gold="mini_n50_s0")
    assert alone != mixed and alone == variants.answered("mini", path, 5)
    rows = registry.rows(mixed, "train")
    assert len(rows) == 4 + 50
    gold = {row["source"] for row in registry.rows("mini_n50_s0", "train")}
    assert {row["source"] for row in rows[:50]} - gold, "mixed, not appended"


def test_answers_to_other_texts_are_refused(answers, tmp_path):
    path, _ = answers
    with pytest.raises(variants.PredictionsError, match=r"none of the first 2 sources.*doa annotate"):
        other = tmp_path / "other.jsonl"
        other.write_text(json.dumps({"prediction": "x", "inputs": {"inputs_pretokenized": "other"}}) + "\n")
        variants.answered("mini", other, 2)
    with pytest.raises(ValueError, match="n_unlabeled"):
        variants.answered("mini", path, 0)


def test_a_sentence_that_a_person_labelled_keeps_that_label_alone(tmp_path):
    gold = registry.rows(variants.labelled("mini_pooled", 50, 0), "train")
    pool = [row["source"] for row in variants.pool("mini_pooled").rows]
    both = [row["source"] for row in gold if row["source"] in set(pool)][:3]
    n_unlabeled = max(pool.index(source) for source in both) + 1
    path = tmp_path / "labels.jsonl"
    lines = [{"prediction": "x [Action]", "inputs": {"inputs_pretokenized": source}} for source in both]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = registry.rows(variants.answered("mini_pooled", path, n_unlabeled, gold="mini_pooled_n50_s0"), "train")
    assert sorted(row["source"] for row in rows) == sorted(row["source"] for row in gold)
    assert "x [Action]" not in {row["target"] for row in rows}
