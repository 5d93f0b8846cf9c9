"""Summaries: values, timing and event files."""

import time

import clu.metrics as clu_metrics
import jax.numpy as jnp
import numpy as np
import pytest

from t5x import metrics
from t5x.event_writer import EventWriter
from t5x.summaries import Gathered, MetricsManager, merge_metrics


def events(folder):
    import tensorflow as tf

    found = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                found[value.tag, event.step] = tf.make_ndarray(value.tensor)[()], value.metadata
    return found


def some_metrics(total=6.0):
    return {
        "loss": metrics.AveragePerStep.from_model_output(jnp.float32(total)),
        "timing/seconds": metrics.Time(),
        "accuracy": clu_metrics.Average.from_model_output(jnp.array([1.0, 0.0])),
    }


def test_a_summary_fills_steps_and_durations_and_reaches_the_event_file(tmp_path):
    manager = MetricsManager("train", str(tmp_path))
    manager.start_duration_timer(block_on=jnp.ones(3))
    time.sleep(0.05)
    values = manager.write_metrics_summary(some_metrics(), step=7, num_steps=3).result()
    assert values["loss"].value == 2.0 and 0.05 <= values["timing/seconds"].value < 5
    manager.write_scalar("timing/uptime", 1.5, 8)
    manager.close()
    manager.close()
    found = events(tmp_path / "train")
    assert set(found) == {("loss", 7), ("timing/seconds", 7), ("accuracy", 7), ("timing/uptime", 8)}
    assert found["loss", 7][0] == 2.0 and found["accuracy", 7][0] == 0.5
    assert found["loss", 7][1].plugin_data.plugin_name == "scalars"


def test_texts_are_for_the_text_plugin(tmp_path):
    writer = EventWriter(str(tmp_path))
    writer.write_texts(3, {"config": "a = 1"})
    writer.close()
    value, metadata = events(tmp_path)["config", 3]
    assert value == b"a = 1" and metadata.plugin_data.plugin_name == "text"


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    manager = MetricsManager("train")
    assert manager.summary_writer is None and manager.summary_dir is None
    manager.start_duration_timer()
    assert manager.write_metrics_summary(some_metrics(), 1, 1).result()["loss"].value == 6.0
    manager.flush()
    manager.close()
    assert list(tmp_path.iterdir()) == []


def test_parts_merge_in_order_and_wide_enough():
    manager = MetricsManager("train")
    big = {"n": metrics.Sum(total=np.int32(2**30)), "rate": clu_metrics.LastValue.from_model_output(jnp.ones(1))}
    last = {"n": metrics.Sum(total=np.int32(2**30)), "rate": clu_metrics.LastValue.from_model_output(jnp.full(1, 4.0))}
    gathered = Gathered(manager)
    for part in (big, big, last):
        gathered.add(part)
    values = gathered.summarize(3).result()
    assert values["n"].value == 3 * 2**30  # above int32
    assert values["rate"].value == 4.0
    manager.close()


def test_an_average_over_nothing_is_nan():
    manager = MetricsManager("train")
    empty = {"accuracy": clu_metrics.Average.from_model_output(jnp.ones(2), mask=jnp.zeros(2))}
    assert np.isnan(manager.write_metrics_summary(empty, 1, 1).result()["accuracy"].value)
    manager.close()


def test_a_failure_in_the_background_reaches_the_caller():
    manager = MetricsManager("train")
    future = manager.write_metrics_summary({"t": metrics.Time()}, 1, 1)  # no timer was started
    with pytest.raises(ValueError, match="duration"):
        future.result()
    manager.close()


def test_merging_takes_the_names_of_both():
    merged = merge_metrics(some_metrics(1.0), some_metrics(2.0))
    assert float(merged["loss"].total) == 3.0
    with pytest.raises(KeyError):
        merge_metrics(some_metrics(), {})
