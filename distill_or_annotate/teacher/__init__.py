"""The frozen teacher: its parameters, its placement, its logits."""

from distill_or_annotate.teacher.frozen import FrozenTeacher

__all__ = ["FrozenTeacher"]
