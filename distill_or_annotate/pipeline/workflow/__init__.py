"""The same graph of stages handed to Snakemake, for several stages at a time or for a cluster."""

from distill_or_annotate.pipeline.workflow.handing import Handed, WorkflowError, hand_over
from distill_or_annotate.pipeline.workflow.snakefile import snakefile

__all__ = ["Handed", "WorkflowError", "hand_over", "snakefile"]
