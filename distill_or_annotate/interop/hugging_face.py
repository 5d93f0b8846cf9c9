"""Hugging Face folders of T5 models: opened with every doubt spoken, and written so that transformers loads them."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distill_or_annotate.interop import naming, safetensors_files
from distill_or_annotate.interop.naming import LM_HEAD, SHARED, Sizes
from distill_or_annotate.interop.tensors import StoredTensor, largest_difference

SHARD_BYTES = 5_000_000_000
_INDEX = "model.safetensors.index.json"
_ONE_FILE = "model.safetensors"
_MODEL_TYPES = ("t5", "mt5")
# Copies of the embedding, and a table that T5 has never used, which some published files hold.
_COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
_UNUSED = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"


@dataclasses.dataclass(frozen=True)
class Opened:
    """A model in Hugging Face's form, not yet read.

    Attributes:
      sizes: its sizes.
      tensors: its tensors under their own names; untied heads as `lm_head.weight`.
    """

    sizes: Sizes
    tensors: Mapping[str, StoredTensor]

    def as_t5x(self) -> dict[str, StoredTensor]:
        """The tensors under T5X's names, with T5X's axes."""
        found = {}
        for name in self.sizes.t5x_shapes():
            tensor = self.tensors[naming.hugging_face_name(name)]
            found[name] = tensor.transposed if naming.is_transposed(name) else tensor
        return found


def refuse_seen_labels(folder: Path) -> None:
    """Refuses checkpoints that were fine-tuned on Natural Questions (`*-ssm-nq`), as a start, in `folder`.

    Raises:
      ValueError: when the folder's name, or what its configuration calls it, says so.
    """
    names = [*folder.parts[-3:], *folder.resolve().parts[-3:]]
    for file in ("config.json", "tokenizer_config.json"):
        if (folder / file).is_file():
            settings = _read_json(folder / file)
            names += [str(settings.get(key) or "") for key in ("_name_or_path", "name_or_path")]
    for name in names:
        if re.search(r"ssm[-_]nq", name, re.IGNORECASE):
            raise ValueError(
                f"{folder} is {name!r}: it was fine-tuned on Natural Questions. A model that starts from it has seen "
                "the labels whose price is in question, so no comparison would mean anything. Fix: take the "
                "checkpoint from before, google/t5-...-ssm without -nq."
            )


def open_folder(folder: Path) -> Opened:
    """Opens a T5 1.0, T5 1.1, FLAN-T5 or mT5 model; reads headers only.

    Args:
      folder: holds config.json and safetensors files, one or several with their index.

    Returns:
      The model.

    Raises:
      ValueError: naming file, field or tensor, when the folder is no such model, is pickled, or has seen the labels.
      OSError: if a file can't be read.
    """
    refuse_seen_labels(folder)
    settings = _read_json(folder / "config.json")
    found = _open_tensors(folder)
    sizes = _sizes(folder, settings, found)
    for name in _COPIES:
        if name in found and _differ(found.pop(name), found[SHARED]):
            raise ValueError(f"{folder}: {name} differs from {SHARED}; a T5 has one embedding. Fix: fetch it again.")
    found.pop(_UNUSED, None)
    if sizes.tied:
        found.pop(LM_HEAD, None)
    elif LM_HEAD not in found:
        found[LM_HEAD] = found[SHARED]
    ours = {naming.hugging_face_name(name): name for name in sizes.t5x_shapes()}
    shapes = {
        ours.get(name, name): tensor.shape[::-1] if naming.is_transposed(ours.get(name, name)) else tensor.shape
        for name, tensor in found.items()
    }
    naming.check_shapes(sizes, shapes, str(folder))
    return Opened(sizes, found)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"no {path}. Fix: give a folder as `save_pretrained` or the hub's snapshots have it.")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}.") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds {type(value).__name__} where an object was expected.")
    return value


def _open_tensors(folder: Path) -> dict[str, StoredTensor]:
    if (folder / _INDEX).is_file():
        placed: dict[str, str] = _read_json(folder / _INDEX)["weight_map"]
        odd = [file for file in placed.values() if Path(file).name != file]
        if odd:
            raise ValueError(f"{folder / _INDEX} points outside its folder: {odd[0]!r}.")
        absent = sorted({file for file in placed.values() if not (folder / file).is_file()})
        if absent:
            raise FileNotFoundError(f"{folder} lacks {', '.join(absent)}, which {_INDEX} names. Fix: fetch the rest.")
        shards = {file: safetensors_files.open_file(folder / file)[0] for file in sorted(set(placed.values()))}
        lost = [name for name, file in placed.items() if name not in shards[file]]
        if lost:
            raise ValueError(f"{folder / placed[lost[0]]} lacks tensor {lost[0]}, which {_INDEX} places there.")
        return {name: shards[file][name] for name, file in placed.items()}
    if (folder / _ONE_FILE).is_file():
        return safetensors_files.open_file(folder / _ONE_FILE)[0]
    pickled = sorted(path.name for path in folder.glob("*.bin")) + sorted(path.name for path in folder.glob("*.pt"))
    if pickled:
        raise ValueError(
            f"{folder} holds its weights as {pickled[0]}: a pickle, which can run code when it is read. Fix: fetch the "
            "safetensors files of the same model; or, where you trust the file, with torch and transformers: python -c "
            f"\"from transformers import T5ForConditionalGeneration as M; M.from_pretrained('{folder}')"
            f".save_pretrained('{folder}-safetensors')\", and copy spiece.model there."
        )
    raise FileNotFoundError(f"{folder} holds neither {_ONE_FILE} nor {_INDEX}. Fix: fetch the safetensors files.")


def _sizes(folder: Path, settings: Mapping[str, Any], found: Mapping[str, StoredTensor]) -> Sizes:
    where = folder / "config.json"
    kind = settings.get("model_type")
    if kind not in _MODEL_TYPES:
        raise ValueError(f"{where}: model_type is {kind!r}; allowed: {', '.join(_MODEL_TYPES)}.")
    fixed = {
        "relative_attention_num_buckets": naming.RELATIVE_BUCKETS,
        "relative_attention_max_distance": naming.RELATIVE_MAX_DISTANCE,
        "layer_norm_epsilon": naming.NORM_EPSILON,
    }
    for field, only in fixed.items():
        if settings.get(field, only) != only:
            raise ValueError(f"{where}: {field} is {settings[field]!r}; T5X's network has {only!r} and no other.")
    activation = settings.get("feed_forward_proj", "relu" if kind == "t5" else "gated-gelu")
    if activation not in ("relu", "gated-gelu"):
        raise ValueError(f"{where}: feed_forward_proj is {activation!r}; allowed: 'relu', 'gated-gelu'.")
    if SHARED not in found:
        raise ValueError(f"{folder} lacks tensor {SHARED}; it holds {', '.join(sorted(found)[:3])}...")
    try:
        return Sizes(
            vocab_size=found[SHARED].shape[0],
            emb_dim=settings["d_model"],
            num_heads=settings["num_heads"],
            head_dim=settings["d_kv"],
            mlp_dim=settings["d_ff"],
            num_encoder_layers=settings["num_layers"],
            num_decoder_layers=settings.get("num_decoder_layers") or settings["num_layers"],
            gated=activation == "gated-gelu",
            tied=_is_tied(folder, settings, found),
        )
    except KeyError as error:
        raise ValueError(f"{where} lacks the field {error}.") from None


def _is_tied(folder: Path, settings: Mapping[str, Any], found: Mapping[str, StoredTensor]) -> bool:
    """Whether the logits are the scaled embedding's; a shared but unscaled head counts as one of its own.

    What `tie_word_embeddings` means has changed: today's transformers writes true for every T5, and says in
    `scale_decoder_outputs` what it used to say. mT5 never scales.
    """
    stated = settings.get("tie_word_embeddings", True)
    scaled = settings.get("scale_decoder_outputs", stated) and settings["model_type"] == "t5"
    if LM_HEAD not in found:
        if not stated:
            raise ValueError(
                f"{folder} lacks tensor {LM_HEAD}, although config.json says tie_word_embeddings: false. Fix: fetch "
                "the missing file."
            )
        return bool(scaled)
    if scaled and _differ(found[LM_HEAD], found[SHARED]):
        raise ValueError(
            f"{folder}: {LM_HEAD} differs from {SHARED}, although config.json says that they are tied. Fix: say "
            "tie_word_embeddings: false there if the head is its own; remove the tensor if not."
        )
    return bool(scaled)


def _differ(first: StoredTensor, second: StoredTensor) -> bool:
    return first.shape != second.shape or largest_difference(first, second) != 0


def write_folder(
    folder: Path,
    contents: Mapping[str, StoredTensor],
    sizes: Sizes,
    dtype: np.dtype,
    metadata: Mapping[str, str],
    advance: Any = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes a model that `T5ForConditionalGeneration.from_pretrained` loads, but for the tokenizer's files.

    Args:
      folder: must exist.
      contents: tensors by slash-joined T5X name, with T5X's axes.
      sizes: the model's sizes.
      dtype: the type of the weights, of `tensors.DTYPES`.
      metadata: strings for the header of each file.
      advance: called with the number of bytes after each piece; None does nothing.
      shard_bytes: a file gets no further tensor beyond this size.
    """
    theirs = {
        naming.hugging_face_name(name): tensor.transposed if naming.is_transposed(name) else tensor
        for name, tensor in contents.items()
    }
    shards: list[dict[str, StoredTensor]] = [{}]
    filled = 0
    for name, tensor in theirs.items():
        weight = int(np.prod(tensor.shape)) * dtype.itemsize
        if filled and filled + weight > shard_bytes:
            shards.append({})
            filled = 0
        shards[-1][name] = tensor
        filled += weight
    files = [_ONE_FILE]
    if len(shards) > 1:
        files = [f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))]
        placed = {name: file for file, shard in zip(files, shards, strict=True) for name in shard}
        total = sum(int(np.prod(tensor.shape)) for tensor in theirs.values()) * dtype.itemsize
        _write_json(folder / _INDEX, {"metadata": {"total_size": total}, "weight_map": placed})
    for file, shard in zip(files, shards, strict=True):
        # transformers refuses a file that does not name its format.
        safetensors_files.write_file(folder / file, shard, dtype, {**metadata, "format": "pt"}, advance)
    _write_json(folder / "config.json", _config(sizes, dtype))
    ids = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
    _write_json(folder / "generation_config.json", ids)


def _config(sizes: Sizes, dtype: np.dtype) -> dict[str, Any]:
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "d_model": sizes.emb_dim,
        "d_kv": sizes.head_dim,
        "d_ff": sizes.mlp_dim,
        "num_heads": sizes.num_heads,
        "num_layers": sizes.num_encoder_layers,
        "num_decoder_layers": sizes.num_decoder_layers,
        "vocab_size": sizes.vocab_size,
        "feed_forward_proj": "gated-gelu" if sizes.gated else "relu",
        "tie_word_embeddings": sizes.tied,
        "relative_attention_num_buckets": naming.RELATIVE_BUCKETS,
        "relative_attention_max_distance": naming.RELATIVE_MAX_DISTANCE,
        "layer_norm_epsilon": naming.NORM_EPSILON,
        "dropout_rate": 0.1,
        "initializer_factor": 1.0,
        "is_encoder_decoder": True,
        "use_cache": True,
        "decoder_start_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 0,
        "torch_dtype": dtype.name,
    }


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
