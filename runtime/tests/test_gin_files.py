"""The shipped gin files: each model file parses with each run file and has the stated size; no unknown name passes."""

import functools
import math
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import gin
import t5x
from t5x import gin_utils

RUNTIME = Path(gin_utils.__file__).parents[1]
MODELS = sorted(str(path.relative_to(RUNTIME)) for path in (RUNTIME / "t5x/examples/t5").rglob("*.gin"))
LENGTHS = "{'inputs': 8, 'targets': 8}"
RUNS = {
    "pretrain": ("train", "train", {"TRAIN_STEPS": 1, "MODEL_DIR": "'/m'", "TASK_FEATURE_LENGTHS": LENGTHS}),
    "finetune": (
        "train",
        "train",
        {"TRAIN_STEPS": 1, "MODEL_DIR": "'/m'", "TASK_FEATURE_LENGTHS": LENGTHS, "INITIAL_CHECKPOINT_PATH": "'/c'"},
    ),
    "eval": ("eval", "evaluate", {"CHECKPOINT_PATH": "'/c'", "EVAL_OUTPUT_DIR": "'/o'"}),
    "infer": (
        "infer",
        "infer",
        {"CHECKPOINT_PATH": "'/c'", "INFER_OUTPUT_DIR": "'/o'", "TASK_FEATURE_LENGTHS": LENGTHS},
    ),
    "infer_from_tfexample_file": (
        "infer",
        "infer",
        {
            "CHECKPOINT_PATH": "'/c'",
            "INFER_OUTPUT_DIR": "'/o'",
            "FEATURE_LENGTHS": LENGTHS,
            "TF_EXAMPLE_FILE_PATHS": "['/f']",
            "TF_EXAMPLE_FILE_TYPE": "'tfrecord'",
        },
    ),
}


@pytest.fixture(autouse=True)
def cleared():
    yield
    gin.clear_config()


def parse(model, run, *bindings):
    module, function, macros = RUNS[run]
    named = {} if "FEATURE_LENGTHS" in macros else {"MIXTURE_OR_TASK_NAME": "'t'"}
    macros = {"DROPOUT_RATE": 0.1, **named, **macros}
    given = [*(f"{name} = {value}" for name, value in macros.items()), *bindings]
    files = [model, f"t5x/configs/runs/{run}.gin"]
    return gin_utils.parse_for(getattr(t5x, module), function, gin_files=files, gin_bindings=given)


def parameter_count(config):
    """By the documented tree: kernels without biases, one scale per norm, one table of 32 buckets per stack."""
    emb, joined = config.emb_dim, config.num_heads * config.head_dim
    attention = 4 * emb * joined
    mlp = (len(config.mlp_activations) + 1) * emb * config.mlp_dim
    encoder = config.num_encoder_layers * (attention + mlp + 2 * emb)
    decoder = config.num_decoder_layers * (2 * attention + mlp + 3 * emb)
    tables = (1 if config.logits_via_embedding else 2) * config.vocab_size * emb
    return tables + encoder + decoder + 2 * (emb + 32 * config.num_heads)


@pytest.mark.parametrize("model", MODELS)
def test_a_model_file_has_the_size_that_its_first_line_states(model):
    parse(model, "finetune")
    module = gin.query_parameter("models.EncoderDecoderModel.module").scoped_configurable_fn()
    stated = int(re.search(r"([\d,]+) parameters", (RUNTIME / model).read_text())[1].replace(",", ""))
    assert parameter_count(module.config) == stated
    if module.config.num_encoder_layers + module.config.num_decoder_layers <= 4:
        tokens = jax.ShapeDtypeStruct((1, 4), "int32")
        init = functools.partial(module.init, enable_dropout=False)
        shapes = jax.eval_shape(init, jax.random.PRNGKey(0), tokens, tokens, tokens)
        assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"])) == stated


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("family", ["t5_1_0", "t5_1_1", "mt5", "byt5"])
def test_run_files_take_every_family(family, run):
    assert callable(parse(f"t5x/examples/t5/{family}/small.gin", run))


@pytest.mark.parametrize(
    ("binding", "error"),
    [
        ("network.T5Config.emb_dims = 3", "emb_dims"),
        ("utils.DatasetConfig.batchsize = 3", "batchsize"),
        ("partitioning.PjitPartitioner.num_partition = 3", "num_partition"),
        ("trainer.Trainer.microbatches = 3", "microbatches"),
        ("adafactor.Adafactor.decay = 3", "decay"),
        ("utils.SaveCheckpointConfig.keep_best = 3", "keep_best"),
        ("utils.NoSuchThing.x = 3", "NoSuchThing"),
    ],
)
def test_unknown_parameters_are_errors(binding, error):
    with pytest.raises((ValueError, AttributeError), match=error):
        parse("t5x/examples/t5/t5_1_1/small.gin", "finetune", binding)


def test_arguments_of_methods_can_be_bound_in_files(tmp_path):
    file = tmp_path / "beams.gin"
    file.write_text(
        "from __gin__ import dynamic_registration\nfrom t5x import models\nimport seqio\n"
        "include 't5x/examples/t5/t5_1_1/tiny.gin'\n"
        "VOCABULARY = @seqio.ByteVocabulary()\n"
        "models.EncoderDecoderModel.predict_batch_with_aux:\n  num_decodes = 3\n  return_all_decodes = True\n"
    )
    parse(str(file), "infer", "network.T5Config.vocab_size = 384")
    model = gin.query_parameter("infer.model").scoped_configurable_fn()
    tokens = jnp.ones((2, 4), jnp.int32)
    batch = {f"{name}_tokens": tokens for name in ("encoder_input", "decoder_input", "decoder_target")}
    params = model.get_initial_variables(jax.random.PRNGKey(0), {name: x.shape for name, x in batch.items()})["params"]
    decodes, aux = model.predict_batch_with_aux(params, batch)
    assert decodes.shape == (2, 3, 4) and aux["scores"].shape == (2, 3)
