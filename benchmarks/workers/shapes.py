"""Shapes that every timed system takes, and the loop in which a worker answers."""

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Mapping


@dataclasses.dataclass(frozen=True)
class Shape:
    """A T5 v1.1 network and a batch for it.

    Args:
      d_model: width.
      d_kv: size of a head.
      d_ff: hidden size of the gated feed-forward blocks.
      n_heads: heads.
      n_layers: layers of encoder and of decoder.
      batch: examples in a batch.
      input_tokens: length of the inputs.
      target_tokens: length of the targets, and tokens decoded.
      vocab: rows of the vocabulary.
    """

    d_model: int
    d_kv: int
    d_ff: int
    n_heads: int
    n_layers: int
    batch: int = 32
    input_tokens: int = 64
    target_tokens: int = 32
    vocab: int = 32128


SHAPES = {
    "A": Shape(512, 64, 1024, 6, 8),
    "B": Shape(256, 64, 512, 4, 4),
    "tiny": Shape(16, 8, 32, 2, 1, batch=2, input_tokens=8, target_tokens=4, vocab=64),
}


def serve(prepare: Callable[[str, Shape], Callable[[], None]], about: Mapping[str, str]) -> None:
    """Answers lines of standard input until it closes.

    A line `prepare WORK SHAPE` makes a piece of work ready and runs it once (compilation included); `run WORK SHAPE N`
    does it N times. Each answer is one JSON line with `seconds`, a list of wall times.

    Args:
      prepare: (work, shape) to a function that does it once and returns when it is done.
      about: versions, for the report.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    print(json.dumps(dict(about)), file=answers, flush=True)
    ready: dict[tuple[str, str], Callable[[], None]] = {}
    for line in sys.stdin:
        verb, work, shape, *count = line.split()
        seconds = []
        for _ in range(int(count[0]) if count else 1):
            start = time.perf_counter()
            if verb == "prepare":
                ready[work, shape] = prepare(work, SHAPES[shape])
            ready[work, shape]()
            seconds.append(time.perf_counter() - start)
        print(json.dumps({"seconds": seconds}), file=answers, flush=True)
