"""Entities with a word that pre-training never showed are scored apart."""

from distill_or_annotate.tasks.mini import lexicon
from distill_or_annotate.tasks.mini.held_out import f1_by_novelty


def test_each_entity_counts_on_the_side_of_its_own_words():
    new = sorted(lexicon.held_out_words())[0]
    old = next(word.text for word in lexicon.words() if not word.held_out)
    row = {"target": f"{new} [Reagent] {old} [Action]", "prediction": f"{new} [Device] {old} [Action] {old} [Seal]"}
    # Held out: one gold, one found, none right. Seen: one gold, two found, one right: 2 * 1 / 3.
    parts = f1_by_novelty([row])
    assert parts["held_out"] == 0.0
    assert abs(parts["seen"] - 200 / 3) < 1e-9
