"""The plan as one page with sliders: it computes in the reader's browser what `doa plan --json` computes."""

from distill_or_annotate.planning.page.document import page

__all__ = ["page"]
