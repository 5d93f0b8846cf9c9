"""A SeqIO logger that writes TensorBoard scalars and texts without the `tensorboard` package."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import seqio
from absl import logging
from seqio import metrics as seqio_metrics

from t5x import event_writer


class EventFileLogger(seqio.Logger):
    """Writes metrics under `eval/`, as `seqio.TensorBoardLogger` does; images, audio and histograms are left out.

    Args:
      output_dir: each task's events go to a folder below it.
    """

    def __init__(self, output_dir: str) -> None:
        super().__init__(output_dir)
        self._summary_writers: dict[str, event_writer.EventWriter] = {}

    def __call__(self, task_name: str, step: int | None, metrics: Mapping[str, Any], **unused: Any) -> None:
        """Writes the metrics of one task at one step.

        Args:
          task_name: name of the task.
          step: step of the evaluated state; None stands for -1.
          metrics: name to value.
          **unused: data set, inferences and targets.
        """
        if task_name not in self._summary_writers:
            self._summary_writers[task_name] = event_writer.EventWriter(os.path.join(self.output_dir, task_name))
        writer = self._summary_writers[task_name]
        step = -1 if step is None else step
        for name, value in metrics.items():
            if isinstance(value, seqio_metrics.Scalar):
                writer.write_scalars(step, {f"eval/{name}": float(np.array(value.value))})
            elif isinstance(value, seqio_metrics.Text):
                writer.write_texts(step, {f"eval/{name}": str(value.textdata)})
            else:
                logging.warning("Metric %s (%s) needs the tensorboard package.", name, type(value).__name__)
        writer.flush()
