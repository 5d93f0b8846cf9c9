"""How sure a score or a difference of two scores is: nested and paired bootstrap, Holm's correction."""

from distill_or_annotate.statistics.holm import holm
from distill_or_annotate.statistics.nested import Difference, Estimate, Models, difference, estimate

__all__ = ["Difference", "Estimate", "Models", "difference", "estimate", "holm"]
