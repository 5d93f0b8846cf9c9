"""Pairs of teacher and student that the distillation benchmark takes, and the loop in which its workers answer."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from shapes import SHAPES, Shape

TEMPERATURE, KEPT_TOKENS, LEARNING_RATE = 2.0, 32, 1e-3

PAIRS = {
    "C-B": (Shape(768, 64, 2048, 12, 12), SHAPES["B"]),
    "xxl-small": (Shape(4096, 64, 10240, 64, 24), Shape(512, 64, 1024, 6, 8)),
    "tiny": (Shape(32, 8, 64, 4, 2, batch=2, input_tokens=8, target_tokens=4, vocab=64), SHAPES["tiny"]),
}

# Rows that a teacher decodes at once: more than it trains on, for decoding reads all weights at each token.
DECODED_ROWS = 128


def decoded_rows(shape: Shape, n_batches: int) -> int:
    """Rows of one decode: as many training batches of the pool as stay within `DECODED_ROWS`, and divide it.

    Args:
      shape: the teacher's, which says the batch.
      n_batches: batches of the pool, at least 1.
    """
    fitting = [n for n in range(1, n_batches + 1) if n_batches % n == 0 and n * shape.batch <= DECODED_ROWS]
    return shape.batch * max(fitting, default=1)


def serve(
    prepare: Callable[[str, int], tuple[Mapping[str, Callable[[], None]], Mapping[str, Any]]], about: Mapping[str, str]
) -> None:
    """Answers lines of standard input until it closes, each with one JSON line.

    A line `prepare PAIR BATCHES` makes a pool of so many batches and all parts of the work ready; `run PART` does one.

    Args:
      prepare: (pair, batches) to functions that do a part once, and facts for the report.
      about: versions, for the report.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    print(json.dumps(dict(about)), file=answers, flush=True)
    parts: Mapping[str, Callable[[], None]] = {}
    for line in sys.stdin:
        verb, *words = line.split()
        start = time.perf_counter()
        if verb == "prepare":
            parts, facts = prepare(words[0], int(words[1]))
        else:
            parts[words[0]]()
            facts = {}
        print(json.dumps({"seconds": [time.perf_counter() - start], **facts}), file=answers, flush=True)
