"""The tokenizer's files of a Hugging Face folder, from a sentencepiece model or another folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

SPIECE = "spiece.model"
FILES = (SPIECE, "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_USER_DEFINED, _NORMAL = 4, 1
_MOST_SENTINELS = 100


def copy(source: Path, folder: Path, vocab_size: int) -> list[str]:
    """Puts a tokenizer into a Hugging Face folder.

    Args:
      source: a sentencepiece model, or a folder that holds a tokenizer's files.
      folder: the folder to fill.
      vocab_size: rows of the model's embedding; sentinels fill it beyond the pieces, 100 at most.

    Returns:
      The names of the files.

    Raises:
      ValueError: when the vocabulary is larger than the embedding or its first pieces are not T5's.
      FileNotFoundError: if there is no tokenizer.
    """
    if source.is_dir():
        present = [name for name in FILES if (source / name).is_file()]
        if not present:
            raise FileNotFoundError(f"{source} holds none of {', '.join(FILES)}. Fix: --tokenizer PATH/spiece.model.")
        for name in present:
            shutil.copyfile(source / name, folder / name)
        return present
    if not source.is_file():
        raise FileNotFoundError(f"no tokenizer at {source}. Fix: --tokenizer with a sentencepiece model or a folder.")
    (folder / SPIECE).write_bytes(source.read_bytes())
    model = _parsed(source)
    pieces = [piece.piece for piece in model.pieces]
    if pieces[:3] != ["<pad>", "</s>", "<unk>"] or len(pieces) > vocab_size:
        raise ValueError(
            f"{source} has {len(pieces)} pieces that begin with {pieces[:3]}; a T5 of {vocab_size} rows wants at most "
            "that many, beginning with <pad>, </s>, <unk>. Fix: give the vocabulary that the model was trained with."
        )
    if any(piece.type == _USER_DEFINED for piece in model.pieces):
        _score_user_defined(model)
        (folder / SPIECE).write_bytes(model.SerializeToString())
    has_own = any("<extra_id_0>" in piece for piece in pieces[-_MOST_SENTINELS:])
    sentinels = 0 if has_own else min(_MOST_SENTINELS, vocab_size - len(pieces))
    settings = {
        "tokenizer_class": "T5Tokenizer",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "extra_ids": sentinels,
        "additional_special_tokens": [f"<extra_id_{i}>" for i in range(sentinels)],
        "model_max_length": 1_000_000,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return [SPIECE, "tokenizer_config.json"]


def _parsed(source: Path) -> Any:
    from google.protobuf.message import DecodeError
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto()
    try:
        model.ParseFromString(source.read_bytes())
    except DecodeError as error:
        raise ValueError(f"{source} is no sentencepiece model: {error}.") from error
    return model


def _score_user_defined(model: Any) -> None:
    """Writes down the scores that sentencepiece gives user-defined pieces, whatever the file says.

    Readers of the file that know pieces and scores only, as transformers does, then split text as sentencepiece does.
    """
    # Scores of learnt pieces are below zero, and sentencepiece begins its search for the best of them at zero.
    best = max([0.0, *(piece.score for piece in model.pieces if piece.type == _NORMAL)])
    for piece in model.pieces:
        if piece.type == _USER_DEFINED:
            piece.score = len(piece.piece) * best - 0.1
