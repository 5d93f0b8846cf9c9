"""The objective of distillation, on jax alone."""

from distill_or_annotate.losses.kl import kl_divergence

__all__ = ["kl_divergence"]
