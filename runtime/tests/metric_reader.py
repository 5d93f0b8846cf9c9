"""Reading scalars back from TensorBoard event files."""

import os


def read_metric(model_dir: str, name: str) -> dict[int, float]:
    """Reads one scalar of a run.

    Args:
      model_dir: folder of the run.
      name: folder of the event files below it and tag, joined by slashes: `train/accuracy`,
        `training_eval/my_task/loss`, `inference_eval/my_task/eval/f1`.

    Returns:
      Step to value; the value written last wins. Empty when the run has no such scalar.
    """
    import tensorflow as tf

    # Tags hold slashes too, so the folder is as much of the name as exists.
    parts = name.split("/")
    for length in range(len(parts) - 1, 0, -1):
        folder, tag = os.path.join(model_dir, *parts[:length]), "/".join(parts[length:])
        if os.path.isdir(folder):
            break
    else:
        return {}
    values: dict[int, float] = {}
    for file in sorted(f for f in os.listdir(folder) if ".tfevents." in f):
        try:
            for record in tf.data.TFRecordDataset(os.path.join(folder, file)).as_numpy_iterator():
                event = tf.compat.v1.Event.FromString(record)
                for value in event.summary.value:
                    if value.tag == tag:
                        plain = value.simple_value if value.HasField("simple_value") else tf.make_ndarray(value.tensor)
                        values[int(event.step)] = float(plain)
        except tf.errors.DataLossError:
            continue  # the last record of a file whose writer was killed
    return values
