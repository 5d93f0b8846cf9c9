"""`t5x.utils`: schedules, data sets, the training iterator, initialisation, inference loop, vocabularies."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import seqio
import tensorflow as tf
from jax.sharding import PartitionSpec

from t5x import partitioning, train_state, utils

CONFIG = {
    "mixture_or_task_name": "reverse_bytes",
    "task_feature_lengths": {"inputs": 8, "targets": 8},
    "split": "train",
    "batch_size": 8,
    "shuffle": True,
    "seed": 5,
    "module": "synthetic_task",
}


@pytest.fixture(scope="module")
def partitioner():
    return partitioning.PjitPartitioner(
        model_parallel_submesh=(1, 2, 1, 1), logical_axis_rules=partitioning.standard_logical_axis_rules()
    )


def dataset(**changes):
    cfg = utils.DatasetConfig(**{**CONFIG, **changes})
    return utils.get_dataset(cfg, 0, 1, seqio.EncDecFeatureConverter)


@pytest.mark.parametrize(
    ("options", "step", "expected"),
    [
        ({"factors": "constant * rsqrt_decay", "base_learning_rate": 1.0, "warmup_steps": 10000}, 0, 0.01),
        ({"factors": "constant * rsqrt_decay", "base_learning_rate": 1.0, "warmup_steps": 10000}, 10000, 0.01),
        ({"factors": "constant * rsqrt_decay", "base_learning_rate": 1.0, "warmup_steps": 10000}, 40000, 0.005),
        ({"factors": "constant*linear_warmup", "base_learning_rate": 0.4, "warmup_steps": 10}, 5, 0.2),
        ({"factors": "constant * linear_warmup", "base_learning_rate": 0.4, "warmup_steps": 10}, 50, 0.4),
        ({"factors": "linear_decay", "base_learning_rate": 1.0, "warmup_steps": 10, "decay_factor": 0.01}, 5, 0.5),
        # 1 + 0.01 * (10 - 60)
        ({"factors": "linear_decay", "base_learning_rate": 1.0, "warmup_steps": 10, "decay_factor": 0.01}, 60, 0.5),
        ({"factors": "linear_decay", "base_learning_rate": 1.0, "warmup_steps": 10, "decay_factor": 0.01}, 160, 1e-8),
        ({"factors": "rsqrt_normalized_decay", "warmup_steps": 4}, 16, 0.5),
        ({"factors": "decay_every", "decay_factor": 0.5, "steps_per_decay": 10}, 25, 0.25),
        ({"factors": "cosine_decay", "warmup_steps": 0, "steps_per_cycle": 100}, 50, 0.5),
        ({"factors": "constant", "base_learning_rate": 0.3, "step_offset": 100}, 3, 0.3),
        ({"factors": "linear_warmup", "warmup_steps": 10, "step_offset": 100}, 105, 0.5),
    ],
)
def test_schedules(options, step, expected):
    rate = utils.create_learning_rate_scheduler(**options)
    assert rate(step).dtype == jnp.float32
    np.testing.assert_allclose(jax.jit(rate)(step), expected, rtol=1e-6)


def test_an_unknown_factor_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'constnat'.*known: constant"):
        utils.create_learning_rate_scheduler("constnat")(0)


def test_shards_split_the_batch_and_an_odd_size_is_refused():
    cfg = utils.DatasetConfig(**CONFIG)
    ds = utils.get_dataset(cfg, 1, 4, seqio.EncDecFeatureConverter)
    assert ds.element_spec["encoder_input_tokens"].shape == (2, 8)
    with pytest.raises(ValueError, match="batch_size is 8, which does not divide by the 3"):
        utils.get_dataset(cfg, 0, 3, seqio.EncDecFeatureConverter)


def test_one_seed_gives_one_order_and_no_seed_takes_the_clock():
    def first(**changes):
        return next(dataset(**changes).as_numpy_iterator())["encoder_input_tokens"]

    np.testing.assert_array_equal(first(), first())
    assert not np.array_equal(first(), first(seed=6))
    assert first(seed=None).shape == (8, 8)


def test_an_unknown_task_is_refused_with_near_names():
    with pytest.raises(ValueError, match=r"'reverse_byts' is registered. Near names: reverse_bytes"):
        dataset(mixture_or_task_name="reverse_byts")


def test_evaluation_data_fill_the_asked_number_of_batches():
    cfg = utils.DatasetConfig(**CONFIG | {"split": "validation", "shuffle": False})
    datasets = utils.get_training_eval_datasets(cfg, 0, 1, 5, seqio.EncDecFeatureConverter)
    assert {name: len(list(ds)) for name, ds in datasets.items()} == {"reverse_bytes": 5}
    none = utils.DatasetConfig(**CONFIG | {"split": "nowhere"})
    assert utils.get_training_eval_datasets(none, 0, 1, 5, seqio.EncDecFeatureConverter) == {}


def drain(iterator, count):
    return [np.asarray(next(iterator)["encoder_input_tokens"]) for _ in range(count)]


@pytest.mark.parametrize("save_state", [False, True])
def test_a_restored_iterator_yields_what_the_first_would_have(partitioner, tmp_path, save_state):
    def iterator():
        return utils.TrainIterator(dataset(), partitioner, save_state=save_state, provenance={"seed": 5})

    first = iterator()
    drain(first, 7)  # more have been read ahead by now
    first.save(str(tmp_path / "at_7"))
    expected = drain(first, 20)  # beyond the end of the epoch of 12 batches
    first.close()
    second = iterator()
    second.restore(str(tmp_path / "at_7"))
    assert second.consumed_batches == 7
    np.testing.assert_array_equal(drain(second, 20), expected)
    second.close()


def test_batches_lie_on_the_data_axis_and_peeking_takes_none(partitioner):
    iterator = utils.TrainIterator(dataset(), partitioner)
    assert iterator.element_spec["encoder_input_tokens"].shape == (8, 8)
    peeked = iterator.peek_async().result()["encoder_input_tokens"]
    assert peeked.sharding.spec == PartitionSpec("data")
    assert peeked.addressable_shards[0].data.shape == (2, 8)  # 4 data shards
    np.testing.assert_array_equal(next(iterator)["encoder_input_tokens"], peeked)
    assert iterator.consumed_batches == 1
    iterator.close()
    assert "t5x-batches" not in {thread.name for thread in threading.enumerate()}


def test_an_iterator_passes_on_what_goes_wrong_in_its_thread(partitioner):
    def broken():
        yield {"x": np.ones((8, 2), np.float32)}
        raise RuntimeError("bad record 17")

    iterator = utils.TrainIterator(broken(), partitioner)
    next(iterator)
    with pytest.raises(RuntimeError, match="bad record 17"):
        next(iterator)
    iterator.close()
    empty = utils.TrainIterator(iter(()), partitioner)
    with pytest.raises(ValueError, match="yields no batch"):
        next(empty)
    empty.close()


def indexed(values):
    return tf.data.Dataset.from_tensor_slices({"x": np.asarray(values, np.int32)}).enumerate()


def test_inference_pads_orders_and_returns_python_values(partitioner):
    def step(params, batch, rng=None):
        doubled = params * batch["x"]
        return jnp.stack([doubled, batch["x"]], axis=1), {"score": doubled / 2}

    state = train_state.InferenceState(step=jnp.int32(0), params=jnp.int32(2))
    axes = train_state.InferenceState(step=None, params=PartitionSpec())
    infer_fn = utils.get_infer_fn(step, 8, axes, partitioner)
    outputs, aux = infer_fn(indexed(range(11)), state, rng=jax.random.PRNGKey(0))
    assert outputs == [(i, [2 * i, i]) for i in range(11)]
    assert aux == {"score": [float(i) for i in range(11)]}


def test_inference_refuses_data_of_unknown_length(partitioner):
    infer_fn = utils.get_infer_fn(lambda params, batch: batch["x"], 8, None, partitioner)
    with pytest.raises(ValueError, match="known length"):
        infer_fn(indexed(range(4)).filter(lambda i, x: True), None)


def test_zeros_like_a_dataset():
    zeros = utils.get_zeros_batch_like_dataset(dataset(), batch_size=2)
    assert {name: (x.shape, str(x.dtype)) for name, x in zeros.items()}["decoder_target_tokens"] == ((2, 8), "int32")
    assert not any(np.any(x) for x in zeros.values())


class FakeModel:
    def __init__(self, vocabulary):
        self.input_vocabulary = self.output_vocabulary = vocabulary


def test_vocabularies_must_match():
    cfg = utils.DatasetConfig(**CONFIG)
    utils.verify_matching_vocabs(cfg, FakeModel(seqio.ByteVocabulary()))
    with pytest.raises(ValueError, match="input vocabularies differ: task 'reverse_bytes'"):
        utils.verify_matching_vocabs(cfg, FakeModel(seqio.ByteVocabulary(extra_ids=7)))


@pytest.mark.parametrize(("divisor", "expected"), [(128, 384), (1, 259), (259, 259)])
def test_vocabulary_sizes_are_rounded_up(divisor, expected):
    assert utils.round_vocab_size_to_multiple(seqio.ByteVocabulary(), divisor) == expected


def test_importing_utils_needs_neither_tensorflow_nor_seqio():
    import subprocess
    import sys

    code = "import sys; from t5x import utils, train; print([m for m in ('tensorflow', 'seqio') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("options", "message"),
    [({"dtype": "int8"}, "dtype is 'int8'; allowed"), ({"keep": 0}, "keep is 0"), ({"period": -1}, "period is -1")],
)
def test_impossible_save_configurations_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        utils.SaveCheckpointConfig(**options)
