"""A tiny random BERT or DistilBERT as a Hugging Face folder, written without torch."""

import json

import numpy as np
from safetensors.numpy import save_file

from distill_or_annotate.encoder import config, naming

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "rain", "stop", "##ped", "play", "no", "more", "to", "##day", ".", "now"]


def write(folder, kind="bert", seed=0, prefix="", n_labels=None, renamed=None, left_out=(), extra=None, **sizes):
    """Writes config.json, model.safetensors and vocab.txt; returns the folder."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = [*WORDS, *letters, *(f"##{letter}" for letter in letters)]
    shape = {"n_pieces": len(words), "emb_dim": 16, "num_heads": 2, "mlp_dim": 24, "num_layers": 2, "n_positions": 48}
    made = config.EncoderConfig(kind, **{**shape, "n_segments": 0 if kind == "distilbert" else 2, **sizes})
    keys = config._KEYS[kind]
    folder.mkdir(parents=True, exist_ok=True)
    described = {key: getattr(made, field) for field, key in keys.items()} | {"model_type": kind}
    (folder / "config.json").write_text(json.dumps(described))
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, tensor in {**naming.encoder_tensors(made), **naming.head_tensors(made, n_labels)}.items():
        stored = tensor.shape[::-1] if tensor.transposed else tensor.shape
        centre = 1.0 if tensor.path.endswith("scale") else 0.0
        tensors[name] = (centre + 0.3 * rng.normal(size=stored)).astype(np.float32)
    for name in left_out:
        del tensors[name]
    for old, new in (renamed or {}).items():
        tensors[new] = tensors.pop(old)
    named = {f"{prefix}{name}": value for name, value in tensors.items()}
    save_file(named | (extra or {}), folder / "model.safetensors")
    return folder
