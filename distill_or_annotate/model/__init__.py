"""What the student's loss is, under distillation."""

from distill_or_annotate.model.distillation import DistillationObjective, DistillationOptions

__all__ = ["DistillationObjective", "DistillationOptions"]
