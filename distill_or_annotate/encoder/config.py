"""The sizes of an encoder, and the reading of them from a Hugging Face `config.json`."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KINDS = ("bert", "distilbert")
ACTIVATIONS = ("gelu", "gelu_new", "relu")
HEADS = ("pooler", "distilbert", "mean")

# Field of ours to key of config.json.
_KEYS = {
    "bert": {
        "n_pieces": "vocab_size",
        "emb_dim": "hidden_size",
        "num_heads": "num_attention_heads",
        "mlp_dim": "intermediate_size",
        "num_layers": "num_hidden_layers",
        "n_positions": "max_position_embeddings",
        "n_segments": "type_vocab_size",
        "activation": "hidden_act",
        "layer_norm_epsilon": "layer_norm_eps",
        "dropout_rate": "hidden_dropout_prob",
        "attention_dropout_rate": "attention_probs_dropout_prob",
    },
    "distilbert": {
        "n_pieces": "vocab_size",
        "emb_dim": "dim",
        "num_heads": "n_heads",
        "mlp_dim": "hidden_dim",
        "num_layers": "n_layers",
        "n_positions": "max_position_embeddings",
        "activation": "activation",
        "dropout_rate": "dropout",
        "attention_dropout_rate": "attention_dropout",
    },
}
_OPTIONAL = {"n_segments": 2, "activation": "gelu", "layer_norm_epsilon": 1e-12} | dict.fromkeys(
    ("dropout_rate", "attention_dropout_rate"), 0.1
)


class EncoderError(ValueError):
    """A folder, a configuration or a set of weights is no encoder that can be loaded."""


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """The sizes of a BERT or DistilBERT encoder.

    Attributes:
      kind: `bert` or `distilbert`; the latter has no segments and no pooler.
      n_pieces: rows of the word embedding.
      emb_dim: width.
      num_heads: attention heads; they divide the width.
      mlp_dim: width inside the feed-forward layers.
      num_layers: layers.
      n_positions: longest input in tokens.
      n_segments: rows of the segment embedding; 0 for none.
      activation: `gelu`, `gelu_new` (its tanh approximation) or `relu`.
      layer_norm_epsilon: added to the variance.
      dropout_rate: of embeddings and of what each sublayer adds, 0 to below 1.
      attention_dropout_rate: of attention probabilities, 0 to below 1.

    Raises:
      EncoderError: a field out of range.
    """

    kind: str
    n_pieces: int
    emb_dim: int
    num_heads: int
    mlp_dim: int
    num_layers: int
    n_positions: int
    n_segments: int = 2
    activation: str = "gelu"
    layer_norm_epsilon: float = 1e-12
    dropout_rate: float = 0.1
    attention_dropout_rate: float = 0.1

    def __post_init__(self):
        check_name("kind", self.kind, KINDS)
        check_name("activation", self.activation, ACTIVATIONS)
        for name in ("n_pieces", "emb_dim", "num_heads", "mlp_dim", "num_layers", "n_positions"):
            if getattr(self, name) < 1:
                raise EncoderError(f"{name} is {getattr(self, name)}; at least 1 is needed.")
        if self.emb_dim % self.num_heads:
            raise EncoderError(f"emb_dim is {self.emb_dim}, which {self.num_heads} heads (num_heads) don't divide.")
        for name in ("dropout_rate", "attention_dropout_rate"):
            if not 0 <= getattr(self, name) < 1:
                raise EncoderError(f"{name} is {getattr(self, name)}; allowed: 0 to below 1.")


@dataclasses.dataclass(frozen=True)
class ClassifierConfig(EncoderConfig):
    """An encoder with a head that chooses among labels.

    Attributes:
      n_labels: labels.
      vocab_size: rows of the vocabulary in which labels are written, as T5X models have it.
      head: `pooler` (BERT's: a tanh layer over the first token), `distilbert` (a ReLU layer over it), or `mean` (the
        mean over real tokens, without a layer of its own).
      head_dropout_rate: dropout before the last layer, 0 to below 1.
    """

    n_labels: int = 2
    vocab_size: int = 0
    head: str = "pooler"
    head_dropout_rate: float = 0.1

    def __post_init__(self):
        super().__post_init__()
        check_name("head", self.head, HEADS)
        if self.n_labels < 2:
            raise EncoderError(f"n_labels is {self.n_labels}; a classifier needs at least 2.")


def check_name(field: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuses a name that is not allowed.

    Args:
      field: what it is the value of.
      value: the name.
      allowed: what it may be.

    Raises:
      EncoderError: naming near ones.
    """
    if value not in allowed:
        near = difflib.get_close_matches(str(value), allowed, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise EncoderError(f"{field} is {value!r}; allowed: {', '.join(allowed)}.{hint}")


def read(folder: Path) -> EncoderConfig:
    """Reads the sizes of the encoder in a Hugging Face folder.

    Args:
      folder: holds `config.json`.

    Returns:
      Its sizes.

    Raises:
      EncoderError: no such file, no JSON, a model of another family, or a key missing from it.
    """
    raw = read_json(folder)
    kind = raw.get("model_type")
    check_name(f"{folder / 'config.json'}: model_type", kind, KINDS)
    for key, only in (("position_embedding_type", "absolute"), ("is_decoder", False)):
        if raw.get(key, only) != only:
            raise EncoderError(f"{folder / 'config.json'}: {key} is {raw[key]!r}; only {only!r} can be loaded.")
    values: dict[str, Any] = {"kind": kind} | ({"n_segments": 0} if kind == "distilbert" else {})
    for field, key in _KEYS[kind].items():
        if key in raw:
            values[field] = raw[key]
        elif field in _OPTIONAL:
            values[field] = _OPTIONAL[field]
        else:
            raise EncoderError(f"{folder / 'config.json'} lacks {key!r}. Fix: fetch the folder again.")
    return EncoderConfig(**values)


def read_json(folder: Path, name: str = "config.json") -> Mapping[str, Any]:
    """Reads a JSON object.

    Args:
      folder: a Hugging Face folder.
      name: of a file in it.

    Returns:
      The object.

    Raises:
      EncoderError: no such file, or no JSON object.
    """
    path = Path(folder) / name
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise EncoderError(
            f"no {path}. Fix: give a Hugging Face folder with config.json, model.safetensors and tokenizer.json or "
            "vocab.txt."
        ) from error
    except ValueError as error:
        raise EncoderError(f"{path} is no JSON ({error}). Fix: fetch it again.") from error
    if not isinstance(found, dict):
        raise EncoderError(f"{path} holds no JSON object. Fix: fetch it again.")
    return found
