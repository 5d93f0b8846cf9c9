"""A small encoder: the first layers of a larger one, as a Hugging Face folder of its own in the cache."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

from distill_or_annotate.encoder import folders
from distill_or_annotate.encoder.config import EncoderError
from distill_or_annotate.interop import shipped
from distill_or_annotate.interop.safetensors_files import file_hash

_LAYER = re.compile(r"(?:^|\.)layer\.(\d+)\.")
_WEIGHTS, _CONFIG = "model.safetensors", "config.json"
_DEPTHS = ("num_hidden_layers", "n_layers")


def first_layers(folder: str | os.PathLike[str], n_layers: int) -> str:
    """The first layers of an encoder with its embeddings; made on first use, bound in gin to `ENCODER`.

    Args:
      folder: a Hugging Face folder of a BERT or DistilBERT.
      n_layers: how many layers to keep, at least 1 and fewer than it has.

    Returns:
      A Hugging Face folder.

    Raises:
      EncoderError: it has no more layers than that.
    """
    whole = Path(folder)
    content = json.loads((whole / _CONFIG).read_text(encoding="utf-8"))
    depth = next((name for name in _DEPTHS if name in content), _DEPTHS[0])
    if not 1 <= n_layers < content.get(depth, 0):
        raise EncoderError(
            f"shortened.first_layers.n_layers: received {n_layers}; {whole} has {content.get(depth)} layers. Fix: ask "
            "for fewer than those, and at least 1."
        )
    digest = file_hash(whole / _WEIGHTS)[:12]  # in the path, not in the name that stands beside scores
    place = shipped.cache_dir() / "encoders" / digest / f"{folders.name(whole)}-first-{n_layers}"
    if not (place / _WEIGHTS).exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        scratch = place.with_name(f"{place.name}.tmp-{os.getpid()}")
        _write(whole, scratch, content | {depth: n_layers}, n_layers)
        if not place.exists():
            scratch.rename(place)
        else:
            shutil.rmtree(scratch)
    return os.fspath(place)


def _write(whole: Path, scratch: Path, content: dict, n_layers: int) -> None:
    from safetensors import safe_open
    from safetensors.numpy import save_file

    scratch.mkdir()
    for path in whole.iterdir():
        if path.is_file() and path.name != _WEIGHTS and path.suffix in (".json", ".txt"):
            shutil.copyfile(path, scratch / path.name)
    (scratch / _CONFIG).write_text(json.dumps(content, indent=1), encoding="utf-8")
    with safe_open(whole / _WEIGHTS, framework="numpy") as file:
        keys = [key for key in file.keys() if _layer_of(key) < n_layers]  # noqa: SIM118
        save_file({key: file.get_tensor(key) for key in keys}, scratch / _WEIGHTS)


def _layer_of(key: str) -> int:
    found = _LAYER.search(key)
    return int(found[1]) if found else -1
