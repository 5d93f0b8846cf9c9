"""Who wrote a store: the teacher's parameters and the vocabulary, each by content."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

_STEP = re.compile(r"checkpoint_(\d+)$")


def fingerprint(params: Any) -> str:
    """A digest of parameters that does not depend on how they are laid out over devices.

    Each array is summed, as integers that wrap around, with a weight for each place: exact in any order.

    Args:
      params: tree of arrays, sharded or not.

    Returns:
      16 hexadecimal digits.
    """
    flat = traverse_util.flatten_dict(params.unfreeze() if hasattr(params, "unfreeze") else params, sep="/")
    sums = jax.device_get({name: _place_sum(array) for name, array in sorted(flat.items())})
    listed = [[name, list(flat[name].shape), str(flat[name].dtype), int(total)] for name, total in sorted(sums.items())]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]


@jax.jit
def _place_sum(array: jax.Array) -> jax.Array:
    wide = jax.lax.bitcast_convert_type(array.astype(jnp.float32), jnp.uint32)
    total = wide
    for axis, length in enumerate(array.shape):
        weights = 2 * jax.lax.broadcasted_iota(jnp.uint32, array.shape, axis) + jnp.uint32(2 * length + 3)
        total = total * weights
    return jnp.sum(total, dtype=jnp.uint32)


def teacher(params: Any, config: Any, checkpoint: str | None) -> dict[str, Any]:
    """Who the teacher is.

    Args:
      params: its parameters.
      config: the configuration of its network, a dataclass.
      checkpoint: path that the parameters were read from; None for none.

    Returns:
      `checkpoint`, `step` (None where the path names none), `fingerprint` and `sizes`, fit for JSON.
    """
    found = _STEP.search(checkpoint.rstrip("/")) if checkpoint else None
    sizes = {}
    if dataclasses.is_dataclass(config):
        for field in dataclasses.fields(config):
            value = getattr(config, field.name)
            sizes[field.name] = str(jnp.dtype(value)) if field.name == "dtype" else value
    sizes.pop("dropout_rate", None)  # has no effect on a teacher
    return {
        "checkpoint": None if checkpoint is None else os.path.abspath(checkpoint),
        "step": int(found[1]) if found else None,
        "fingerprint": fingerprint(params),
        "sizes": json.loads(json.dumps(sizes, default=list)),
    }


def vocabulary(pieces: Any) -> dict[str, Any]:
    """Which vocabulary a store's ids belong to.

    Args:
      pieces: a SeqIO vocabulary.

    Returns:
      `size` in pieces and `sha256` of its SentencePiece model; the class's name stands in for the latter where the
      vocabulary has no such model.
    """
    model = getattr(pieces, "sp_model", None)
    digest = hashlib.sha256(model).hexdigest() if isinstance(model, bytes) else type(pieces).__name__
    return {"size": int(pieces.vocab_size), "sha256": digest}


def head(params: Any, config: Any) -> tuple[np.ndarray, bool, float]:
    """The matrix that turns hidden states into logits.

    Args:
      params: the teacher's parameters.
      config: the configuration of its network.

    Returns:
      The matrix [E, V] in the parameters' type, whether it is the embedding, and the scale of its logits. All processes
      of a job have to ask: each may hold a part.
    """
    if getattr(config, "logits_via_embedding", False):
        embedding = _whole(params["token_embedder"]["embedding"])
        return np.ascontiguousarray(embedding.T), True, float(1.0 / np.sqrt(np.float32(config.emb_dim)))
    return _whole(params["decoder"]["logits_dense"]["kernel"]), False, 1.0


def _whole(array: Any) -> np.ndarray:
    """The array in this process's memory, also where other processes hold parts of it."""
    if isinstance(array, jax.Array) and not (array.is_fully_addressable or array.is_fully_replicated):
        from jax.experimental import multihost_utils

        return np.asarray(multihost_utils.process_allgather(array, tiled=True))
    return np.asarray(jax.device_get(array))
