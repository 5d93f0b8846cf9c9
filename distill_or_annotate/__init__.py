"""Cost-efficient training of compact language models: what does the next dollar buy, labels or a distilled student?"""

__version__ = "0.1.0"
