"""`python -m distill_or_annotate` is `doa`."""

from distill_or_annotate.cli import program

program()
