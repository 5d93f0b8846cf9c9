"""TensorBoard event files, written without the `tensorboard` package.

`clu.metric_writers` needs that package at import, and TensorFlow no longer brings it. The method names are those of a
CLU metric writer, so that either can stand in for the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


class EventWriter:
    """Writes scalars and texts to one TensorBoard run folder.

    Args:
        logdir: folder of the event file; made when missing.
    """

    def __init__(self, logdir: str):
        """Opens the event file; this is where TensorFlow is first needed."""
        import tensorflow as tf

        self._tf = tf
        self._writer = tf.summary.create_file_writer(str(logdir))

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Writes the numbers in `scalars`, by tag, at `step`; what is no number yet must be convertible to a float."""
        self._write(step, {tag: np.float32(value) for tag, value in scalars.items()}, "scalars")

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        """Writes the Markdown `texts`, by tag, at `step`."""
        self._write(step, texts, "text")

    def _write(self, step: int, values: Mapping[str, Any], plugin_name: str) -> None:
        metadata = self._tf.compat.v1.SummaryMetadata()
        metadata.plugin_data.plugin_name = plugin_name
        # DATA_CLASS_SCALAR is 1 and DATA_CLASS_TENSOR 2; TensorBoard migrates events without a class.
        metadata.data_class = 1 if plugin_name == "scalars" else 2
        with self._writer.as_default():
            for tag, value in values.items():
                self._tf.summary.write(tag, value, step=step, metadata=metadata)

    def flush(self) -> None:
        """Makes everything written so far visible to readers."""
        self._writer.flush()

    def close(self) -> None:
        """Flushes and closes the file; safe to call twice."""
        self._writer.close()
