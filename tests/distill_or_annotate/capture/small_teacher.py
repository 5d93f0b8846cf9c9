"""A small random teacher for the capture tests."""

import jax
import jax.numpy as jnp
import numpy as np

from t5x import adafactor, decoding, models
from t5x.examples.t5 import network

VOCAB = 96


def make(seed: int = 0, dtype: str = "float32", tied: bool = False, vocabulary=None, layers: int = 2):
    """A model that decodes greedily, and parameters under which rows end at different lengths."""
    config = network.T5Config(
        vocab_size=VOCAB,
        emb_dim=32,
        num_heads=4,
        head_dim=8,
        mlp_dim=64,
        num_encoder_layers=layers,
        num_decoder_layers=layers,
        mlp_activations=("gelu", "linear"),
        dropout_rate=0.1,
        dtype=dtype,
        logits_via_embedding=tied,
    )
    module = network.Transformer(config=config)
    greedy = lambda **kwargs: decoding.temperature_sample(**kwargs, topk=1)  # noqa: E731
    model = models.EncoderDecoderModel(module, vocabulary, vocabulary, adafactor.Adafactor(), decode_fn=greedy)
    shapes = {"encoder_input_tokens": (2, 8), "decoder_input_tokens": (2, 8)}
    params = model.get_initial_variables(jax.random.PRNGKey(seed), shapes)["params"]
    params = params.unfreeze() if hasattr(params, "unfreeze") else params
    params = jax.tree.map(lambda x: 1.2 * x, params)
    return model, params


def favour_end(params, by: float):
    """Makes the end token likelier, so that rows end."""
    decoder = params["decoder"]
    kernel = decoder["logits_dense"]["kernel"].at[:, 1].multiply(by)
    return {**params, "decoder": {**decoder, "logits_dense": {"kernel": kernel}}}


def inputs(batch: int = 6, length: int = 12, seed: int = 0) -> np.ndarray:
    """Encoder tokens of uneven lengths, padded with 0."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(2, VOCAB, (batch, length)).astype(np.int32)
    for row in range(batch):
        tokens[row, 2 + (row * 3) % (length - 1) :] = 0
    return tokens


def batch_of(tokens: np.ndarray, n_positions: int) -> dict:
    """What `predict_batch` takes."""
    return {
        "encoder_input_tokens": jnp.asarray(tokens),
        "decoder_input_tokens": jnp.zeros((tokens.shape[0], n_positions), jnp.int32),
    }
