"""Hugging Face's tensor names beside ours, for BERT and DistilBERT.

A name of ours is a path in the parameter tree of `network.Classifier`: `encoder/layers_0/attention/query/kernel`. A
kernel is the transpose of Hugging Face's `weight`.
"""

from __future__ import annotations

import dataclasses

from distill_or_annotate.encoder.config import EncoderConfig

_LAYER = {
    "bert": {
        "attention/query": "attention.self.query",
        "attention/key": "attention.self.key",
        "attention/value": "attention.self.value",
        "attention/out": "attention.output.dense",
        "attention_norm": "attention.output.LayerNorm",
        "wi": "intermediate.dense",
        "wo": "output.dense",
        "mlp_norm": "output.LayerNorm",
    },
    "distilbert": {
        "attention/query": "attention.q_lin",
        "attention/key": "attention.k_lin",
        "attention/value": "attention.v_lin",
        "attention/out": "attention.out_lin",
        "attention_norm": "sa_layer_norm",
        "wi": "ffn.lin1",
        "wo": "ffn.lin2",
        "mlp_norm": "output_layer_norm",
    },
}
_LAYERS = {"bert": "encoder.layer", "distilbert": "transformer.layer"}
# Names in files that TensorFlow wrote first, such as that of bert-base-uncased.
_FORMER = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
# Heads of the pre-training tasks, and a buffer that counts positions: nothing that an encoder or a classifier uses.
_UNUSED = ("embeddings.position_ids", "cls.", "vocab_transform.", "vocab_layer_norm.", "vocab_projector.")


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor of ours.

    Attributes:
      path: its path in our tree.
      shape: its shape there.
      transposed: whether Hugging Face stores its transpose.
    """

    path: str
    shape: tuple[int, ...]
    transposed: bool = False


def stripped(name: str, kind: str) -> str:
    """A tensor's present-day name, without the prefix that models with a head give their encoder.

    Args:
      name: as a file has it.
      kind: `bert` or `distilbert`.

    Returns:
      The name that `encoder_tensors` and `head_tensors` list.
    """
    name = name.removeprefix(f"{kind}.")
    for former, present in _FORMER.items():
        if name.endswith(former):
            return name.removesuffix(former) + present
    return name


def is_unused(name: str) -> bool:
    """Whether a tensor of a stripped `name` has no place in an encoder or classifier."""
    return name.startswith(_UNUSED)


def encoder_tensors(config: EncoderConfig) -> dict[str, Tensor]:
    """All tensors of an encoder.

    Args:
      config: its sizes.

    Returns:
      Hugging Face's stripped name to tensor of ours.
    """
    kind, width, inside = config.kind, config.emb_dim, config.mlp_dim
    found = {
        "embeddings.word_embeddings.weight": Tensor("encoder/word_embedding", (config.n_pieces, width)),
        "embeddings.position_embeddings.weight": Tensor("encoder/position_embedding", (config.n_positions, width)),
        **_norm("embeddings.LayerNorm", "encoder/embedding_norm", width),
    }
    if config.n_segments:
        segments = Tensor("encoder/segment_embedding", (config.n_segments, width))
        found["embeddings.token_type_embeddings.weight"] = segments
    for layer in range(config.num_layers):
        for ours, theirs in _LAYER[kind].items():
            path, name = f"encoder/layers_{layer}/{ours}", f"{_LAYERS[kind]}.{layer}.{theirs}"
            if ours.endswith("norm"):
                found |= _norm(name, path, width)
            else:
                shape = {"wi": (width, inside), "wo": (inside, width)}.get(ours, (width, width))
                found |= _dense(name, path, shape)
    return found


def head_tensors(config: EncoderConfig, n_labels: int | None = None) -> dict[str, Tensor]:
    """Tensors above the encoder that a file may hold.

    Args:
      config: the encoder's sizes.
      n_labels: labels of the last layer; None leaves it out.

    Returns:
      Hugging Face's stripped name to tensor of ours.
    """
    before = ("pre_classifier", "pre_classifier") if config.kind == "distilbert" else ("pooler.dense", "pooler")
    found = _dense(*before, (config.emb_dim, config.emb_dim))
    return found if n_labels is None else found | _dense("classifier", "classifier", (config.emb_dim, n_labels))


def _dense(name: str, path: str, shape: tuple[int, int]) -> dict[str, Tensor]:
    return {
        f"{name}.weight": Tensor(f"{path}/kernel", shape, transposed=True),
        f"{name}.bias": Tensor(f"{path}/bias", shape[1:]),
    }


def _norm(name: str, path: str, width: int) -> dict[str, Tensor]:
    return {
        f"{name}.weight": Tensor(f"{path}/scale", (width,)),
        f"{name}.bias": Tensor(f"{path}/bias", (width,)),
    }
