"""The objective of distillation, on jax alone."""

from distill_or_annotate.losses.blocks import Positions
from distill_or_annotate.losses.divergences import Divergence, DivergenceError, divergence
from distill_or_annotate.losses.kl import TeacherHidden, TeacherLogits, kl_divergence
from distill_or_annotate.losses.topk import TeacherTopK, top_k

__all__ = [
    "Divergence",
    "DivergenceError",
    "Positions",
    "TeacherHidden",
    "TeacherLogits",
    "TeacherTopK",
    "divergence",
    "kl_divergence",
    "top_k",
]
