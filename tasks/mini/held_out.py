"""Words held out of pre-training, scored apart: `python -m distill_or_annotate.tasks.mini.held_out RUN`.

A run's test entities are divided by whether they hold a word that pre-training never showed. On the first kind a model
has only form, context and labels to go by.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

from distill_or_annotate.metrics import entities
from distill_or_annotate.tasks.mini import lexicon


def f1_by_novelty(rows: list[dict[str, str]]) -> dict[str, float]:
    """Entity F1 on entities with and without a held-out word.

    Args:
      rows: test rows with `target` and `prediction`.

    Returns:
      `held_out` and `seen`, in percent; an entity of either side belongs to where its own words put it.
    """
    new_words = lexicon.held_out_words()
    types = {name.upper() for name in lexicon.TYPES}
    counts: dict[str, Counter[str]] = {"held_out": Counter(), "seen": Counter()}
    for row in rows:
        gold, found = (Counter(entities.parse_entities(row[side], types)) for side in ("target", "prediction"))
        for side, bag in (("gold", gold), ("found", found), ("right", gold & found)):
            for (text, _), number in bag.items():
                kind = "held_out" if new_words & set(text.split()) else "seen"
                counts[kind][side] += number
    return {kind: 100 * 2 * count["right"] / max(1, count["gold"] + count["found"]) for kind, count in counts.items()}


def main() -> None:
    """Print a row for each evaluated model of a run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a run folder of `doa run` on the task mini")
    run = parser.parse_args().run
    results = [json.loads(line) for line in (run / "results.jsonl").read_text(encoding="utf-8").split("\n") if line]
    stages = run / "stages"
    by_subject = {json.loads(path.read_text())["subject"]: path for path in stages.glob("evaluate-*/evaluation.json")}
    for result in results:
        path = by_subject[result["run_ids"][0]].with_name("predictions.jsonl")
        parts = f1_by_novelty([json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line])
        print(
            f"{result['strategy']:9s} +${result['additional_usd']:<7g} all {result['score']:.1f}  "
            f"held out {parts['held_out']:.1f}  seen {parts['seen']:.1f}"
        )


if __name__ == "__main__":
    main()
