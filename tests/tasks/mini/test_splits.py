"""The parts of the embedded tasks: disjoint, of the promised sizes, the same on every machine."""

import hashlib
import json
import subprocess
import sys

import pytest

from distill_or_annotate.tasks.mini import grammar, lexicon, splits

# sha256 of the rows as JSON. Shipped models were pre-trained on this language: a change makes them worthless, so it
# needs new models, a raised task version and these values anew.
TEST_SHA256 = {
    "mini": "b268cde5afb1393a2148958acfcccd114d69e62c649fb64927e466bdc5390930",
    "mini_cls": "3865b337208520e12e8f3ecbdffb34684d440977be06f7fed7a73ad6299ce562",
}
ROWS = {"mini": splits.mini_rows, "mini_cls": splits.mini_cls_rows}
LABELLED_PARTS = ("test", "validation", "train", "unlabeled")


@pytest.mark.parametrize("task", ROWS)
def test_sizes_are_the_promised_ones(task):
    assert {split: len(ROWS[task](split)) for split in LABELLED_PARTS} == {
        "test": 500,
        "validation": 300,
        "train": 3000,
        "unlabeled": 20000,
    }


def test_no_sentence_of_mini_occurs_twice_in_any_part():
    sources = [row["source"] for split in splits.SIZES for row in splits.mini_rows(split)]
    assert len(sources) == sum(splits.SIZES.values()) == len(set(sources))


def test_no_sentence_of_mini_cls_occurs_twice_or_in_pretraining():
    sources = [row["source"] for split in LABELLED_PARTS for row in splits.mini_cls_rows(split)]
    assert len(sources) == len(set(sources))
    assert not set(sources) & {row["source"] for row in splits.mini_rows("pretrain")}


def test_pretraining_text_has_no_held_out_word_and_every_other_one():
    seen = {word for row in splits.mini_rows("pretrain") for word in row["source"].split()}
    assert not seen & lexicon.held_out_words()
    assert set(lexicon.by_text()) - lexicon.held_out_words() <= seen
    assert set(grammar.CLOSED_WORDS) <= seen


def test_test_part_has_held_out_words_to_score_apart():
    held_out = lexicon.held_out_words()
    with_one = sum(bool(held_out & set(row["source"].split())) for row in splits.mini_rows("test"))
    assert 100 < with_one < 400


@pytest.mark.parametrize("task", ROWS)
def test_test_part_is_the_recorded_one(task):
    text = json.dumps([[row["source"], row["target"]] for row in ROWS[task]("test")])
    assert hashlib.sha256(text.encode()).hexdigest() == TEST_SHA256[task]


def test_mini_cls_target_is_the_sense_of_the_adverb():
    for row in splits.mini_cls_rows("train"):
        (adverb,) = [word for word in row["source"].split() if word in grammar.ADVERBS]
        assert row["target"] == ("gentle" if adverb in grammar.GENTLE_ADVERBS else "harsh")


def test_mini_cls_has_no_class_that_is_nearly_all():
    targets = [row["target"] for row in splits.mini_cls_rows("test")]
    assert 0.35 < targets.count("gentle") / len(targets) < 0.65


def test_unknown_split_is_refused_with_a_near_name():
    with pytest.raises(ValueError, match="Did you mean 'validation'"):
        splits.mini_rows("validaton")
    with pytest.raises(ValueError, match="mini_cls has none"):
        splits.mini_cls_rows("pretrain")


def test_grammar_needs_neither_tensorflow_nor_jax():
    program = (
        "import sys\nfrom distill_or_annotate.tasks.mini import splits\nsplits.mini_rows('test')\n"
        "print([name for name in ('tensorflow', 'jax', 'seqio') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
