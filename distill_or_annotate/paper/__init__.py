"""The paper's numbers: one data file, each figure with its table or section, and a reader."""

from distill_or_annotate.paper.facts import UnknownTaskError, facts, row, task, task_names

__all__ = ["UnknownTaskError", "facts", "row", "task", "task_names"]
