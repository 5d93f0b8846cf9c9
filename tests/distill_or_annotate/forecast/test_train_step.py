"""The step of a gin configuration, without parameters or data, is the one that training compiles."""

import os

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from distill_or_annotate.forecast import train_step

_TINY = ("t5x/examples/t5/t5_1_1/tiny.gin", "t5x/configs/runs/finetune.gin")
_MACROS = (
    "MIXTURE_OR_TASK_NAME = 'not_registered'",
    "TASK_FEATURE_LENGTHS = {'inputs': 16, 'targets': 8}",
    "TRAIN_STEPS = 3",
    "MODEL_DIR = '/not/made'",
    "INITIAL_CHECKPOINT_PATH = '/not/there'",
    "BATCH_SIZE = 8",
    "RANDOM_SEED = 0",
)


def _mesh(model):
    return Mesh(np.array(jax.devices()).reshape(-1, model), ("data", "model"))


def _step(*bindings, mesh=None, files=_TINY, **more):
    return train_step.train_step(files, [*_MACROS, *bindings], mesh=mesh, **more)


def test_the_batch_is_that_of_the_feature_lengths_packed_or_not():
    packed = _step(mesh=_mesh(1)).batch
    assert packed["encoder_input_tokens"].shape == (8, 16) and packed["decoder_positions"].shape == (8, 8)
    plain = _step("train/utils.DatasetConfig.pack = False", mesh=_mesh(1)).batch
    assert set(packed) - set(plain) == {
        f"{side}_{what}" for side in ("encoder", "decoder") for what in ("segment_ids", "positions")
    }
    assert all(spec.dtype == np.int32 for spec in packed.values())
    assert train_step.bytes_per_device(plain) == 4 * (16 + 3 * 8)


def test_neither_folder_nor_checkpoint_nor_task_is_touched_and_the_state_is_split():
    whole, split = (_step(mesh=_mesh(model)) for model in (1, 4))
    assert train_step.parameter_count(whole.state.params) == 518_240  # tiny.gin's header
    assert train_step.bytes_per_device(whole.state.params) == 4 * 518_240
    assert train_step.bytes_per_device(split.state.params) < 2 * 518_240
    assert not os.path.exists("/not/made")
    leaves = jax.tree.leaves(whole.arguments)
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves)


def test_the_compiled_step_takes_what_was_counted_and_runs_on_real_arrays():
    layers = (f"network.T5Config.num_{stack}_layers = 1" for stack in ("encoder", "decoder"))
    step = _step("train/utils.DatasetConfig.pack = False", *layers, mesh=_mesh(2))
    compiled = step.lower().compile()
    counted = train_step.bytes_per_device(step.state) + train_step.bytes_per_device(step.batch)
    assert compiled.memory_analysis().argument_size_in_bytes == counted
    zeros = jax.tree.map(lambda leaf: jax.device_put(np.zeros(leaf.shape, leaf.dtype), leaf.sharding), step.arguments)
    state, metrics = compiled(*zeros)
    assert int(state.step) == 1 and "loss" in metrics


def test_a_mesh_that_does_not_divide_the_model_is_refused_with_the_sizes_that_do():
    with pytest.raises(ValueError, match=r"key/kernel \[8, 12\] 8 ways over `model`.* 1, 12\. .*one of \[1, 2, 4\]"):
        _step(mesh=_mesh(8))


def test_a_batch_that_the_mesh_does_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"BATCH_SIZE is 6, .* 8, does not divide"):
        _step("BATCH_SIZE = 6", mesh=_mesh(1))


def test_lengths_that_only_data_tell_are_asked_for():
    with pytest.raises(ValueError, match=r"task_feature_lengths is None: .*TASK_FEATURE_LENGTHS"):
        _step("train/utils.DatasetConfig.task_feature_lengths = None", mesh=_mesh(1))


def test_a_distillation_has_its_teacher_s_parameters_between_state_and_batch():
    step = train_step.train_step(["gin/experiments/mini_distill.gin", "gin/mesh/cpu-8.gin"])
    assert dict(step.mesh.shape) == {"data": 4, "model": 2}
    assert train_step.parameter_count(step.teacher_params) == 2_789_120
    assert train_step.bytes_per_device(step.teacher_params) < 0.6 * 4 * 2_789_120  # split over `model`
    assert train_step.bytes_per_device(step.state.params) == 4 * train_step.parameter_count(step.state.params)
    assert step.lower() is not None


def test_xxl_is_traced_without_its_forty_gigabytes():
    files = ("t5x/examples/t5/t5_1_1/xxl.gin", _TINY[1])
    step = _step("network.T5Config.num_encoder_layers = 2", "network.T5Config.num_decoder_layers = 2", files=files)
    assert dict(step.mesh.shape) == {"data": 1, "model": 8}  # the partitioner's own choice on CPU
    assert train_step.bytes_per_device(step.state.params) < train_step.parameter_count(step.state.params)
