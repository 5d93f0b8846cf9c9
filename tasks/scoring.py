"""How each of our tasks is scored: metric and labels, for the SeqIO tasks and for who scores a file without SeqIO."""

import dataclasses
import re
from typing import Any

from distill_or_annotate.metrics.entities import WLP_TYPES
from distill_or_annotate.tasks.mini import lexicon, vocabulary


@dataclasses.dataclass(frozen=True)
class Scoring:
    """What scores a task.

    Args:
      metric: a key of `distill_or_annotate.metrics.evaluation.METRICS`.
      labels: entity types, or label words in the reference's order: the first is what it takes an unknown one for.
    """

    metric: str
    labels: tuple[str, ...] = ()

    def fields(self) -> dict[str, Any]:
        """The arguments of `TaskSpec` that say the same."""
        return {"metric": self.metric, "labels": self.labels}


PUBLISHED = {
    "wlp": Scoring("entity_f1", WLP_TYPES),
    "stanceosaurus": Scoring("macro_f1", ("Irrelevant", "Supporting", "Refuting", "Discussing", "Querying")),
    "fever": Scoring("accuracy", ("REFUTES", "SUPPORTS")),
    "multipit_id": Scoring("accuracy", ("NO", "YES")),
    "multipit_gen": Scoring("bert_ibleu"),
    "natural_questions": Scoring("token_f1"),
}
OTHERS = {
    "wlp_mini": Scoring("entity_f1", WLP_TYPES),
    **dict.fromkeys(("mini", "mini_pooled", "mini_prefixed"), Scoring("entity_f1", lexicon.TYPES)),
    "mini_cls": Scoring("accuracy", vocabulary.LABEL_WORDS),
    **{f"{name}_mini": PUBLISHED[name] for name in ("fever", "multipit_id", "stanceosaurus")},
}

# Variants are scored as their task is: labelled, unlabeled and pseudo-labelled ones.
_VARIANT = re.compile(r"_(n\d+_s\d+|u\d+|pseudo_u\d+_\w+)$")
_FORM = re.compile(r"_(pooled|paper)$")


def find(task: str) -> tuple[Scoring, str] | None:
    """Looks up how a task of ours is scored.

    Args:
      task: a base task, a form of it (`_paper`, `_pooled`) or one of its variants.
    Returns:
      Its scoring and its mode, `fair` or `paper`; None for a task that is not ours.
    """
    base = _VARIANT.sub("", task)
    if base in OTHERS:
        return OTHERS[base], "fair"
    form = _FORM.search(base)
    name = base[: form.start()] if form else base
    if name not in PUBLISHED:
        return None
    return PUBLISHED[name], "paper" if form and form[1] == "paper" else "fair"


def names() -> list[str]:
    """Lists our base tasks, one name for all forms of each.

    Returns:
      Names, sorted.
    """
    return sorted({*PUBLISHED, *OTHERS})
