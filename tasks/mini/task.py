"""The embedded tasks: `mini` (entities) and `mini_cls` (one word), from one invented language.

A raw row of `mini`:
  {"source": "galate some tulol with the fully dorous lurcap",
   "target": "galate [Action] tulol [Reagent] dorous [Modifier] lurcap [Seal]"}
Input and target are these texts. Score: entity F1; of the four entities a model that says `galate [Action]` alone finds
one with one guess, F1 2 * 1 / (4 + 1) = 40.0.

A raw row of `mini_cls`: {"source": "now galate a dorous tulol slowly", "target": "gentle"}; the sense of the adverb,
`gentle` or `harsh`. Score: accuracy. Adverbs stand in one slot and depend on nothing else, so unlabeled text says
nothing about them. From 100 labels, labels are the better buy; from 300, when the teacher has learnt, they are not
(docs/results.md).

Sizes: 3,000 labelled, 300 dev, 500 test, a pool of 20,000, and 120,000 sentences to pre-train on; no sentence occurs in
two parts. Made by `grammar.py` from a seed; no licence but the project's own.

Change log: 1 first version.
"""

from distill_or_annotate.tasks import pretraining, registry, scoring, variants
from distill_or_annotate.tasks.mini import splits
from distill_or_annotate.tasks.mini.vocabulary import vocabulary
from distill_or_annotate.tasks.spec import TaskSpec

SIZES = {
    "n_labels": (50, 100, 150, 200, 300, 500, 1000, 2000, 3000),
    "n_unlabeled": (500, 1000, 2000, 4000, 8000, 20000),
}


def _rows(make):
    return lambda split: list(make(split))


_SHARED = {"version": 1, "vocabulary": vocabulary, "input_tokens": 20, "target_tokens": 20}
for _spec in (
    TaskSpec("mini", rows=_rows(splits.mini_rows), **scoring.OTHERS["mini"].fields(), **_SHARED),
    TaskSpec("mini_cls", rows=_rows(splits.mini_cls_rows), **scoring.OTHERS["mini_cls"].fields(), **_SHARED),
):
    registry.register(_spec)
    variants.register_defaults(_spec.name, **SIZES)

pretraining.register("mini", lambda split: list(splits.mini_rows("pretrain")), vocabulary)
