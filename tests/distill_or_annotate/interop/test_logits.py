"""The check's own arithmetic is that of the network, in both forms."""

import jax
import jax.numpy as jnp
import numpy as np

from distill_or_annotate.interop import hugging_face, logits, naming, peak_memory, tensors
from t5x.examples.t5 import network


def _network(sizes):
    return network.Transformer(
        network.T5Config(
            vocab_size=sizes.vocab_size,
            emb_dim=sizes.emb_dim,
            num_heads=sizes.num_heads,
            num_encoder_layers=sizes.num_encoder_layers,
            num_decoder_layers=sizes.num_decoder_layers,
            head_dim=sizes.head_dim,
            mlp_dim=sizes.mlp_dim,
            mlp_activations=("gelu", "linear") if sizes.gated else ("relu",),
            dropout_rate=0.0,
            logits_via_embedding=sizes.tied,
        )
    )


def test_logits_are_the_networks_in_both_forms(tmp_path, any_sizes, monkeypatch):
    monkeypatch.setattr(tensors, "PIECE_BYTES", 500)
    peak_memory.write_synthetic(tmp_path / "hf", any_sizes)
    opened = hugging_face.open_folder(tmp_path / "hf")
    assert opened.sizes == any_sizes
    ours = opened.as_t5x()
    inputs, targets = logits.fixed_batch(any_sizes.vocab_size)

    tree = {}
    for name, tensor in ours.items():
        node = tree
        for folder in name.split("/")[:-1]:
            node = node.setdefault(folder, {})
        node[name.split("/")[-1]] = jnp.asarray(tensor.whole())
    shifted = np.pad(targets[:, :-1], ((0, 0), (1, 0)))
    arguments = [jnp.asarray(tokens, jnp.int32) for tokens in (inputs, shifted, targets)]
    run = jax.jit(lambda params: _network(any_sizes).apply({"params": params}, *arguments, enable_dropout=False))
    expected = np.asarray(run(tree))

    real = targets > 0
    for weights in (logits.T5xWeights(ours), logits.HuggingFaceWeights(opened.tensors)):
        got = logits.compute(weights, any_sizes, inputs, targets)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got[real], expected[real], rtol=1e-4, atol=1e-4)
    assert np.std(expected[real]) > 0.1


def test_far_positions_share_buckets_as_in_the_network():
    """Beyond the fixed batch's length: 200 positions, against the network's own biases."""
    from t5x.examples.t5 import layers

    table = np.arange(2 * naming.RELATIVE_BUCKETS, dtype=np.float32).reshape(2, -1)
    for bidirectional in (True, False):
        module = layers.RelativePositionBiases(
            num_buckets=naming.RELATIVE_BUCKETS,
            max_distance=naming.RELATIVE_MAX_DISTANCE,
            num_heads=2,
            dtype=jnp.float32,
        )
        expected = module.apply({"params": {"rel_embedding": table}}, 200, 200, bidirectional)
        np.testing.assert_array_equal(logits._position_bias(table, 200, bidirectional), np.asarray(expected))


def test_the_fixed_batch_has_padding_and_spreads_over_the_vocabulary():
    inputs, targets = logits.fixed_batch(32128)
    assert (inputs == 0).any() and (targets == 0).any() and max(inputs.max(), targets.max()) > 30000
    assert logits.fixed_batch(4)[0].max() <= 3
