"""Pre-training of mini models: half span corruption, half copy-denoising, on a corpus of sentences."""

from __future__ import annotations

import functools
from collections.abc import Callable

import seqio

from distill_or_annotate.preprocess.denoise import copy_denoising
from distill_or_annotate.preprocess.rows import Row
from distill_or_annotate.preprocess.spans import span_corruption
from distill_or_annotate.tasks.sources import RowsDataSource

_OBJECTIVES = {"spans": span_corruption, "copies": copy_denoising}


def register(corpus: str, rows: Callable[[str], list[Row]], vocabulary: Callable[[], seqio.Vocabulary]) -> str:
    """Registers the mixture `{corpus}_pretrain` and its two tasks, `{corpus}_pretrain_spans` and `_copies`.

    Args:
      corpus: name of the text.
      rows: split (`train`) to rows, of which only `source` is read.
      vocabulary: makes the vocabulary, which needs extra ids.

    Returns:
      The mixture's name, for `MIXTURE_OR_TASK_NAME`; registering it again changes nothing.
    """
    name = f"{corpus}_pretrain"
    if name in seqio.MixtureRegistry.names():
        return name
    feature = seqio.Feature(vocabulary=vocabulary(), add_eos=True)
    for objective, preprocessor in _OBJECTIVES.items():
        seqio.TaskRegistry.add(
            f"{name}_{objective}",
            source=RowsDataSource(rows, ("train",)),
            preprocessors=[
                functools.partial(seqio.preprocessors.rekey, key_map={"targets": "source"}),
                seqio.preprocessors.tokenize,
                seqio.CacheDatasetPlaceholder(),
                preprocessor,
                seqio.preprocessors.append_eos_after_trim,
            ],
            output_features={"inputs": feature, "targets": feature},
        )
    seqio.MixtureRegistry.add(name, [f"{name}_{objective}" for objective in _OBJECTIVES], default_rate=1.0)
    return name
