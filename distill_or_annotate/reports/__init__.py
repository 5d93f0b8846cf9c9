"""Tables, figures and pages from the files of a run, and from nothing else."""

from distill_or_annotate.reports.build import build, build_all
from distill_or_annotate.reports.inputs import ReportError, RunFiles, read_run
from distill_or_annotate.reports.table import Block, ReportCell, blocks_of
from distill_or_annotate.reports.text import print_blocks, print_run

__all__ = [
    "Block",
    "ReportCell",
    "ReportError",
    "RunFiles",
    "blocks_of",
    "build",
    "build_all",
    "print_blocks",
    "print_run",
    "read_run",
]
