"""Our runtime: the trainer's own step with AdamW, and greedy decoding with its caches."""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import jax
import numpy as np
import optax
from shapes import Shape, serve

from t5x import decoding, models, optimizers, partitioning, trainer
from t5x import train_state as train_state_lib
from t5x.examples.t5 import network

optax_adamw = optimizers.wrap_optax_optimizer(optax.adamw)


class Vocabulary:
    """The three numbers that a model asks its vocabulary for."""

    def __init__(self, vocab_size: int):
        self.vocab_size, self.eos_id, self.pad_id = vocab_size, 1, 0


def prepare(work: str, shape: Shape):
    """Returns a function that takes one training step, or decodes one batch.

    Args:
      work: `train` or `decode`.
      shape: sizes of network and batch.
    """
    config = network.T5Config(
        vocab_size=shape.vocab,
        emb_dim=shape.d_model,
        num_heads=shape.n_heads,
        head_dim=shape.d_kv,
        mlp_dim=shape.d_ff,
        mlp_activations=("gelu", "linear"),
        num_encoder_layers=shape.n_layers,
        num_decoder_layers=shape.n_layers,
        dropout_rate=0.1 if work == "train" else 0.0,
    )
    vocabulary = Vocabulary(shape.vocab)
    model = models.EncoderDecoderModel(
        network.Transformer(config), vocabulary, vocabulary, optax_adamw(1e-3), decode_fn=decoding.temperature_sample
    )
    rng = np.random.default_rng(0)
    # Ids from 2 on: nothing ends early, so that every system decodes the same number of tokens.
    tokens = lambda length: rng.integers(2, shape.vocab, (shape.batch, length)).astype(np.int32)  # noqa: E731
    targets = tokens(shape.target_tokens)
    batch = {
        "encoder_input_tokens": tokens(shape.input_tokens),
        "decoder_target_tokens": targets,
        "decoder_input_tokens": np.pad(targets[:, :-1], ((0, 0), (1, 0))),
        "decoder_loss_weights": np.ones_like(targets, np.float32),
    }
    shapes = {name: value.shape for name, value in batch.items()}
    variables = jax.jit(lambda key: model.get_initial_variables(key, shapes))(jax.random.PRNGKey(0))
    state = train_state_lib.FlaxOptimTrainState.create(model.optimizer_def, variables)
    if work == "decode":
        decode = jax.jit(
            lambda params, batch: model.predict_batch_with_aux(params, batch, decoder_params={"eos_id": -1, "topk": 1})[
                0
            ]
        )
        return lambda: jax.block_until_ready(decode(state.params, batch))
    partitioner = partitioning.PjitPartitioner(num_partitions=1)
    axes = partitioner.get_mesh_axes(state)
    loop = trainer.Trainer(
        model, state, partitioner, [], None, axes, jax.random.PRNGKey(0),
        learning_rate_fn=lambda step: 1e-3, num_microbatches=None,
    )  # fmt: skip

    def batches():
        while True:
            yield batch

    loop.compile_train(batch)
    iterator = batches()

    def step():
        loop.train(iterator, 1, start_step=0).result()
        jax.block_until_ready(loop.train_state.params)

    return step


if __name__ == "__main__":
    serve(prepare, {"jax": jax.__version__, "t5x": str(os.path.dirname(models.__file__))})
