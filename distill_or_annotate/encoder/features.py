"""The feature converter of encoder classifiers: a task's text, cut by the encoder's own tokenizer.

A task keeps its vocabulary (T5's, or a small one), in which its label words are written; an encoder reads the text of
the same examples. So tasks, their variants, stores of captured teachers, metrics and files are the same for T5 models
and for encoders.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from distill_or_annotate.encoder.config import EncoderError
from distill_or_annotate.encoder.wordpiece import WordPiece


@functools.lru_cache(maxsize=8)
def converter(tokenizer: WordPiece) -> type:
    """The feature converter for an encoder; it also reads captured stores.

    Args:
      tokenizer: the encoder's.

    Returns:
      A subclass of `seqio.EncDecFeatureConverter`; `encoder_input_tokens` are the tokenizer's ids.
    """
    import tensorflow as tf

    from distill_or_annotate.capture import reading

    class EncoderFeatureConverter(reading.feature_converter()):
        """Replaces the task's own `inputs` by the encoder's ids of `inputs_pretokenized`."""

        def __call__(self, ds: Any, task_feature_lengths: Any) -> Any:
            """Converts `ds` to model features, given the `task_feature_lengths` of inputs and targets."""
            if "inputs_pretokenized" not in ds.element_spec:
                raise EncoderError(
                    "an encoder reads an example's text, but this data set has no inputs_pretokenized (its features: "
                    f"{', '.join(sorted(ds.element_spec))}). Fix: train on a task; a SeqIO mixture drops the text."
                )
            if self.pack:
                raise EncoderError("encoders read no packed examples. Fix: train/utils.DatasetConfig.pack = False.")
            longest = task_feature_lengths["inputs"]

            def ids(text: Any) -> np.ndarray:
                return tokenizer.ids(text.numpy().decode("utf-8"), longest)

            def own(example: dict[str, Any]) -> dict[str, Any]:
                tokens = tf.py_function(ids, [example["inputs_pretokenized"]], tf.int32)
                tokens.set_shape([None])
                return {**example, "inputs": tokens}

            return super().__call__(ds.map(own, num_parallel_calls=tf.data.AUTOTUNE), task_feature_lengths)

    return EncoderFeatureConverter
