"""Label words of the released files, by task."""

from distill_or_annotate.metrics.entities import WLP_TYPES

LABELS = {
    "wlp": WLP_TYPES,
    "stanceosaurus": ("Supporting", "Refuting", "Irrelevant", "Discussing", "Querying"),
    "fever": ("SUPPORTS", "REFUTES"),
    "multipit_id": ("NO", "YES"),
}
TASKS = ("wlp", "stanceosaurus", "fever", "multipit_id", "multipit_gen", "natural_questions")
